import assert from "node:assert/strict";
import { test } from "node:test";
import { deployments } from "../../../src/api/generated/apps-v1.ts";
import {
  type HorizontalPodAutoscalerSpec,
  horizontalPodAutoscalers,
} from "../../../src/api/generated/autoscaling-v2.ts";
import { events, type Pod } from "../../../src/api/generated/core-v1.ts";
import { horizontalPodAutoscaler } from "../../../src/controllers/horizontal-pod-autoscaler.ts";
import { type Aim, proposeReplicas } from "../../../src/controllers/horizontal-pod-autoscaler-metrics.ts";
import { type Memory, normalize, noteScaling } from "../../../src/controllers/horizontal-pod-autoscaler-rate.ts";
import { startControlPlane } from "../../support/control-plane.ts";
import { eventually } from "../../support/eventually.ts";
import { FakeClock } from "../../support/fake-clock.ts";

const nowMs = Date.parse("2026-01-01T01:00:00Z");
const namespace = "default";

function pod(name: string, more: { phase?: string; ready?: boolean; cpu?: string; started?: string } = {}): Pod {
  const { phase = "Running", ready = true, cpu = "100m", started = "2026-01-01T00:00:00Z" } = more;
  return {
    metadata: { name },
    spec: { containers: [{ name: "c", image: "i", resources: { requests: { cpu } } }] },
    status: {
      phase,
      startTime: started,
      conditions: [{ type: "Ready", status: ready ? "True" : "False", lastTransitionTime: started }],
    },
  };
}
const propose = (current: number, pods: Pod[], milli: Record<string, number>, aim: Aim) => {
  const uses = new Map(
    Object.entries(milli).map(([name, value]) => [name, { milli: value, atMs: nowMs, windowMs: 30_000 }]),
  );
  return proposeReplicas(current, pods, uses, { resource: "cpu", aim, tolerances: { up: 0.1, down: 0.1 }, nowMs });
};
const many = (count: number, more = {}) => Array.from({ length: count }, (_, n) => pod(`p${n}`, more));
const all = (count: number, milli: number) => Object.fromEntries(many(count).map((_, n) => [`p${n}`, milli]));

test("replicas follow the use relative to what is requested, but not for small differences", () => {
  const half = { utilization: 50 };
  assert.deepEqual(propose(2, many(2), all(2, 100), half), { replicas: 4, averageMilli: 100, utilization: 100 });
  assert.equal(propose(4, many(4), all(4, 25), half).replicas, 2);
  assert.equal(propose(2, many(2), all(2, 54), half).replicas, 2);
  assert.equal(propose(2, many(2), all(2, 300), { averageMilli: 100 }).replicas, 6);
});

test("pods that say nothing never cause a change that their true use might speak against", () => {
  const half = { utilization: 50 };
  // 100 % of one, nothing known of the other: it is taken for idle, so two still do.
  assert.equal(propose(2, many(2), { p0: 100 }, half).replicas, 2);
  // 10 % of one, nothing known of the other: it is taken for busy.
  assert.equal(propose(2, many(2), { p0: 10 }, half).replicas, 2);
  // One that has just started is no reason to add more than the others are.
  const starting = [...many(2), pod("new", { ready: false, started: "2026-01-01T00:59:50Z" })];
  assert.equal(propose(3, starting, { ...all(2, 100), new: 500 }, half).replicas, 4);
  assert.throws(
    () => propose(1, [pod("p0", { phase: "Pending" })], {}, half),
    /did not receive metrics for targeted pods/,
  );
  assert.throws(() => propose(1, [], {}, half), /no pods returned by selector/);
  const silent = pod("p0");
  silent.spec!.containers[0]!.resources = {};
  assert.throws(() => propose(1, [silent], all(1, 1), half), /missing request for cpu in container c of Pod p0/);
});

const memory = (): Memory => ({ recommendations: [], ups: [], downs: [] });
const scaler = (spec: Partial<HorizontalPodAutoscalerSpec>) => ({
  metadata: {},
  spec: { scaleTargetRef: { kind: "Deployment", name: "d" }, maxReplicas: 10, ...spec },
});

test("without a behaviour growth at most doubles, and shrinking waits for five minutes of lower wishes", () => {
  const object = scaler({ minReplicas: 2 });
  const grown = normalize(object, memory(), 3, 9, nowMs);
  assert.deepEqual([grown.replicas, grown.limited.is, grown.limited.reason], [6, true, "ScaleUpLimit"]);
  const capped = normalize(object, memory(), 8, 20, nowMs);
  assert.deepEqual([capped.replicas, capped.limited.reason], [10, "TooManyReplicas"]);
  const mind = memory();
  normalize(object, mind, 6, 6, nowMs);
  const soon = normalize(object, mind, 6, 1, nowMs + 60_000);
  assert.deepEqual([soon.replicas, soon.able.reason], [6, "ScaleDownStabilized"]);
  const late = normalize(object, mind, 6, 1, nowMs + 301_000);
  assert.deepEqual([late.replicas, late.limited.reason], [2, "TooFewReplicas"]);
});

test("a behaviour's policies limit each direction by what changed within their periods", () => {
  const policy = (type: string, value: number) => ({ type, value, periodSeconds: 60 });
  const behavior = {
    scaleUp: {
      policies: [policy("Pods", 2), policy("Percent", 100)],
      selectPolicy: "Min",
      stabilizationWindowSeconds: 0,
    },
    scaleDown: { policies: [policy("Percent", 50)], selectPolicy: "Max", stabilizationWindowSeconds: 0 },
  };
  const object = scaler({ minReplicas: 1, maxReplicas: 100, behavior });
  const mind = memory();
  const first = normalize(object, mind, 10, 50, nowMs);
  assert.deepEqual([first.replicas, first.limited.reason], [12, "ScaleUpLimit"]);
  noteScaling(object, mind, 10, 12, nowMs);
  assert.equal(normalize(object, mind, 12, 50, nowMs + 30_000).replicas, 12);
  assert.equal(normalize(object, mind, 12, 50, nowMs + 61_000).replicas, 14);
  const down = normalize(object, memory(), 9, 1, nowMs);
  assert.deepEqual([down.replicas, down.limited.reason], [4, "ScaleDownLimit"]);
  const disabled = scaler({
    behavior: { ...behavior, scaleDown: { ...behavior.scaleDown, selectPolicy: "Disabled" } },
  });
  assert.equal(normalize(disabled, memory(), 9, 1, nowMs).replicas, 9);
});

test("[sig-autoscaling] an autoscaler keeps its bounds, and says why it cannot do more without metrics", async (t) => {
  // The clock stands still: each autoscaler is looked at once, and what that brought stays.
  const clock = new FakeClock(Date.now());
  const { client } = await startControlPlane(t, { controllers: [horizontalPodAutoscaler], clock });
  const labels = { app: "web" };
  const deployment = (name: string, replicas: number) =>
    client.create(deployments, {
      metadata: { name, namespace },
      spec: {
        replicas,
        selector: { matchLabels: labels },
        template: { metadata: { labels }, spec: { containers: [{ name: "c", image: "i" }] } },
      },
    });
  const autoscaler = (name: string, target: string, minReplicas: number, kind = "Deployment") =>
    client.create(horizontalPodAutoscalers, {
      metadata: { name, namespace },
      spec: { minReplicas, maxReplicas: 5, scaleTargetRef: { apiVersion: "apps/v1", kind, name: target } },
    });
  const condition = async (name: string, type: string) => {
    const { status } = await client.get(horizontalPodAutoscalers, name, { namespace });
    const found = status?.conditions?.find((one) => one.type === type);
    return [found?.status, found?.reason, found?.message];
  };
  await deployment("small", 1);
  await autoscaler("small", "small", 2);
  await eventually(async () => {
    assert.equal((await client.get(deployments, "small", { namespace })).spec?.replicas, 2);
    const { status } = await client.get(horizontalPodAutoscalers, "small", { namespace });
    assert.deepEqual([status?.currentReplicas, status?.desiredReplicas], [1, 2]);
    assert.ok(status?.lastScaleTime);
    assert.equal((await condition("small", "AbleToScale"))[1], "SucceededRescale");
    const { items } = await client.list(events, { namespace, fieldSelector: "reason=SuccessfulRescale" });
    assert.equal(items[0]?.message, "New size: 2; reason: Current number of replicas below Spec.MinReplicas");
  });
  await deployment("web", 3);
  await client.patch(
    deployments,
    "web",
    { type: "merge", body: { status: { replicas: 3 } } },
    { namespace, subresource: "status" },
  );
  await autoscaler("web", "web", 1);
  await eventually(async () => {
    assert.deepEqual(await condition("web", "ScalingActive"), [
      "False",
      "FailedGetResourceMetric",
      "the HPA was unable to compute the replica count: failed to get cpu utilization: unable to get metrics for resource cpu: unable to fetch metrics from resource metrics API: the server could not find the requested resource (get pods.metrics.k8s.io)",
    ]);
  });
  await autoscaler("lost", "absent", 1);
  await eventually(async () => {
    assert.deepEqual((await condition("lost", "AbleToScale")).slice(0, 2), ["False", "FailedGetScale"]);
  });
  await autoscaler("odd", "absent", 1, "Widget");
  await eventually(async () => {
    const [, , message] = await condition("odd", "AbleToScale");
    assert.match(message ?? "", /no matches for kind "Widget" in group "apps"$/);
  });
});
