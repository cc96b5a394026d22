/** Runs inside a network namespace: calls an exported function of an agent's module for each message. */
process.on("message", async ({ module, name, args }: { module: string; name: string; args: unknown[] }) => {
  try {
    const exports = await import(new URL(`../../../../src/agent/${module}`, import.meta.url).href);
    process.send!({ result: await exports[name](...args) });
  } catch (error) {
    process.send!({ error: error instanceof Error ? error.message : String(error) });
  }
});
