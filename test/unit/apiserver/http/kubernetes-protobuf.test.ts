/** Authority: the generated marshallers of k8s.io/api v0.36, whose bytes stand here where a test names Go. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";
import fc from "fast-check";
import { builtInResources } from "../../../../src/api/registry.ts";
import { builtInSchema } from "../../../../src/api/schemas.ts";
import {
  decodeKubernetesProtobuf,
  encodeKubernetesProtobuf,
  envelop,
  listHead,
  listItemHeader,
  watchFrame,
} from "../../../../src/apiserver/http/kubernetes-protobuf.ts";
import { encodeMessage } from "../../../../src/apiserver/protobuf/encode-message.ts";
import { canonicalize } from "../../../../src/machinery/canonical.ts";
import { parseJson, stringifyJson } from "../../../../src/machinery/json.ts";
import { apiVersionOf } from "../../../../src/machinery/object.ts";
import type { Schema } from "../../../../src/machinery/schema.ts";
import { filledObject } from "../../../support/filled-object.ts";

const schemaFor = (_apiVersion: string, kind: string) => builtInSchema(`io.k8s.api.core.v1.${kind}`);
const crdSchema = builtInSchema("io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinition");

function there(schema: Schema, apiVersion: string, kind: string, object: object): Buffer {
  return envelop(apiVersion, kind, encodeMessage(schema, object));
}

function thereAndBack(schema: Schema, object: object): Record<string, unknown> {
  return decodeKubernetesProtobuf(there(schema, "v1", "Any", object), () => schema);
}

describe("every built-in kind", () => {
  for (const facts of builtInResources) {
    const apiVersion = apiVersionOf(facts);
    test(`${apiVersion} ${facts.kind}, filled in every field, survives JSON → protobuf → JSON`, () => {
      const object = { kind: facts.kind, apiVersion, ...filledObject(facts.schema) };
      assert.deepEqual(canonicalize(facts.schema, object), object, "the object is canonical");
      const json = parseJson(stringifyJson(object)) as object;
      const back = decodeKubernetesProtobuf(there(facts.schema, apiVersion, facts.kind, json), () => facts.schema);
      assert.deepEqual(back, object);
    });

    test(`${apiVersion} ${facts.kind} without any field comes back without any`, () => {
      const empty = canonicalize(facts.schema, {});
      assert.deepEqual(canonicalize(facts.schema, thereAndBack(facts.schema, {})), {
        ...(empty as object),
        apiVersion: "v1",
        kind: "Any",
      });
    });
  }
});

describe("the bytes are those of Go", () => {
  const golden = parseJson(readFileSync(new URL("golden/go-protobuf.json", import.meta.url))) as {
    watchEventOfTheStatus: string;
    objects: { object: { apiVersion: string; kind: string }; protobuf: string }[];
  };
  const special: Record<string, Schema> = { CustomResourceDefinition: crdSchema };

  for (const { object, protobuf } of golden.objects) {
    test(`of a ${object.kind}`, () => {
      const bytes = special[object.kind]
        ? there(special[object.kind]!, object.apiVersion, object.kind, object)
        : encodeKubernetesProtobuf(object);
      assert.equal(bytes?.toString("base64"), protobuf);
    });
  }

  test("of a watch's event with a Status", () => {
    const { protobuf } = golden.objects.find(({ object }) => object.kind === "Status")!;
    const frame = watchFrame("ERROR", Buffer.from(protobuf, "base64"));
    assert.equal(frame.toString("base64"), golden.watchEventOfTheStatus);
  });
});

describe("values", () => {
  const configMap = schemaFor("v1", "ConfigMap");

  test("integers keep all 64 bits", () => {
    const schema = builtInSchema("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta");
    const integers = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).filter((value) => value !== 0n);
    fc.assert(
      fc.property(integers, (generation) => {
        const number = Number(generation);
        const value = Number.isSafeInteger(number) ? number : generation;
        assert.equal(thereAndBack(schema, { generation: value })["generation"], value);
      }),
    );
  });

  test("texts and keys of all kinds come back, maps in the order of their bytes", () => {
    const keys = fc.oneof(fc.string({ unit: "grapheme" }), fc.constantFrom("__proto__", "constructor", "\ue000", "𝄞"));
    fc.assert(
      fc.property(fc.dictionary(keys, fc.string({ unit: "grapheme", maxLength: 200 })), (data) => {
        const back = thereAndBack(configMap, { data })["data"] ?? {};
        assert.deepEqual(Object.entries(back).sort(), Object.entries(data).sort());
        const order = Object.keys(data).sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
        const bytes = encodeMessage(configMap, { data });
        const reversed = encodeMessage(configMap, {
          data: Object.fromEntries(order.reverse().map((key) => [key, data[key]])),
        });
        if (!Object.hasOwn(data, "__proto__")) assert.deepEqual(bytes, reversed);
      }),
    );
  });

  test("a list of very many items is put together", () => {
    const item = encodeMessage(configMap, { metadata: { name: "x" } });
    const pieces = [listHead({ resourceVersion: "5" })];
    for (let count = 0; count < 150_000; count++) pieces.push(listItemHeader(item.length), item);
    const list = decodeKubernetesProtobuf(envelop("v1", "ConfigMapList", pieces), schemaFor);
    assert.deepEqual(list["metadata"], { resourceVersion: "5" });
    assert.equal((list["items"] as unknown[]).length, 150_000);
  });

  test("an object larger than the first buffer comes back", () => {
    const data = Object.fromEntries(Array.from({ length: 500 }, (_, i) => [`key-${i}`, "x".repeat(i)]));
    assert.deepEqual(thereAndBack(configMap, { data })["data"], data);
  });

  test("pointers to zero values stay, zero values that JSON omits go", () => {
    const pod = schemaFor("v1", "Pod");
    const spec = {
      containers: [{ name: "c", resources: {} }],
      enableServiceLinks: false,
      terminationGracePeriodSeconds: 0,
    };
    const back = thereAndBack(pod, { spec: { ...spec, hostNetwork: false, hostname: "" } });
    assert.deepEqual(back["spec"], spec);
  });

  test("Go's zero time has no bytes and is null; 1970 is a time", () => {
    const condition = builtInSchema("io.k8s.api.core.v1.PodCondition");
    const times = { lastProbeTime: "1970-01-01T00:00:00Z", lastTransitionTime: "0001-01-01T00:00:00Z" };
    const back = thereAndBack(condition, { type: "Ready", status: "True", ...times });
    assert.equal(back["lastProbeTime"], "1970-01-01T00:00:00Z");
    assert.equal(back["lastTransitionTime"], null);
  });

  test("a value that the type cannot hold is an error, not other bytes", () => {
    assert.throws(() => encodeMessage(configMap, { data: { a: 5 } }), /unexpected value 5/);
    assert.throws(() => encodeMessage(configMap, { metadata: { generation: 1.5 } }), /unexpected value 1.5/);
    assert.throws(() => encodeMessage(configMap, { metadata: { creationTimestamp: "today" } }), /"today"/);
  });
});

describe("what clients may send", () => {
  test("parts of one message add up, unknown fields are passed over, numbers may come packed", () => {
    const configMap = schemaFor("v1", "ConfigMap");
    const one = encodeMessage(configMap, { metadata: { name: "one" } });
    const two = Buffer.from([0x0a, 0x03, 0x1a, 0x01, 0x6e, 0xf8, 0x07, 0x01, 0xf9, 0x07, 1, 2, 3, 4, 5, 6, 7, 8]);
    const back = decodeKubernetesProtobuf(envelop("v1", "ConfigMap", [one, two]), schemaFor);
    assert.deepEqual(back["metadata"], { name: "one", namespace: "n" });

    const rule = builtInSchema("io.k8s.api.batch.v1.PodFailurePolicyOnExitCodesRequirement");
    const packed = Buffer.from([0x1a, 0x03, 0x01, 0xac, 0x02]);
    assert.deepEqual(decodeKubernetesProtobuf(envelop("v1", "Any", packed), () => rule)["values"], [1, 300]);
  });

  test("a body that is no protobuf, or breaks off anywhere, is refused or read as far as it went", () => {
    assert.throws(
      () => decodeKubernetesProtobuf(Buffer.from("{}"), schemaFor),
      /does not appear to be a protobuf message/,
    );
    assert.throws(() => decodeKubernetesProtobuf(Buffer.from("k8s\0"), schemaFor), /empty body/);
    const schema = schemaFor("v1", "Pod");
    const raw = encodeMessage(schema, filledObject(schema));
    const whole = envelop("v1", "Pod", raw);
    for (let length = 5; length < whole.length - 4; length += length < 200 ? 1 : 13) {
      assert.throws(() => {
        const part = decodeKubernetesProtobuf(whole.subarray(0, length), schemaFor);
        if (part["metadata"] === undefined) throw new Error("proto: nothing was read");
      }, /^Error: (proto:|Find schema)/);
    }
  });

  test("arbitrary bytes end in an error or an object, quickly", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        try {
          decodeKubernetesProtobuf(envelop("v1", "Pod", Buffer.from(bytes)), schemaFor);
        } catch (error) {
          assert.match(String(error), /^(Error: proto: |JsonError: )/);
        }
      }),
      { numRuns: 2000 },
    );
  });

  test("a pod with any byte changed ends in an error or an object", () => {
    const schema = schemaFor("v1", "Pod");
    const raw = encodeMessage(schema, filledObject(schema));
    fc.assert(
      fc.property(fc.nat(raw.length - 1), fc.nat(255), (at, value) => {
        const changed = Buffer.from(raw);
        changed[at] = value;
        try {
          decodeKubernetesProtobuf(envelop("v1", "Pod", changed), schemaFor);
        } catch (error) {
          assert.match(String(error), /^(Error: proto: |JsonError: )/);
        }
      }),
      { numRuns: 500 },
    );
  });

  test("messages nested without end are refused", () => {
    let bytes = Buffer.alloc(0);
    const length = (value: number): number[] => (value < 128 ? [value] : [(value % 128) | 128, ...length(value >>> 7)]);
    // JSONSchemaProps.not is number 28.
    for (let depth = 0; depth < 5000; depth++)
      bytes = Buffer.concat([Buffer.from([0xe2, 0x01, ...length(bytes.length)]), bytes]);
    const props = builtInSchema("io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps");
    assert.throws(() => decodeKubernetesProtobuf(envelop("v1", "Any", bytes), () => props), /nested too deep/);
  });
});
