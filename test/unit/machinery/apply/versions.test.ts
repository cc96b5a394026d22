import assert from "node:assert/strict";
import { test } from "node:test";
import { type ApplyInput, applyConfiguration } from "../../../../src/machinery/apply/apply.ts";
import { trackUpdate, type UpdateInput } from "../../../../src/machinery/apply/update.ts";
import type { Versions } from "../../../../src/machinery/apply/versions.ts";
import type { KubeObject } from "../../../../src/machinery/object.ts";
import type { Schema } from "../../../../src/machinery/schema.ts";
import { schemaFromOpenApi } from "../../../../src/machinery/schema-from-openapi.ts";
import { internalError, type StatusError } from "../../../../src/machinery/status.ts";

const nowMs = Date.parse("2026-01-01T00:00:00Z");

type Spec = { size?: number; color?: string; metrics?: { name: string; value: number }[]; cpu?: number };
type Thing = KubeObject & { spec: Spec };

const schemaWith = (properties: object): Schema =>
  schemaFromOpenApi({ type: "object", properties: { spec: { type: "object", properties } } } as never, {
    objectMeta: {
      type: "object",
      fields: { name: { schema: { type: "string" } }, uid: { schema: { type: "string" } } },
    } as unknown as Schema,
  });
const number = { type: "integer" };
const common = { size: number, color: { type: "string" } };
/** v1 has `cpu`, v2 has a list of metrics, one of which may be "cpu". */
const schemas: Record<string, Schema> = {
  "g/v1": schemaWith({ ...common, cpu: number }),
  "g/v2": schemaWith({
    ...common,
    metrics: {
      type: "array",
      "x-kubernetes-list-type": "map",
      "x-kubernetes-list-map-keys": ["name"],
      items: { type: "object", required: ["name"], properties: { name: { type: "string" }, value: number } },
    },
  }),
};

function convert(object: KubeObject, apiVersion: string): KubeObject {
  const { spec = {}, ...rest } = object as Thing;
  if (object.apiVersion === apiVersion) return object;
  const { cpu, metrics, ...other } = spec;
  const found = metrics?.find(({ name }) => name === "cpu")?.value;
  const changed =
    apiVersion === "g/v1"
      ? { ...other, ...(found === undefined ? {} : { cpu: found }) }
      : { ...other, ...(cpu === undefined ? {} : { metrics: [{ name: "cpu", value: cpu }] }) };
  return { ...rest, apiVersion, spec: changed } as Thing;
}

const find = (apiVersion: string) => {
  const schema = schemas[apiVersion];
  return schema && { schema, resetFields: [] };
};
const sync: Versions = { find, convert };
const later: Versions = { find, convert: async (object, apiVersion) => convert(object, apiVersion) };

const thing = (apiVersion: string, spec: Spec): Thing =>
  ({ apiVersion, kind: "Thing", metadata: { name: "t", uid: "u" }, spec }) as Thing;
const read = (object: KubeObject, apiVersion: string) => convert(object, apiVersion) as Thing;

type More = Partial<ApplyInput> & { readonly manager: string };

function apply(live: KubeObject | undefined, apiVersion: string, spec: Spec, more: More): Thing | Promise<Thing> {
  return applyConfiguration({
    schema: schemas[apiVersion]!,
    live: live && read(live, apiVersion),
    applied: { apiVersion, kind: "Thing", metadata: { name: "t" }, spec },
    apiVersion,
    force: false,
    nowMs,
    versions: sync,
    ...more,
  }) as Thing | Promise<Thing>;
}

function update(live: KubeObject | undefined, apiVersion: string, spec: Spec, more: Partial<UpdateInput> = {}): Thing {
  const before = live && read(live, apiVersion);
  return trackUpdate({
    schema: schemas[apiVersion]!,
    live: before,
    next: { ...(before ?? thing(apiVersion, {})), spec } as KubeObject,
    manager: "writer",
    apiVersion,
    nowMs,
    versions: sync,
    ...more,
  }) as Thing;
}

const owners = (object: KubeObject) =>
  Object.fromEntries(
    (object.metadata.managedFields ?? []).map(({ manager, apiVersion, fieldsV1 }) => [
      `${manager} ${apiVersion}`,
      (fieldsV1 as { "f:spec": object })["f:spec"],
    ]),
  );

async function refused(run: () => Thing | Promise<Thing>): Promise<StatusError> {
  try {
    await run();
  } catch (error) {
    return error as StatusError;
  }
  return assert.fail("it should be refused");
}

for (const [how, versions] of [
  ["at once", sync],
  ["by asking others", later],
] as const) {
  test(`a field of an owner of another version is a conflict, named as that version has it (converted ${how})`, async () => {
    const live = update(undefined, "g/v1", { cpu: 50, size: 1 }, { manager: "x" });
    const metrics = [{ name: "cpu", value: 80 }];
    const error = await refused(() => apply(live, "g/v2", { metrics }, { manager: "y", versions }));
    assert.equal(error.code, 409);
    assert.equal(error.message, 'Apply failed with 1 conflict: conflict with "x" using g/v1: .spec.cpu');
    assert.deepEqual(error.details?.causes, [
      { reason: "FieldManagerConflict", message: 'conflict with "x" using g/v1', field: ".spec.cpu" },
    ]);
    const forced = await apply(live, "g/v2", { metrics }, { manager: "y", versions, force: true });
    assert.deepEqual(owners(forced), {
      "y g/v2": { "f:metrics": { 'k:{"name":"cpu"}': { ".": {}, "f:name": {}, "f:value": {} } } },
      "x g/v1": { ".": {}, "f:size": {} },
    });
  });

  test(`an applier that goes to another version drops what it applied in the former one (converted ${how})`, async () => {
    let object = await apply(undefined, "g/v1", { cpu: 50, size: 1, color: "red" }, { manager: "a", versions });
    object = await apply(object, "g/v1", { size: 1 }, { manager: "other", versions });
    object = await apply(object, "g/v2", { color: "red" }, { manager: "a", versions });
    assert.deepEqual(object.spec, { size: 1, color: "red" });
    assert.deepEqual(owners(object), { "a g/v2": { "f:color": {} }, "other g/v1": { "f:size": {} } });
  });
}

test("what another applier owns in another version stays when an applier drops it", async () => {
  const metrics = [{ name: "cpu", value: 50 }];
  let object = await apply(undefined, "g/v2", { metrics, size: 1 }, { manager: "a" });
  object = await apply(object, "g/v1", { cpu: 50 }, { manager: "b" });
  object = await apply(object, "g/v2", { size: 1 }, { manager: "a" });
  assert.deepEqual(object.spec, { size: 1, metrics });
  assert.deepEqual(owners(object), { "a g/v2": { "f:size": {} }, "b g/v1": { "f:cpu": {} } });
});

test("the same value through another version is shared", async () => {
  const live = await apply(undefined, "g/v1", { cpu: 50 }, { manager: "a" });
  const shared = await apply(live, "g/v2", { metrics: [{ name: "cpu", value: 50 }] }, { manager: "b" });
  assert.deepEqual(Object.keys(owners(shared)), ["a g/v1", "b g/v2"]);
});

test("an update through another version takes what it changes, and removes what it drops", () => {
  let object = update(undefined, "g/v1", { cpu: 50, size: 1, color: "red" }, { manager: "x" });
  object = update(object, "g/v2", { metrics: [{ name: "cpu", value: 60 }], color: "red" });
  assert.deepEqual(owners(object), {
    "writer g/v2": { "f:metrics": { 'k:{"name":"cpu"}': { "f:value": {} } } },
    "x g/v1": { ".": {}, "f:color": {} },
  });
});

test("owners of versions that are gone go, with an update and with an apply", async () => {
  const live = update(undefined, "g/v1", { size: 1 }, { manager: "x" });
  const [entry] = live.metadata.managedFields!;
  live.metadata.managedFields = [entry!, { ...entry!, manager: "old", apiVersion: "g/v0" }];
  assert.deepEqual(owners(update(live, "g/v1", { size: 1, color: "red" })), {
    "writer g/v1": { "f:color": {} },
    "x g/v1": { ".": {}, "f:size": {} },
  });
  assert.deepEqual(Object.keys(owners(await apply(live, "g/v2", { color: "red" }, { manager: "a" }))), [
    "a g/v2",
    "x g/v1",
  ]);
});

test("an object that cannot be converted refuses an apply, and loses its owners with an update", async () => {
  const live = update(undefined, "g/v1", { size: 1 }, { manager: "x" });
  const failing = (reject: boolean): Versions => ({
    find,
    convert() {
      const error = internalError(new Error("no webhook"));
      if (reject) return Promise.reject(error);
      throw error;
    },
  });
  for (const versions of [failing(false), failing(true)]) {
    const error = await refused(() => apply(live, "g/v2", { color: "red" }, { manager: "a", versions }));
    assert.equal(error.code, 500);
    const next = await update(live, "g/v2", { size: 2 }, { versions });
    assert.deepEqual([next.spec, next.metadata.managedFields], [{ size: 2 }, undefined]);
  }
});

test("owners of one version need no conversion", () => {
  const none: Versions = { find, convert: () => assert.fail("nothing is to be converted") };
  const live = update(undefined, "g/v1", { size: 1 }, { versions: none });
  const next = update(live, "g/v1", { size: 2 }, { manager: "x", versions: none });
  assert.deepEqual(owners(next), { "writer g/v1": {}, "x g/v1": { "f:size": {} } });
});

test("who owned parts of a list that has become one value owns the value, in every version", async () => {
  const live = await apply(undefined, "g/v2", { metrics: [{ name: "cpu", value: 50 }], size: 1 }, { manager: "a" });
  const former = schemas["g/v2"]!;
  schemas["g/v2"] = schemaWith({ ...common, metrics: { type: "array", items: { type: "object" } } });
  try {
    for (const object of [
      update(live, "g/v2", { ...live.spec, color: "red" }),
      update(live, "g/v1", { size: 1, cpu: 50, color: "red" }),
    ]) {
      assert.deepEqual(owners(object)["a g/v2"], { "f:metrics": {}, "f:size": {} });
    }
    const error = await refused(() => apply(live, "g/v2", { metrics: [] }, { manager: "b" }));
    assert.equal(error.message, 'Apply failed with 1 conflict: conflict with "a": .spec.metrics');
  } finally {
    schemas["g/v2"] = former;
  }
});
