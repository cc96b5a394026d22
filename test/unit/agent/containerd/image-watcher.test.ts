import assert from "node:assert/strict";
import { appendFileSync, renameSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { type TestContext, test } from "node:test";
import { watchImages } from "../../../../src/agent/containerd/image-watcher.ts";
import type { Timer } from "../../../../src/machinery/clock.ts";
import { silentLogger } from "../../../../src/machinery/log.ts";
import { eventually } from "../../../support/eventually.ts";
import { FakeClock } from "../../../support/fake-clock.ts";
import { temporaryDirectory } from "../../../support/temporary-directory.ts";

/** Counts the timers that were ever set. */
class CountingClock extends FakeClock {
  armed = 0;
  override after(delayMs: number, callback: () => void): Timer {
    this.armed++;
    return super.after(delayMs, callback);
  }
}

function rig(t: TestContext, take?: (names: string[]) => Promise<void>) {
  const directory = temporaryDirectory(t);
  const clock = new CountingClock();
  const stop = new AbortController();
  t.after(() => stop.abort());
  const taken: string[][] = [];
  const context = { clock, logger: silentLogger, signal: stop.signal };
  watchImages(
    directory,
    async (files) => {
      taken.push(files.map((file) => basename(file)));
      await take?.(taken.at(-1)!);
    },
    context,
  );
  /** Waits until the kernel has told of this many files that are not settled. */
  const noticed = (count: number) => eventually(() => assert.equal(clock.pending, count));
  return { directory, clock, taken, stop, noticed };
}

test("a file is taken a second after the last write to it", async (t) => {
  const { directory, clock, taken, noticed } = rig(t);
  writeFileSync(join(directory, "a.tar"), "one");
  await noticed(1);
  await clock.advance(900);
  const armed = clock.armed;
  appendFileSync(join(directory, "a.tar"), "two");
  await eventually(() => assert.ok(clock.armed > armed));
  await clock.advance(900);
  assert.deepEqual(taken, []);
  await clock.advance(100);
  assert.deepEqual(taken, [["a.tar"]]);
});

test("files come in the order of their names; hidden ones when they get their name", async (t) => {
  const { directory, clock, taken, noticed } = rig(t);
  writeFileSync(join(directory, "b.tar"), "");
  writeFileSync(join(directory, ".c.tar.part"), "");
  await noticed(1);
  renameSync(join(directory, ".c.tar.part"), join(directory, "c.tar"));
  await noticed(2);
  await clock.advance(1000);
  assert.deepEqual(taken.flat(), ["b.tar", "c.tar"]);
});

test("what arrives during an import waits for its end; one that fails keeps nothing out", async (t) => {
  let release = () => {};
  const { directory, clock, taken, noticed } = rig(t, async ([name]) => {
    if (name !== "a.tar") return;
    await new Promise<void>((resolve) => (release = resolve));
    throw new Error("broken");
  });
  writeFileSync(join(directory, "a.tar"), "");
  await noticed(1);
  await clock.advance(1000);
  writeFileSync(join(directory, "b.tar"), "");
  await noticed(1);
  await clock.advance(1000);
  assert.deepEqual(taken, [["a.tar"]]);
  release();
  await eventually(() => assert.deepEqual(taken, [["a.tar"], ["b.tar"]]));
});

test("nothing is left to do when it ends", async (t) => {
  const { directory, clock, taken, stop, noticed } = rig(t);
  writeFileSync(join(directory, "a.tar"), "");
  await noticed(1);
  stop.abort();
  assert.equal(clock.pending, 0);
  await clock.advance(5000);
  assert.deepEqual(taken, []);
});
