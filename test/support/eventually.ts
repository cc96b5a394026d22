/**
 * Calls `check` until it returns without throwing, and gives what it returns; after `timeoutMs` its last error is
 * thrown. For what other loops bring about, where no event tells.
 */
export async function eventually<T>(check: () => T | Promise<T>, timeoutMs = 60_000): Promise<T> {
  const untilMs = Date.now() + timeoutMs;
  for (;;) {
    try {
      return await check();
    } catch (error) {
      if (Date.now() >= untilMs) throw error;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}
