import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import type { ContainerFiles } from "../../../../src/agent/kubelet/container-files.ts";
import { TerminationMessages } from "../../../../src/agent/kubelet/termination-messages.ts";
import { temporaryDirectory } from "../../../support/temporary-directory.ts";
import { container, pod, seen } from "./pod-fixture.ts";

/** The message of a container that failed, left nothing in its file, and has this log. */
async function messageOf(t: TestContext, log: string): Promise<string | undefined> {
  const directory = temporaryDirectory(t);
  writeFileSync(join(directory, "log"), log);
  const files = { messagePath: () => join(directory, "none"), logPath: () => join(directory, "log") };
  const messages = new TerminationMessages(files as unknown as ContainerFiles);
  const main = container("main", { terminationMessagePolicy: "FallbackToLogsOnError" });
  const ended = seen(main, { state: "exited", exitCode: 1 });
  await messages.read(pod({ containers: [main] }), { sandboxes: [], containers: [ended] });
  return messages.of(ended.id);
}

const line = (text: string, tag = "F") => `2026-01-01T00:00:00.0Z stdout ${tag} ${text}\n`;

test("the log's end stands for a message that was not left, with just the newlines that were written", async (t) => {
  assert.equal(await messageOf(t, line("DONE", "P")), "DONE");
  assert.equal(await messageOf(t, line("DONE")), "DONE\n");
  assert.equal(await messageOf(t, line("a", "P") + line("b") + line("c")), "ab\nc\n");
});

test("of a long log the last 80 lines count, and the last 2,048 bytes", async (t) => {
  const many = await messageOf(t, Array.from({ length: 100 }, (_, index) => line(`${index}`)).join(""));
  assert.equal(many, Array.from({ length: 80 }, (_, index) => `${index + 20}\n`).join(""));
  assert.equal((await messageOf(t, line("x".repeat(5000))))?.length, 2048);
});
