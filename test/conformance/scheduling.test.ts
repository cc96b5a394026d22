/** The scheduler, priorities, limits and taints, as their conformance tests ask, with nodes that run pods in name only. */
import assert from "node:assert/strict";
import { replicaSets } from "../../src/api/generated/apps-v1.ts";
import {
  events as eventsOf,
  limitRanges,
  nodes,
  type Pod,
  pods,
  serviceAccounts,
} from "../../src/api/generated/core-v1.ts";
import { type PriorityClass, priorityClasses } from "../../src/api/generated/scheduling-v1.ts";
import { isLater } from "./api-operations.ts";
import { type Cluster, conformance, withHollowNodes } from "./conformance.ts";
import { isGone, soon, watchUntil } from "./waiting.ts";

/** Each with 64 processors. */
withHollowNodes({ names: ["one", "two"] });

interface Wish {
  cpu?: string;
  node?: string;
  priorityClassName?: string;
  spec?: Partial<NonNullable<Pod["spec"]>>;
  metadata?: Pod["metadata"];
}

const make = (
  { client, namespace }: Cluster,
  name: string,
  { cpu, node, priorityClassName, spec, metadata }: Wish = {},
) =>
  client.create(
    pods,
    {
      metadata: { name, namespace, ...metadata },
      spec: {
        containers: [{ name: "c", image: "i", ...(cpu ? { resources: { requests: { cpu } } } : {}) }],
        ...(node ? { nodeSelector: { "kubernetes.io/hostname": node } } : {}),
        ...(priorityClassName ? { priorityClassName } : {}),
        ...spec,
      },
    },
    { namespace },
  );

const runs = ({ client, namespace }: Cluster, name: string, node?: string) =>
  soon(async () => {
    const { spec, status } = await client.get(pods, name, { namespace });
    assert.equal(status?.phase, "Running");
    if (node) assert.equal(spec?.nodeName, node);
  });

const waits = ({ client, namespace }: Cluster, name: string) =>
  soon(async () => {
    const { spec, status } = await client.get(pods, name, { namespace });
    const condition = status?.conditions?.find(({ type }) => type === "PodScheduled");
    assert.deepEqual([condition?.status, condition?.reason, spec?.nodeName], ["False", "Unschedulable", undefined]);
    const { items } = await client.list(eventsOf, {
      namespace,
      fieldSelector: `involvedObject.name=${name},reason=FailedScheduling`,
    });
    assert.ok(items.length > 0);
  });

/** Gives the processors of a case back, so that the next one finds the nodes empty. */
const clear = async ({ client, namespace }: Cluster) => {
  await client.deleteCollection(pods, { namespace, gracePeriodSeconds: 0 });
  await soon(async () => assert.deepEqual((await client.list(pods, { namespace })).items, []));
};

const predicates = "[sig-scheduling] SchedulerPredicates [Serial]";

conformance(
  `${predicates} validates resource limits of pods that are allowed to run [Conformance]`,
  async (_, cluster) => {
    await make(cluster, "first", { cpu: "60", node: "one" });
    await make(cluster, "second", { cpu: "60", node: "two" });
    await runs(cluster, "first", "one");
    await runs(cluster, "second", "two");
    await make(cluster, "more", { cpu: "5" });
    await waits(cluster, "more");
    await clear(cluster);
  },
);

conformance(
  `${predicates} validates that NodeSelector is respected if not matching [Conformance]`,
  async (_, cluster) => {
    await make(cluster, "p", { spec: { nodeSelector: { label: "nonempty" } } });
    await waits(cluster, "p");
  },
);

conformance(`${predicates} validates that NodeSelector is respected if matching [Conformance]`, async (_, cluster) => {
  const label = (value: string | null) =>
    cluster.client.patch(nodes, "two", {
      type: "merge",
      body: { metadata: { labels: { [cluster.namespace]: value } } },
    });
  await label("42");
  await make(cluster, "p", { spec: { nodeSelector: { [cluster.namespace]: "42" } } });
  await runs(cluster, "p", "two");
  await label(null);
});

conformance(
  `${predicates} validates that there exists conflict between pods with same hostPort and protocol but one using 0.0.0.0 hostIP [Conformance]`,
  async (_, cluster) => {
    const withPort = (hostIP: string) => ({
      node: "one",
      spec: {
        containers: [
          { name: "c", image: "i", ports: [{ hostPort: 54322, containerPort: 8080, ...(hostIP ? { hostIP } : {}) }] },
        ],
      },
    });
    await make(cluster, "everywhere", withPort(""));
    await runs(cluster, "everywhere", "one");
    await make(cluster, "somewhere", withPort("192.0.2.1"));
    await waits(cluster, "somewhere");
    await clear(cluster);
  },
);

const preemption = "[sig-scheduling] SchedulerPreemption [Serial]";

/** Three classes of the case's own: low, medium, high. */
async function makeClasses({ client, namespace }: Cluster): Promise<Record<"low" | "medium" | "high", string>> {
  const values = { low: 1, medium: 100, high: 1000 };
  for (const [name, value] of Object.entries(values)) {
    await client.create(priorityClasses, { metadata: { name: `${namespace}-${name}` }, value });
  }
  return { low: `${namespace}-low`, medium: `${namespace}-medium`, high: `${namespace}-high` };
}

conformance(`${preemption} validates basic preemption works [Conformance]`, async (_, cluster) => {
  const { low, medium, high } = await makeClasses(cluster);
  await make(cluster, "low", { cpu: "50", node: "one", priorityClassName: low });
  await make(cluster, "medium", { cpu: "50", node: "two", priorityClassName: medium });
  await runs(cluster, "low");
  await runs(cluster, "medium");
  await make(cluster, "high", { cpu: "50", priorityClassName: high });
  await runs(cluster, "high", "one");
  await isGone(cluster.client, pods, "low", { namespace: cluster.namespace });
  await runs(cluster, "medium", "two");
  await clear(cluster);
});

conformance(
  `${preemption} validates lower priority pod preemption by critical pod [Conformance]`,
  async (_, cluster) => {
    const { client } = cluster;
    const { low, medium } = await makeClasses(cluster);
    await make(cluster, "low", { cpu: "50", node: "one", priorityClassName: low });
    await make(cluster, "medium", { cpu: "50", node: "two", priorityClassName: medium });
    await runs(cluster, "low");
    await runs(cluster, "medium");
    const system = { ...cluster, namespace: "kube-system" };
    await soon(() => client.get(serviceAccounts, "default", system));
    await make(system, "critical", { cpu: "50", priorityClassName: "system-cluster-critical" });
    await runs(system, "critical", "one");
    await isGone(client, pods, "low", { namespace: cluster.namespace });
    await runs(cluster, "medium", "two");
    await client.delete(pods, "critical", { namespace: "kube-system", gracePeriodSeconds: 0 });
    await clear(cluster);
  },
);

conformance(
  `${preemption} validates pod disruption condition is added to the preempted pod [Conformance]`,
  async (_, cluster) => {
    const { client, namespace } = cluster;
    const { low, high } = await makeClasses(cluster);
    // Held, so that it is still there to be looked at when it has to go.
    await make(cluster, "victim", {
      cpu: "60",
      node: "one",
      priorityClassName: low,
      metadata: { finalizers: ["test.example.com/held"] },
    });
    await runs(cluster, "victim");
    await make(cluster, "high", { cpu: "60", node: "one", priorityClassName: high });
    await soon(async () => {
      const { metadata, status } = await client.get(pods, "victim", { namespace });
      assert.ok(metadata.deletionTimestamp);
      const condition = status?.conditions?.find(({ type }) => type === "DisruptionTarget");
      assert.deepEqual([condition?.status, condition?.reason], ["True", "PreemptionByScheduler"]);
    });
    await client.patch(pods, "victim", { type: "merge", body: { metadata: { finalizers: null } } }, { namespace });
    await runs(cluster, "high", "one");
    await clear(cluster);
  },
);

conformance(
  `${preemption} PreemptionExecutionPath runs ReplicaSets to verify preemption running path [Conformance]`,
  async (_, cluster) => {
    const { client, namespace } = cluster;
    const kind = "example.com/fakecpu";
    const capacity = (amount: string | null) =>
      client.patch(
        nodes,
        "one",
        { type: "merge", body: { status: { capacity: { [kind]: amount }, allocatable: { [kind]: amount } } } },
        { subresource: "status" },
      );
    await capacity("1000");
    const priorities = ["p1", "p2", "p3", "p4"].map((name) => `${namespace}-${name}`);
    for (const [index, name] of priorities.entries()) {
      await client.create(priorityClasses, { metadata: { name }, value: index + 1 });
    }
    const specOf = (index: number, amount: string): NonNullable<Pod["spec"]> => ({
      containers: [{ name: "c", image: "i", resources: { requests: { [kind]: amount }, limits: { [kind]: amount } } }],
      nodeSelector: { "kubernetes.io/hostname": "one" },
      priorityClassName: priorities[index]!,
    });
    const { metadata } = await client.list(pods, { namespace });
    for (const [index, amount] of ["200", "300", "450"].entries()) {
      const labels = { set: `rs-${index}` };
      const template = { metadata: { labels }, spec: specOf(index, amount) };
      const spec = { replicas: 1, selector: { matchLabels: labels }, template };
      await client.create(replicaSets, { metadata: { name: `rs-${index}`, namespace }, spec }, { namespace });
      await soon(async () => {
        const { status } = await client.get(replicaSets, `rs-${index}`, { namespace });
        assert.equal(status?.availableReplicas, 1);
      });
    }
    await make(cluster, "preemptor", { spec: specOf(3, "500") });
    await runs(cluster, "preemptor", "one");
    // 950 of 1000 were taken: the two that matter least make room, and have to wait with what replaces them.
    await soon(async () => {
      const { items } = await client.list(pods, { namespace, labelSelector: "set in (rs-0, rs-1)" });
      assert.deepEqual(items.map(({ metadata, spec }) => [metadata.labels?.["set"], spec?.nodeName]).sort(), [
        ["rs-0", undefined],
        ["rs-1", undefined],
      ]);
    });
    const last = await make(cluster, "last");
    const events = await watchUntil(
      client,
      pods,
      { namespace, resourceVersion: metadata.resourceVersion! },
      ({ object }) => Boolean(object.metadata.uid === last.metadata.uid && object.status?.phase === "Running"),
    );
    const made = events.filter(({ type }) => type === "ADDED").map(({ object }) => object.metadata.labels?.["set"]);
    const count = (set: string) => made.filter((found) => found === set).length;
    assert.deepEqual([count("rs-0"), count("rs-1"), count("rs-2")], [2, 2, 1]);
    await client.deleteCollection(replicaSets, { namespace });
    await clear(cluster);
    await capacity(null);
  },
);

conformance(
  `${preemption} PriorityClass endpoints verify PriorityClass endpoints can be operated with different HTTP methods [Conformance]`,
  async (_, { client, namespace }) => {
    const made: PriorityClass[] = [];
    for (const [index, name] of [`${namespace}-p1`, `${namespace}-p2`].entries()) {
      made.push(
        await client.create(priorityClasses, { metadata: { name, labels: { mark: namespace } }, value: index + 1 }),
      );
    }
    const [first, second] = made as [PriorityClass, PriorityClass];
    const refused = { code: 422, reason: "Invalid" };
    const name = first.metadata.name ?? "";
    await assert.rejects(client.patch(priorityClasses, name, { type: "strategic", body: { value: 10 } }), refused);
    await assert.rejects(client.update(priorityClasses, { ...second, value: 20 }), refused);
    const description = "updated";
    await client.patch(priorityClasses, name, { type: "strategic", body: { description } });
    await client.update(priorityClasses, { ...second, description });
    const { items } = await client.list(priorityClasses, { labelSelector: `mark=${namespace}` });
    assert.deepEqual(
      items.map(({ value, description }) => [value, description]),
      [
        [1, description],
        [2, description],
      ],
    );
    for (const before of made) {
      assert.ok(isLater(await client.get(priorityClasses, before.metadata.name ?? ""), before));
    }
    await client.deleteCollection(priorityClasses, { labelSelector: `mark=${namespace}` });
    await isGone(client, priorityClasses, name);
  },
);

const limits = "[sig-scheduling] LimitRange should";

conformance(
  `${limits} create a LimitRange with defaults and ensure pod has those defaults applied. [Conformance]`,
  async (_, cluster) => {
    const { client, namespace } = cluster;
    const scope = { namespace };
    const amounts = (cpu: string, memory: string, storage: string) => ({ cpu, memory, "ephemeral-storage": storage });
    const upper = amounts("500m", "500Mi", "500Gi");
    const standard = amounts("100m", "200Mi", "200Gi");
    const limit = {
      type: "Container",
      min: amounts("50m", "100Mi", "100Gi"),
      max: upper,
      default: upper,
      defaultRequest: standard,
    };
    const { metadata } = await client.list(limitRanges, scope);
    const seen = watchUntil(
      client,
      limitRanges,
      { namespace, resourceVersion: metadata.resourceVersion! },
      ({ type }) => type === "ADDED",
    );
    await client.create(limitRanges, { metadata: { name: "l", namespace }, spec: { limits: [limit] } }, scope);
    await seen;
    const [found] = (await client.get(limitRanges, "l", scope)).spec?.limits ?? [];
    assert.deepEqual([found?.default, found?.defaultRequest], [upper, standard]);

    const pod = async (name: string, resources: object) => {
      const container = { name: "c", image: "i", resources };
      const made = await make(cluster, name, { spec: { containers: [container] } });
      return made.spec?.containers[0]?.resources;
    };
    assert.deepEqual(await pod("none", {}), { limits: upper, requests: standard });
    // What it says itself stands; what it leaves out is filled in.
    const partly = { requests: { cpu: "200m" }, limits: { memory: "300Mi" } };
    assert.deepEqual(await pod("partly", partly), {
      limits: { ...upper, memory: "300Mi" },
      // A limit without a request is the request, too.
      requests: { ...standard, cpu: "200m", memory: "300Mi" },
    });
    const refused = { code: 403, reason: "Forbidden" };
    const large = { requests: amounts("600m", "600Mi", "600Gi"), limits: amounts("600m", "600Mi", "600Gi") };
    await assert.rejects(pod("small", { requests: amounts("10m", "50Mi", "50Gi") }), refused);
    await assert.rejects(pod("large", large), refused);

    const min = amounts("9m", "49Mi", "49Gi");
    await soon(async () => {
      const present = await client.get(limitRanges, "l", scope);
      await client.update(limitRanges, { ...present, spec: { limits: [{ ...limit, min }] } }, scope);
    });
    await soon(() => pod("small", { requests: amounts("10m", "50Mi", "50Gi") }));
    await assert.rejects(pod("large", large), refused);
    await client.delete(limitRanges, "l", scope);
    await isGone(client, limitRanges, "l", scope);
    await soon(() => pod("large", large));
    await clear(cluster);
  },
);

conformance(
  `${limits} list, patch and delete a LimitRange by collection [Conformance]`,
  async (_, { client, namespace }) => {
    const scope = { namespace };
    const labels = { mark: namespace };
    const spec = { limits: [{ type: "Container", max: { cpu: "500m" } }] };
    const made = await client.create(limitRanges, { metadata: { name: "a", namespace, labels }, spec }, scope);
    await client.create(limitRanges, { metadata: { name: "b", namespace, labels }, spec }, scope);
    const labelSelector = `mark=${namespace}`;
    assert.equal((await client.list(limitRanges, { labelSelector })).items.length, 2);
    const body = {
      metadata: { labels: { patched: "yes" } },
      spec: { limits: [{ type: "Container", max: { cpu: "400m" } }] },
    };
    const patched = await client.patch(limitRanges, "a", { type: "strategic", body }, scope);
    assert.equal(patched.metadata.labels?.["patched"], "yes");
    assert.ok(isLater(patched, made));
    await client.deleteCollection(limitRanges, { ...scope, labelSelector: "patched=yes" });
    await soon(async () => {
      const { items } = await client.list(limitRanges, { labelSelector });
      assert.deepEqual(
        items.map(({ metadata }) => metadata.name),
        ["b"],
      );
    });
  },
);

const taints = "[sig-node] NoExecuteTaintManager";
const taint = { key: "test.example.com/evict", value: "yes", effect: "NoExecute" };
const tolerating = (tolerationSeconds: number) => ({
  tolerations: [{ key: taint.key, value: taint.value, operator: "Equal", effect: "NoExecute", tolerationSeconds }],
});
const setTaints = ({ client }: Cluster, node: string, wanted: object[]) =>
  client.patch(nodes, node, { type: "merge", body: { spec: { taints: wanted } } });

/**
 * Taints a node until that has been acted on. Gives whether a pod that tolerates it for so long stays; undefined when the
 * taint was there for longer.
 */
async function outlives(cluster: Cluster, seconds: number): Promise<boolean | undefined> {
  const { client, namespace } = cluster;
  // When one goes that tolerates the taint for a moment, the taint has been acted on.
  const [long, short, later] = [`long-${seconds}`, `short-${seconds}`, `later-${seconds}`];
  await make(cluster, long, { node: "two", spec: tolerating(seconds) });
  await make(cluster, short, { node: "two", spec: tolerating(1) });
  await runs(cluster, long, "two");
  await runs(cluster, short, "two");
  const fromMs = performance.now();
  await setTaints(cluster, "two", [taint]);
  await isGone(client, pods, short, { namespace });
  await setTaints(cluster, "two", []);
  if (performance.now() - fromMs > seconds * 1000) return undefined;
  // Another that is tainted later shows that the time of the first is over.
  await make(cluster, later, { node: "one", spec: tolerating(seconds + 1) });
  await runs(cluster, later, "one");
  await setTaints(cluster, "one", [taint]);
  await isGone(client, pods, later, { namespace });
  await setTaints(cluster, "one", []);
  const { metadata } = await client.get(pods, long, { namespace });
  return metadata.deletionTimestamp === undefined;
}

conformance(
  `${taints} Single Pod [Serial] removing taint cancels eviction [Disruptive] [Conformance]`,
  async (_, cluster) => {
    // A busy machine may be too slow for the short time.
    assert.equal((await outlives(cluster, 5)) ?? (await outlives(cluster, 50)), true);
    await clear(cluster);
  },
);

conformance(
  `${taints} Multiple Pods [Serial] evicts pods with minTolerationSeconds [Disruptive] [Conformance]`,
  async (_, cluster) => {
    const { client, namespace } = cluster;
    await make(cluster, "first", { node: "two", spec: tolerating(1) });
    await make(cluster, "second", { node: "two", spec: tolerating(2) });
    await runs(cluster, "first");
    await runs(cluster, "second");
    const target = ({ status }: Pod) => status?.conditions?.find(({ type }) => type === "DisruptionTarget")?.reason;
    const { metadata } = await client.list(pods, { namespace });
    const taintedMs = performance.now();
    await setTaints(cluster, "two", [taint]);
    let gone = 0;
    const stayedMs = new Map<string, number>();
    const events = await watchUntil(
      client,
      pods,
      { namespace, resourceVersion: metadata.resourceVersion! },
      ({ type, object }) => {
        if (type !== "DELETED") return false;
        stayedMs.set(object.metadata.name ?? "", performance.now() - taintedMs);
        return ++gone === 2;
      },
    );
    const deleted = events.filter(({ type }) => type === "DELETED");
    assert.deepEqual(deleted.map(({ object }) => [object.metadata.name, target(object)]).sort(), [
      ["first", "DeletionByTaintManager"],
      ["second", "DeletionByTaintManager"],
    ]);
    // Their order tells nothing when both were late; that neither goes before its time always holds (clocks differ a bit).
    for (const [name, seconds] of [
      ["first", 1],
      ["second", 2],
    ] as const)
      assert.ok(stayedMs.get(name)! > seconds * 1000 - 50, `${name} went after ${stayedMs.get(name)} ms`);
    await setTaints(cluster, "two", []);
  },
);
