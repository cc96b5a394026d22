import assert from "node:assert/strict";
import { test } from "node:test";
import { humanDuration } from "../../../src/api/columns.ts";
import { pod, row } from "./support.ts";

const nowMs = Date.parse("2026-01-02T00:00:00Z");
const ago = (seconds: number) => new Date(nowMs - seconds * 1000).toISOString();

test("durations read as Go's HumanDuration", () => {
  const second = 1000;
  const minute = 60 * second;
  const hour = 60 * minute;
  const day = 24 * hour;
  const texts: [number, string][] = [
    [0, "0s"],
    [-second, "0s"],
    [-5 * second, "<invalid>"],
    [119 * second, "119s"],
    [2 * minute, "2m"],
    [9 * minute + 5 * second, "9m5s"],
    [10 * minute + 5 * second, "10m"],
    [179 * minute, "179m"],
    [3 * hour, "3h"],
    [7 * hour + 59 * minute, "7h59m"],
    [8 * hour + 5 * minute, "8h"],
    [47 * hour, "47h"],
    [2 * day, "2d"],
    [3 * day + 4 * hour, "3d4h"],
    [8 * day + 4 * hour, "8d"],
    [729 * day, "729d"],
    [730 * day, "2y"],
    [800 * day, "2y70d"],
    [8 * 365 * day, "8y"],
  ];
  for (const [milliseconds, wanted] of texts) assert.equal(humanDuration(milliseconds), wanted);
});

const running = (extra: object = {}) => ({ name: "c", ready: true, restartCount: 0, state: { running: {} }, ...extra });
function state(status: object, spec: object = {}, metadata: object = {}) {
  const object = pod({ containers: [{ name: "c" }], ...spec }, { creationTimestamp: ago(300), ...metadata });
  const { Ready, Status, Restarts } = row("v1/pods", { ...object, status }, nowMs);
  return `${Ready} ${Status} ${Restarts}`;
}

test("a pod's state is the one word that kubectl shows", () => {
  const ready = [{ type: "Ready", status: "True" }];
  assert.equal(state({ phase: "Pending" }), "0/1 Pending 0");
  assert.equal(state({ phase: "Running", conditions: ready, containerStatuses: [running()] }), "1/1 Running 0");
  assert.equal(
    state({
      phase: "Running",
      containerStatuses: [
        running({
          ready: false,
          restartCount: 3,
          state: { waiting: { reason: "CrashLoopBackOff" } },
          lastState: { terminated: { exitCode: 1, finishedAt: ago(62) } },
        }),
      ],
    }),
    "0/1 CrashLoopBackOff 3 (62s ago)",
  );
  assert.equal(
    state({
      phase: "Succeeded",
      containerStatuses: [running({ ready: false, state: { terminated: { exitCode: 0, reason: "Completed" } } })],
    }),
    "0/1 Completed 0",
  );
  assert.equal(
    state({ phase: "Failed", containerStatuses: [running({ ready: false, state: { terminated: { exitCode: 3 } } })] }),
    "0/1 ExitCode:3 0",
  );
  assert.equal(state({ phase: "Failed", reason: "Evicted" }), "0/1 Evicted 0");
  assert.equal(
    state({ phase: "Running", containerStatuses: [running()] }, {}, { deletionTimestamp: ago(1) }),
    "1/1 Terminating 0",
  );
  assert.equal(state({ phase: "Running", reason: "NodeLost" }, {}, { deletionTimestamp: ago(1) }), "0/1 Unknown 0");
  assert.equal(
    state({ phase: "Pending", conditions: [{ type: "PodScheduled", status: "False", reason: "SchedulingGated" }] }),
    "0/1 SchedulingGated 0",
  );
});

test("while init containers run, they are the news", () => {
  const spec = { initContainers: [{ name: "a" }, { name: "b" }] };
  const done = { name: "a", restartCount: 0, state: { terminated: { exitCode: 0 } } };
  const waiting = { name: "b", restartCount: 2, state: { waiting: { reason: "CrashLoopBackOff" } } };
  assert.equal(
    state({ phase: "Pending", initContainerStatuses: [done, { name: "b", restartCount: 0, state: {} }] }, spec),
    "0/1 Init:1/2 0",
  );
  assert.equal(
    state({ phase: "Pending", initContainerStatuses: [done, waiting] }, spec),
    "0/1 Init:CrashLoopBackOff 2",
  );
  const failed = { name: "b", restartCount: 1, state: { terminated: { exitCode: 2, reason: "Error" } } };
  assert.equal(state({ phase: "Pending", initContainerStatuses: [done, failed] }, spec), "0/1 Init:Error 1");
});

test("sidecars count among the containers", () => {
  const spec = { initContainers: [{ name: "s", restartPolicy: "Always" }] };
  const sidecar = { name: "s", ready: true, started: true, restartCount: 4, state: { running: {} } };
  assert.equal(
    state({ phase: "Running", initContainerStatuses: [sidecar], containerStatuses: [running()] }, spec),
    "2/2 Running 4",
  );
});

test("nodes, services and deployments show what kubectl shows", () => {
  const node = {
    metadata: {
      name: "n",
      creationTimestamp: ago(60),
      labels: { "node-role.kubernetes.io/control-plane": "true", "node-role.kubernetes.io/etcd": "" },
    },
    spec: { unschedulable: true },
    status: {
      conditions: [{ type: "Ready", status: "True" }],
      addresses: [{ type: "InternalIP", address: "1.2.3.4" }],
      nodeInfo: { kubeletVersion: "v1", kernelVersion: "6.1", architecture: "amd64" },
    },
  };
  const cells = row("v1/nodes", node, nowMs);
  assert.deepEqual(
    [
      cells["Status"],
      cells["Roles"],
      cells["Age"],
      cells["Version"],
      cells["Internal-IP"],
      cells["External-IP"],
      cells["Kernel-Version"],
    ],
    ["Ready,SchedulingDisabled", "control-plane,etcd", "60s", "v1", "1.2.3.4", "<none>", "6.1 (amd64)"],
  );
  const service = {
    metadata: { name: "s" },
    spec: { type: "LoadBalancer", clusterIPs: ["10.43.0.2"], ports: [{ port: 80, nodePort: 30080, protocol: "TCP" }] },
    status: { loadBalancer: {} },
  };
  const serviceCells = row("v1/services", service, nowMs);
  assert.deepEqual(
    [serviceCells["Cluster-IP"], serviceCells["External-IP"], serviceCells["Port(s)"], serviceCells["Selector"]],
    ["10.43.0.2", "<pending>", "80:30080/TCP", "<none>"],
  );
  const deployment = {
    metadata: { name: "d" },
    spec: {
      replicas: 3,
      selector: { matchLabels: { a: "b" } },
      template: {
        spec: {
          containers: [
            { name: "c", image: "i" },
            { name: "d", image: "j" },
          ],
        },
      },
    },
    status: { readyReplicas: 2 },
  };
  const deploymentCells = row("apps/v1/deployments", deployment, nowMs);
  assert.deepEqual(
    [deploymentCells["Ready"], deploymentCells["Up-to-date"], deploymentCells["Images"], deploymentCells["Selector"]],
    ["2/3", 0, "i,j", "a=b"],
  );
});

test("long lists of endpoints are cut after three", () => {
  const addresses = ["1", "2", "3", "4", "5"].map((last) => ({ ip: `10.0.0.${last}` }));
  const cells = row(
    "v1/endpoints",
    { metadata: { name: "e" }, subsets: [{ addresses, ports: [{ port: 80 }] }] },
    nowMs,
  );
  assert.equal(cells["Endpoints"], "10.0.0.1:80,10.0.0.2:80,10.0.0.3:80 + 2 more...");
});
