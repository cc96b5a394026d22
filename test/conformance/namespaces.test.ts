/** Namespaces, as their conformance tests ask. */
import assert from "node:assert/strict";
import {
  configMaps,
  type Namespace,
  namespaces,
  pods,
  serviceAccounts,
  services,
} from "../../src/api/generated/core-v1.ts";
import { isLater } from "./api-operations.ts";
import { type Cluster, conformance, withHollowNodes } from "./conformance.ts";
import { isGone, soon } from "./waiting.ts";

withHollowNodes({ names: ["one"] });

const area = "[sig-api-machinery] Namespaces [Serial] should";
const spec = { containers: [{ name: "c", image: "i" }] };

/** A second namespace, with the service account that its pods need. */
async function makeNamespace({ client }: Cluster, name: string): Promise<string> {
  await client.create(namespaces, { metadata: { name } });
  await soon(() => client.get(serviceAccounts, "default", { namespace: name }));
  return name;
}

conformance(
  `${area} ensure that all pods are removed when a namespace is deleted [Conformance]`,
  async (_, cluster) => {
    const { client } = cluster;
    const namespace = await makeNamespace(cluster, "with-pods");
    await client.create(pods, { metadata: { name: "p", namespace }, spec }, { namespace });
    await soon(async () => assert.equal((await client.get(pods, "p", { namespace })).status?.phase, "Running"));
    await client.delete(namespaces, namespace);
    await isGone(client, namespaces, namespace);
    await makeNamespace(cluster, namespace);
    assert.deepEqual((await client.list(pods, { namespace })).items, []);
  },
);

conformance(
  `${area} ensure that all services are removed when a namespace is deleted [Conformance]`,
  async (_, cluster) => {
    const { client } = cluster;
    const namespace = await makeNamespace(cluster, "with-services");
    const service = { metadata: { name: "s", namespace }, spec: { selector: { a: "b" }, ports: [{ port: 80 }] } };
    await client.create(services, service, { namespace });
    await client.delete(namespaces, namespace);
    await isGone(client, namespaces, namespace);
    await makeNamespace(cluster, namespace);
    await assert.rejects(client.get(services, "s", { namespace }), { code: 404 });
  },
);

conformance(`${area} patch a Namespace [Conformance]`, async (_, { client, namespace }) => {
  const before = await client.get(namespaces, namespace);
  const body = { metadata: { labels: { testLabel: "testValue" } } };
  const patched = await client.patch(namespaces, namespace, { type: "strategic", body });
  assert.ok(isLater(patched, before));
  assert.equal((await client.get(namespaces, namespace)).metadata.labels?.["testLabel"], "testValue");
});

conformance(`${area} apply changes to a namespace status [Conformance]`, async (_, { client, namespace }) => {
  const status = { subresource: "status" };
  assert.equal((await client.get(namespaces, namespace, status)).status?.phase, "Active");
  const condition = (type: string) => ({ type, status: "True", reason: "Test", message: `by ${type}` });
  const body = { metadata: { annotations: { a: "b" } }, status: { conditions: [condition("Patch")] } };
  const patched = await client.patch(namespaces, namespace, { type: "merge", body }, status);
  assert.equal(patched.metadata.annotations?.["a"], "b");
  assert.equal(patched.status?.conditions?.at(-1)?.message, "by Patch");
  const updated = await soon(async () => {
    const present = await client.get(namespaces, namespace, status);
    const conditions = [...(present.status?.conditions ?? []), condition("Update")];
    return client.update(namespaces, { ...present, status: { ...present.status, conditions } }, status);
  });
  assert.deepEqual(
    updated.status?.conditions?.map(({ type }) => type),
    ["Patch", "Update"],
  );
});

conformance(`${area} apply an update to a Namespace [Conformance]`, async (_, { client, namespace }) => {
  const updated = await soon(async () => {
    const present = await client.get(namespaces, namespace);
    const labels = { ...present.metadata.labels, [namespace]: "updated" };
    return client.update(namespaces, { ...present, metadata: { ...present.metadata, labels } });
  });
  assert.equal(updated.metadata.labels?.[namespace], "updated");
});

conformance(`${area} apply a finalizer to a Namespace [Conformance]`, async (_, { namespace, client, read }) => {
  const finalizer = "test.example.com/finalizer";
  const change = (next: (finalizers: string[]) => string[]) =>
    soon(async () => {
      const present = await client.get(namespaces, namespace);
      const body = { ...present, spec: { finalizers: next(present.spec?.finalizers ?? []) } };
      return read<Namespace>(`/api/v1/namespaces/${namespace}/finalize`, { method: "PUT", body });
    });
  const added = await change((present) => [...present, finalizer]);
  assert.deepEqual(added.spec?.finalizers, ["kubernetes", finalizer]);
  const removed = await change((present) => present.filter((name) => name !== finalizer));
  assert.deepEqual(removed.spec?.finalizers, ["kubernetes"]);
});

conformance(
  "[sig-api-machinery] OrderedNamespaceDeletion namespace deletion should delete pod first [Conformance]",
  async (_, cluster) => {
    const { client } = cluster;
    const namespace = await makeNamespace(cluster, "ordered");
    const metadata = { name: "p", namespace, finalizers: ["test.example.com/finalizer"] };
    await client.create(pods, { metadata, spec }, { namespace });
    await soon(async () => assert.equal((await client.get(pods, "p", { namespace })).status?.phase, "Running"));
    await client.create(configMaps, { metadata: { name: "m", namespace }, data: { key: "value" } }, { namespace });
    await client.delete(namespaces, namespace);
    await soon(async () => {
      const { status } = await client.get(namespaces, namespace);
      assert.equal(status?.phase, "Terminating");
      assert.ok(status?.conditions?.some(({ type }) => type === "NamespaceDeletionContentFailure"));
    });
    // The pod goes first: nothing else is touched while it is there.
    assert.ok((await client.get(pods, "p", { namespace })).metadata.deletionTimestamp);
    assert.equal((await client.get(configMaps, "m", { namespace })).metadata.deletionTimestamp, undefined);
    const free = { metadata: { finalizers: null } };
    await client.patch(pods, "p", { type: "merge", body: free }, { namespace });
    await isGone(client, namespaces, namespace);
  },
);
