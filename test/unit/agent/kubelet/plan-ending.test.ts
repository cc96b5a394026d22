import assert from "node:assert/strict";
import { test } from "node:test";
import { deadlineMsOf, endingOf, graceLeftSeconds, graceSecondsOf } from "../../../../src/agent/kubelet/plan-ending.ts";
import { container, pod, seen } from "./pod-fixture.ts";

test("the others end together, sidecars after them in the reverse order of their start", () => {
  const a = container("a", { restartPolicy: "Always" });
  const b = container("b", { restartPolicy: "Always" });
  const of = pod({ initContainers: [a, container("init"), b], containers: [container("x"), container("y")] });
  const containers = [seen(a), seen("x"), seen(b), seen("init", { state: "exited" }), seen("y")];
  const { together, inTurn } = endingOf(of, { sandboxes: [], containers });
  const names = (list: typeof together) => list.map(({ observed }) => observed.name);
  assert.deepEqual(
    [names(together), names(inTurn)],
    [
      ["x", "y"],
      ["b", "a"],
    ],
  );
});

test("what the spec does not name any more, or the runtime has lost sight of, ends too", () => {
  const containers = [seen("old"), seen("main", { state: "unknown" })];
  const { together } = endingOf(pod(), { sandboxes: [], containers });
  assert.deepEqual(
    together.map(({ observed, container: spec }) => [observed.name, spec?.name]),
    [
      ["old", undefined],
      ["main", "main"],
    ],
  );
});

const graces: [name: string, spec: number | undefined, asked: number | undefined, want: number][] = [
  ["30 s unless the pod says other", undefined, undefined, 30],
  ["the pod's own", 7, undefined, 7],
  ["the deletion's before the pod's", 7, 3, 3],
  ["a second at least, so that the stop signal is sent", 0, undefined, 1],
  ["a second at least, also when a deletion asks for none", 30, 0, 1],
];
for (const [name, terminationGracePeriodSeconds, deletionGracePeriodSeconds, want] of graces)
  test(`grace: ${name}`, () => {
    const of = pod(terminationGracePeriodSeconds === undefined ? {} : { terminationGracePeriodSeconds });
    if (deletionGracePeriodSeconds !== undefined) Object.assign(of.metadata, { deletionGracePeriodSeconds });
    assert.equal(graceSecondsOf(of), want);
  });

test("what took a part of the grace leaves the rest, rounded up, and two seconds at least", () => {
  assert.deepEqual([graceLeftSeconds(30, 0), graceLeftSeconds(30, 12_300), graceLeftSeconds(30, 60_000)], [30, 18, 2]);
});

test("a deadline counts from the pod's start, and there is none before it", () => {
  const startTime = "2026-01-01T00:00:00Z";
  const of = pod({ activeDeadlineSeconds: 90 });
  assert.equal(deadlineMsOf(of), Number.POSITIVE_INFINITY);
  assert.equal(deadlineMsOf({ ...of, status: { startTime } }), Date.parse("2026-01-01T00:01:30Z"));
  assert.equal(deadlineMsOf(pod({}, { status: { startTime } })), Number.POSITIVE_INFINITY);
});
