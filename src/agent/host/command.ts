import { type ChildProcess, spawn } from "node:child_process";
import { Readable } from "node:stream";
import { type Clock, ioClock } from "../../machinery/clock.ts";

export interface RunOptions {
  /** Written to the program's standard input, which is closed afterwards. A stream that fails fails the call. */
  readonly input?: string | Buffer | Readable;
  /** Kills the program; the call rejects with the signal's reason. */
  readonly signal?: AbortSignal;
  /** Milliseconds after which the program is killed and the call rejects; default 60,000. */
  readonly timeoutMs?: number;
  readonly clock?: Clock;
  /** Environment on top of this process' own. */
  readonly env?: Readonly<Record<string, string>>;
}

export interface CommandOutput {
  readonly stdout: string;
  readonly stderr: string;
}

/** A program that could not be started, was killed, or ended with an exit code other than 0. */
export class CommandError extends Error {
  readonly program: string;
  readonly args: readonly string[];
  /** `undefined` when the program did not start or was killed. */
  readonly exitCode: number | undefined;
  readonly stdout: string;
  readonly stderr: string;

  constructor(
    program: string,
    args: readonly string[],
    what: string,
    output: { exitCode?: number; stdout?: string; stderr?: string; cause?: unknown } = {},
  ) {
    const stderr = (output.stderr ?? "").trim();
    super(`run ${JSON.stringify([program, ...args].join(" "))}: ${what}${stderr ? `: ${stderr}` : ""}`, {
      cause: output.cause,
    });
    this.name = "CommandError";
    this.program = program;
    this.args = args;
    this.exitCode = output.exitCode;
    this.stdout = output.stdout ?? "";
    this.stderr = stderr;
  }
}

const defaultTimeoutMs = 60_000;

/**
 * Runs a program to its end and gives what it printed. No shell is involved.
 * Throws {@link CommandError} naming the program, its arguments and what it wrote to stderr; the signal's reason when
 * aborted.
 */
export function run(program: string, args: readonly string[], options: RunOptions = {}): Promise<CommandOutput> {
  const { input, signal, timeoutMs = defaultTimeoutMs, clock = ioClock, env } = options;
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    let child: ChildProcess;
    try {
      child = spawn(program, args, {
        stdio: [input === undefined ? "ignore" : "pipe", "pipe", "pipe"],
        ...(env ? { env: { ...process.env, ...env } } : {}),
      });
    } catch (cause) {
      return reject(new CommandError(program, args, messageOf(cause), { cause }));
    }
    const stdout: Buffer[] = [];
    const stderr: Buffer[] = [];
    child.stdout!.on("data", (chunk: Buffer) => stdout.push(chunk));
    child.stderr!.on("data", (chunk: Buffer) => stderr.push(chunk));

    let timedOut = false;
    const timer = clock.after(timeoutMs, () => {
      timedOut = true;
      child.kill("SIGKILL");
    });
    const onAbort = () => child.kill("SIGKILL");
    signal?.addEventListener("abort", onAbort, { once: true });
    const settle = () => {
      timer.cancel();
      signal?.removeEventListener("abort", onAbort);
    };

    child.on("error", (cause: NodeJS.ErrnoException) => {
      settle();
      const what = cause.code === "ENOENT" ? "program not found; install it or add it to PATH" : messageOf(cause);
      reject(new CommandError(program, args, what, { cause }));
    });
    let broken: Error | undefined;
    child.on("close", (code, killedBy) => {
      settle();
      if (input instanceof Readable) input.destroy();
      if (broken) return reject(new CommandError(program, args, `its input failed: ${broken.message}`));
      const output = { stdout: Buffer.concat(stdout).toString(), stderr: Buffer.concat(stderr).toString() };
      if (code === 0) return resolve(output);
      if (signal?.aborted) return reject(signal.reason);
      if (timedOut) return reject(new CommandError(program, args, `killed after ${timeoutMs} ms`, output));
      if (code === null) return reject(new CommandError(program, args, `killed by ${killedBy}`, output));
      reject(new CommandError(program, args, `exit code ${code}`, { ...output, exitCode: code }));
    });
    if (input !== undefined) {
      // A program that ends before it has read everything breaks the pipe; its exit code says what was wrong.
      child.stdin!.on("error", () => {});
      if (!(input instanceof Readable)) child.stdin!.end(input);
      else {
        input.on("error", (error) => {
          broken = error;
          child.kill("SIGKILL");
        });
        input.pipe(child.stdin!);
      }
    }
  });
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
