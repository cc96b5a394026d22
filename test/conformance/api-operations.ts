import assert from "node:assert/strict";
import type { Patch } from "../../src/client/client.ts";
import type { KubeList, KubeObject, ResourceType } from "../../src/machinery/object.ts";
import { apiVersionOf } from "../../src/machinery/object.ts";
import type { Cluster } from "./conformance.ts";
import { isGone, soon, watchUntil } from "./waiting.ts";

export interface ApiOperations<T extends KubeObject> {
  readonly type: ResourceType<T>;
  /** The body of a new one; its name, namespace and label are set here. */
  readonly make: () => Omit<T, "metadata"> & { metadata?: KubeObject["metadata"] };
  /** What a merge patch of the status writes, and how it is told in what comes back. */
  readonly status?: { readonly patch: object; readonly check: (object: T) => void };
  /** Further patches that have to be taken, each with what it brings. */
  readonly patches?: readonly {
    readonly patch: Patch;
    readonly subresource?: string;
    readonly check: (object: T) => void;
  }[];
  /** Three names; default: the case's own. */
  readonly names?: readonly [string, string, string];
}

interface ResourceList {
  resources: { name: string; kind: string; namespaced: boolean; verbs: string[] }[];
}

/** Where the objects of a type are: all of them, or a namespace's. */
export function collectionPath(type: ResourceType, namespace?: string): string {
  const root = type.group === "" ? `/api/${type.version}` : `/apis/${apiVersionOf(type)}`;
  return `${root}${namespace ? `/namespaces/${namespace}` : ""}/${type.resource}`;
}

/** Finds a type where clients look for it: among the groups, the group's versions and the version's resources. */
export async function isDiscovered(cluster: Cluster, type: ResourceType, ...subresources: string[]): Promise<void> {
  if (type.group !== "") {
    const { groups } = await cluster.read<{ groups: { name: string; versions: { version: string }[] }[] }>("/apis");
    const group = groups.find(({ name }) => name === type.group);
    assert.ok(
      group?.versions.some(({ version }) => version === type.version),
      `/apis lacks ${apiVersionOf(type)}`,
    );
    const { versions } = await cluster.read<{ versions: { groupVersion: string }[] }>(`/apis/${type.group}`);
    assert.ok(versions.some(({ groupVersion }) => groupVersion === apiVersionOf(type)));
  }
  const root = type.group === "" ? "/api/v1" : `/apis/${apiVersionOf(type)}`;
  const { resources } = await cluster.read<ResourceList>(root);
  for (const name of [type.resource, ...subresources.map((sub) => `${type.resource}/${sub}`)]) {
    const found = resources.find((resource) => resource.name === name);
    assert.equal(found?.namespaced, type.namespaced, `${root} lacks ${name}`);
  }
}

/**
 * Sends every verb of a type: discovery, create, get, list in a namespace and in all, watch, patch, update, the status
 * where it has one, delete and delete of a collection.
 */
export async function exerciseApi<T extends KubeObject>(cluster: Cluster, operations: ApiOperations<T>): Promise<void> {
  const { type, make, status } = operations;
  const { client } = cluster;
  const scope = type.namespaced ? { namespace: cluster.namespace } : {};
  await isDiscovered(cluster, type, ...(status ? ["status"] : []));

  const labelSelector = `exercise=${cluster.namespace}`;
  const create = (name: string) => {
    const body = make();
    const labels = { ...body.metadata?.labels, exercise: cluster.namespace };
    return client.create(
      type,
      { ...body, metadata: { ...body.metadata, name, ...scope, labels } } as unknown as T,
      scope,
    );
  };
  const all =
    operations.names ?? (["a", "b", "c"].map((suffix) => `${cluster.namespace}-${suffix}`) as [string, string, string]);
  const [name] = all;
  const first = await create(name);
  for (const other of all.slice(1)) await create(other);
  await assert.rejects(create(name), { code: 409, reason: "AlreadyExists" });

  const { metadata: got } = await client.get(type, name, scope);
  assert.equal(got.uid, first.metadata.uid);
  const names = ({ items }: KubeList<T>) => items.map(({ metadata }) => metadata.name).sort();
  const listed = await client.list(type, { ...scope, labelSelector });
  assert.deepEqual(names(listed), all);
  assert.deepEqual(names(await client.list(type, { labelSelector })), all);

  const resourceVersion = listed.metadata.resourceVersion ?? "";
  const seen = watchUntil(client, type, { ...scope, labelSelector, resourceVersion }, (event) => {
    return event.type === "DELETED" && event.object.metadata.name === name;
  });
  const patched = await client.patch(
    type,
    name,
    { type: "merge", body: { metadata: { annotations: { patched: "true" } } } },
    scope,
  );
  assert.equal(patched.metadata.annotations?.["patched"], "true");
  assert.ok(isLater(patched, first));
  for (const { patch, subresource, check } of operations.patches ?? []) {
    const options = { ...scope, fieldManager: "exercise", ...(subresource ? { subresource } : {}) };
    check(await client.patch(type, name, patch, options));
  }
  // Controllers write to some of them, too: what was read last may be older.
  const updated = await soon(async () => {
    const present = await client.get(type, name, scope);
    const annotations = { ...present.metadata.annotations, updated: "true" };
    return client.update(type, { ...present, metadata: { ...present.metadata, annotations } }, scope);
  });
  assert.deepEqual(
    [updated.metadata.annotations?.["patched"], updated.metadata.annotations?.["updated"]],
    ["true", "true"],
  );
  if (status) await exerciseStatus(cluster, type, name, status);

  await client.delete(type, name, scope);
  await isGone(client, type, name, scope);
  const events = (await seen).filter(({ object }) => object.metadata.name === name);
  assert.ok(events.some((event) => event.type === "MODIFIED" && event.object.metadata.annotations?.["patched"]));
  assert.ok(events.some((event) => event.type === "MODIFIED" && event.object.metadata.annotations?.["updated"]));

  assert.deepEqual(names(await client.list(type, { ...scope, labelSelector })), all.slice(1));
  await client.deleteCollection(type, { ...scope, labelSelector });
  await soon(async () => assert.deepEqual(names(await client.list(type, { ...scope, labelSelector })), []));
}

/** Whether an object's revision came after another's. */
export function isLater(object: KubeObject, than: KubeObject): boolean {
  return BigInt(object.metadata.resourceVersion ?? "0") > BigInt(than.metadata.resourceVersion ?? "0");
}

async function exerciseStatus<T extends KubeObject>(
  cluster: Cluster,
  type: ResourceType<T>,
  name: string,
  { patch, check }: NonNullable<ApiOperations<T>["status"]>,
): Promise<void> {
  const { client } = cluster;
  const scope = { ...(type.namespaced ? { namespace: cluster.namespace } : {}), subresource: "status" };
  const body = { metadata: { annotations: { statuspatched: "true" } }, status: patch };
  const patched = await client.patch(type, name, { type: "merge", body }, scope);
  check(patched);
  assert.equal(patched.metadata.annotations?.["statuspatched"], "true");
  const updated = await soon(async () => {
    const present = await client.get(type, name, scope);
    check(present);
    const annotations = { ...present.metadata.annotations, statusupdated: "true" };
    return client.update(type, { ...present, metadata: { ...present.metadata, annotations } }, scope);
  });
  assert.equal(updated.metadata.annotations?.["statusupdated"], "true");
  check(updated);
}
