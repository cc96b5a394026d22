/** Not SIGHUP: who runs under nohup has it ignored, and a listener would undo that. */
const signals = ["SIGINT", "SIGTERM"] as const;
/** What shells expect of a program that Ctrl-C ended. */
const interruptedExitCode = 130;

/**
 * Does work that a person may interrupt: Ctrl-C, or a signal that ends programs, aborts the work's signal, upon which it
 * takes back what it made. The second one ends the process at once.
 * @returns what the work gives, and rejects as it does
 */
export async function interruptible<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const interruption = new AbortController();
  const interrupt = () => {
    if (interruption.signal.aborted) process.exit(interruptedExitCode);
    interruption.abort(new Error("interrupted"));
    process.stderr.write("Interrupted: ending in order. Once more ends at once, and leaves what was made.\n");
  };
  // Ctrl-C ends whoever reads the output, too; that nobody hears of it keeps nothing from being taken back.
  for (const output of [process.stdout, process.stderr]) output.on("error", () => {});
  for (const name of signals) process.on(name, interrupt);
  try {
    return await work(interruption.signal);
  } finally {
    for (const name of signals) process.off(name, interrupt);
  }
}
