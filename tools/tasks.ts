import { Listr, type ListrTask, PRESET_TIMER } from "listr2";

/**
 * Runs the tasks in order and shows their progress and times: as a live list on a terminal, as plain lines elsewhere. On an
 * error its message is shown, the rest is left out and the exit code becomes 1. Says whether all went well.
 */
export async function runTasks(tasks: ListrTask[]): Promise<boolean> {
  const list = new Listr(tasks, {
    renderer: "default",
    fallbackRenderer: "simple",
    rendererOptions: { timer: PRESET_TIMER, collapseSubtasks: false, showErrorMessage: false },
    fallbackRendererOptions: { timer: PRESET_TIMER },
  });
  try {
    await list.run();
    return true;
  } catch (error) {
    console.error(error instanceof Error ? `\n${error.message}` : error);
    process.exitCode = 1;
    return false;
  }
}
