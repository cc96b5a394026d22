import assert from "node:assert/strict";
import { test } from "node:test";
import { applyConfiguration } from "../../../src/machinery/apply/apply.ts";
import { applyDefaults } from "../../../src/machinery/canonical.ts";
import { pruneUnknown } from "../../../src/machinery/pruning.ts";
import { type JsonSchemaProps, schemaFromOpenApi } from "../../../src/machinery/schema-from-openapi.ts";
import { patternError, validateBySchema } from "../../../src/machinery/schema-validation.ts";
import { cpuMs } from "../../support/cpu-time.ts";
import { podSchema } from "./pod-schema.ts";

const objectMeta = podSchema.fields!["metadata"]!.schema;

const cronTab: JsonSchemaProps = {
  type: "object",
  required: ["spec"],
  properties: {
    spec: {
      type: "object",
      required: ["cronSpec"],
      properties: {
        cronSpec: { type: "string", pattern: "^(\\d+|\\*)(/\\d+)?(\\s+(\\d+|\\*)(/\\d+)?){4}$" },
        replicas: { type: "integer", minimum: 1, maximum: 10, default: 2 },
        size: { "x-kubernetes-int-or-string": true },
        mode: { type: "string", enum: ["b", "a"], nullable: true, default: "a" },
        when: { type: "string", format: "date-time", minLength: 1, maxLength: 30 },
        tags: { type: "array", maxItems: 2, items: { type: "string" }, "x-kubernetes-list-type": "set" },
        ports: {
          type: "array",
          "x-kubernetes-list-type": "map",
          "x-kubernetes-list-map-keys": ["port", "protocol"],
          items: {
            type: "object",
            required: ["port"],
            properties: { port: { type: "integer" }, protocol: { type: "string", default: "TCP" } },
          },
        },
        limits: { type: "object", additionalProperties: { type: "integer" } },
        free: { type: "object", "x-kubernetes-preserve-unknown-fields": true, properties: { a: { type: "object" } } },
        any: { "x-kubernetes-preserve-unknown-fields": true },
        template: { type: "object", "x-kubernetes-embedded-resource": true, properties: { spec: { type: "object" } } },
        choice: { type: "integer", oneOf: [{ minimum: 5 }, { maximum: 6 }], not: { enum: [9] } },
      },
    },
  },
};

const schema = schemaFromOpenApi(cronTab, { objectMeta });
const messages = (spec: object) =>
  validateBySchema(cronTab, { spec: { cronSpec: "* * * * *", ...spec } }).map(
    ({ field, message }) => `${field}: ${message}`,
  );

test("violations are told in kube-apiserver's words", () => {
  for (const [spec, expected] of [
    [{}, []],
    [
      { cronSpec: "x" },
      [
        `spec.cronSpec: Invalid value: "x": spec.cronSpec in body should match '${cronTab.properties!["spec"]!.properties!["cronSpec"]!.pattern}'`,
      ],
    ],
    [
      { replicas: "x" },
      ['spec.replicas: Invalid value: "string": spec.replicas in body must be of type integer: "string"'],
    ],
    [
      { replicas: 1.5 },
      ['spec.replicas: Invalid value: "number": spec.replicas in body must be of type integer: "number"'],
    ],
    [{ replicas: 11 }, ["spec.replicas: Invalid value: 11: spec.replicas in body should be less than or equal to 10"]],
    [{ replicas: 0 }, ["spec.replicas: Invalid value: 0: spec.replicas in body should be greater than or equal to 1"]],
    [{ mode: "c" }, ['spec.mode: Unsupported value: "c": supported values: "a", "b"']],
    [{ mode: null, size: "1Gi" }, []],
    [
      { size: true },
      ['spec.size: Invalid value: "boolean": spec.size in body must be of type integer,string: "boolean"'],
    ],
    [{ when: "2026-01-01T00:00:00Z" }, []],
    [{ when: "soon" }, ['spec.when: Invalid value: "soon": spec.when in body must be of type date-time: "soon"']],
    [{ tags: ["a", "b", "c"] }, ["spec.tags: Too many: 3: must have at most 2 items"]],
    [{ tags: ["a", "a"] }, ['spec.tags[1]: Duplicate value: "a"']],
    [
      { ports: [{ port: 1 }, { port: 1, protocol: "TCP" }] },
      ['spec.ports[1]: Duplicate value: {"port":1,"protocol":"TCP"}'],
    ],
    [{ ports: [{}] }, ["spec.ports[0].port: Required value"]],
    [
      { limits: { a: "x" } },
      ['spec.limits[a]: Invalid value: "string": spec.limits[a] in body must be of type integer: "string"'],
    ],
    [{ template: { kind: "X" } }, ["spec.template.apiVersion: Required value: must not be empty"]],
    [
      { choice: 5 },
      [
        'spec.choice: Invalid value: "": "spec.choice" must validate one and only one schema (oneOf). Found 2 valid alternatives',
      ],
    ],
    [{ choice: 9 }, ['spec.choice: Invalid value: "": "spec.choice" must not validate the schema (not)']],
    [{ choice: 4 }, []],
  ] as const) {
    assert.deepEqual(messages(spec), expected, JSON.stringify(spec));
  }
  assert.deepEqual(validateBySchema(cronTab, {}), [
    { reason: "FieldValueRequired", field: "spec", message: "Required value" },
  ]);
});

test("a pattern that would stall a backtracking engine answers at once", () => {
  const tookMs = cpuMs(() => {
    const errors = validateBySchema({ type: "string", pattern: "^(a+)+$" }, `${"a".repeat(2000)}b`);
    assert.equal(errors.length, 1);
  });
  assert.ok(tookMs < 1000, `${tookMs} ms`);
  assert.equal(patternError("^a$"), undefined);
  assert.match(patternError("(?=a)") ?? "", /\S/);
});

test("CEL rules are refused until someone evaluates them", () => {
  const props: JsonSchemaProps = { type: "object", "x-kubernetes-validations": [{ rule: "self.a > 1" }] };
  assert.throws(() => validateBySchema(props, {}), { code: 501 });
  const seen: unknown[] = [];
  const rules = (value: unknown, old: unknown) => {
    seen.push([value, old]);
    return [];
  };
  assert.deepEqual(validateBySchema(props, { a: 1 }, { old: { a: 0 }, rules }), []);
  assert.deepEqual(seen, [[{ a: 1 }, { a: 0 }]]);
});

test("unknown fields are pruned, except where the schema keeps them", () => {
  const value = {
    apiVersion: "stable.example.com/v1",
    kind: "CronTab",
    metadata: { name: "x", bogus: 1 },
    other: 1,
    spec: {
      cronSpec: "* * * * *",
      unknown: {},
      ports: [{ port: 1, x: 1 }],
      limits: { anything: 1 },
      free: { kept: { deep: 1 }, a: { gone: 1 } },
      any: [{ kept: 1 }],
      template: { apiVersion: "v1", kind: "X", metadata: { labels: { a: "b" } }, spec: { gone: 1 }, gone: 1 },
    },
  };
  const pruned: string[] = [];
  pruneUnknown(schema, value, (path) => pruned.push(path));
  assert.deepEqual(pruned.sort(), [
    "metadata.bogus",
    "other",
    "spec.free.a.gone",
    "spec.ports[0].x",
    "spec.template.gone",
    "spec.template.spec.gone",
    "spec.unknown",
  ]);
  assert.deepEqual(value.spec.free, { kept: { deep: 1 }, a: {} });
  assert.deepEqual(value.spec.any, [{ kept: 1 }]);
});

test("defaults fill absent fields, and null where null is not allowed", () => {
  const value = { spec: { replicas: null, mode: null, ports: [{ port: 1 }] } };
  applyDefaults(schema, value);
  assert.deepEqual(value, { spec: { replicas: 2, mode: null, ports: [{ port: 1, protocol: "TCP" }] } });
});

test("server-side apply follows the CRD's list types", () => {
  const apply = (live: Parameters<typeof applyConfiguration>[0]["live"], spec: object, manager: string) =>
    applyConfiguration({
      schema,
      live,
      applied: { apiVersion: "stable.example.com/v1", kind: "CronTab", metadata: { name: "x" }, spec },
      manager,
      apiVersion: "stable.example.com/v1",
      force: false,
      nowMs: 0,
    });
  let object = apply(undefined, { ports: [{ port: 1 }], any: { a: { b: 1 } }, tags: ["x"] }, "one");
  object = apply(object, { ports: [{ port: 2 }], any: { a: { c: [1] } }, tags: ["y"] }, "two");
  object = apply(object, { ports: [{ port: 3 }] }, "one");
  assert.deepEqual((object as unknown as { spec: unknown }).spec, {
    ports: [{ port: 2 }, { port: 3 }],
    any: { a: { c: [1] } },
    tags: ["y"],
  });
});
