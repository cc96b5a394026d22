import assert from "node:assert/strict";
import { test } from "node:test";
import type { ObservedPod } from "../../../../src/agent/kubelet/observed-pod.ts";
import { type PlanContext, plan, supersededContainers } from "../../../../src/agent/kubelet/plan.ts";
import type { Pod } from "../../../../src/api/generated/core-v1.ts";
import { container, pod, sandbox, seen } from "./pod-fixture.ts";

const calm: PlanContext = { nowMs: 10_000, started: () => true, unhealthy: () => undefined, restartAtMs: () => 0 };

/** The plan as short texts: "start main 0", "kill main", "sandbox 1". */
function steps(of: Pod, observed: ObservedPod, context: Partial<PlanContext> = {}) {
  const result = plan(of, observed, { ...calm, ...context });
  const actions = result.actions.map((action) => {
    if (action.type === "createSandbox") return `sandbox ${action.attempt}`;
    if (action.type === "stopSandbox") return `stop ${action.id}`;
    if (action.type === "removeContainer") return `remove ${action.name}`;
    if (action.type === "startContainer") return `start ${action.container.name} ${action.attempt}`;
    return `kill ${action.observed.name}`;
  });
  return result.ended ? `ended ${result.ended}` : actions.join(", ");
}

const init = container("init");
const sidecar = container("side", { restartPolicy: "Always" });

const rows: [name: string, pod: Pod, observed: ObservedPod, want: string, context?: Partial<PlanContext>][] = [
  ["a new pod gets a sandbox", pod(), { sandboxes: [], containers: [] }, "sandbox 0"],
  [
    "a pod with a sandbox gets its containers",
    pod({ containers: [container("a"), container("b")] }),
    { sandboxes: [sandbox()], containers: [] },
    "start a 0, start b 0",
  ],
  ["a pod that runs is left alone", pod(), { sandboxes: [sandbox()], containers: [seen("main")] }, ""],
  [
    "a sandbox without an address is replaced",
    pod(),
    { sandboxes: [sandbox({ ips: [] })], containers: [] },
    "stop s0, sandbox 1",
  ],
  [
    "on the node's network a sandbox needs no address",
    pod({ hostNetwork: true }),
    { sandboxes: [sandbox({ ips: [] })], containers: [] },
    "start main 0",
  ],
  [
    "a dead sandbox is replaced",
    pod(),
    {
      sandboxes: [sandbox({ ready: false, attempt: 2 })],
      containers: [seen("main", { state: "exited", exitCode: 137 })],
    },
    "sandbox 3",
  ],
  [
    "in a new sandbox a container that died with the old one is restarted",
    pod(),
    {
      sandboxes: [sandbox({ id: "s1", attempt: 1 }), sandbox({ ready: false })],
      containers: [seen("main", { state: "exited", exitCode: 137 })],
    },
    "start main 1",
  ],
  [
    "init containers run one after another before the others",
    pod({ initContainers: [init, container("init2")] }),
    { sandboxes: [sandbox()], containers: [seen(init, { state: "exited" })] },
    "start init2 0",
  ],
  [
    "a running init container holds the others back",
    pod({ initContainers: [init] }),
    { sandboxes: [sandbox()], containers: [seen(init)] },
    "",
  ],
  [
    "after the last init container the others start",
    pod({ initContainers: [init] }),
    { sandboxes: [sandbox()], containers: [seen(init, { state: "exited" })] },
    "start main 0",
  ],
  [
    "an init container that failed is tried again",
    pod({ initContainers: [init] }),
    { sandboxes: [sandbox()], containers: [seen(init, { state: "exited", exitCode: 1 })] },
    "start init 1",
  ],
  [
    "with policy Never a failed init container fails the pod",
    pod({ restartPolicy: "Never", initContainers: [init] }),
    { sandboxes: [sandbox()], containers: [seen(init, { state: "exited", exitCode: 1 })] },
    "ended Failed",
  ],
  [
    "init containers do not run again when a container restarts",
    pod({ initContainers: [init] }),
    { sandboxes: [sandbox()], containers: [seen("main", { state: "exited", exitCode: 1 })] },
    "start main 1",
  ],
  [
    "a sidecar that has not started holds the others back",
    pod({ initContainers: [sidecar] }),
    { sandboxes: [sandbox()], containers: [seen(sidecar)] },
    "",
    { started: () => false },
  ],
  [
    "a sidecar that has started lets the others start",
    pod({ initContainers: [sidecar] }),
    { sandboxes: [sandbox()], containers: [seen(sidecar)] },
    "start main 0",
  ],
  [
    "a sidecar is restarted whatever the pod's policy and its exit code",
    pod({ restartPolicy: "Never", initContainers: [sidecar] }),
    { sandboxes: [sandbox()], containers: [seen("main"), seen(sidecar, { state: "exited" })] },
    "start side 1",
  ],
  [
    "Always restarts what succeeded",
    pod(),
    { sandboxes: [sandbox()], containers: [seen("main", { state: "exited" })] },
    "start main 1",
  ],
  [
    "OnFailure restarts what failed",
    pod({ restartPolicy: "OnFailure" }),
    { sandboxes: [sandbox()], containers: [seen("main", { state: "exited", exitCode: 2 })] },
    "start main 1",
  ],
  [
    "OnFailure is done with what succeeded",
    pod({ restartPolicy: "OnFailure" }),
    { sandboxes: [sandbox()], containers: [seen("main", { state: "exited" })] },
    "ended Succeeded",
  ],
  [
    "Never leaves one that ended while another runs",
    pod({ restartPolicy: "Never", containers: [container("a"), container("b")] }),
    { sandboxes: [sandbox()], containers: [seen("a", { state: "exited", exitCode: 1 }), seen("b")] },
    "",
  ],
  [
    "Never fails the pod when all ended and one failed",
    pod({ restartPolicy: "Never", containers: [container("a"), container("b")] }),
    {
      sandboxes: [sandbox()],
      containers: [seen("a", { state: "exited", exitCode: 1 }), seen("b", { state: "exited" })],
    },
    "ended Failed",
  ],
  [
    "Never does not start again what was cut off by the loss of its sandbox",
    pod({ restartPolicy: "Never" }),
    { sandboxes: [sandbox({ ready: false })], containers: [seen("main", { state: "exited", exitCode: 137 })] },
    "ended Failed",
  ],
  [
    "a rule on exit codes overrides the policy",
    pod({
      restartPolicy: "Never",
      containers: [
        container("main", {
          restartPolicy: "Never",
          restartPolicyRules: [{ action: "Restart", exitCodes: { operator: "In", values: [42] } }],
        }),
      ],
    }),
    { sandboxes: [sandbox()], containers: [seen("main", { state: "exited", exitCode: 42 })] },
    "start main 1",
  ],
  [
    "an unhealthy container is killed",
    pod(),
    { sandboxes: [sandbox()], containers: [seen("main")] },
    "kill main",
    { unhealthy: () => ({ message: "sick" }) },
  ],
  [
    "a changed image replaces the container",
    pod(),
    { sandboxes: [sandbox()], containers: [seen("main", { hash: "other" })] },
    "kill main, start main 1",
  ],
  [
    "a changed image replaces the container whatever the policy (kuberuntime_manager, computePodActions)",
    pod({ restartPolicy: "Never" }),
    { sandboxes: [sandbox()], containers: [seen("main", { hash: "other" })] },
    "kill main, start main 1",
  ],
  [
    "a changed image does not start again what has ended for good",
    pod({ restartPolicy: "Never", containers: [container("a"), container("b")] }),
    { sandboxes: [sandbox()], containers: [seen("a", { state: "exited", hash: "other" }), seen("b")] },
    "",
  ],
  [
    "with another image a container that crashed does not wait",
    pod(),
    { sandboxes: [sandbox()], containers: [seen("main", { state: "exited", exitCode: 1, hash: "other" })] },
    "start main 1",
    { restartAtMs: () => 20_000 },
  ],
  [
    "a changed image replaces a sidecar",
    pod({ restartPolicy: "Never", initContainers: [sidecar] }),
    { sandboxes: [sandbox()], containers: [seen("main"), seen(sidecar, { hash: "other" })] },
    "kill side, start side 1",
  ],
  [
    "a changed image lets an init container that runs finish (computeInitContainerActions)",
    pod({ initContainers: [init] }),
    { sandboxes: [sandbox()], containers: [seen(init, { hash: "other" })] },
    "",
  ],
  [
    "one that was made and never started is made anew",
    pod(),
    { sandboxes: [sandbox()], containers: [seen("main", { state: "created", attempt: 4 })] },
    "remove main, start main 4",
  ],
  [
    "an ephemeral container starts beside the others, once",
    pod({ ephemeralContainers: [{ name: "debug", image: "busybox:1" }] }),
    { sandboxes: [sandbox()], containers: [seen("main")] },
    "start debug 0",
  ],
  [
    "an ephemeral container is never restarted",
    pod({ ephemeralContainers: [{ name: "debug", image: "busybox:1" }] }),
    { sandboxes: [sandbox()], containers: [seen("main"), seen("debug", { state: "exited" })] },
    "",
  ],
];
for (const [name, of, observed, want, context] of rows)
  test(name, () => assert.equal(steps(of, observed, context), want));

test("a restart waits for its back-off, and the plan says until when", () => {
  const observed = { sandboxes: [sandbox()], containers: [seen("main", { state: "exited", exitCode: 1 })] };
  const result = plan(pod(), observed, { ...calm, restartAtMs: (_, finishedAtMs) => finishedAtMs + 10_000 });
  assert.deepEqual(result.actions, []);
  assert.equal(result.nextAtMs, 13_000);
  assert.deepEqual([...result.backingOff], [["main", 13_000]]);
});

test("of ended containers the newest two of each name are kept", () => {
  const containers = [3, 2, 1, 0].map((attempt) =>
    seen("main", { attempt, state: attempt === 3 ? "running" : "exited" }),
  );
  assert.deepEqual(
    supersededContainers({ sandboxes: [], containers }).map(({ attempt }) => attempt),
    [1, 0],
  );
});

test("one that was killed waits until its sandbox had time to show its own end; one that ran out of memory does not", () => {
  const planned = (reason: string, nowMs: number) => {
    const killed = seen("main", { state: "exited", exitCode: 137, reason, finishedAtMs: 3000 });
    const { actions, nextAtMs, backingOff } = plan(
      pod(),
      { sandboxes: [sandbox()], containers: [killed] },
      { ...calm, nowMs },
    );
    return [actions.length, nextAtMs, backingOff.size];
  };
  assert.deepEqual(planned("Error", 3500), [0, 4000, 0]);
  assert.deepEqual(planned("Error", 4000), [1, Number.POSITIVE_INFINITY, 0]);
  assert.deepEqual(planned("OOMKilled", 3500), [1, Number.POSITIVE_INFINITY, 0]);
});
