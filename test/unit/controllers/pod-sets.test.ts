import assert from "node:assert/strict";
import { test } from "node:test";
import type { DaemonSet, StatefulSet } from "../../../src/api/generated/apps-v1.ts";
import type { Job } from "../../../src/api/generated/batch-v1.ts";
import type { Node, Pod } from "../../../src/api/generated/core-v1.ts";
import {
  placement,
  planDaemons,
  planDaemonUpdate,
  targetNode,
  templateForNode,
} from "../../../src/controllers/daemon-set-plan.ts";
import { jobPod } from "../../../src/controllers/job.ts";
import { trackingFinalizer } from "../../../src/controllers/job-facts.ts";
import { planJob } from "../../../src/controllers/job-plan.ts";
import { planReplicas } from "../../../src/controllers/replica-controller.ts";
import { Expectations } from "../../../src/controllers/shared/expectations.ts";
import { formatIndexes, parseIndexes } from "../../../src/controllers/shared/index-set.ts";
import { slowStart } from "../../../src/controllers/shared/pod-control.ts";
import { revisionData } from "../../../src/controllers/shared/revisions.ts";
import { planStatefulSet, statefulPod } from "../../../src/controllers/stateful-set-plan.ts";
import { FakeClock } from "../../support/fake-clock.ts";

const nowMs = Date.parse("2026-01-01T01:00:00Z");

function pod(
  name: string,
  more: { phase?: string; ready?: boolean; node?: string } & Partial<Pod["metadata"]> = {},
): Pod {
  const { phase = "Running", ready = phase === "Running", node = "n1", ...metadata } = more;
  return {
    metadata: { name, namespace: "a", uid: name, creationTimestamp: "2026-01-01T00:00:00Z", ...metadata },
    spec: { containers: [], ...(node ? { nodeName: node } : {}) },
    status: {
      phase,
      conditions: [{ type: "Ready", status: ready ? "True" : "False", lastTransitionTime: "2026-01-01T00:00:10Z" }],
    },
  };
}
const names = (pods: readonly { readonly metadata: { readonly name?: string } }[]) =>
  pods.map(({ metadata }) => metadata.name);

test("replicas: missing pods are created, terminated and terminating ones do not count", () => {
  const owned = [pod("a"), pod("b", { phase: "Failed" }), pod("c", { deletionTimestamp: "2026-01-01T00:10:00Z" })];
  assert.deepEqual(planReplicas(3, owned, owned, nowMs), { create: 2, remove: [] });
});

test("replicas: unassigned, pending, unready, cheap and crowded pods go before others", () => {
  const owned = [
    pod("crowded1", { node: "n1" }),
    pod("crowded2", { node: "n1" }),
    pod("cheap", { node: "n2", annotations: { "controller.kubernetes.io/pod-deletion-cost": "-1" } }),
    pod("unready", { node: "n3", ready: false }),
    pod("pending", { node: "n4", phase: "Pending" }),
    pod("unassigned", { node: "", phase: "Pending" }),
    pod("alone", { node: "n5" }),
  ];
  const order = names(planReplicas(0, owned, owned, nowMs).remove);
  assert.deepEqual(order.slice(0, 4), ["unassigned", "pending", "unready", "cheap"]);
  assert.equal(order.at(-1), "alone");
});

test("slow start doubles its batches and stops after the first with an error", async () => {
  const started: number[] = [];
  const { succeeded, error } = await slowStart(100, async (index) => {
    started.push(index);
    if (index === 4) throw new Error("refused");
  });
  assert.equal(started.length, 7);
  assert.equal(succeeded, 6);
  assert.match(String(error), /refused/);
});

test("an owner waits for what it wrote until it is seen, failed, or five minutes old", async () => {
  const clock = new FakeClock();
  const expectations = new Expectations(clock);
  expectations.expectCreations("o", 2);
  expectations.creationObserved("o");
  assert.equal(expectations.satisfied("o"), false);
  expectations.creationObserved("o");
  assert.equal(expectations.satisfied("o"), true);
  expectations.expectDeletions("o", ["u"]);
  expectations.deletionObserved("o", "another");
  assert.equal(expectations.satisfied("o"), false);
  await clock.advance(5 * 60_000 + 1);
  assert.equal(expectations.satisfied("o"), true);
});

function node(name: string, more: Partial<Node["spec"]> = {}, labels: Record<string, string> = {}): Node {
  return { metadata: { name, labels }, spec: more, status: {} };
}
const daemon: DaemonSet = {
  metadata: { name: "d", namespace: "a", uid: "d" },
  spec: {
    selector: { matchLabels: { app: "d" } },
    template: { metadata: { labels: { app: "d" } }, spec: { containers: [], nodeSelector: { os: "x" } } },
  },
};
const fits = { os: "x" };

test("daemons: run where selector and taints allow, and stay over NoSchedule taints", () => {
  const tainted = (key: string, effect: string) => node("n", { taints: [{ key, effect }] }, fits);
  assert.deepEqual(placement(daemon, node("n", {}, fits)), { run: true, stay: true });
  assert.deepEqual(placement(daemon, node("n")), { run: false, stay: false });
  assert.deepEqual(placement(daemon, tainted("mine", "NoSchedule")), { run: false, stay: true });
  assert.deepEqual(placement(daemon, tainted("mine", "NoExecute")), { run: false, stay: false });
  assert.deepEqual(placement(daemon, tainted("node.kubernetes.io/unreachable", "NoExecute")), {
    run: true,
    stay: true,
  });
});

test("daemons: the pod is pinned to its node by affinity, from where its target is read back", () => {
  const { spec, metadata } = templateForNode(daemon, "n7", "hash", undefined);
  assert.equal(spec?.nodeName, undefined);
  assert.equal(targetNode({ metadata: {}, spec: spec! }), "n7");
  assert.equal(metadata?.labels?.["controller-revision-hash"], "hash");
});

test("daemons: one pod a node; doubles, misplaced and failed ones go", () => {
  const nodes = [node("n1", {}, fits), node("n2", {}, fits), node("n3"), node("n4", {}, fits)];
  const pods = [
    pod("a1", { node: "n1" }),
    pod("a2", { node: "n1", creationTimestamp: "2026-01-01T00:00:05Z" }),
    pod("c", { node: "n3" }),
    pod("f", { node: "n4", phase: "Failed" }),
  ];
  const plan = planDaemons(daemon, nodes, pods, "h");
  assert.deepEqual(plan.create, ["n2"]);
  assert.deepEqual(names(plan.remove), ["a2", "c", "f"]);
});

test("daemons: an update replaces broken pods at once and others one after the other", () => {
  const nodes = ["n1", "n2", "n3"].map((name) => node(name, {}, fits));
  const old = { labels: { "controller-revision-hash": "old" } };
  const pods = nodes.map(({ metadata }) => pod(`p-${metadata.name}`, { node: metadata.name!, ...old }));
  assert.deepEqual(names(planDaemonUpdate(daemon, nodes, pods, "new", nowMs).remove), ["p-n1"]);
  const broken = pod("p-n2", { node: "n2", ready: false, ...old });
  assert.deepEqual(names(planDaemonUpdate(daemon, nodes, [pods[0]!, broken, pods[2]!], "new", nowMs).remove), ["p-n2"]);
});

function job(spec: Partial<NonNullable<Job["spec"]>> = {}, status: Job["status"] = {}): Job {
  const template = { spec: { restartPolicy: "Never", containers: [{ name: "c" }] } };
  return {
    metadata: { name: "j", namespace: "a", uid: "j" },
    spec: { parallelism: 2, completions: 3, backoffLimit: 1, template, ...spec },
    status: { startTime: "2026-01-01T00:59:00Z", ...status },
  };
}
const tracked = { finalizers: [trackingFinalizer] };

test("jobs: as many pods run as are missing, at most the parallelism", () => {
  assert.equal(planJob(job(), [], true, nowMs).create.length, 2);
  assert.equal(planJob(job({}, { succeeded: 2 }), [], true, nowMs).create.length, 1);
  assert.equal(planJob(job(), [], false, nowMs).create.length, 0);
});

test("jobs: an end is noted by uid, and counted once the finalizer is seen to be gone", () => {
  const done = pod("p", { phase: "Succeeded", ...tracked });
  const first = planJob(job(), [done], true, nowMs);
  assert.deepEqual(first.status.uncountedTerminatedPods, { succeeded: ["p"] });
  assert.deepEqual([first.status.succeeded, names(first.release)], [0, ["p"]]);
  const second = planJob(job({}, first.status), [done], true, nowMs);
  assert.deepEqual([second.status.succeeded, names(second.release)], [0, ["p"]]);
  const third = planJob(job({}, first.status), [pod("p", { phase: "Succeeded" })], true, nowMs);
  assert.deepEqual([third.status.succeeded, third.status.uncountedTerminatedPods], [1, {}]);
  const fourth = planJob(job({}, third.status), [pod("p", { phase: "Succeeded" })], true, nowMs);
  assert.equal(fourth.status.succeeded, 1);
});

test("jobs: complete when enough succeeded and all is counted", () => {
  const types = (status: Job["status"]) => status?.conditions?.map(({ type }) => type) ?? [];
  const counting = planJob(job({ completions: 1 }), [pod("p", { phase: "Succeeded", ...tracked })], true, nowMs);
  assert.deepEqual(types(counting.status), ["SuccessCriteriaMet"]);
  const ended = planJob(job({ completions: 1 }, { succeeded: 1 }), [], true, nowMs);
  assert.deepEqual(types(ended.status), ["SuccessCriteriaMet", "Complete"]);
  assert.equal(ended.status.completionTime, "2026-01-01T01:00:00Z");
});

test("jobs: beyond the back-off limit the rest is deleted, and the job fails when it is gone", () => {
  const running = pod("r", tracked);
  const plan = planJob(job({}, { failed: 2 }), [running], true, nowMs);
  assert.equal(plan.status.conditions?.[0]?.type, "FailureTarget");
  assert.deepEqual(names(plan.remove), ["r"]);
  const ended = planJob(job({}, { failed: 2 }), [], true, nowMs);
  assert.deepEqual(
    ended.status.conditions?.map(({ type, reason }) => [type, reason]),
    [
      ["FailureTarget", "BackoffLimitExceeded"],
      ["Failed", "BackoffLimitExceeded"],
    ],
  );
});

test("jobs: after failures the next pod waits 10 s, then twice as long", () => {
  const failed = (name: string, at: string) => {
    const object = pod(name, { phase: "Failed" });
    object.status!.containerStatuses = [
      {
        name: "c",
        ready: false,
        restartCount: 0,
        image: "",
        imageID: "",
        state: { terminated: { exitCode: 1, finishedAt: at } },
      },
    ];
    return object;
  };
  const limits = { backoffLimit: 6, parallelism: 1 };
  const one = planJob(job(limits, { failed: 1 }), [failed("a", "2026-01-01T00:59:55Z")], true, nowMs);
  assert.deepEqual([one.create.length, one.requeueAfterMs], [0, 5000]);
  const two = [failed("a", "2026-01-01T00:59:30Z"), failed("b", "2026-01-01T00:59:55Z")];
  assert.equal(planJob(job(limits, { failed: 2 }), two, true, nowMs).requeueAfterMs, 15_000);
});

test("jobs: the active deadline fails the job and is waited for without polling", () => {
  assert.equal(planJob(job({ activeDeadlineSeconds: 90 }), [], true, nowMs).requeueAfterMs, 30_000);
  const late = planJob(job({ activeDeadlineSeconds: 60 }), [], true, nowMs);
  assert.equal(late.status.conditions?.at(-1)?.reason, "DeadlineExceeded");
});

test("jobs: indexed ones start the lowest open index, know it, and list what is complete", () => {
  const indexed = job({ completionMode: "Indexed", completions: 4 }, { completedIndexes: "0" });
  const at = (index: number, more = {}) =>
    pod(`p${index}`, {
      annotations: { "batch.kubernetes.io/job-completion-index": String(index) },
      ...tracked,
      ...more,
    });
  const plan = planJob(indexed, [at(1, { phase: "Succeeded" }), at(3)], true, nowMs);
  assert.equal(plan.status.completedIndexes, "0,1");
  assert.deepEqual(plan.create, [2]);
  const made = jobPod(indexed, 2);
  assert.equal(made.spec?.hostname, "j-2");
  assert.equal(made.spec?.containers[0]?.env?.[0]?.name, "JOB_COMPLETION_INDEX");
});

test("indexes are written as Kubernetes does, and read back", () => {
  const text = "1,3-5,7,8";
  assert.equal(formatIndexes(parseIndexes(text)), text);
  assert.deepEqual([...parseIndexes("2-4")], [2, 3, 4]);
});

const set: StatefulSet = {
  metadata: { name: "s", namespace: "a", uid: "s" },
  spec: {
    replicas: 3,
    serviceName: "svc",
    selector: { matchLabels: { app: "s" } },
    template: { spec: { containers: [] } },
  },
};
const revision = (name: string) => ({ name, template: set.spec!.template });
const member = (ordinal: number, hash: string, more = {}) =>
  pod(`s-${ordinal}`, { labels: { "controller-revision-hash": hash }, ...more });

test("stateful: pods come one after the other, each when the one before serves", () => {
  const plan = (pods: Pod[], over: Partial<NonNullable<StatefulSet["spec"]>> = {}) =>
    planStatefulSet({ ...set, spec: { ...set.spec!, ...over } }, pods, revision("r"), revision("r"), nowMs).create.map(
      ({ ordinal }) => ordinal,
    );
  assert.deepEqual(plan([]), [0]);
  assert.deepEqual(plan([member(0, "r", { ready: false })]), []);
  assert.deepEqual(plan([member(0, "r")]), [1]);
  assert.deepEqual(plan([], { podManagementPolicy: "Parallel" }), [0, 1, 2]);
});

test("stateful: scaling down halts while a pod below the highest does not serve", () => {
  const none = { ...set, spec: { ...set.spec!, replicas: 0 } };
  const removed = (...ready: boolean[]) => {
    const pods = ready.map((isReady, ordinal) => member(ordinal, "r", { ready: isReady }));
    return names(planStatefulSet(none, pods, revision("r"), revision("r"), nowMs).remove);
  };
  assert.deepEqual(removed(true, true, true), ["s-2"]);
  assert.deepEqual(removed(true, true, false), ["s-2"]);
  assert.deepEqual(removed(true, false, false), []);
  assert.deepEqual(removed(false), ["s-0"]);
});

test("stateful: surplus goes from the highest ordinal, an update too and only down to the partition", () => {
  const surplus = [0, 1, 2, 3, 4].map((ordinal) => member(ordinal, "r"));
  assert.deepEqual(names(planStatefulSet(set, surplus, revision("r"), revision("r"), nowMs).remove), ["s-4"]);
  const old = [0, 1, 2].map((ordinal) => member(ordinal, "old"));
  const update = (partition: number, pods: Pod[]) => {
    const spec = { ...set.spec!, updateStrategy: { type: "RollingUpdate", rollingUpdate: { partition } } };
    return names(planStatefulSet({ ...set, spec }, pods, revision("old"), revision("new"), nowMs).remove);
  };
  assert.deepEqual(update(0, old), ["s-2"]);
  assert.deepEqual(update(2, [old[0]!, old[1]!, member(2, "new")]), []);
  assert.deepEqual(update(0, [old[0]!, old[1]!, member(2, "new", { ready: false })]), []);
});

test("stateful: a pod's name, host name, subdomain and claims follow from its ordinal", () => {
  const withClaims = { ...set, spec: { ...set.spec!, volumeClaimTemplates: [{ metadata: { name: "data" } }] } };
  const made = statefulPod(withClaims, 1, revision("r"));
  assert.deepEqual([made.metadata.name, made.spec?.hostname, made.spec?.subdomain], ["s-1", "s-1", "svc"]);
  assert.equal(made.spec?.volumes?.[0]?.persistentVolumeClaim?.claimName, "data-s-1");
});

test("a revision's data is what Go writes of the same patch, byte for byte: clients compare it so", () => {
  const data = revisionData({
    spec: { containers: [{ name: "c", image: "i" }] },
    metadata: { labels: { b: "1", a: "2" } },
  });
  assert.equal(
    JSON.stringify(data),
    '{"spec":{"template":{"$patch":"replace","metadata":{"labels":{"a":"2","b":"1"}},"spec":{"containers":[{"image":"i","name":"c"}]}}}}',
  );
});
