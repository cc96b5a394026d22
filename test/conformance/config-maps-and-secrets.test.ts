/** ConfigMaps and Secrets, as their conformance tests ask of the API. */
import assert from "node:assert/strict";
import { type ConfigMap, configMaps, secrets } from "../../src/api/generated/core-v1.ts";
import { isLater } from "./api-operations.ts";
import { type Cluster, conformance } from "./conformance.ts";
import { isGone, summary, watchUntil } from "./waiting.ts";

const maps = "[sig-node] ConfigMap should";

conformance(`${maps} run through a ConfigMap lifecycle [Conformance]`, async (_, { client, namespace }) => {
  const scope = { namespace };
  const name = "m";
  const made = await client.create(
    configMaps,
    { metadata: { name, namespace, labels: { mark: namespace } }, data: { a: "b" } },
    scope,
  );
  const labelSelector = `mark=${namespace}`;
  const seen = watchUntil(
    client,
    configMaps,
    { labelSelector, resourceVersion: made.metadata.resourceVersion! },
    ({ type }) => type === "DELETED",
  );
  const patched = await client.patch(
    configMaps,
    name,
    { type: "strategic", body: { metadata: { labels: { patched: "yes" } }, data: { a: "c" } } },
    scope,
  );
  assert.ok(isLater(patched, made));
  const read = await client.get(configMaps, name, scope);
  assert.deepEqual([read.data, read.metadata.labels?.["patched"]], [{ a: "c" }, "yes"]);
  assert.equal((await client.list(configMaps, { labelSelector })).items[0]?.data?.["a"], "c");
  await client.deleteCollection(configMaps, { ...scope, labelSelector });
  assert.deepEqual(summary(await seen), ["MODIFIED m", "DELETED m"]);
  assert.deepEqual((await client.list(configMaps, { labelSelector })).items, []);
});

conformance(
  `${maps} update ConfigMap successfully [NodeConformance] [Conformance]`,
  async (_, { client, namespace }) => {
    const scope = { namespace };
    const metadata = { name: "m", namespace };
    await client.create(configMaps, { metadata, data: { a: "b" } }, scope);
    // Without a revision, so that it is not asked what is there.
    await client.update(configMaps, { metadata, data: { data: "value" } }, scope);
    assert.deepEqual((await client.get(configMaps, "m", scope)).data, { data: "value" });
  },
);

conformance(`${maps} fail to create ConfigMap with empty key [Conformance]`, (_, { client, namespace }) =>
  assert.rejects(client.create(configMaps, { metadata: { name: "m", namespace }, data: { "": "v" } }, { namespace }), {
    code: 422,
    reason: "Invalid",
  }),
);

const node = "[sig-node] Secrets should";

conformance(`${node} fail to create secret due to empty secret key [Conformance]`, (_, { client, namespace }) =>
  assert.rejects(client.create(secrets, { metadata: { name: "s", namespace }, data: { "": "dg==" } }, { namespace }), {
    code: 422,
    reason: "Invalid",
  }),
);

conformance(`${node} patch a secret [Conformance]`, async (_, { client, namespace }) => {
  const scope = { namespace };
  const name = "s";
  const labels = { mark: namespace };
  const made = await client.create(
    secrets,
    { metadata: { name, namespace, labels }, data: { key: "dmFsdWU=" }, type: "Opaque" },
    scope,
  );
  const labelSelector = `mark=${namespace}`;
  assert.equal((await client.list(secrets, { labelSelector })).items.length, 1);
  const body = { metadata: { labels: { patched: "yes" } }, data: { key: "dmFsdWUx" } };
  assert.ok(isLater(await client.patch(secrets, name, { type: "strategic", body }, scope), made));
  const [found] = (await client.list(secrets, { labelSelector: `${labelSelector},patched=yes` })).items;
  assert.equal(found?.data?.["key"], "dmFsdWUx");
  await client.deleteCollection(secrets, { ...scope, labelSelector });
  await isGone(client, secrets, name, scope);
});

type Kept = Pick<ConfigMap, "metadata" | "data" | "immutable">;

async function isImmutable({ client, namespace }: Cluster, type: typeof configMaps): Promise<void> {
  const scope = { namespace };
  const first: Kept = await client.create(type, { metadata: { name: "k", namespace }, data: { a: "YQ==" } }, scope);
  const changed = await client.update(type, { ...first, data: { a: "YQ==", b: "Yg==" } }, scope);
  const fixed = await client.update(type, { ...changed, immutable: true }, scope);
  const refused = { code: 422, reason: "Invalid", message: /immutable/ };
  await assert.rejects(client.update(type, { ...fixed, data: { a: "Yw==", b: "Yg==" } }, scope), refused);
  await assert.rejects(client.update(type, { ...fixed, immutable: false }, scope), refused);
  const { immutable: _, ...without } = fixed;
  await assert.rejects(client.update(type, without, scope), refused);
  // What is not its content may change.
  const labels = { a: "b" };
  const labelled = await client.update(type, { ...fixed, metadata: { ...fixed.metadata, labels } }, scope);
  assert.deepEqual([labelled.metadata.labels, labelled.data], [labels, { a: "YQ==", b: "Yg==" }]);
  await client.delete(type, "k", scope);
  await isGone(client, type, "k", scope);
}

conformance("[sig-storage] ConfigMap should be immutable if `immutable` field is set [Conformance]", (_, cluster) =>
  isImmutable(cluster, configMaps),
);
conformance("[sig-storage] Secrets should be immutable if `immutable` field is set [Conformance]", (_, cluster) =>
  isImmutable(cluster, secrets as typeof configMaps),
);
