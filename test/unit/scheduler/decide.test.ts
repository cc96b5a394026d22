import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Node, Pod } from "../../../src/api/generated/core-v1.ts";
import { Cache } from "../../../src/scheduler/cache.ts";
import { decide } from "../../../src/scheduler/decide.ts";
import { defaultPlugins } from "../../../src/scheduler/plugins/list.ts";
import { findPreemption } from "../../../src/scheduler/preemption.ts";

const noVolumes = { claim: () => undefined, volume: () => undefined, volumes: () => [], storageClass: () => undefined };
const plugins = defaultPlugins(() => ({}), noVolumes);

function node(name: string, more: { labels?: Record<string, string>; spec?: Node["spec"]; cpu?: string } = {}): Node {
  return {
    metadata: { name, labels: { "kubernetes.io/hostname": name, ...more.labels } },
    ...(more.spec ? { spec: more.spec } : {}),
    status: { allocatable: { cpu: more.cpu ?? "2", memory: "4Gi", pods: "110" } },
  } as Node;
}

let uid = 0;
function pod(name: string, spec: Partial<Pod["spec"]> = {}, metadata: Partial<Pod["metadata"]> = {}): Pod {
  return {
    metadata: { name, namespace: "default", uid: `uid-${uid++}`, ...metadata },
    spec: { containers: [{ name: "c", image: "web" }], ...spec },
  } as Pod;
}

function asking(name: string, cpu: string, priority = 0): Pod {
  return pod(name, { priority, containers: [{ name: "c", image: "web", resources: { requests: { cpu } } }] });
}

function cluster(nodes: Node[], placed: [Pod, string][] = []): Cache {
  const cache = new Cache();
  for (const each of nodes) cache.setNode(each);
  for (const [each, on] of placed) cache.setPod(each, on);
  return cache;
}

function outcome(what: Pod, cache: Cache): string {
  const decision = decide(what, plugins, cache.snapshot(), () => 0);
  return decision.node ? decision.node.name : decision.message;
}

describe("filters", () => {
  const rows: { rule: string; nodes: Node[]; placed?: [Pod, string][]; pod: Pod; expected: string }[] = [
    { rule: "no node at all", nodes: [], pod: pod("p"), expected: "no nodes available to schedule pods" },
    {
      rule: "a cordoned node takes no pods",
      nodes: [node("a", { spec: { unschedulable: true } })],
      pod: pod("p"),
      expected: "0/1 nodes are available: 1 node(s) were unschedulable.",
    },
    {
      rule: "an untolerated taint keeps a pod away",
      nodes: [node("a", { spec: { taints: [{ key: "k", value: "v", effect: "NoSchedule" }] } })],
      pod: pod("p"),
      expected: "0/1 nodes are available: 1 node(s) had untolerated taint(s).",
    },
    {
      rule: "a tolerated taint does not",
      nodes: [node("a", { spec: { taints: [{ key: "k", value: "v", effect: "NoSchedule" }] } })],
      pod: pod("p", { tolerations: [{ key: "k", operator: "Exists" }] }),
      expected: "a",
    },
    {
      rule: "requests count against what is allocatable, less what is taken",
      nodes: [node("a"), node("b", { cpu: "1" })],
      placed: [[asking("other", "1500m"), "a"]],
      pod: asking("p", "1200m"),
      expected: "0/2 nodes are available: 2 Insufficient cpu.",
    },
    {
      rule: "nodeSelector must match",
      nodes: [node("a"), node("b", { labels: { disk: "ssd" } })],
      pod: pod("p", { nodeSelector: { disk: "ssd" } }),
      expected: "b",
    },
    {
      rule: "required node affinity: terms are alternatives, expressions of a term all hold",
      nodes: [node("a", { labels: { zone: "1" } }), node("b", { labels: { zone: "2" } })],
      pod: pod("p", {
        affinity: {
          nodeAffinity: {
            requiredDuringSchedulingIgnoredDuringExecution: {
              nodeSelectorTerms: [
                { matchExpressions: [{ key: "zone", operator: "In", values: ["9"] }] },
                { matchExpressions: [{ key: "zone", operator: "NotIn", values: ["1"] }] },
              ],
            },
          },
        },
      }),
      expected: "b",
    },
    {
      rule: "DaemonSet pods are pinned by the field metadata.name",
      nodes: [node("a"), node("b")],
      pod: pod("p", {
        affinity: {
          nodeAffinity: {
            requiredDuringSchedulingIgnoredDuringExecution: {
              nodeSelectorTerms: [{ matchFields: [{ key: "metadata.name", operator: "In", values: ["b"] }] }],
            },
          },
        },
      }),
      expected: "b",
    },
    {
      rule: "a host port can be had once a node",
      nodes: [node("a"), node("b")],
      placed: [
        [pod("other", { containers: [{ name: "c", image: "i", ports: [{ containerPort: 80, hostPort: 80 }] }] }), "a"],
      ],
      pod: pod("p", { containers: [{ name: "c", image: "i", ports: [{ containerPort: 80, hostPort: 80 }] }] }),
      expected: "b",
    },
    {
      rule: "a hard spread constraint keeps the skew",
      nodes: [node("a"), node("b")],
      placed: [[pod("1", {}, { labels: { app: "web" } }), "a"]],
      pod: pod(
        "p",
        {
          topologySpreadConstraints: [
            {
              maxSkew: 1,
              topologyKey: "kubernetes.io/hostname",
              whenUnsatisfiable: "DoNotSchedule",
              labelSelector: { matchLabels: { app: "web" } },
            },
          ],
        },
        { labels: { app: "web" } },
      ),
      expected: "b",
    },
    {
      rule: "anti-affinity keeps a pod off its like, in both directions",
      nodes: [node("a"), node("b")],
      placed: [
        [
          pod("other", {
            affinity: {
              podAntiAffinity: {
                requiredDuringSchedulingIgnoredDuringExecution: [
                  { topologyKey: "kubernetes.io/hostname", labelSelector: { matchLabels: { app: "web" } } },
                ],
              },
            },
          }),
          "a",
        ],
      ],
      pod: pod("p", {}, { labels: { app: "web" } }),
      expected: "b",
    },
    {
      rule: "the first pod of an affine group may go anywhere",
      nodes: [node("a")],
      pod: pod(
        "p",
        {
          affinity: {
            podAffinity: {
              requiredDuringSchedulingIgnoredDuringExecution: [
                { topologyKey: "kubernetes.io/hostname", labelSelector: { matchLabels: { app: "web" } } },
              ],
            },
          },
        },
        { labels: { app: "web" } },
      ),
      expected: "a",
    },
  ];
  for (const { rule, nodes, placed, pod, expected } of rows) {
    it(rule, () => assert.equal(outcome(pod, cluster(nodes, placed)), expected));
  }
});

describe("scores", () => {
  it("six pods of one ReplicaSet spread evenly over three equal nodes", () => {
    const cache = cluster([node("a"), node("b"), node("c")]);
    const owner = { apiVersion: "apps/v1", kind: "ReplicaSet", name: "web", uid: "rs", controller: true };
    const counts: Record<string, number> = {};
    for (let index = 0; index < 6; index++) {
      const each = pod(`web-${index}`, {}, { ownerReferences: [owner] });
      const name = outcome(each, cache);
      cache.setPod(each, name);
      counts[name] = (counts[name] ?? 0) + 1;
    }
    assert.deepEqual(counts, { a: 2, b: 2, c: 2 });
  });

  it("PreferNoSchedule only makes a node less liked", () => {
    const tainted = node("a", { spec: { taints: [{ key: "k", effect: "PreferNoSchedule" }] } });
    assert.equal(outcome(pod("p"), cluster([tainted, node("b")])), "b");
    assert.equal(outcome(pod("p"), cluster([tainted])), "a");
  });
});

describe("preemption", () => {
  it("chooses the node whose victims matter least, and no more of them than needed", () => {
    const cache = cluster(
      [node("a"), node("b")],
      [
        [asking("important", "1500m", 50), "a"],
        [asking("small", "500m", 1), "b"],
        [asking("large", "1500m", 2), "b"],
      ],
    );
    const snapshot = cache.snapshot();
    const found = findPreemption(asking("p", "1500m", 100), plugins, snapshot, snapshot.nodes);
    assert.equal(found?.node.name, "b");
    assert.deepEqual(
      found?.victims.map(({ metadata }) => metadata.name),
      ["large"],
    );
  });

  it("never happens for pods with preemptionPolicy Never", () => {
    const cache = cluster([node("a")], [[asking("other", "2", 0), "a"]]);
    const wanting = asking("p", "1", 100);
    wanting.spec!.preemptionPolicy = "Never";
    assert.equal(findPreemption(wanting, plugins, cache.snapshot(), cache.snapshot().nodes), undefined);
  });
});

describe("cache", () => {
  it("a pod that finished gives its room back", () => {
    const cache = cluster([node("a")]);
    const first = asking("first", "2");
    cache.setPod(first, "a");
    assert.match(outcome(asking("p", "1"), cache), /Insufficient cpu/);
    cache.setPod({ ...first, status: { phase: "Succeeded" } } as Pod, "a");
    assert.equal(outcome(asking("p", "1"), cache), "a");
  });

  it("a sidecar's request adds up, an init container's only counts when it is the most", () => {
    const cache = cluster([node("a")]);
    const wanting = pod("p", {
      initContainers: [
        { name: "sidecar", image: "i", restartPolicy: "Always", resources: { requests: { cpu: "500m" } } },
        { name: "init", image: "i", resources: { requests: { cpu: "1400m" } } },
      ],
      containers: [{ name: "c", image: "i", resources: { requests: { cpu: "1" } } }],
    });
    cache.setPod(wanting, "a");
    assert.equal(cache.snapshot().nodes[0]!.requested["cpu"], 1900);
  });
});
