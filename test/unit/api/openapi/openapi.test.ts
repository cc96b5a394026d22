import assert from "node:assert/strict";
import { test } from "node:test";
import { openApiV2 } from "../../../../src/api/openapi/v2.ts";
import { openApiV3, openApiV3Index } from "../../../../src/api/openapi/v3.ts";
import { builtInResources } from "../../../../src/api/registry.ts";
import type { ResourceFacts } from "../../../../src/api/resource.ts";
import type { Any } from "../support.ts";

const version = "v1.36.0";

/** All references of a document. */
function references(value: Any, found = new Set<string>()): Set<string> {
  if (typeof value !== "object" || value === null) return found;
  if (typeof value.$ref === "string") found.add(value.$ref);
  for (const entry of Object.values(value)) references(entry, found);
  return found;
}

test("the index names a document for each group-version, and its hash follows what is served", () => {
  const index = openApiV3Index(builtInResources, version);
  assert.equal(Object.keys(index.paths).length, 22);
  assert.match(index.paths["api/v1"]!.serverRelativeURL, /^\/openapi\/v3\/api\/v1\?hash=[0-9A-F]{64}$/);
  const fewer = builtInResources.filter(({ resource }) => resource !== "pods");
  const other = openApiV3Index(fewer, version);
  assert.notEqual(other.paths["api/v1"]!.serverRelativeURL, index.paths["api/v1"]!.serverRelativeURL);
  assert.equal(other.paths["apis/apps/v1"]!.serverRelativeURL, index.paths["apis/apps/v1"]!.serverRelativeURL);
});

test("every document of version 3 holds all schemas that it refers to", async () => {
  for (const path of Object.keys(openApiV3Index(builtInResources, version).paths)) {
    const [, group = "", groupVersion = ""] = path === "api/v1" ? ["", "", "v1"] : path.split("/");
    const document: Any = await openApiV3(builtInResources, group, groupVersion, version);
    for (const reference of references(document)) {
      const name = reference.replace("#/components/schemas/", "");
      assert.ok(document.components.schemas[name], `${path}: ${reference}`);
    }
  }
});

test("kubectl finds the kind and fieldValidation on PATCH, and the extensions in schemas", async () => {
  const document: Any = await openApiV3(builtInResources, "apps", "v1", version);
  const { patch } = document.paths["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"];
  assert.deepEqual(patch["x-kubernetes-group-version-kind"], { group: "apps", version: "v1", kind: "Deployment" });
  const names = patch.parameters.map(({ name }: { name: string }) => name);
  for (const name of ["dryRun", "fieldManager", "fieldValidation", "force"]) assert.ok(names.includes(name), name);
  const { schemas } = document.components;
  assert.deepEqual(schemas["io.k8s.api.apps.v1.Deployment"]["x-kubernetes-group-version-kind"], [
    { group: "apps", version: "v1", kind: "Deployment" },
  ]);
  const { containers } = schemas["io.k8s.api.core.v1.PodSpec"].properties;
  assert.equal(containers["x-kubernetes-patch-merge-key"], "name");
  assert.deepEqual(containers["x-kubernetes-list-map-keys"], ["name"]);
  assert.match(containers.description, /List of containers/);
  assert.equal(schemas["io.k8s.apimachinery.pkg.apis.meta.v1.LabelSelector"]["x-kubernetes-map-type"], "atomic");
});

test("version 2 describes everything in one document, with references that resolve", async () => {
  const document: Any = await openApiV2(builtInResources, version);
  for (const reference of references(document)) {
    assert.ok(document.definitions[reference.replace("#/definitions/", "")], reference);
  }
  const operation = document.paths["/api/v1/namespaces/{namespace}/pods"].post;
  assert.equal(operation.operationId, "createCoreV1NamespacedPod");
  assert.equal(document.definitions["io.k8s.apimachinery.pkg.util.intstr.IntOrString"].format, "int-or-string");
});

test("custom resources are described, with a list of their own", async () => {
  const [pods] = builtInResources.filter(({ resource }) => resource === "pods");
  const facts: ResourceFacts = {
    ...pods!,
    group: "stable.example.com",
    resource: "crontabs",
    kind: "CronTab",
    listKind: "CronTabList",
    subresources: {},
    selectableFields: {},
    custom: true,
    schema: { type: "object", fields: {} },
    customSchema: {
      type: "object",
      properties: {
        spec: { type: "object", additionalProperties: { type: "integer", format: "int64" } },
        any: { type: "object", "x-kubernetes-preserve-unknown-fields": true, properties: { a: { type: "string" } } },
        none: { type: "string", nullable: true, pattern: "a|b" },
      },
      required: ["none", "spec"],
      oneOf: [{ required: ["any"] }],
    },
  };
  const document: Any = await openApiV3([facts], "stable.example.com", "v1", version);
  const { schemas } = document.components;
  assert.deepEqual(schemas["com.example.stable.v1.CronTab"].properties.spec, {
    type: "object",
    additionalProperties: { type: "integer", format: "int64" },
  });
  assert.deepEqual(schemas["com.example.stable.v1.CronTabList"].required, ["items"]);
  const { none } = schemas["com.example.stable.v1.CronTab"].properties;
  assert.deepEqual(none, { type: "string", nullable: true, pattern: "a|b" });

  // Version 2 lacks words for what may be null and for alternatives, and takes properties for all that there are.
  const { definitions }: Any = await openApiV2([facts], version);
  const { properties, ...rest } = definitions["com.example.stable.v1.CronTab"];
  assert.deepEqual(
    [properties.any, properties.none],
    [{ "x-kubernetes-preserve-unknown-fields": true }, { pattern: "a|b" }],
  );
  assert.deepEqual([rest.required, rest.oneOf], [["spec"], undefined]);
});
