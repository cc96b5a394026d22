import { FakeClock } from "../../../support/fake-clock.ts";

/**
 * Waits until this process neither reads nor writes any file: nothing goes on then but what a timer or a test begins.
 * Promises alone settle between two turns of the event loop; work with files takes as long as the machine wants.
 */
export async function filesSettled(): Promise<void> {
  for (let quietTurns = 0; quietTurns < 2; ) {
    await new Promise((resolve) => setImmediate(resolve));
    const busy = process.getActiveResourcesInfo().some((name) => name.startsWith("FSReq") || name === "CloseReq");
    quietTurns = busy ? 0 : quietTurns + 1;
  }
}

/** A fake clock for what works with files between its timers: time stands still while it does. */
export class FileClock extends FakeClock {
  protected override settle(): Promise<void> {
    return filesSettled();
  }
}
