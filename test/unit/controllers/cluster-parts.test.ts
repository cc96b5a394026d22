import assert from "node:assert/strict";
import { test } from "node:test";
import type { Node, Pod, Service } from "../../../src/api/generated/core-v1.ts";
import type { EndpointSlice } from "../../../src/api/generated/discovery-v1.ts";
import { aggregatedRules } from "../../../src/controllers/cluster-role-aggregation.ts";
import { budgetStatus } from "../../../src/controllers/disruption-plan.ts";
import { planSlices } from "../../../src/controllers/endpoint-slice-plan.ts";
import { planEndpoints } from "../../../src/controllers/endpoints-plan.ts";
import { GarbageGraph } from "../../../src/controllers/garbage-graph.ts";
import { freeSubnet } from "../../../src/controllers/node-ipam.ts";
import { planTaints, unknownConditions } from "../../../src/controllers/node-lifecycle-plan.ts";
import { surplusPods } from "../../../src/controllers/pod-gc.ts";
import { evictAtMs } from "../../../src/controllers/taint-eviction-plan.ts";
import { parseCidr } from "../../../src/machinery/cidr.ts";
import type { KubeObject, OwnerReference, ResourceType } from "../../../src/machinery/object.ts";

const nowMs = Date.parse("2026-01-01T00:00:00Z");

const service: Service = {
  metadata: { name: "web", namespace: "a", uid: "s" },
  spec: { selector: { app: "web" }, ports: [{ name: "http", port: 80, targetPort: "http", protocol: "TCP" }] },
};
function pod(
  name: string,
  ip: string,
  more: { ready?: boolean; port?: number; going?: boolean; phase?: string } = {},
): Pod {
  const { ready = true, port = 8080, going = false, phase = "Running" } = more;
  return {
    metadata: { name, namespace: "a", uid: name, ...(going ? { deletionTimestamp: "2026-01-01T00:00:00Z" } : {}) },
    spec: {
      nodeName: "n1",
      containers: [{ name: "c", ports: [{ name: "http", containerPort: port, protocol: "TCP" }] }],
    },
    status: { phase, podIP: ip, podIPs: [{ ip }], conditions: [{ type: "Ready", status: ready ? "True" : "False" }] },
  };
}
const noZone = () => undefined;
const sliceOf = (content: ReturnType<typeof planSlices>["create"][number], name: string): EndpointSlice => ({
  metadata: { name, labels: { ...content.labels } },
  addressType: content.addressType,
  ports: content.ports.map((port) => ({ ...port })),
  endpoints: [...content.endpoints],
});

test("slices: ready, serving and terminating follow the pod; terminated pods are no endpoints", () => {
  const pods = [
    pod("a", "10.0.0.1"),
    pod("b", "10.0.0.2", { ready: false }),
    pod("c", "10.0.0.3", { going: true }),
    pod("d", "10.0.0.4", { phase: "Failed" }),
  ];
  const [slice] = planSlices(service, pods, [], noZone).create;
  assert.deepEqual(
    slice?.endpoints.map(({ addresses, conditions }) => [
      addresses[0],
      conditions?.ready,
      conditions?.serving,
      conditions?.terminating,
    ]),
    [
      ["10.0.0.1", true, true, false],
      ["10.0.0.2", false, false, false],
      ["10.0.0.3", false, true, true],
    ],
  );
  assert.deepEqual(slice?.ports, [{ name: "http", protocol: "TCP", port: 8080 }]);
});

test("slices: pods with other numbers for a named port stand in a slice of their own", () => {
  const { create } = planSlices(service, [pod("a", "10.0.0.1"), pod("b", "10.0.0.2", { port: 9090 })], [], noZone);
  assert.deepEqual(
    create.map(({ ports }) => ports[0]?.port),
    [8080, 9090],
  );
});

test("slices: 250 pods fill three slices, an unchanged state plans nothing, one change touches one slice", () => {
  const pods = Array.from({ length: 250 }, (_, i) => pod(`p${i}`, `10.1.${i >> 7}.${(i & 127) + 1}`));
  const { create } = planSlices(service, pods, [], noZone);
  assert.deepEqual(
    create.map(({ endpoints }) => endpoints.length),
    [100, 100, 50],
  );
  const slices = create.map((content, i) => sliceOf(content, `s${i}`));
  assert.deepEqual(planSlices(service, pods, slices, noZone), { create: [], update: [], remove: [] });
  const plan = planSlices(service, [...pods.slice(1), pod("new", "10.2.0.1")], slices, noZone);
  assert.deepEqual([plan.create.length, plan.update.length, plan.remove.length], [0, 1, 0]);
});

test("slices: a service without pods keeps one empty slice", () => {
  const { create } = planSlices(service, [], [], noZone);
  assert.deepEqual(
    create.map(({ endpoints, ports }) => [endpoints.length, ports.length]),
    [[0, 0]],
  );
  const slices = [sliceOf(create[0]!, "s"), sliceOf(create[0]!, "t")];
  assert.deepEqual(planSlices(service, [], slices, noZone).remove, [slices[1]]);
});

test("endpoints: ready and not ready apart; publishNotReadyAddresses takes all as ready", () => {
  const pods = [pod("b", "10.0.0.2", { ready: false }), pod("a", "10.0.0.1")];
  const ips = (list: readonly { ip: string }[] | undefined) => list?.map(({ ip }) => ip);
  const [subset] = planEndpoints(service, pods).subsets;
  assert.deepEqual([ips(subset?.addresses), ips(subset?.notReadyAddresses)], [["10.0.0.1"], ["10.0.0.2"]]);
  const all = { ...service, spec: { ...service.spec!, publishNotReadyAddresses: true } };
  assert.deepEqual(ips(planEndpoints(all, pods).subsets[0]?.addresses), ["10.0.0.1", "10.0.0.2"]);
});

function node(status: "True" | "False" | "Unknown", more: Partial<Node["spec"]> = {}): Node {
  return { metadata: { name: "n" }, spec: more, status: { conditions: [{ type: "Ready", status }] } };
}

test("nodes: a silent kubelet makes its conditions unknown, and says never when there was none", () => {
  const conditions = unknownConditions(node("True"), nowMs)!;
  assert.deepEqual(
    conditions.map(({ type, status, reason }) => [type, status, reason]),
    [
      ["Ready", "Unknown", "NodeStatusUnknown"],
      ["MemoryPressure", "Unknown", "NodeStatusNeverUpdated"],
      ["DiskPressure", "Unknown", "NodeStatusNeverUpdated"],
      ["PIDPressure", "Unknown", "NodeStatusNeverUpdated"],
    ],
  );
  assert.equal(unknownConditions({ ...node("True"), status: { conditions } }, nowMs), undefined);
});

test("nodes: taints follow the conditions, those of others stay, and nothing is evicted when no node is heard of", () => {
  const keys = (taints: readonly { key: string; effect: string }[] | undefined) =>
    taints?.map(({ key, effect }) => `${key}:${effect}`);
  const mine = { key: "mine", effect: "NoSchedule" };
  const unreachable = planTaints(node("Unknown", { taints: [mine] }), true, nowMs);
  assert.deepEqual(keys(unreachable), [
    "mine:NoSchedule",
    "node.kubernetes.io/unreachable:NoSchedule",
    "node.kubernetes.io/unreachable:NoExecute",
  ]);
  assert.deepEqual(keys(planTaints(node("True", { taints: unreachable! }), true, nowMs)), ["mine:NoSchedule"]);
  assert.deepEqual(keys(planTaints(node("Unknown"), false, nowMs)), ["node.kubernetes.io/unreachable:NoSchedule"]);
  assert.equal(planTaints(node("True"), true, nowMs), undefined);
});

test("evictions: at once without a toleration, after the shortest time with some, never with an endless one", () => {
  const taint = { key: "k", effect: "NoExecute", timeAdded: "2026-01-01T00:00:00Z" };
  const tolerate = (tolerationSeconds?: number) => ({
    key: "k",
    operator: "Exists",
    ...(tolerationSeconds === undefined ? {} : { tolerationSeconds }),
  });
  assert.equal(evictAtMs([taint], [], nowMs + 5000), 0);
  assert.equal(evictAtMs([taint], [tolerate(300), tolerate(60)], nowMs + 5000), nowMs + 60_000);
  assert.equal(evictAtMs([taint], [tolerate()], nowMs), undefined);
  assert.equal(evictAtMs([{ key: "k", effect: "NoSchedule" }], [], nowMs), undefined);
});

test("pod ranges: the first free one, also beside foreign and wider ranges", () => {
  const range = parseCidr("10.42.0.0/16");
  const free = (...used: string[]) => String(freeSubnet(range, 24, used.map(parseCidr)));
  assert.equal(free(), "10.42.0.0/24");
  assert.equal(free("10.42.0.0/24", "10.42.2.0/24", "192.168.0.0/16"), "10.42.1.0/24");
  assert.equal(free("10.42.0.0/22"), "10.42.4.0/24");
  assert.equal(freeSubnet(parseCidr("10.42.0.0/24"), 24, [parseCidr("10.42.0.0/24")]), undefined);
});

test("terminated pods beyond the threshold go, oldest first", () => {
  const ended = (name: string, at: string): Pod => ({
    metadata: { name, creationTimestamp: at },
    status: { phase: "Succeeded" },
  });
  const pods = [ended("new", "2026-01-03T00:00:00Z"), ended("old", "2026-01-01T00:00:00Z"), pod("runs", "10.0.0.1")];
  assert.deepEqual(
    surplusPods(pods, 1).map(({ metadata }) => metadata.name),
    ["old"],
  );
  assert.deepEqual(surplusPods(pods, 2), []);
});

test("budgets: what may be disrupted is what is healthy beyond what is desired", () => {
  const budget = (spec: object) => ({ metadata: { name: "b", generation: 1 }, spec });
  const pods = [pod("a", "10.0.0.1"), pod("b", "10.0.0.2"), pod("c", "10.0.0.3", { ready: false })];
  const allowed = (spec: object, scale: number | undefined) => {
    const { status } = budgetStatus(budget(spec), { pods, scale }, nowMs);
    return [status.disruptionsAllowed, status.desiredHealthy, status.expectedPods];
  };
  assert.deepEqual(allowed({ minAvailable: 1 }, undefined), [1, 1, 3]);
  assert.deepEqual(allowed({ minAvailable: "50%" }, 3), [0, 2, 3]);
  assert.deepEqual(allowed({ maxUnavailable: 2 }, 3), [1, 1, 3]);
  assert.deepEqual(allowed({ maxUnavailable: 1 }, undefined), [0, 0, 0]);
});

test("aggregated roles hold the rules of those they select, each once, never their own", () => {
  const rule = (resource: string) => ({ apiGroups: [""], resources: [resource], verbs: ["get"] });
  const part = (name: string, resource: string) => ({
    metadata: { name, labels: { to: "view" } },
    rules: [rule(resource)],
  });
  const view = {
    metadata: { name: "view", labels: { to: "view" } },
    aggregationRule: { clusterRoleSelectors: [{ matchLabels: { to: "view" } }] },
    rules: [rule("old")],
  };
  const rules = aggregatedRules(view, [view, part("b", "pods"), part("a", "pods"), part("c", "nodes")]);
  assert.deepEqual(rules, [rule("pods"), rule("nodes")]);
});

const things: ResourceType = { group: "", version: "v1", resource: "things", kind: "Thing", namespaced: true };
function thing(
  uid: string,
  owners: (Partial<OwnerReference> & { uid: string })[] = [],
  metadata: Partial<KubeObject["metadata"]> = {},
): KubeObject {
  const ownerReferences = owners.map((owner) => ({ apiVersion: "v1", kind: "Thing", name: owner.uid, ...owner }));
  return { metadata: { name: uid, namespace: "a", uid, ownerReferences, ...metadata } };
}

test("garbage: an unknown owner is to be checked once, dependents when it is gone", () => {
  const graph = new GarbageGraph();
  assert.deepEqual(graph.observe(things, "v1", thing("child", [{ uid: "parent" }])).check, ["parent"]);
  assert.deepEqual(graph.observe(things, "v1", thing("child2", [{ uid: "parent" }])).check, []);
  assert.equal(graph.get("parent")?.virtual, true);
  assert.deepEqual(graph.observe(things, "v1", thing("parent")).check, []);
  assert.equal(graph.get("parent")?.virtual, false);
  assert.deepEqual(graph.remove("parent").check, ["child", "child2"]);
});

test("garbage: an owner in another namespace is no owner", () => {
  const graph = new GarbageGraph();
  graph.observe(things, "v1", thing("child", [{ uid: "parent" }]));
  assert.deepEqual(graph.observe(things, "v1", thing("parent", [], { namespace: "b" })).check, ["child"]);
});

test("garbage: foreground deletion checks dependents and the owner again as they go or stop blocking", () => {
  const graph = new GarbageGraph();
  graph.observe(things, "v1", thing("parent"));
  graph.observe(things, "v1", thing("one", [{ uid: "parent", blockOwnerDeletion: true }]));
  graph.observe(things, "v1", thing("two", [{ uid: "parent", blockOwnerDeletion: true }]));
  const leaving = { deletionTimestamp: "2026-01-01T00:00:00Z", finalizers: ["foregroundDeletion"] };
  assert.deepEqual(graph.observe(things, "v1", thing("parent", [], leaving)).check, ["one", "two", "parent"]);
  assert.deepEqual(graph.remove("one").check, ["parent"]);
  assert.deepEqual(graph.observe(things, "v1", thing("two", [{ uid: "parent" }])).check, ["parent"]);
});

test("garbage: an owner that lets its dependents go is due once", () => {
  const graph = new GarbageGraph();
  const leaving = { deletionTimestamp: "2026-01-01T00:00:00Z", finalizers: ["orphan"] };
  graph.observe(things, "v1", thing("parent"));
  assert.deepEqual(graph.observe(things, "v1", thing("parent", [], leaving)).orphan, ["parent"]);
  assert.deepEqual(graph.observe(things, "v1", thing("parent", [], leaving)).orphan, []);
});
