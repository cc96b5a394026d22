import { spawn } from "node:child_process";

/**
 * Runs a program in this one's place: same standard streams, signals passed on.
 * @returns its exit code; 127 when it is not there
 */
export function runProgram(program: string, args: readonly string[], environment: NodeJS.ProcessEnv): Promise<number> {
  return new Promise((resolve) => {
    const child = spawn(program, args, { stdio: "inherit", env: environment });
    const forward = (signal: NodeJS.Signals) => child.kill(signal);
    // Keys such as Ctrl-C reach the child by themselves; this process only must not end before it.
    process.on("SIGINT", () => {});
    process.on("SIGTERM", forward);
    child.on("error", (error: NodeJS.ErrnoException) => {
      process.stderr.write(
        error.code === "ENOENT" ? `k3ts: "${program}" is not installed here\n` : `k3ts: ${error.message}\n`,
      );
      resolve(127);
    });
    child.on("exit", (code, signal) => resolve(code ?? (signal ? 128 : 1)));
  });
}
