import type { ListrTask } from "listr2";

/** A step of a longer undertaking. `say` shows what it is at. */
export interface Step {
  readonly title: string;
  run(say: (detail: string) => void): Promise<void>;
  /** Steps of one group run at the same time. */
  readonly steps?: readonly Step[];
}

/**
 * Runs steps one after the other (or, where `parallel`, side by side), with a task list on a terminal and plain lines
 * elsewhere.
 * @param options.signal no step begins after it; steps that take long end by it themselves. Without one, Ctrl-C lets the
 * present step end and then ends the process
 */
export async function runSteps(
  steps: readonly Step[],
  options: { parallel?: boolean; quiet?: boolean; signal?: AbortSignal | undefined } = {},
): Promise<void> {
  const { Listr, PRESET_TIMER } = await import("listr2");
  const tasks: ListrTask[] = steps.map((step) => ({
    title: step.title,
    task: async (_, task) => {
      options.signal?.throwIfAborted();
      await step.run((detail) => {
        task.output = detail;
      });
    },
  }));
  await new Listr(tasks, {
    concurrent: options.parallel ?? false,
    exitOnError: true,
    registerSignalListeners: options.signal === undefined,
    renderer: options.quiet ? "silent" : process.stderr.isTTY ? "default" : "simple",
    rendererOptions: { timer: PRESET_TIMER } as never,
    fallbackRenderer: "simple",
    fallbackRendererOptions: { timer: PRESET_TIMER } as never,
    silentRendererCondition: options.quiet ?? false,
  } as never).run();
}
