import { spawn } from "node:child_process";

export interface RunOptions {
  cwd?: string;
  /** Variables on top of the present environment. */
  env?: Record<string, string>;
  /** Text for the standard input; without it the child has none. */
  input?: string | Buffer;
  /** Called with each complete line of the child's two outputs, while it runs. */
  onLine?(line: string): void;
  signal?: AbortSignal;
}

export interface RunResult {
  code: number;
  stdout: string;
  stderr: string;
}

/** A program that ended with another code than 0, or could not be started. */
export class RunError extends Error {
  readonly code: number;
  readonly stderr: string;

  constructor(program: string, args: readonly string[], code: number, output: string) {
    const tail = output.trim().split("\n").slice(-15).join("\n");
    super(`${program} ${args.join(" ")} ended with code ${code}${tail ? `:\n${tail}` : ""}`);
    this.code = code;
    this.stderr = output;
  }
}

/** Runs a program to its end and gives back its code and outputs. Throws only when it cannot be started (code 127). */
export function tryRun(program: string, args: readonly string[], options: RunOptions = {}): Promise<RunResult> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      cwd: options.cwd,
      env: { ...process.env, ...options.env },
      stdio: [options.input === undefined ? "ignore" : "pipe", "pipe", "pipe"],
      signal: options.signal,
    });
    const outputs = { stdout: [] as Buffer[], stderr: [] as Buffer[] };
    for (const name of ["stdout", "stderr"] as const) {
      let rest = "";
      const stream = child[name];
      if (!stream) continue;
      stream.on("data", (chunk: Buffer) => {
        outputs[name].push(chunk);
        if (!options.onLine) return;
        const lines = (rest + chunk.toString()).split(/\r?\n/);
        rest = lines.pop() ?? "";
        for (const line of lines) options.onLine(line);
      });
      stream.on("end", () => {
        if (rest) options.onLine?.(rest);
      });
    }
    if (child.stdin) {
      // A child that ends without reading its input is judged by its exit code, not by the broken pipe.
      child.stdin.on("error", () => {});
      child.stdin.end(options.input);
    }
    child.on("error", (error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT") resolve({ code: 127, stdout: "", stderr: `${program}: not found` });
      else reject(error);
    });
    child.on("close", (code) => {
      const stdout = Buffer.concat(outputs.stdout).toString();
      const stderr = Buffer.concat(outputs.stderr).toString();
      resolve({ code: code ?? 128, stdout, stderr });
    });
  });
}

/** Runs a program to its end and gives back its standard output, trimmed. Throws `RunError` when it fails. */
export async function run(program: string, args: readonly string[], options: RunOptions = {}): Promise<string> {
  const result = await tryRun(program, args, options);
  if (result.code !== 0) throw new RunError(program, args, result.code, result.stderr || result.stdout);
  return result.stdout.trim();
}
