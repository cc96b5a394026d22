import { spawn } from "node:child_process";

/** A program on a terminal of its own, typed into and read like a person does. */
export interface Terminal {
  /** Types text; "\u0003" is Ctrl-C, "\u0004" Ctrl-D. */
  type(text: string): void;
  /** Resolves when what was shown since the last match fits; rejects when the program ended before. */
  waitFor(pattern: RegExp): Promise<RegExpExecArray>;
  /** Resolves with the exit code. */
  ended: Promise<number>;
  stop(): Promise<void>;
}

/** Starts a program on a pseudo-terminal, which `script` of util-linux makes. */
export function startTerminal(command: string, environment: Record<string, string>): Terminal {
  const child = spawn("script", ["-qec", command, "/dev/null"], {
    env: { ...process.env, TERM: "xterm", ...environment },
    stdio: ["pipe", "pipe", "inherit"],
  });
  let unread = "";
  let over = false;
  const waiting = new Set<() => void>();
  const wake = () => {
    for (const check of waiting) check();
  };
  child.stdout.on("data", (chunk: Buffer) => {
    unread += chunk.toString();
    wake();
  });
  const ended = new Promise<number>((resolve) => {
    const end = (code: number) => {
      over = true;
      wake();
      resolve(code);
    };
    child.on("error", () => end(127));
    child.on("close", (code) => end(code ?? 128));
  });
  // What is typed after the end is lost, as on a real one.
  child.stdin.on("error", () => {});
  return {
    ended,
    type: (text) => child.stdin.write(text),
    waitFor: (pattern) =>
      new Promise((resolve, reject) => {
        const check = () => {
          const match = pattern.exec(unread);
          if (match) {
            unread = unread.slice(match.index + match[0].length);
            resolve(match);
          } else if (over) reject(new Error(`"${command}" ended before it showed ${pattern}: ${unread}`));
          else return;
          waiting.delete(check);
        };
        waiting.add(check);
        check();
      }),
    stop: async () => {
      child.kill("SIGKILL");
      await ended;
    },
  };
}
