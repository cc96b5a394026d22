import assert from "node:assert/strict";
import { test } from "node:test";
import type { Deployment, ReplicaSet } from "../../../src/api/generated/apps-v1.ts";
import { newestRevision, newSetAnnotations, rollingLimits } from "../../../src/controllers/deployment-facts.ts";
import { planCleanup, planRollout, planScale } from "../../../src/controllers/deployment-plan.ts";
import { rolloutStatus } from "../../../src/controllers/deployment-status.ts";
import { equalTemplates, templateHash } from "../../../src/controllers/shared/template-hash.ts";
import { FakeClock } from "../../support/fake-clock.ts";

function deployment(replicas: number, maxSurge: number | string, maxUnavailable: number | string): Deployment {
  return {
    metadata: { name: "web", namespace: "a", generation: 1 },
    spec: {
      replicas,
      progressDeadlineSeconds: 600,
      selector: { matchLabels: { app: "web" } },
      template: { metadata: { labels: { app: "web" } }, spec: { containers: [{ name: "c", image: "i" }] } },
      strategy: { type: "RollingUpdate", rollingUpdate: { maxSurge, maxUnavailable } },
    },
  };
}

function set(
  name: string,
  replicas: number,
  available = replicas,
  annotations: Record<string, string> = {},
): ReplicaSet {
  return {
    metadata: { name, uid: name, creationTimestamp: `2026-01-01T00:00:0${name.length}Z`, annotations },
    spec: { replicas, selector: {}, template: {} },
    status: { replicas, availableReplicas: available, readyReplicas: available, observedGeneration: 1 },
  };
}

const sizes = (steps: readonly { set: { metadata: { name?: string } }; replicas: number }[]) =>
  Object.fromEntries(steps.map(({ set, replicas }) => [set.metadata.name, replicas]));

// Kubernetes: Deployment, "Rolling Update Deployment", with maxSurge and maxUnavailable.
for (const [rule, wanted, fresh, old, expected] of [
  ["the new set grows by the surge first", deployment(4, 1, 1), set("new", 0), [set("old", 4)], { new: 1 }],
  ["old pods go as far as availability allows", deployment(4, 1, 1), set("new", 1, 0), [set("old", 4)], { old: 3 }],
  ["nothing moves while the new pods are not available", deployment(4, 1, 0), set("new", 1, 0), [set("old", 4)], {}],
  ["with no surge old pods make room", deployment(4, 0, 1), set("new", 0), [set("old", 4)], { old: 3 }],
  [
    "unhealthy old pods go first, whatever availability is",
    deployment(4, 1, 1),
    set("new", 1, 0),
    [set("o", 2, 0), set("old", 2, 2)],
    { o: 1 },
  ],
  ["a rollout that is done plans nothing", deployment(4, 1, 1), set("new", 4), [set("old", 0)], {}],
  ["a new set that is too large shrinks", deployment(2, 1, 1), set("new", 4), [], { new: 2 }],
] as const) {
  test(`rollout: ${rule}`, () => assert.deepEqual(sizes(planRollout(wanted, fresh, old)), expected));
}

test("a rollout keeps within surge and availability at every step until it is done", () => {
  for (const [replicas, surge, unavailable] of [
    [1, 1, 0],
    [10, "25%", "25%"],
    [3, 0, 1],
    [7, "100%", 0],
    [5, 2, 3],
  ] as const) {
    const wanted = deployment(replicas, surge, unavailable);
    const limits = rollingLimits(wanted);
    let fresh = set("new", 0);
    let old = set("old", replicas);
    let steps = 0;
    for (; ; steps++) {
      const plan = sizes(planRollout(wanted, fresh, [old]));
      if (Object.keys(plan).length === 0) break;
      assert.ok(steps < 50);
      fresh = set("new", plan["new"] ?? fresh.spec?.replicas ?? 0);
      old = set("old", plan["old"] ?? old.spec?.replicas ?? 0);
      const total = (fresh.spec?.replicas ?? 0) + (old.spec?.replicas ?? 0);
      assert.ok(total <= replicas + limits.maxSurge, `${total} pods of ${replicas}`);
      assert.ok(total >= replicas - limits.maxUnavailable, `${total} pods of ${replicas}`);
    }
    assert.deepEqual([fresh.spec?.replicas, old.spec?.replicas], [replicas, 0]);
  }
});

test("maxSurge rounds up, maxUnavailable down, and both zero means one unavailable", () => {
  assert.deepEqual(rollingLimits(deployment(10, "25%", "25%")), { maxSurge: 3, maxUnavailable: 2 });
  assert.deepEqual(rollingLimits(deployment(1, 0, "25%")), { maxSurge: 0, maxUnavailable: 1 });
});

test("scaling in the middle of a rollout is shared in proportion to the sets' sizes", () => {
  // The documentation's example ("Proportional scaling"): 10 → 15 with maxSurge 3, maxUnavailable 2.
  const sized = { "deployment.kubernetes.io/desired-replicas": "10", "deployment.kubernetes.io/max-replicas": "13" };
  const plan = planScale(deployment(15, 3, 2), set("new", 5, 0, sized), [set("old", 8, 8, sized)]);
  assert.deepEqual(sizes(plan), { old: 11, new: 7 });
});

test("a single set simply takes the new size, and remembers it", () => {
  assert.deepEqual(sizes(planScale(deployment(5, 1, 1), set("new", 2), [set("old", 0)])), { new: 5 });
  const sized = { "deployment.kubernetes.io/desired-replicas": "5", "deployment.kubernetes.io/max-replicas": "6" };
  assert.deepEqual(planScale(deployment(5, 1, 1), set("new", 5, 5, sized), []), []);
});

test("history beyond the limit goes, oldest revision first, but no set with pods", () => {
  const wanted = deployment(1, 1, 1);
  wanted.spec!.revisionHistoryLimit = 1;
  const old = ["a", "bb", "ccc"].map((name, i) =>
    set(name, i === 1 ? 1 : 0, 0, { "deployment.kubernetes.io/revision": String(i + 1) }),
  );
  assert.deepEqual(
    planCleanup(wanted, old).map(({ metadata }) => metadata.name),
    ["a"],
  );
});

test("a set that becomes the newest again gets a new revision and keeps the former in its history", () => {
  const annotations = newSetAnnotations(deployment(1, 1, 1), { "deployment.kubernetes.io/revision": "1" }, 3n);
  assert.equal(annotations["deployment.kubernetes.io/revision"], "3");
  assert.equal(annotations["deployment.kubernetes.io/revision-history"], "1");
});

test("revisions have 64 bits: an adopted set may come with any", () => {
  const sets = ["3", "3546343826724305832", "x", "7"].map((text, i) =>
    set(`s${i}`, 0, 0, { "deployment.kubernetes.io/revision": text }),
  );
  assert.equal(newestRevision(sets), 3546343826724305832n);
});

test("the template hash ignores the order of fields and changes with the collision count", () => {
  const [a, b] = [{ spec: { containers: [], hostname: "x" } }, { spec: { hostname: "x", containers: [] } }];
  assert.equal(templateHash(a, undefined), templateHash(b, undefined));
  assert.notEqual(templateHash(a, undefined), templateHash(a, 1));
  assert.ok(equalTemplates({ ...a, metadata: { labels: { "pod-template-hash": "1" } } }, a));
});

test("a rollout without progress for its deadline is said to have timed out", async () => {
  const clock = new FakeClock();
  const wanted = deployment(2, 1, 1);
  const fresh = set("new", 2, 0);
  wanted.status = rolloutStatus(wanted, fresh, [fresh], clock);
  const progressing = () => wanted.status?.conditions?.find(({ type }) => type === "Progressing");
  assert.equal(progressing()?.reason, "ReplicaSetUpdated");
  await clock.advance(601_000);
  wanted.status = rolloutStatus(wanted, fresh, [fresh], clock);
  assert.deepEqual([progressing()?.status, progressing()?.reason], ["False", "ProgressDeadlineExceeded"]);
  const done = set("new", 2);
  wanted.status = rolloutStatus(wanted, done, [done], clock);
  assert.deepEqual([progressing()?.status, progressing()?.reason], ["True", "NewReplicaSetAvailable"]);
});
