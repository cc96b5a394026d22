import assert from "node:assert/strict";
import { test } from "node:test";
import { CrashBackoff } from "../../../../src/agent/kubelet/crash-backoff.ts";
import { seen } from "./pod-fixture.ts";

const ended = (id: string, ranMs: number) =>
  seen("main", { id, state: "exited", startedAtMs: 1000, finishedAtMs: 1000 + ranMs });
const crash = ended("c", 5);

test("waits double from 10 s to 5 min", () => {
  const backoff = new CrashBackoff();
  const waits: number[] = [];
  for (let round = 0; round < 7; round++) {
    backoff.raise("main", crash);
    waits.push(backoff.restartAtMs("main", 0, crash) / 1000);
  }
  assert.deepEqual(waits, [10, 20, 40, 80, 160, 300, 300]);
});

test("a container that has not crashed yet, or of another name, restarts at once", () => {
  const backoff = new CrashBackoff();
  assert.equal(backoff.restartAtMs("main", 5000, crash), 0);
  backoff.raise("main", crash);
  assert.equal(backoff.restartAtMs("other", 5000, crash), 0);
});

test("one that ran for more than ten minutes starts from the shortest wait", () => {
  const backoff = new CrashBackoff();
  for (let round = 0; round < 4; round++) backoff.raise("main", crash);
  const long = ended("l", 601_000);
  assert.equal(backoff.restartAtMs("main", 0, long), 0);
  backoff.raise("main", long);
  assert.equal(backoff.restartAtMs("main", 0, crash), 10_000);
});

test("one that never started did not run long, though its start is not known", () => {
  const backoff = new CrashBackoff();
  backoff.raise("main", undefined);
  const failed = seen("main", { state: "exited", startedAtMs: 0, finishedAtMs: 1e12 });
  assert.equal(backoff.restartAtMs("main", 1e12, failed), 1e12 + 10_000);
});

test("waits are worded as Kubernetes words them", () => {
  const backoff = new CrashBackoff();
  const texts: string[] = [];
  for (let round = 0; round < 6; round++) {
    backoff.raise("main", crash);
    texts.push(backoff.waitText("main"));
  }
  assert.deepEqual(texts, ["10s", "20s", "40s", "1m20s", "2m40s", "5m0s"]);
});

test("the wait of each container is news once", () => {
  const backoff = new CrashBackoff();
  backoff.raise("main", crash);
  const news = [crash, crash, ended("d", 5), ended("d", 5)].map((last) => backoff.isNews("main", last));
  assert.deepEqual(news, [true, false, true, false]);
});
