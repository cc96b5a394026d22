/** What OpenAPI and kubectl say of custom resources, as the conformance tests of publishing ask. */
import assert from "node:assert/strict";
import { customResourceDefinitions } from "../../src/api/generated/apiextensions-v1.ts";
import { type Cluster, conformance } from "./conformance.ts";
import { type DefinitionOptions, definitionOf } from "./custom-resource.ts";
import { soon } from "./waiting.ts";

const area = "[sig-api-machinery] CustomResourcePublishOpenAPI [Privileged:ClusterAdmin]";

const bars = (properties: object, more: object = {}) => ({
  type: "array",
  description: "Bars of a gadget.",
  items: { type: "object", ...more, properties },
});
const text = (description: string, more: object = {}) => ({ type: "string", description, ...more });
const gadget = {
  type: "object",
  description: "A gadget of this test.",
  properties: {
    spec: {
      type: "object",
      description: "What a gadget should be.",
      properties: {
        bars: bars(
          {
            name: text("Name of the bar."),
            feeling: text("How it feels.", { enum: ["Great", "Down"] }),
            bazs: { type: "array", description: "Bazs of the bar.", items: { type: "string" } },
            age: text("Its age."),
          },
          { required: ["name"] },
        ),
      },
    },
    status: {
      type: "object",
      description: "What a gadget is.",
      properties: { bars: bars({ kind: text("Its kind.", { pattern: "in|out" }), ready: { type: "boolean" } }) },
    },
  },
};
const other = { type: "object", description: "Another thing of this test.", properties: { spec: { type: "object" } } };

/** The published schema of a kind, without what every object has. */
async function published({ read }: Cluster, name: string): Promise<Record<string, unknown> | undefined> {
  const { definitions } = await read<{ definitions: Record<string, Record<string, unknown>> }>("/openapi/v2");
  const found = definitions[name];
  if (!found) return undefined;
  const { "x-kubernetes-group-version-kind": _, properties, ...rest } = found;
  const { apiVersion: _a, kind: _k, metadata: _m, ...own } = (properties ?? {}) as Record<string, unknown>;
  return Object.keys(own).length > 0 ? { ...rest, properties: own } : rest;
}

type Schema = Record<string, unknown> & { type: string };

/** A definition whose versions have these schemas, and where they are published. */
function define(cluster: Cluster, schemas: Record<string, Schema>, more: Partial<DefinitionOptions> = {}) {
  const definition = definitionOf(cluster, {
    versions: Object.entries(schemas).map(([name, openAPIV3Schema]) => ({ name, schema: { openAPIV3Schema } })),
    ...more,
  });
  const { group, kind } = definition.type;
  const nameOf = (version: string) => `${group.split(".").reverse().join(".")}.${version}.${kind}`;
  const shows = (version: string, schema: object | undefined) =>
    soon(async () => assert.deepEqual(await published(cluster, nameOf(version)), schema));
  return { ...definition, shows };
}

/** Sends an object through kubectl, and gives its message when it is refused. */
async function sendByKubectl({ server, namespace }: Cluster, verb: "create" | "apply", body: object): Promise<string> {
  const args = [verb, "-n", namespace, "-f", "-"];
  const { code, stderr } = await server.tryKubectl(args, { input: JSON.stringify(body) });
  return code === 0 ? "" : stderr;
}

const explain = ({ server }: Cluster, what: string) => server.kubectl(["explain", what]);

conformance(`${area} works for CRD with validation schema [Conformance]`, async (_, cluster) => {
  const { create, shows, type, name } = define(cluster, { v1: gadget });
  await create();
  await shows("v1", gadget);
  const body = (bars: object[], more: object = {}) => ({
    apiVersion: `${type.group}/v1`,
    kind: type.kind,
    metadata: { name: "g" },
    spec: { bars, ...more },
  });
  for (const verb of ["create", "apply"] as const) {
    assert.equal(await sendByKubectl(cluster, verb, body([{ name: "a" }])), "");
    await cluster.client.delete(type, "g", { namespace: cluster.namespace });
    const bad = body([{ name: "a", feeling: "Nothing" }]);
    assert.match(await sendByKubectl(cluster, verb, bad), /Unsupported value: "Nothing"/);
    assert.match(await sendByKubectl(cluster, verb, body([], { foo: true })), /unknown field "spec\.foo"/);
    assert.match(await sendByKubectl(cluster, verb, body([{ age: "10" }])), /spec\.bars\[0\]\.name: Required value/);
  }
  assert.match(
    await explain(cluster, type.resource),
    /A gadget of this test[\s\S]*apiVersion[^\n]*<string>[\s\S]*APIVersion defines[\s\S]*spec[^\n]*<Object>[\s\S]*What a gadget should be/,
  );
  assert.match(
    await explain(cluster, `${type.resource}.metadata`),
    /Standard object's metadata[\s\S]*creationTimestamp[^\n]*<string>[\s\S]*CreationTimestamp is a timestamp/,
  );
  assert.match(await explain(cluster, `${type.resource}.spec`), /What a gadget should be[\s\S]*bars[^\n]*<\[\]Object>/);
  assert.match(
    await explain(cluster, `${type.resource}.spec.bars`),
    /Bars of a gadget[\s\S]*bazs[^\n]*<\[\]string>[\s\S]*Bazs of the bar[\s\S]*name[^\n]*<string>[\s\S]*Name of the bar/,
  );
  const missing = await cluster.server.tryKubectl(["explain", `${type.resource}.spec.bars2`]);
  assert.match(missing.stderr, /field "bars2" does not exist/);
  await cluster.client.delete(customResourceDefinitions, name);
  await shows("v1", undefined);
});

/** Any field is taken below this one, by the server and by kubectl. */
async function takesAnything(cluster: Cluster, type: { group: string; kind: string }, field: string): Promise<void> {
  const body = (value: object) => ({
    apiVersion: `${type.group}/v1`,
    kind: type.kind,
    metadata: { name: "g" },
    [field]: value,
  });
  assert.equal(await sendByKubectl(cluster, "create", body({ x: null, b: [{ c: "d" }] })), "");
  assert.equal(await sendByKubectl(cluster, "apply", body({ b: [{ c: "e" }] })).then(withoutHint), "");
}

/** kubectl remarks that what it created by other means gets its annotation now. */
const withoutHint = (text: string) => text.replace(/^Warning: resource .*last-applied-configuration.*\n/, "");

conformance(`${area} works for CRD without validation schema [Conformance]`, async (_, cluster) => {
  const open = { type: "object", "x-kubernetes-preserve-unknown-fields": true };
  const { create, shows, type } = define(cluster, { v1: open });
  await create();
  await shows("v1", { type: "object" });
  await takesAnything(cluster, type, "anything");
  assert.match(await explain(cluster, type.resource), /DESCRIPTION:\s+<empty>/);
});

conformance(`${area} works for CRD preserving unknown fields at the schema root [Conformance]`, async (_, cluster) => {
  const { create, shows, type } = define(cluster, { v1: { ...gadget, "x-kubernetes-preserve-unknown-fields": true } });
  await create();
  await shows("v1", { type: "object" });
  await takesAnything(cluster, type, "anything");
  assert.match(await explain(cluster, type.resource), new RegExp(`KIND:\\s+${type.kind}`));
});

conformance(
  `${area} works for CRD preserving unknown fields in an embedded object [Conformance]`,
  async (_, cluster) => {
    const spec = {
      type: "object",
      description: "Open.",
      "x-kubernetes-preserve-unknown-fields": true,
      properties: { a: text("A.") },
    };
    const { create, shows, type } = define(cluster, { v1: { ...other, properties: { spec } } });
    await create();
    const open = { description: "Open.", "x-kubernetes-preserve-unknown-fields": true };
    await shows("v1", { ...other, properties: { spec: open } });
    await takesAnything(cluster, type, "spec");
    assert.match(await explain(cluster, type.resource), /Another thing of this test/);
  },
);

conformance(`${area} works for multiple CRDs of different groups [Conformance]`, async (_, cluster) => {
  const one = define(cluster, { v1: gadget });
  const two = define(
    cluster,
    { v1beta1: other },
    { group: `more.${cluster.namespace}.example.com`, kind: "Other", plural: "others" },
  );
  await one.create();
  await two.create();
  await one.shows("v1", gadget);
  await two.shows("v1beta1", other);
});

conformance(
  `${area} works for multiple CRDs of same group but different versions [Conformance]`,
  async (_, cluster) => {
    const both = define(cluster, { v2: gadget, v3: gadget });
    await both.create();
    await both.shows("v2", gadget);
    await both.shows("v3", gadget);
    const four = define(cluster, { v4: gadget }, { kind: "Fourth", plural: "fourths" });
    const five = define(cluster, { v5: other }, { kind: "Fifth", plural: "fifths" });
    await four.create();
    await five.create();
    await four.shows("v4", gadget);
    await five.shows("v5", other);
  },
);

conformance(
  `${area} works for multiple CRDs of same group and version but different kinds [Conformance]`,
  async (_, cluster) => {
    const one = define(cluster, { v6: gadget });
    const two = define(cluster, { v6: other }, { kind: "Other", plural: "others" });
    await one.create();
    await two.create();
    await one.shows("v6", gadget);
    await two.shows("v6", other);
  },
);

conformance(`${area} updates the published spec when one version gets renamed [Conformance]`, async (_, cluster) => {
  const { create, shows, name } = define(cluster, { v2: gadget, v3: gadget });
  await create();
  await shows("v2", gadget);
  await shows("v3", gadget);
  const body = [
    { op: "test", path: "/spec/versions/1/name", value: "v3" },
    { op: "replace", path: "/spec/versions/1/name", value: "v4" },
  ];
  await cluster.client.patch(customResourceDefinitions, name, { type: "json", body });
  await shows("v4", gadget);
  await shows("v3", undefined);
  await shows("v2", gadget);
});

conformance(
  `${area} removes definition from spec when one version gets changed to not be served [Conformance]`,
  async (_, cluster) => {
    const { create, shows, name } = define(cluster, { v5: gadget, v6alpha1: gadget });
    await create();
    await shows("v6alpha1", gadget);
    const body = [
      { op: "test", path: "/spec/versions/1/name", value: "v6alpha1" },
      { op: "replace", path: "/spec/versions/1/served", value: false },
    ];
    await cluster.client.patch(customResourceDefinitions, name, { type: "json", body });
    await shows("v6alpha1", undefined);
    await shows("v5", gadget);
  },
);
