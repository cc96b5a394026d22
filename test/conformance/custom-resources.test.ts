/** Definitions of custom resources and their objects, as their conformance tests ask. */
import assert from "node:assert/strict";
import { customResourceDefinitions } from "../../src/api/generated/apiextensions-v1.ts";
import { exerciseApi, isDiscovered, isLater } from "./api-operations.ts";
import { conformance } from "./conformance.ts";
import { definitionOf } from "./custom-resource.ts";
import { isGone, soon, watchUntil } from "./waiting.ts";

const area = "[sig-api-machinery] CustomResourceDefinition resources [Privileged:ClusterAdmin]";

conformance(
  `${area} Simple CustomResourceDefinition creating/deleting custom resource definition objects works [Conformance]`,
  async (_, cluster) => {
    const { create, name } = definitionOf(cluster, { versions: [{ name: "v1" }] });
    await create();
    await cluster.client.delete(customResourceDefinitions, name);
    await isGone(cluster.client, customResourceDefinitions, name);
  },
);

conformance(
  `${area} Simple CustomResourceDefinition listing custom resource definition objects works [Conformance]`,
  async (_, cluster) => {
    const { client, namespace } = cluster;
    const names: string[] = [];
    for (let index = 0; index < 10; index++) {
      const { body, name } = definitionOf(cluster, {
        plural: `gadgets${index}`,
        kind: `Gadget${index}`,
        versions: [{ name: "v1" }],
      });
      await client.create(customResourceDefinitions, { ...body, metadata: { name, labels: { list: namespace } } });
      names.push(name);
    }
    const labelSelector = `list=${namespace}`;
    const { items } = await client.list(customResourceDefinitions, { labelSelector });
    assert.deepEqual(
      items.map(({ metadata }) => metadata.name),
      names,
    );
    assert.deepEqual(
      items.map(({ spec }) => spec.names.kind),
      names.map((_, index) => `Gadget${index}`),
    );
    await client.deleteCollection(customResourceDefinitions, { labelSelector });
    await soon(async () =>
      assert.deepEqual((await client.list(customResourceDefinitions, { labelSelector })).items, []),
    );
  },
);

conformance(
  `${area} Simple CustomResourceDefinition getting/updating/patching custom resource definition status sub-resource works [Conformance]`,
  async (_, cluster) => {
    const { client } = cluster;
    const { create, name } = definitionOf(cluster, { scope: "Cluster", versions: [{ name: "v1" }] });
    const made = await create();
    const status = { subresource: "status" };
    const updated = await soon(async () => {
      const present = await client.get(customResourceDefinitions, name, status);
      assert.deepEqual(present.spec, made.spec);
      // Conditions of no type are kept as they are: it is the administrator who writes here.
      const conditions = [...(present.status?.conditions ?? []), { message: "updated", type: "", status: "" }];
      return client.update(
        customResourceDefinitions,
        { ...present, status: { ...present.status!, conditions } },
        status,
      );
    });
    assert.ok(updated.status?.conditions?.some(({ message }) => message === "updated"));
    const body = [{ op: "add", path: "/status/conditions", value: [{ message: "patched" }] }];
    const patched = await client.patch(customResourceDefinitions, name, { type: "json", body }, status);
    assert.ok(patched.status?.conditions?.some(({ message }) => message === "patched"));
  },
);

conformance(
  `${area} should include custom resource definition resources in discovery documents [Conformance]`,
  (_, cluster) => isDiscovered(cluster, customResourceDefinitions, "status"),
);

conformance(
  `${area} custom resource defaulting for requests and from storage works [Conformance]`,
  async (_, cluster) => {
    const { client } = cluster;
    const properties = { a: { type: "string" }, b: { type: "string" } };
    const { create, name, type } = definitionOf(cluster, {
      scope: "Cluster",
      versions: [{ name: "v1", schema: { openAPIV3Schema: { type: "object", properties } } }],
    });
    await create();
    const first = await client.create(type, { metadata: { name: "first" } });
    const path = (field: string) => `/spec/versions/0/schema/openAPIV3Schema/properties/${field}/default`;
    const change = (body: object[]) => client.patch(customResourceDefinitions, name, { type: "json", body });
    await change([{ op: "add", path: path("a"), value: "A" }]);
    await soon(async () => assert.equal((await client.get(type, "first"))["a"], "A"));
    const second = await client.create(type, { metadata: { name: "second" } });
    assert.equal(second["a"], "A");
    await change([
      { op: "remove", path: path("a") },
      { op: "add", path: path("b"), value: "B" },
    ]);
    await soon(async () => assert.equal((await client.get(type, "second"))["b"], "B"));
    // What was stored with its default keeps it; what never was, has lost it.
    assert.equal((await client.get(type, "second"))["a"], "A");
    assert.equal((await client.get(type, "first"))["a"], undefined);
    assert.ok(isLater(second, first));
  },
);

conformance(
  "[sig-api-machinery] CustomResourceDefinition Watch [Privileged:ClusterAdmin] CustomResourceDefinition Watch watch on custom resource definition objects [Conformance]",
  async (_, cluster) => {
    const { create, type } = definitionOf(cluster, { scope: "Cluster", versions: [{ name: "v1" }] });
    await create();
    const { client } = cluster;
    const resourceVersion = (await client.list(type)).metadata.resourceVersion ?? "";
    let gone = 0;
    const seen = watchUntil(client, type, { resourceVersion }, (event) => event.type === "DELETED" && ++gone === 2);
    for (const name of ["a", "b"]) await client.create(type, { metadata: { name }, content: "first" });
    for (const name of ["a", "b"]) await client.patch(type, name, { type: "merge", body: { content: "second" } });
    for (const name of ["a", "b"]) await client.delete(type, name);
    assert.deepEqual(
      (await seen).map((event) => `${event.type} ${event.object.metadata.name} ${event.object["content"]}`),
      [
        "ADDED a first",
        "ADDED b first",
        "MODIFIED a second",
        "MODIFIED b second",
        "DELETED a second",
        "DELETED b second",
      ],
    );
    // The objects of a definition are served with every verb.
    await exerciseApi(cluster, { type, make: () => ({ metadata: {}, content: "any" }) });
  },
);
