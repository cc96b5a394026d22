import assert from "node:assert/strict";
import { test } from "node:test";
import { hostPortsOf } from "../../../../src/agent/proxy/host-port.ts";
import type { PodSpec, PodStatus } from "../../../../src/api/generated/core-v1.ts";

const ports = [
  { containerPort: 80, hostPort: 8080 },
  { containerPort: 53, hostPort: 53, hostIP: "127.0.0.1", protocol: "UDP" },
  { containerPort: 9000 },
];

function pod(spec: Partial<PodSpec> = {}, status: PodStatus = { podIP: "10.42.0.7", phase: "Running" }) {
  return { metadata: { name: "p" }, spec: { containers: [{ name: "c", ports }], ...spec }, status };
}

test("ports with a host port lead to the pod", () => {
  assert.deepEqual(hostPortsOf([pod()]), [
    { protocol: "tcp", port: 8080, podIp: "10.42.0.7", podPort: 80 },
    { protocol: "udp", port: 53, hostIp: "127.0.0.1", podIp: "10.42.0.7", podPort: 53 },
  ]);
});

test("sidecars count, ordinary init containers do not", () => {
  const initContainers = [
    { name: "once", ports: [{ containerPort: 1, hostPort: 1 }] },
    { name: "sidecar", restartPolicy: "Always", ports: [{ containerPort: 2, hostPort: 2 }] },
  ];
  assert.deepEqual(
    hostPortsOf([pod({ containers: [], initContainers })]).map((hostPort) => hostPort.port),
    [2],
  );
});

test("pods on the host's network, without an address, or ended have none", () => {
  assert.deepEqual(
    hostPortsOf([pod({ hostNetwork: true }), pod({}, {}), pod({}, { podIP: "10.42.0.7", phase: "Failed" })]),
    [],
  );
});
