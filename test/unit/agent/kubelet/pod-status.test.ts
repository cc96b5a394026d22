import assert from "node:assert/strict";
import { test } from "node:test";
import { podStatus, type StatusContext } from "../../../../src/agent/kubelet/pod-status.ts";
import { container, pod, sandbox, seen } from "./pod-fixture.ts";

const context: StatusContext = {
  nowMs: Date.parse("2026-01-01T00:01:00Z"),
  hostIps: ["192.0.2.1"],
  waiting: new Map(),
  ready: () => true,
  started: () => true,
  terminationMessage: () => undefined,
  terminating: false,
};
const conditions = (status: ReturnType<typeof podStatus>) =>
  Object.fromEntries((status.conditions ?? []).map(({ type, status }) => [type, status]));

test("a pod that runs and is ready says so, with its addresses", () => {
  const status = podStatus(pod(), { sandboxes: [sandbox()], containers: [seen("main")] }, context);
  assert.equal(status.phase, "Running");
  assert.deepEqual(conditions(status), {
    PodReadyToStartContainers: "True",
    Initialized: "True",
    Ready: "True",
    ContainersReady: "True",
    PodScheduled: "True",
  });
  assert.deepEqual(
    [status.podIP, status.hostIP, status.qosClass, status.observedGeneration],
    ["10.42.0.2", "192.0.2.1", "BestEffort", 1],
  );
  const [main] = status.containerStatuses ?? [];
  assert.deepEqual([main?.ready, main?.started, main?.containerID], [true, true, "containerd://main-0"]);
});

test("before its containers run a pod is Pending, and the reason stands at each container", () => {
  const waiting = new Map([["main", { reason: "ErrImagePull", message: "no route" }]]);
  const status = podStatus(pod(), { sandboxes: [sandbox()], containers: [] }, { ...context, waiting });
  assert.equal(status.phase, "Pending");
  assert.deepEqual(status.containerStatuses?.[0]?.state, { waiting: { reason: "ErrImagePull", message: "no route" } });
  assert.equal(
    status.conditions?.find(({ type }) => type === "Ready")?.message,
    "containers with unready status: [main]",
  );
});

test("while init containers run the others wait with PodInitializing", () => {
  const init = container("init");
  const status = podStatus(
    pod({ initContainers: [init] }),
    { sandboxes: [sandbox()], containers: [seen(init)] },
    context,
  );
  assert.equal(status.phase, "Pending");
  assert.deepEqual(status.containerStatuses?.[0]?.state, { waiting: { reason: "PodInitializing" } });
  const initialized = status.conditions?.find(({ type }) => type === "Initialized");
  assert.deepEqual([initialized?.status, initialized?.message], ["False", "containers with incomplete status: [init]"]);
});

test("a crash loop is a waiting state with the end as last state, in phase Running", () => {
  const waiting = new Map([["main", { reason: "CrashLoopBackOff", message: "back-off 10s" }]]);
  const observed = {
    sandboxes: [sandbox()],
    containers: [seen("main", { attempt: 3, state: "exited" as const, exitCode: 1 })],
  };
  const status = podStatus(pod(), observed, { ...context, waiting });
  const [main] = status.containerStatuses ?? [];
  assert.equal(status.phase, "Running");
  assert.equal(main?.state?.waiting?.reason, "CrashLoopBackOff");
  assert.deepEqual(
    [main?.lastState?.terminated?.exitCode, main?.lastState?.terminated?.reason, main?.restartCount],
    [1, "Error", 3],
  );
});

test("with policy Never the exit codes decide between Succeeded and Failed", () => {
  for (const [exitCode, phase] of [
    [0, "Succeeded"],
    [3, "Failed"],
  ] as const) {
    const observed = {
      sandboxes: [sandbox({ ready: false })],
      containers: [seen("main", { state: "exited" as const, exitCode })],
    };
    const status = podStatus(pod({ restartPolicy: "Never" }), observed, {
      ...context,
      terminationMessage: () => "said so",
    });
    assert.equal(status.phase, phase);
    assert.equal(status.containerStatuses?.[0]?.state?.terminated?.message, "said so");
  }
});

test("an end is an end: a terminal phase stays, also when the runtime has forgotten the containers", () => {
  const ended = {
    name: "main",
    image: "i",
    imageID: "",
    ready: false,
    restartCount: 2,
    state: { terminated: { exitCode: 1, reason: "Error" } },
  };
  const before = pod(
    { restartPolicy: "Never" },
    { status: { phase: "Failed", reason: "Evicted", containerStatuses: [ended] } },
  );
  const status = podStatus(before, { sandboxes: [], containers: [] }, { ...context, terminating: true });
  assert.deepEqual([status.phase, status.reason], ["Failed", "Evicted"]);
  assert.equal(status.containerStatuses?.[0]?.state?.terminated?.exitCode, 1);
  assert.equal(status.containerStatuses?.[0]?.restartCount, 2);
});

test("the time of a condition's change is kept while its status stays, and others' conditions are kept", () => {
  const gate = { type: "example.com/gate", status: "False" };
  const before = pod(
    { readinessGates: [{ conditionType: "example.com/gate" }] },
    {
      status: {
        conditions: [{ type: "ContainersReady", status: "True", lastTransitionTime: "2025-01-01T00:00:00Z" }, gate],
      },
    },
  );
  const status = podStatus(before, { sandboxes: [sandbox()], containers: [seen("main")] }, context);
  const of = (wanted: string) => status.conditions?.find(({ type }) => type === wanted);
  assert.equal(of("ContainersReady")?.lastTransitionTime, "2025-01-01T00:00:00Z");
  assert.deepEqual([of("Ready")?.status, of("Ready")?.reason], ["False", "ReadinessGatesNotReady"]);
  assert.deepEqual(of("example.com/gate"), gate);
});

test("a pod that the node ends is Failed with the node's reason", () => {
  const failure = { reason: "DeadlineExceeded", message: "too long" };
  const statusOf = (state: "running" | "exited") =>
    podStatus(pod(), { sandboxes: [sandbox()], containers: [seen("main", { state })] }, { ...context, failure });
  const status = statusOf("exited");
  assert.deepEqual([status.phase, status.reason, status.message], ["Failed", "DeadlineExceeded", "too long"]);
  assert.deepEqual([statusOf("running").phase, statusOf("running").reason], ["Running", undefined], "not before it is");
});

test("a pod has not ended before its sidecars have", () => {
  const sidecar = container("side", { restartPolicy: "Always" });
  const before = pod({ restartPolicy: "Never", initContainers: [sidecar] }, { status: { phase: "Running" } });
  const phaseOf = (state: "running" | "exited") => {
    const containers = [seen("main", { state: "exited", exitCode: 0 }), seen(sidecar, { state, exitCode: 143 })];
    return podStatus(before, { sandboxes: [sandbox()], containers }, { ...context, terminating: state === "exited" })
      .phase;
  };
  assert.equal(phaseOf("running"), "Running");
  assert.equal(phaseOf("exited"), "Succeeded");
});
