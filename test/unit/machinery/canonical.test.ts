import assert from "node:assert/strict";
import { test } from "node:test";
import { applyDefaults, canonicalize, strictMessage } from "../../../src/machinery/canonical.ts";
import { parseJson, stringifyJson } from "../../../src/machinery/json.ts";
import { podSchema } from "./pod-schema.ts";

const canonical = (value: unknown) => canonicalize(podSchema, value);

test("nulls, empty omitempty values and unknown fields go; quantities and times are rewritten", () => {
  const unknown: string[] = [];
  const value = canonicalize(
    podSchema,
    {
      spec: {
        foo: 1,
        hostname: "",
        nodeSelector: {},
        containers: [
          {
            name: "a",
            bar: {},
            image: null,
            args: [],
            stdin: false,
            resources: { limits: { memory: "1024Mi", cpu: 1.5 } },
            securityContext: {},
            ports: [{ containerPort: 80 }],
          },
        ],
      },
      metadata: { creationTimestamp: "2026-01-02T04:04:05.9+01:00", labels: { b: "2", a: "1" } },
    },
    { onUnknown: (path) => unknown.push(strictMessage.unknown(path)) },
  );
  assert.equal(
    stringifyJson(value),
    stringifyJson({
      metadata: { creationTimestamp: "2026-01-02T03:04:05Z", labels: { a: "1", b: "2" } },
      spec: {
        containers: [
          {
            name: "a",
            ports: [{ containerPort: 80 }],
            resources: { limits: { cpu: "1500m", memory: "1Gi" } },
            securityContext: {},
          },
        ],
      },
    }),
  );
  assert.deepEqual(unknown, ['unknown field "spec.foo"', 'unknown field "spec.containers[0].bar"']);
});

test("fields that Go always writes come back as zero values", () => {
  assert.deepEqual(canonical({}), { metadata: {}, spec: { containers: null } });
  assert.deepEqual(canonical({ spec: { containers: [null] } }), {
    metadata: {},
    spec: { containers: [{ name: "", resources: {} }] },
  });
  assert.deepEqual((canonical({ metadata: { labels: { a: null } } }) as { metadata: unknown }).metadata, {
    labels: { a: "" },
  });
});

test("a pointer keeps its zero value", () => {
  const { spec } = canonical({ spec: { terminationGracePeriodSeconds: 0, containers: [] } }) as { spec: object };
  assert.deepEqual(spec, { terminationGracePeriodSeconds: 0, containers: [] });
});

test("a wrong type is a 400 with Go's text", () => {
  for (const [value, message] of [
    [
      { spec: { terminationGracePeriodSeconds: "x" } },
      "json: cannot unmarshal string into Go struct field PodSpec.spec.terminationGracePeriodSeconds of type int64",
    ],
    [
      { spec: { containers: [{ ports: [{ containerPort: "80" }] }] } },
      "json: cannot unmarshal string into Go struct field ContainerPort.spec.containers.ports.containerPort of type int32",
    ],
    [
      { spec: { containers: [{ ports: [{ containerPort: 2 ** 31 }] }] } },
      "json: cannot unmarshal number 2147483648 into Go struct field ContainerPort.spec.containers.ports.containerPort of type int32",
    ],
    [
      { spec: { containers: {} } },
      "json: cannot unmarshal object into Go struct field PodSpec.spec.containers of type []v1.Container",
    ],
    [
      { metadata: { labels: { a: 1 } } },
      "json: cannot unmarshal number into Go struct field ObjectMeta.metadata.labels of type string",
    ],
    [{ spec: [] }, "json: cannot unmarshal array into Go struct field Pod.spec of type v1.PodSpec"],
    [[], "json: cannot unmarshal array into Go value of type v1.Pod"],
  ] as const) {
    assert.throws(() => canonical(value), { code: 400, reason: "BadRequest", message });
  }
  assert.throws(
    () => canonical({ spec: { containers: [{ resources: { limits: { cpu: "x" } } }] } }),
    /quantities must/,
  );
  for (const broken of [{ toString: "1" }, [], true]) {
    assert.throws(() => canonicalize({ type: "quantity" }, broken), {
      code: 400,
      message: /^quantities must match the regular expression /,
    });
  }
  assert.throws(() => canonical({ metadata: { creationTimestamp: "2026-02-30T00:00:00Z" } }), /parsing time/);
});

test("keys such as __proto__ are data in maps and unknown in structs", () => {
  const unknown: string[] = [];
  const input = parseJson('{"metadata":{"labels":{"__proto__":"x"},"__proto__":{"a":1}}}');
  const value = canonicalize(podSchema, input, { onUnknown: (path) => unknown.push(path) });
  assert.equal(stringifyJson(value), '{"metadata":{"labels":{"__proto__":"x"}},"spec":{"containers":null}}');
  assert.deepEqual(unknown, ["metadata.__proto__"]);
});

test("the canonical form is stable", () => {
  const once = canonical({ spec: { containers: [{ name: "a", resources: { limits: { cpu: "0.5" } } }] } });
  assert.deepEqual(canonical(once), once);
});

test("static defaults fill absent fields of objects that are there", () => {
  const pod = { spec: { containers: [{ ports: [{ containerPort: 1 }, { containerPort: 2, protocol: "UDP" }] }] } };
  applyDefaults(podSchema, pod);
  assert.deepEqual(pod, {
    spec: {
      containers: [
        {
          ports: [
            { containerPort: 1, protocol: "TCP" },
            { containerPort: 2, protocol: "UDP" },
          ],
        },
      ],
    },
  });
});
