/** What strict validation of fields says, as its conformance tests ask. */
import assert from "node:assert/strict";
import type { Status } from "../../src/machinery/status.ts";
import { type Cluster, conformance } from "./conformance.ts";
import { definitionOf } from "./custom-resource.ts";

const area = "[sig-api-machinery] FieldValidation should";

/** A Deployment as text, with more in its metadata and its spec. */
const deployment = (metadata: string, spec: string) => `{
  "apiVersion": "apps/v1", "kind": "Deployment",
  "metadata": { ${metadata} "name": "d", "labels": { "app": "x" } },
  "spec": { ${spec}
    "selector": { "matchLabels": { "app": "x" } },
    "template": {
      "metadata": { "labels": { "app": "x" } },
      "spec": { "containers": [{ "name": "c", "image": "i" }] }
    }
  }
}`;

async function refusesDeployment({ send, namespace }: Cluster, body: string, why: string): Promise<void> {
  const path = `/apis/apps/v1/namespaces/${namespace}/deployments?fieldManager=me&fieldValidation=Strict`;
  const { code, json } = await send(path, { method: "POST", body });
  assert.equal(code, 400);
  assert.match(json<Status>().message ?? "", new RegExp(`strict decoding error: ${why}`));
}

conformance(`${area} detect unknown and duplicate fields of a typed object [Conformance]`, (_, cluster) =>
  refusesDeployment(
    cluster,
    deployment("", '"unknownField": "foo", "replicas": 2, "replicas": 3,'),
    'unknown field "spec.unknownField", duplicate field "spec.replicas"',
  ),
);

conformance(`${area} detect unknown metadata fields of a typed object [Conformance]`, (_, cluster) =>
  refusesDeployment(cluster, deployment('"unknownMeta": "foo",', ""), 'unknown field "metadata.unknownMeta"'),
);

const port = {
  type: "object",
  required: ["containerPort", "protocol"],
  properties: {
    containerPort: { type: "integer", format: "int32" },
    hostPort: { type: "integer", format: "int32" },
    name: { type: "string" },
    protocol: { type: "string" },
  },
};
const fields = {
  foo: { type: "string" },
  cronSpec: { type: "string", pattern: "^(\\d+|\\*)(/\\d+)?(\\s+(\\d+|\\*)(/\\d+)?){4}$" },
  ports: {
    type: "array",
    "x-kubernetes-list-type": "map",
    "x-kubernetes-list-map-keys": ["containerPort", "protocol"],
    items: port,
  },
};

/** Applies an object of a custom resource whose spec has this schema (none: any), strictly. */
async function applyCustom(
  cluster: Cluster,
  spec: object | undefined,
  more: { root?: string; metadata?: string; spec: string },
) {
  const { create, type } = definitionOf(cluster, {
    scope: "Cluster",
    versions: [
      { name: "v1beta1", ...(spec ? { schema: { openAPIV3Schema: { type: "object", properties: { spec } } } } : {}) },
    ],
  });
  await create();
  const body = `
apiVersion: ${type.group}/v1beta1
kind: ${type.kind}
metadata:
  name: mytest${more.metadata ?? ""}
${more.root ?? ""}spec:
${more.spec}  cronSpec: "* * * * */5"
  ports:
  - name: x
    containerPort: 80
    protocol: TCP`;
  const path = `/apis/${type.group}/v1beta1/${type.resource}/mytest?fieldManager=me&fieldValidation=Strict`;
  return cluster.send(path, { method: "PATCH", headers: { "content-type": "application/apply-patch+yaml" }, body });
}

conformance(`${area} create/apply a valid CR for CRD with validation schema [Conformance]`, async (_, cluster) => {
  const reply = await applyCustom(cluster, { type: "object", properties: fields }, { spec: "  foo: foo1\n" });
  assert.equal(reply.code, 201, reply.text);
});

conformance(
  `${area} create/apply a CR with unknown fields for CRD with no validation schema [Conformance]`,
  async (_, cluster) => {
    const reply = await applyCustom(cluster, undefined, { spec: "  unknown: uk1\n" });
    assert.equal(reply.code, 201, reply.text);
  },
);

conformance(
  `${area} create/apply an invalid CR with extra properties for CRD with validation schema [Conformance]`,
  async (_, cluster) => {
    const spec = { type: "object", properties: fields };
    const reply = await applyCustom(cluster, spec, { root: "unknownField: unknown\n", spec: "  foo: foo1\n" });
    assert.ok(reply.code >= 400);
    assert.match(reply.json<Status>().message ?? "", /\.unknownField: field not declared in schema/);
  },
);

conformance(
  `${area} detect unknown metadata fields in both the root and embedded object of a CR [Conformance]`,
  async (_, cluster) => {
    const metadata = { type: "object", properties: { name: { type: "string" } } };
    const template = {
      type: "object",
      "x-kubernetes-embedded-resource": true,
      properties: { metadata, spec: { type: "object" } },
    };
    const spec = { type: "object", "x-kubernetes-preserve-unknown-fields": true, properties: { template, ...fields } };
    const reply = await applyCustom(cluster, spec, {
      metadata: "\n  unknownMeta: unknown",
      spec: `  template:
    apiversion: foo/v1
    kind: Sub
    metadata:
      unknownSubMeta: unknown
      name: subobject
      namespace: ${cluster.namespace}
  foo: foo1
`,
    });
    assert.ok(reply.code >= 400);
    const { message = "" } = reply.json<Status>();
    assert.match(message, /\.spec\.template\.metadata\.unknownSubMeta: field not declared in schema/);
    assert.match(message, /\.metadata\.unknownMeta: field not declared in schema/);
  },
);

conformance(`${area} detect duplicates in a CR when preserving unknown fields [Conformance]`, async (_, cluster) => {
  const spec = { type: "object", "x-kubernetes-preserve-unknown-fields": true, properties: fields };
  const reply = await applyCustom(cluster, spec, { spec: "  unknown: uk1\n  foo: foo1\n  foo: foo2\n" });
  assert.equal(reply.code, 400);
  assert.match(reply.json<Status>().message ?? "", /line 9: key "foo" already set in map/);
});
