/** Jobs, as their conformance tests ask of the API and the controller: the pods end as their case has it. */
import assert from "node:assert/strict";
import { type Job, jobs } from "../../src/api/generated/batch-v1.ts";
import { type Pod, pods } from "../../src/api/generated/core-v1.ts";
import type { DeepReadonly } from "../../src/machinery/object.ts";
import { endedStatus, runningStatus } from "../support/hollow-nodes.ts";
import { isLater } from "./api-operations.ts";
import { type Cluster, conformance, withHollowNodes } from "./conformance.ts";
import { isGone, soon, watchUntil } from "./waiting.ts";
import { areRunning, podsOf } from "./workloads.ts";

const indexKey = "batch.kubernetes.io/job-completion-index";

/** How the pods of a case end: their exit codes by index, or one for all; undefined: they run on. */
type Ends = number | Readonly<Record<string, number | undefined>> | undefined;
const endsKey = "test/ends";

withHollowNodes({
  names: ["one", "two"],
  status: (pod: DeepReadonly<Pod>) => {
    const ends: Ends = JSON.parse(pod.metadata.annotations?.[endsKey] ?? "null") ?? undefined;
    const code = typeof ends === "object" ? ends[pod.metadata.annotations?.[indexKey] ?? ""] : ends;
    return code === undefined ? runningStatus(pod) : endedStatus(pod, code);
  },
});

const area = "[sig-apps] Job";
const name = "j";
type Spec = Partial<NonNullable<Job["spec"]>>;

const make = (
  { client, namespace }: Cluster,
  ends: Ends,
  spec: Spec = {},
  more: Partial<Job["metadata"]> = {},
): Promise<Job> =>
  client.create(
    jobs,
    {
      metadata: { name, namespace, ...more },
      spec: {
        completions: 4,
        parallelism: 2,
        template: {
          metadata: { annotations: { [endsKey]: JSON.stringify(ends ?? null) } },
          spec: { restartPolicy: "Never", containers: [{ name: "c", image: "i" }] },
        },
        ...spec,
      },
    },
    { namespace },
  );

/** Waits until a condition holds, and gives the status. */
const has = ({ client, namespace }: Cluster, type: string, reason?: string) =>
  soon(async () => {
    const { status } = await client.get(jobs, name, { namespace });
    const condition = status?.conditions?.find((found) => found.type === type);
    assert.equal(condition?.status, "True");
    if (reason) assert.equal(condition?.reason, reason);
    return status!;
  });

conformance(
  `${area} should allow to use the pod failure policy on exit code to fail the job early [Conformance]`,
  async (_, cluster) => {
    const rule = { action: "FailJob", onExitCodes: { containerName: "c", operator: "In", values: [1] } };
    await make(cluster, 1, { backoffLimit: 100, podFailurePolicy: { rules: [rule] } });
    const { failed = 0 } = await has(cluster, "Failed", "PodFailurePolicy");
    assert.ok(failed >= 1 && failed <= 2, String(failed));
  },
);

conformance(
  `${area} should allow to use a pod failure policy to ignore failure matching on DisruptionTarget condition [Conformance]`,
  async (_, cluster) => {
    const { client, namespace } = cluster;
    const rule = { action: "Ignore", onPodConditions: [{ type: "DisruptionTarget", status: "True" }] };
    await make(cluster, undefined, {
      ...{ completions: 3, parallelism: 3, backoffLimit: 0, completionMode: "Indexed" },
      podFailurePolicy: { rules: [rule] },
    });
    const before = await areRunning(cluster, 3);
    for (const { metadata } of before) {
      const podName = metadata.name ?? "";
      const body = { apiVersion: "policy/v1", kind: "Eviction", metadata: { name: podName, namespace } };
      await client.createSubresource(pods, podName, "eviction", body, { namespace });
      await isGone(client, pods, podName, { namespace });
    }
    // Others take their places; these end well.
    const after = await areRunning(cluster, 3);
    assert.ok(after.every(({ metadata }) => before.every((old) => old.metadata.uid !== metadata.uid)));
    for (const pod of after) {
      const body = { status: endedStatus(pod, 0) };
      await client.patch(pods, pod.metadata.name ?? "", { type: "merge", body }, { namespace, subresource: "status" });
    }
    assert.equal((await has(cluster, "Complete", "CompletionsReached")).succeeded, 3);
  },
);

conformance(
  `${area} should create pods for an Indexed job with completion indexes and specified hostname [Conformance]`,
  async (_, cluster) => {
    await make(cluster, 0, { completionMode: "Indexed" });
    const status = await has(cluster, "Complete", "CompletionsReached");
    assert.deepEqual([status.succeeded, status.completedIndexes], [4, "0-3"]);
    const found = (await podsOf(cluster)).map(({ metadata, spec }) => [
      metadata.annotations?.[indexKey],
      metadata.labels?.[indexKey],
      spec?.hostname,
    ]);
    assert.deepEqual(
      found.sort(),
      ["0", "1", "2", "3"].map((index) => [index, index, `j-${index}`]),
    );
  },
);

const success = "[sig-apps] Job with successPolicy";

conformance(`${success} should succeeded when all indexes succeeded [Conformance]`, async (_, cluster) => {
  const rules = [{ succeededCount: 4 }];
  await make(cluster, 0, { completionMode: "Indexed", successPolicy: { rules } });
  await has(cluster, "SuccessCriteriaMet", "SuccessPolicy");
  const {
    completedIndexes,
    active = 0,
    failed = 0,
    ready,
    terminating,
  } = await has(cluster, "Complete", "SuccessPolicy");
  assert.deepEqual([completedIndexes, active, failed, ready, terminating], ["0-3", 0, 0, 0, 0]);
});

conformance(
  `${success} succeededIndexes rule should succeeded even when some indexes remain pending [Conformance]`,
  async (_, cluster) => {
    await make(
      cluster,
      { "0": 0 },
      { parallelism: 4, completionMode: "Indexed", successPolicy: { rules: [{ succeededIndexes: "0" }] } },
    );
    await has(cluster, "SuccessCriteriaMet", "SuccessPolicy");
    const status = await has(cluster, "Complete", "SuccessPolicy");
    assert.equal(status.completedIndexes, "0");
    await soon(async () =>
      assert.equal((await podsOf(cluster)).filter(({ status }) => status?.phase === "Running").length, 0),
    );
  },
);

conformance(
  `${success} succeededCount rule should succeeded even when some indexes remain pending [Conformance]`,
  async (_, cluster) => {
    await make(
      cluster,
      { "0": 0 },
      { parallelism: 4, completionMode: "Indexed", successPolicy: { rules: [{ succeededCount: 1 }] } },
    );
    await has(cluster, "SuccessCriteriaMet", "SuccessPolicy");
    assert.equal((await has(cluster, "Complete", "SuccessPolicy")).completedIndexes, "0");
  },
);

conformance(
  `${area} should execute all indexes despite some failing when using backoffLimitPerIndex [Conformance]`,
  async (_, cluster) => {
    await make(cluster, { "0": 1, "1": 0, "2": 1, "3": 0 }, { completionMode: "Indexed", backoffLimitPerIndex: 1 });
    const status = await has(cluster, "Failed", "FailedIndexes");
    assert.deepEqual([status.failedIndexes, status.completedIndexes], ["0,2", "1,3"]);
    // Each of the two that fail is tried once more.
    assert.deepEqual([status.failed, status.succeeded], [4, 2]);
  },
);

conformance(
  `${area} should terminate job execution when the number of failed indexes exceeds maxFailedIndexes [Conformance]`,
  async (_, cluster) => {
    await make(cluster, 1, { parallelism: 1, completionMode: "Indexed", backoffLimitPerIndex: 0, maxFailedIndexes: 0 });
    const status = await has(cluster, "Failed", "MaxFailedIndexesExceeded");
    assert.deepEqual(
      [status.failed, status.succeeded ?? 0, status.completedIndexes ?? "", status.failedIndexes],
      [1, 0, "", "0"],
    );
  },
);

conformance(
  `${area} should mark indexes as failed when the FailIndex action is matched in podFailurePolicy [Conformance]`,
  async (_, cluster) => {
    const rule = { action: "FailIndex", onExitCodes: { operator: "In", values: [42] } };
    await make(
      cluster,
      { "0": 42, "1": 0 },
      { completions: 2, completionMode: "Indexed", backoffLimitPerIndex: 3, podFailurePolicy: { rules: [rule] } },
    );
    const status = await has(cluster, "Failed", "FailedIndexes");
    // No further tries of an index that cannot succeed.
    assert.deepEqual(
      [status.failedIndexes, status.completedIndexes, status.failed, status.succeeded],
      ["0", "1", 1, 1],
    );
  },
);

conformance(`${area} should delete a job [Conformance]`, async (_, cluster) => {
  const { client, namespace } = cluster;
  await make(cluster, undefined);
  await areRunning(cluster, 2);
  await client.delete(jobs, name, { namespace, propagationPolicy: "Background" });
  await isGone(client, jobs, name, { namespace });
  await soon(async () => assert.deepEqual((await client.list(pods, { namespace })).items, []));
});

conformance(`${area} should adopt matching orphans and release non-matching pods [Conformance]`, async (_, cluster) => {
  const { client, namespace } = cluster;
  const { metadata } = await make(cluster, undefined);
  const [pod] = await areRunning(cluster, 2);
  const podName = pod?.metadata.name ?? "";
  const ownersOf = async () =>
    (await client.get(pods, podName, { namespace })).metadata.ownerReferences?.map(({ uid }) => uid);
  await client.patch(pods, podName, { type: "merge", body: { metadata: { ownerReferences: null } } }, { namespace });
  await soon(async () => assert.deepEqual(await ownersOf(), [metadata.uid]));
  await client.patch(pods, podName, { type: "merge", body: { metadata: { labels: null } } }, { namespace });
  await soon(async () => assert.equal(await ownersOf(), undefined));
});

conformance(`${area} should apply changes to a job status [Conformance]`, async (_, cluster) => {
  const { client, namespace } = cluster;
  const scope = { namespace, subresource: "status" };
  const made = await make(cluster, undefined);
  await soon(async () => assert.equal((await client.get(jobs, name, { namespace })).status?.active, 2));
  const seen = (fits: (job: Job) => unknown) =>
    watchUntil(client, jobs, { namespace, resourceVersion: made.metadata.resourceVersion! }, ({ object }) =>
      Boolean(fits(object)),
    );
  const condition = (type: string) => ({ type, status: "True", reason: "Test", message: `set by ${type}` });
  const body = {
    metadata: { annotations: { patchedstatus: "true" } },
    status: { conditions: [condition("CustomPatch")] },
  };
  const patched = await client.patch(jobs, name, { type: "merge", body }, scope);
  assert.equal(patched.metadata.annotations?.["patchedstatus"], "true");
  assert.ok(patched.status?.conditions?.some(({ type }) => type === "CustomPatch"));
  await soon(async () => {
    const present = await client.get(jobs, name, scope);
    const conditions = [...(present.status?.conditions ?? []), condition("CustomUpdate")];
    const updated = await client.update(jobs, { ...present, status: { ...present.status, conditions } }, scope);
    assert.ok(updated.status?.conditions?.some(({ type }) => type === "CustomUpdate"));
  });
  await seen(({ status }) => status?.conditions?.some(({ type }) => type === "CustomUpdate"));
  assert.equal((await client.get(jobs, name, scope)).metadata.uid, made.metadata.uid);
});

conformance(`${area} should manage the lifecycle of a job [Conformance]`, async (_, cluster) => {
  const { client, namespace } = cluster;
  const scope = { namespace };
  const made = await make(cluster, 0, { suspend: true }, { labels: { life: "made" } });
  const options = { namespace, labelSelector: "life", resourceVersion: made.metadata.resourceVersion! };
  await has(cluster, "Suspended");
  assert.deepEqual(await podsOf(cluster), []);
  const patched = await client.patch(
    jobs,
    name,
    { type: "strategic", body: { metadata: { labels: { life: "patched" } } } },
    scope,
  );
  assert.ok(isLater(patched, made));
  await watchUntil(client, jobs, options, ({ object }) => object.metadata.labels?.["life"] === "patched");
  await soon(async () => {
    const present = await client.get(jobs, name, scope);
    const metadata = { ...present.metadata, annotations: { updated: "true" } };
    await client.update(jobs, { ...present, metadata, spec: { ...present.spec!, suspend: false } }, scope);
  });
  await watchUntil(client, jobs, options, ({ object }) => object.metadata.annotations?.["updated"] === "true");
  assert.equal((await has(cluster, "Complete")).succeeded, 4);
  const { items } = await client.list(jobs, { labelSelector: "life=patched" });
  assert.deepEqual(
    items.map(({ metadata }) => metadata.uid),
    [made.metadata.uid],
  );
  await client.deleteCollection(jobs, { namespace, labelSelector: "life=patched", propagationPolicy: "Foreground" });
  await watchUntil(client, jobs, options, ({ type }) => type === "DELETED");
  await soon(async () => assert.deepEqual((await client.list(pods, scope)).items, []));
});
