/** Authority: https://kubernetes.io/docs/tasks/configure-pod-container/resize-container-resources/ */
import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { isDeepStrictEqual } from "node:util";
import type { PendingResize } from "../../../../src/agent/kubelet/pod-resize.ts";
import type { WorkerContext } from "../../../../src/agent/kubelet/worker-context.ts";
import type { Container, Pod, PodStatus } from "../../../../src/api/generated/core-v1.ts";
import { container, pod } from "./pod-fixture.ts";
import { type Rig, workerRig } from "./worker-rig.ts";

type Resources = NonNullable<Container["resources"]>;

const small: Resources = { requests: { cpu: "100m", memory: "64Mi" }, limits: { cpu: "200m", memory: "128Mi" } };
const large: Resources = { requests: { cpu: "300m", memory: "96Mi" }, limits: { cpu: "500m", memory: "256Mi" } };

function resized(of: Pod, resources: Resources): Pod {
  const [first, ...rest] = of.spec!.containers;
  const generation = (of.metadata.generation ?? 0) + 1;
  return {
    ...of,
    metadata: { ...of.metadata, generation },
    spec: { ...of.spec!, containers: [{ ...first!, resources }, ...rest] },
  };
}

async function running(t: TestContext, more: Partial<Container> = {}, context: Partial<WorkerContext> = {}) {
  const rig = workerRig(t, pod({ containers: [container("main", { resources: small, ...more })] }), context);
  await rig.until(() => assert.ok(rig.status?.containerStatuses?.[0]?.ready));
  return rig;
}

const statusOf = (rig: Rig) => rig.status!.containerStatuses![0]!;
const updates = (rig: Rig) => rig.runtime.calls.filter((call) => call.startsWith("update"));

/** Lets time pass until it holds, however late the worker gets its turns. */
async function inTime(rig: Rig, check: () => void): Promise<void> {
  for (let left = 200; ; left--) {
    try {
      return check();
    } catch (error) {
      if (left === 0) throw error;
      await rig.pass(1000, () => {});
    }
  }
}

const condition = (rig: Rig, type: string) => rig.status?.conditions?.find((one) => one.type === type);

test("a container says from the start what it was granted and what it has", async (t) => {
  const rig = await running(t);
  assert.deepEqual(statusOf(rig).resources, small);
  assert.deepEqual(statusOf(rig).allocatedResources, small.requests);
  assert.equal(condition(rig, "PodResizeInProgress"), undefined);
});

test("a container without resources has a status that says so, by which the API knows that this node can resize", async (t) => {
  const rig = workerRig(t, pod());
  await rig.until(() => assert.ok(rig.status?.containerStatuses?.[0]?.ready));
  assert.deepEqual(statusOf(rig).resources, {});
  assert.equal(statusOf(rig).allocatedResources, undefined);
});

test("new amounts reach the running container, and the status when they are there", async (t) => {
  const rig = await running(t);
  rig.change(resized(rig.pod, large));
  await rig.until(() => assert.deepEqual(statusOf(rig).resources, large));
  assert.deepEqual(updates(rig), [
    'update main {"cpuShares":307,"cpuPeriod":100000,"cpuQuota":50000,"memoryLimitInBytes":268435456}',
  ]);
  assert.deepEqual(statusOf(rig).allocatedResources, large.requests);
  assert.equal(statusOf(rig).restartCount, 0);
  await rig.until(() => assert.equal(condition(rig, "PodResizeInProgress"), undefined));
  const said = rig.events.filter((text) => text.includes("Resize")).map((text) => text.split(":")[0]);
  assert.deepEqual(said, ["Normal ResizeStarted Pod resize started", "Normal ResizeCompleted Pod resize completed"]);
});

test("a status tells of the generation that it follows from, also when the pod was changed meanwhile", async (t) => {
  const pulling = Promise.withResolvers<void>();
  const pulled = Promise.withResolvers<void>();
  const ensure = async () => {
    pulling.resolve();
    await pulled.promise;
    return { id: "sha256:1" };
  };
  const said: PodStatus[] = [];
  const statuses = {
    latest: (of: Pod) => of,
    set: (_: Pod, status: PodStatus) => said.push(status),
    flush: async () => {},
    forget: () => {},
  };
  const context = { images: { ensure, forget: () => {} }, statuses } as unknown as Partial<WorkerContext>;
  const rig = workerRig(t, pod({ containers: [container("main", { resources: small })] }), context);
  await pulling.promise;
  rig.change(resized(rig.pod, large));
  pulled.resolve();
  const seen = ({ containerStatuses, conditions, observedGeneration }: PodStatus) => ({
    generation: observedGeneration,
    isThere: isDeepStrictEqual(containerStatuses![0]!.resources, large),
    isUnderWay: conditions!.some(({ type }) => type === "PodResizeInProgress"),
  });
  const settled = { generation: 2, isThere: true, isUnderWay: false };
  await rig.until(() => assert.deepEqual(seen(said.at(-1)!), settled));
  const early = said.map(seen).filter((one) => one.generation === 2 && !one.isThere && !one.isUnderWay);
  assert.deepEqual(early, []);
});

test("a container that needs a restart for it is restarted with the new amounts", async (t) => {
  const rig = await running(t, { resizePolicy: [{ resourceName: "memory", restartPolicy: "RestartContainer" }] });
  rig.change(resized(rig.pod, { ...small, requests: { ...small.requests, cpu: "150m" } }));
  await rig.until(() => assert.equal(updates(rig).length, 1, "processor time alone needs no restart"));
  rig.change(resized(rig.pod, large));
  await inTime(rig, () => assert.equal(statusOf(rig).restartCount, 1));
  await rig.until(() => assert.deepEqual(statusOf(rig).resources, large));
  assert.equal(rig.runtime.container("main").resources.memoryLimitInBytes, 256 * 1024 ** 2);
  assert.equal(updates(rig).length, 1);
  assert.ok(rig.events.includes("Normal Killing Container main resize requires restart"));
  await rig.until(() => assert.equal(condition(rig, "PodResizeInProgress"), undefined));
});

test("what the node can never give is said to be infeasible, and the container keeps what it has", async (t) => {
  const refusal: PendingResize = { reason: "Infeasible", message: "Node didn't have enough capacity: cpu" };
  const rig = await running(t, {}, { fit: () => refusal });
  rig.change(resized(rig.pod, large));
  await rig.until(() => {
    const { status, reason, message, observedGeneration } = condition(rig, "PodResizePending") ?? {};
    assert.deepEqual([status, reason, message, observedGeneration], ["True", refusal.reason, refusal.message, 2]);
  });
  assert.deepEqual(statusOf(rig).resources, small);
  assert.deepEqual(updates(rig), []);
  rig.change(resized(rig.pod, small));
  await rig.until(() => assert.equal(condition(rig, "PodResizePending"), undefined));
});

test("a resize that has no room yet waits for it, also over a restart of the agent", async (t) => {
  let refusal: PendingResize | undefined = { reason: "Deferred", message: "Node didn't have enough resource: cpu" };
  const rig = await running(t, {}, { fit: () => refusal });
  rig.change(resized(rig.pod, large));
  await rig.until(() => assert.equal(condition(rig, "PodResizePending")?.reason, "Deferred"));
  rig.restart();
  await rig.until(() => assert.deepEqual(rig.worker.granted.spec?.containers[0]?.resources, small));
  assert.deepEqual(statusOf(rig).resources, small);
  assert.deepEqual(statusOf(rig).allocatedResources, small.requests);
  refusal = undefined;
  await inTime(rig, () => assert.deepEqual(statusOf(rig).resources, large));
  assert.equal(updates(rig).length, 1);
  await rig.until(() => assert.equal(condition(rig, "PodResizePending"), undefined));
});

test("memory in use is not taken away: the resize says so, and is tried again", async (t) => {
  const rig = await running(t);
  rig.runtime.memoryUsage = 100 * 1024 ** 2;
  const less = { requests: { cpu: "100m", memory: "32Mi" }, limits: { cpu: "200m", memory: "64Mi" } };
  rig.change(resized(rig.pod, less));
  await rig.until(() => assert.equal(condition(rig, "PodResizeInProgress")?.reason, "Error"));
  assert.equal(
    condition(rig, "PodResizeInProgress")?.message,
    'cannot decrease memory limits: attempting to set container "main" memory limit (67108864) below current usage (104857600)',
  );
  assert.equal(statusOf(rig).resources?.limits?.["memory"], "128Mi");
  rig.runtime.memoryUsage = 1024;
  await inTime(rig, () => assert.deepEqual(statusOf(rig).resources, less));
});

test("a runtime that fails to change a container is asked again", async (t) => {
  const rig = await running(t);
  rig.runtime.failUpdate = new Error("device or resource busy");
  rig.change(resized(rig.pod, large));
  await rig.until(() => assert.equal(condition(rig, "PodResizeInProgress")?.message, "device or resource busy"));
  rig.runtime.failUpdate = undefined;
  await inTime(rig, () => assert.deepEqual(statusOf(rig).resources, large));
});

test("an agent that comes back amid a resize looks at the runtime for what is left of it", async (t) => {
  const rig = await running(t);
  rig.runtime.failUpdate = new Error("the agent was stopped here");
  rig.change(resized(rig.pod, large));
  await rig.until(() => assert.ok(condition(rig, "PodResizeInProgress")));
  rig.runtime.failUpdate = undefined;
  rig.restart();
  await inTime(rig, () => assert.deepEqual(statusOf(rig).resources, large));
  assert.equal(updates(rig).length, 1);
  await rig.until(() => assert.equal(condition(rig, "PodResizeInProgress"), undefined));
});
