import assert from "node:assert/strict";
import { test } from "node:test";
import { whyUnfit } from "../../../../src/agent/kubelet/node-fit.ts";
import { container, pod } from "./pod-fixture.ts";

const withPort = (port: { hostPort: number; hostIP?: string; protocol?: string }) =>
  pod({ containers: [container("main", { ports: [{ containerPort: 80, ...port }] })] });
const asking = (cpu: string) => pod({ containers: [container("main", { resources: { requests: { cpu } } })] });

test("a pod whose node port another pod has is refused, unless their addresses or protocols differ", () => {
  const taken = [withPort({ hostPort: 8080, hostIP: "10.0.0.1" })];
  assert.equal(whyUnfit(withPort({ hostPort: 8080 }), taken, {})?.reason, "NodePorts");
  assert.match(whyUnfit(withPort({ hostPort: 8080 }), taken, {})!.message, /^Predicate NodePorts failed: /);
  assert.equal(whyUnfit(withPort({ hostPort: 8081 }), taken, {}), undefined);
  assert.equal(whyUnfit(withPort({ hostPort: 8080, hostIP: "10.0.0.2" }), taken, {}), undefined);
  assert.equal(whyUnfit(withPort({ hostPort: 8080, protocol: "UDP" }), taken, {}), undefined);
});

test("a pod that asks for more than is left is refused, with the figures", () => {
  assert.deepEqual(whyUnfit(asking("600m"), [asking("500m")], { cpu: "1" }), {
    reason: "OutOfcpu",
    message: "Node didn't have enough resource: cpu, requested: 600, used: 500, capacity: 1000",
  });
  assert.equal(whyUnfit(asking("500m"), [asking("500m")], { cpu: "1" }), undefined);
  assert.equal(whyUnfit(pod(), [pod()], { pods: "1" })?.reason, "OutOfpods");
});
