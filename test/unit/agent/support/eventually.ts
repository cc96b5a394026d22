/** Tries until `check` no longer throws; throws its last error after `timeoutMs`. For the kernel's and programs' work. */
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
