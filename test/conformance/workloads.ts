import assert from "node:assert/strict";
import { type Pod, pods } from "../../src/api/generated/core-v1.ts";
import type { DeepReadonly, KubeObject, ResourceType } from "../../src/machinery/object.ts";
import { endedStatus, runningStatus } from "../support/hollow-nodes.ts";
import { collectionPath } from "./api-operations.ts";
import type { Cluster } from "./conformance.ts";
import { soon, watchUntil } from "./waiting.ts";

/** Pods whose image says how they fare on a hollow node: "unready" runs and is not ready, "exit-3" ends with code 3. */
export function statusByImage(pod: DeepReadonly<Pod>): NonNullable<Pod["status"]> {
  const image = pod.spec?.containers[0]?.image ?? "";
  const code = /^exit-(\d+)$/.exec(image)?.[1];
  if (code !== undefined) return endedStatus(pod, Number(code));
  return image.startsWith("unready") ? withReadiness(runningStatus(pod), false) : runningStatus(pod);
}

/** A pod's status with another readiness. */
export function withReadiness(status: NonNullable<Pod["status"]>, ready: boolean): NonNullable<Pod["status"]> {
  const value = ready ? "True" : "False";
  return {
    ...status,
    conditions: (status.conditions ?? []).map((condition) =>
      condition.type.endsWith("Ready") ? { ...condition, status: value } : condition,
    ),
    containerStatuses: (status.containerStatuses ?? []).map((container) => ({ ...container, ready })),
  };
}

/** Says of a pod whether it is ready, as its kubelet would. */
export async function setReadiness({ client, namespace }: Cluster, name: string, ready: boolean): Promise<void> {
  await soon(async () => {
    const pod = await client.get(pods, name, { namespace });
    assert.equal(pod.status?.phase, "Running");
    // Of this pod: another of its name may have taken its place.
    const { uid = "" } = pod.metadata;
    const body = { metadata: { uid }, status: withReadiness(pod.status ?? {}, ready) };
    await client.patch(pods, name, { type: "merge", body }, { namespace, subresource: "status" });
  });
}

export const templateOf = (labels: Record<string, string>, image = "i") => ({
  metadata: { labels },
  spec: { containers: [{ name: "c", image }] },
});

/** The present pods, those on their way out left aside. */
export async function podsOf({ client, namespace }: Cluster, labelSelector?: string): Promise<Pod[]> {
  const { items } = await client.list(pods, { namespace, ...(labelSelector ? { labelSelector } : {}) });
  return items.filter(({ metadata }) => !metadata.deletionTimestamp);
}

/** Waits until there are so many pods, all of them running. */
export async function areRunning(cluster: Cluster, count: number, labelSelector?: string): Promise<Pod[]> {
  return soon(async () => {
    const present = await podsOf(cluster, labelSelector);
    assert.deepEqual(
      present.map(({ status }) => status?.phase),
      Array(count).fill("Running"),
    );
    return present;
  });
}

interface Scale extends KubeObject {
  spec: { replicas?: number };
  status?: { replicas: number };
}

/** Reads, replaces and patches the scale of a workload that has one replica. */
export async function exerciseScale(
  { client, namespace, read }: Cluster,
  type: ResourceType<KubeObject & { spec?: { replicas?: number } }>,
  name: string,
): Promise<void> {
  const path = `${collectionPath(type, namespace)}/${name}/scale`;
  const replicas = async () => (await client.get(type, name, { namespace })).spec?.replicas;
  const scale = await soon(async () => {
    const present = await read<Scale>(path);
    assert.deepEqual([present.kind, present.apiVersion], ["Scale", "autoscaling/v1"]);
    assert.deepEqual([present.spec.replicas, present.status?.replicas], [1, 1]);
    return present;
  });
  // Without the revision, which the controller moves on.
  const { resourceVersion: _, ...metadata } = scale.metadata;
  const replaced = await read<Scale>(path, { method: "PUT", body: { ...scale, metadata, spec: { replicas: 2 } } });
  assert.equal(replaced.spec.replicas, 2);
  assert.equal(await replicas(), 2);
  const headers = { "content-type": "application/strategic-merge-patch+json" };
  await read<Scale>(path, { method: "PATCH", headers, body: { spec: { replicas: 4 } } });
  assert.equal(await replicas(), 4);
}

interface WithConditions extends KubeObject {
  status?: { conditions?: { type: string; status: string; reason?: string; message?: string }[] };
}

/** Writes conditions through a workload's status, by update and by patch, and sees each come by in a watch. */
export async function exerciseStatus<T extends WithConditions>(
  { client, namespace }: Cluster,
  type: ResourceType<T>,
  name: string,
): Promise<void> {
  const scope = { namespace, subresource: "status" };
  const condition = (of: string) => ({ type: of, status: "True", reason: "Test", message: `Set by ${of}` });
  const sees = async (of: string, resourceVersion: string) => {
    await watchUntil(client, type, { namespace, resourceVersion }, ({ object }) =>
      Boolean(object.metadata.name === name && object.status?.conditions?.some((found) => found.type === of)),
    );
  };
  const { metadata } = await client.get(type, name, scope);
  const start = metadata.resourceVersion ?? "";
  await soon(async () => {
    const present = await client.get(type, name, scope);
    const conditions = [...(present.status?.conditions ?? []), condition("StatusUpdate")];
    const updated = await client.update(type, { ...present, status: { ...present.status, conditions } } as T, scope);
    assert.ok(updated.status?.conditions?.some((found) => found.message === "Set by StatusUpdate"));
  });
  await sees("StatusUpdate", start);
  const body = { status: { conditions: [condition("StatusPatched")] } };
  const patched = await client.patch(type, name, { type: "merge", body }, scope);
  assert.ok(patched.status?.conditions?.some((found) => found.message === "Set by StatusPatched"));
  await sees("StatusPatched", start);
}
