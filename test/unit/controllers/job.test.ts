import assert from "node:assert/strict";
import { test } from "node:test";
import { type Job, jobs } from "../../../src/api/generated/batch-v1.ts";
import { events, type Pod, pods } from "../../../src/api/generated/core-v1.ts";
import { garbageCollector } from "../../../src/controllers/garbage-collector.ts";
import { jobController, jobPod } from "../../../src/controllers/job.ts";
import {
  completionIndexKey,
  indexFailureCountKey,
  indexIgnoredFailureCountKey,
  trackingFinalizer,
} from "../../../src/controllers/job-facts.ts";
import { matchSuccessPolicy, planJob } from "../../../src/controllers/job-plan.ts";
import { serviceAccountController } from "../../../src/controllers/service-account.ts";
import { startControlPlane } from "../../support/control-plane.ts";
import { eventually } from "../../support/eventually.ts";
import { endedStatus, runningStatus, startHollowNodes } from "../../support/hollow-nodes.ts";

const nowMs = Date.parse("2026-01-01T01:00:00Z");
const namespace = "default";

function job(spec: Partial<NonNullable<Job["spec"]>> = {}, status: Job["status"] = {}): Job {
  const template = { spec: { restartPolicy: "Never", containers: [{ name: "c", image: "i" }] } };
  return {
    metadata: { name: "j", namespace, uid: "j" },
    spec: { parallelism: 2, completions: 3, backoffLimit: 6, template, ...spec },
    status: { startTime: "2026-01-01T00:59:00Z", ...status },
  };
}
const indexed = (spec: Partial<NonNullable<Job["spec"]>> = {}, status: Job["status"] = {}) =>
  job({ completionMode: "Indexed", parallelism: 3, backoffLimit: 2 ** 31 - 1, ...spec }, status);

function pod(name: string, phase: string, more: Partial<Pod["metadata"]> = {}, exitCode = 1): Pod {
  const finishedAt = "2026-01-01T00:30:00Z";
  const state = phase === "Failed" ? { terminated: { exitCode, finishedAt } } : {};
  const common = { ready: false, restartCount: 0, image: "", imageID: "" };
  return {
    metadata: { name, namespace, uid: name, finalizers: [trackingFinalizer], ...more },
    spec: { nodeName: "n", containers: [] },
    status: { phase, containerStatuses: [{ name: "c", ...common, state }] },
  };
}
const at = (index: number, phase: string, annotations: Record<string, string> = {}, exitCode = 1) =>
  pod(`p${index}`, phase, { annotations: { [completionIndexKey]: String(index), ...annotations } }, exitCode);
const names = (list: readonly { readonly metadata: { readonly name?: string } }[]) =>
  list.map(({ metadata }) => metadata.name);
const conditionsOf = (status: Job["status"]) =>
  (status?.conditions ?? []).map(({ type, status: value, reason }) => `${type}=${value} ${reason}`);

test("a suspended job gives its pods up without counting them, and starts anew when it goes on", () => {
  const plan = planJob(job({ suspend: true }), [pod("a", "Running"), pod("b", "Running")], true, nowMs);
  assert.deepEqual(
    [names(plan.remove), names(plan.release)],
    [
      ["a", "b"],
      ["a", "b"],
    ],
  );
  const { status } = plan;
  assert.deepEqual([status.active, status.failed, status.terminating, status.startTime], [0, 0, 2, undefined]);
  assert.deepEqual(conditionsOf(status), ["Suspended=True JobSuspended"]);
  assert.deepEqual(
    plan.events.map(({ reason }) => reason),
    ["Suspended"],
  );
  const again = planJob(job({ suspend: true }, { ...status }), [], true, nowMs);
  assert.deepEqual([again.create, again.events], [[], []]);
  const resumed = planJob(job({}, { conditions: status.conditions! }), [], true, nowMs);
  assert.deepEqual(conditionsOf(resumed.status), ["Suspended=False JobResumed"]);
  assert.deepEqual([resumed.create.length, resumed.status.startTime], [2, "2026-01-01T01:00:00Z"]);
});

test("podFailurePolicy: Ignore replaces without counting, FailJob ends the job and says which rule did", () => {
  const rules = [
    { action: "Ignore", onPodConditions: [{ type: "DisruptionTarget", status: "True" }] },
    { action: "FailJob", onExitCodes: { containerName: "c", operator: "In", values: [42] } },
  ];
  const policy = { podFailurePolicy: { rules }, podReplacementPolicy: "Failed" };
  const evicted = pod("a", "Failed");
  evicted.status!.conditions = [{ type: "DisruptionTarget", status: "True" }];
  const ignored = planJob(job(policy), [evicted], true, nowMs);
  assert.deepEqual([ignored.status.uncountedTerminatedPods, names(ignored.release)], [{}, ["a"]]);
  assert.equal(ignored.create.length, 2);
  const failed = planJob(job(policy), [pod("b", "Failed", {}, 42), pod("r", "Running")], true, nowMs);
  assert.deepEqual(conditionsOf(failed.status), ["FailureTarget=True PodFailurePolicy"]);
  assert.equal(
    failed.status.conditions?.[0]?.message,
    "Container c for pod default/b failed with exit code 42 matching FailJob rule at index 1",
  );
  // The pods that are taken away by this are failures, too.
  assert.deepEqual(failed.status.uncountedTerminatedPods, { failed: ["b", "r"] });
});

test("podReplacementPolicy Failed: a pod that is still going keeps its place", () => {
  const going = pod("a", "Running", { deletionTimestamp: "2026-01-01T00:59:59Z", deletionGracePeriodSeconds: 0 });
  const later = planJob(job({ podReplacementPolicy: "Failed" }), [going], true, nowMs);
  assert.deepEqual([later.create.length, later.status.terminating, later.release], [1, 1, []]);
  const atOnce = planJob(job({ podReplacementPolicy: "TerminatingOrFailed" }), [going], true, nowMs);
  assert.deepEqual(atOnce.status.uncountedTerminatedPods, { failed: ["a"] });
});

test("backoffLimitPerIndex: an index is tried again in its place until its limit, and others go on", () => {
  const spec = { backoffLimitPerIndex: 1 };
  const first = planJob(indexed(spec), [at(0, "Failed", { [indexFailureCountKey]: "0" })], true, nowMs);
  assert.deepEqual([first.create, first.release, first.status.failedIndexes], [[0, 1, 2], [], ""]);
  const replacement = jobPod(indexed(spec), 0, first.replacing.get(0));
  assert.equal(replacement.metadata.annotations?.[indexFailureCountKey], "1");
  assert.equal(replacement.metadata.annotations?.[indexIgnoredFailureCountKey], undefined);
  // Once its successor is there, the failed pod is counted and let go.
  const successor = { ...at(0, "Running", { [indexFailureCountKey]: "1" }) };
  successor.metadata = { ...successor.metadata, name: "p0b", uid: "p0b" };
  const failed = at(0, "Failed", { [indexFailureCountKey]: "0" });
  const second = planJob(indexed(spec), [failed, successor, at(1, "Running"), at(2, "Running")], true, nowMs);
  assert.deepEqual([names(second.release), second.status.uncountedTerminatedPods], [["p0"], { failed: ["p0"] }]);
  const third = planJob(
    indexed(spec),
    [at(0, "Failed", { [indexFailureCountKey]: "1" }), at(1, "Running")],
    true,
    nowMs,
  );
  assert.deepEqual([third.status.failedIndexes, third.create, names(third.release)], ["0", [2], ["p0"]]);
});

test("backoffLimitPerIndex: the wait before the next pod of an index doubles with its failures", () => {
  const recently = at(0, "Failed", { [indexFailureCountKey]: "1" });
  recently.status!.containerStatuses![0]!.state = { terminated: { exitCode: 1, finishedAt: "2026-01-01T00:59:55Z" } };
  const plan = planJob(indexed({ backoffLimitPerIndex: 5 }), [recently], true, nowMs);
  assert.deepEqual([plan.create, plan.requeueAfterMs], [[1, 2], 15_000]);
});

test("a job with failed indexes fails when all others are done, or at once beyond maxFailedIndexes", () => {
  const spec = { backoffLimitPerIndex: 0 };
  const all = planJob(indexed(spec, { completedIndexes: "1,2" }), [at(0, "Failed")], true, nowMs);
  assert.deepEqual(conditionsOf(all.status), ["FailureTarget=True FailedIndexes"]);
  const many = planJob(indexed({ ...spec, maxFailedIndexes: 1 }), [at(0, "Failed"), at(1, "Failed")], true, nowMs);
  assert.deepEqual(conditionsOf(many.status), ["FailureTarget=True MaxFailedIndexesExceeded"]);
  assert.equal(many.status.failedIndexes, "0,1");
  const rules = [{ action: "FailIndex", onExitCodes: { operator: "In", values: [42] } }];
  const byRule = planJob(
    indexed({ backoffLimitPerIndex: 5, podFailurePolicy: { rules } }),
    [at(1, "Failed", {}, 42)],
    true,
    nowMs,
  );
  assert.equal(byRule.status.failedIndexes, "1");
});

test("successPolicy: by listed indexes, by their number, or both; the rest is given up without a failure", () => {
  const met = (rule: object, completed: number[]) =>
    matchSuccessPolicy(indexed({ completions: 5, successPolicy: { rules: [rule] } }), new Set(completed));
  assert.equal(met({ succeededIndexes: "0,2" }, [0]), undefined);
  assert.equal(met({ succeededIndexes: "0,2" }, [0, 2]), 0);
  assert.equal(met({ succeededCount: 2 }, [3, 4]), 0);
  assert.equal(met({ succeededIndexes: "0-2", succeededCount: 2 }, [2, 3, 4]), undefined);
  assert.equal(met({ succeededIndexes: "0-2", succeededCount: 2 }, [1, 2]), 0);
  const spec = { successPolicy: { rules: [{ succeededIndexes: "0" }] } };
  const plan = planJob(indexed(spec), [at(0, "Succeeded"), at(1, "Running")], true, nowMs);
  assert.deepEqual(conditionsOf(plan.status), ["SuccessCriteriaMet=True SuccessPolicy"]);
  assert.deepEqual([names(plan.remove), plan.status.uncountedTerminatedPods], [["p1"], {}]);
  assert.deepEqual([plan.status.succeeded, plan.status.completedIndexes], [1, "0"]);
  assert.equal(plan.status.conditions?.[0]?.message, "Matched rules at index 0");
});

test("OnFailure: restarts of all containers together reach the back-off limit", () => {
  const template = { spec: { restartPolicy: "OnFailure", containers: [{ name: "c", image: "i" }] } };
  const restarted = (name: string, restartCount: number) => {
    const object = pod(name, "Running");
    object.status!.containerStatuses![0]!.restartCount = restartCount;
    return object;
  };
  const two = [restarted("a", 1), restarted("b", 1)];
  assert.deepEqual(conditionsOf(planJob(job({ template, backoffLimit: 3 }), two, true, nowMs).status), []);
  assert.deepEqual(conditionsOf(planJob(job({ template, backoffLimit: 2 }), two, true, nowMs).status), [
    "FailureTarget=True BackoffLimitExceeded",
  ]);
});

test("duplicates of an index, and indexes that the job has no more, go first", () => {
  const twin = at(0, "Pending");
  twin.metadata = { ...twin.metadata, name: "twin", uid: "twin" };
  const plan = planJob(indexed(), [at(0, "Running"), twin, at(7, "Running")], true, nowMs);
  assert.deepEqual(names(plan.remove).sort(), ["p7", "twin"]);
});

test("an indexed pod's name keeps its index, however long the job's name is", () => {
  const long = indexed();
  long.metadata.name = "j".repeat(63);
  assert.equal(jobPod(long, 12).metadata.generateName, `${"j".repeat(54)}-12-`);
});

test("[sig-apps] Job: fails an index for good, adopts orphans, lets others' jobs be, and tells it in events", async (t) => {
  const { client, signal } = await startControlPlane(t, {
    controllers: [jobController, garbageCollector, serviceAccountController],
  });
  await startHollowNodes(client, {
    names: ["one"],
    signal,
    status: (pod) => {
      const index = pod.metadata.annotations?.[completionIndexKey];
      if (index === undefined) return runningStatus(pod);
      return endedStatus(pod, Number(index) % 2);
    },
  });
  const template = { spec: { restartPolicy: "Never", containers: [{ name: "c", image: "i" }] } };
  const create = (name: string, spec: object) =>
    client.create(jobs, { metadata: { name, namespace }, spec: { template, ...spec } });
  await create("odd", { completionMode: "Indexed", completions: 4, parallelism: 4, backoffLimitPerIndex: 0 });
  await create("elsewhere", { managedBy: "example.com/robot" });
  await create("adopter", { parallelism: 1, completions: 1 });
  await eventually(async () => {
    const { status } = await client.get(jobs, "odd", { namespace });
    assert.deepEqual(conditionsOf(status), ["FailureTarget=True FailedIndexes", "Failed=True FailedIndexes"]);
    assert.deepEqual([status?.completedIndexes, status?.failedIndexes], ["0,2", "1,3"]);
    assert.deepEqual([status?.succeeded, status?.failed, status?.active ?? 0], [2, 2, 0]);
  });
  await eventually(async () => {
    const { items } = await client.list(events, { namespace, fieldSelector: "involvedObject.name=odd" });
    assert.ok(items.some(({ reason, message }) => reason === "FailedIndexes" && message === "Job has failed indexes"));
  });

  const ofAdopter = async () =>
    (await client.list(pods, { namespace, labelSelector: "batch.kubernetes.io/job-name=adopter" })).items;
  const own = await eventually(async () => {
    const [only] = await ofAdopter();
    assert.equal(only?.status?.phase, "Running");
    return only!;
  });
  const orphaned = { metadata: { ownerReferences: null, finalizers: null } };
  await client.patch(pods, own.metadata.name!, { type: "merge", body: orphaned }, { namespace });
  await eventually(async () => {
    const { metadata } = await client.get(pods, own.metadata.name!, { namespace });
    assert.equal(metadata.ownerReferences?.[0]?.name, "adopter");
    assert.deepEqual(metadata.finalizers, [trackingFinalizer]);
  });
  // A pod that the selector matches no longer is let go, with the finalizer.
  const stranger = { metadata: { labels: { "batch.kubernetes.io/controller-uid": null } } };
  await client.patch(pods, own.metadata.name!, { type: "merge", body: stranger }, { namespace });
  await eventually(async () => {
    const { metadata } = await client.get(pods, own.metadata.name!, { namespace });
    assert.deepEqual([metadata.ownerReferences ?? [], metadata.finalizers ?? []], [[], []]);
  });
  const { status } = await client.get(jobs, "elsewhere", { namespace });
  assert.equal(status?.startTime, undefined);
});
