/** Kubernetes' protobuf of every built-in kind, with values of any kind in any of its fields. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { builtInResources } from "../../../../src/api/registry.ts";
import { decodeKubernetesProtobuf, envelop } from "../../../../src/apiserver/http/kubernetes-protobuf.ts";
import { encodeMessage } from "../../../../src/apiserver/protobuf/encode-message.ts";
import { canonicalize } from "../../../../src/machinery/canonical.ts";
import { apiVersionOf } from "../../../../src/machinery/object.ts";
import type { Schema } from "../../../../src/machinery/schema.ts";
import { Random } from "../../../fuzz/random.ts";

const texts = ["", "a", "é", "\u{1f4a9}", "\0", "__proto__", "x".repeat(200)];

/** A value of a schema with some of its fields set, as `random` decides. */
function anyValue(schema: Schema, random: Random, depth: number): unknown {
  switch (schema.type) {
    case "object": {
      const object: Record<string, unknown> = {};
      for (const [key, field] of Object.entries(schema.fields ?? {})) {
        if (field.proto !== undefined && random.chance(depth > 6 ? 0.02 : 0.35)) {
          object[key] = anyValue(field.schema, random, depth + 1);
        }
      }
      return object;
    }
    case "map": {
      const keys = Array.from({ length: random.below(3) }, () => random.pick(texts)).filter(
        (key) => key !== "__proto__",
      );
      return Object.fromEntries(keys.map((key) => [key, anyValue(schema.items!, random, depth + 1)]));
    }
    case "array":
      return Array.from({ length: random.below(3) }, () => anyValue(schema.items!, random, depth + 1));
    case "string":
      return random.pick(texts);
    case "integer": {
      const small = [0, 1, -1, 127, 128, 2 ** 31 - 1, -(2 ** 31)];
      if (schema.format === "int32") return random.pick(small);
      return random.pick<number | bigint>([...small, 2 ** 53 - 1, -(2 ** 53) + 1, 2n ** 63n - 1n, -(2n ** 63n)]);
    }
    case "number":
      return random.pick([0, 0.5, -1e300]);
    case "boolean":
      return random.chance(0.5);
    case "quantity":
      return random.pick(["0", "100m", "1Gi", "-5k", "1e3"]);
    case "int-or-string":
      return random.pick([0, -1, 80, "", "50%"]);
    case "time":
      return random.pick([
        "2026-01-02T03:04:05Z",
        "1970-01-01T00:00:00Z",
        "1900-12-31T23:59:59Z",
        "9999-12-31T23:59:59Z",
      ]);
    case "micro-time":
      return random.pick(["2026-01-02T03:04:05.000006Z", "1969-12-31T23:59:59.999999Z"]);
    case "bytes":
      return random.pick(["", "AAEC", "/w=="]);
    case "raw":
      return rawValue(schema, random);
  }
}

function rawValue({ name = "" }: Schema, random: Random): unknown {
  if (name.endsWith("JSONSchemaPropsOrBool")) return random.chance(0.5);
  if (name.endsWith("JSONSchemaPropsOrArray")) return { type: random.pick(["string", "integer"]) };
  if (name.endsWith("JSONSchemaPropsOrStringArray")) return ["first", "second"];
  if (name.endsWith("CustomResourceSubresourceStatus")) return {};
  return random.pick<unknown>([{ "f:a": {} }, [1, null, "ü"], "x", 7, true]);
}

/** Errors of the decoder are for the client: they say what is wrong with the bytes, not with this program. */
const ownError = /^(proto: |provided data does not appear|empty body$|invalid JSON: )/;

function decoded(schema: Schema, bytes: Buffer): unknown {
  try {
    return decodeKubernetesProtobuf(bytes, () => schema);
  } catch (error) {
    assert.match((error as Error).message, ownError);
    return undefined;
  }
}

const kinds = builtInResources.map((facts) => ({ facts, apiVersion: apiVersionOf(facts) }));

describe("protobuf", () => {
  for (const { facts, apiVersion } of kinds) {
    test(`${apiVersion} ${facts.kind} with any of its fields comes back as it was`, () => {
      fc.assert(
        fc.property(fc.integer(), (seed) => {
          const random = new Random(seed);
          const body = { ...(anyValue(facts.schema, random, 0) as object), apiVersion, kind: facts.kind };
          const object = canonicalize(facts.schema, body, { emptyAsNull: true });
          const bytes = envelop(apiVersion, facts.kind, encodeMessage(facts.schema, object as object));
          const back = decodeKubernetesProtobuf(bytes, () => facts.schema);
          assert.deepEqual(canonicalize(facts.schema, back, { emptyAsNull: true }), object);
        }),
        { numRuns: 10 },
      );
    });
  }

  test("any bytes in any kind end in an object or in an error about them", () => {
    const kind = fc.constantFrom(...kinds);
    // Tags of low fields with short lengths get further than noise.
    const tag = fc
      .tuple(fc.integer({ min: 1, max: 20 }), fc.constantFrom(0, 1, 2, 3, 5))
      .map(([n, wire]) => n * 8 + wire);
    const near = fc.array(fc.oneof(tag, fc.integer({ min: 0, max: 12 }), fc.integer({ min: 0, max: 255 })), {
      maxLength: 80,
    });
    fc.assert(
      fc.property(kind, near, ({ facts, apiVersion }, bytes) => {
        decoded(facts.schema, envelop(apiVersion, facts.kind, Buffer.from(bytes)));
        decoded(facts.schema, Buffer.concat([Buffer.from("k8s\0"), Buffer.from(bytes)]));
        decoded(facts.schema, Buffer.from(bytes));
      }),
      { numRuns: 1500 },
    );
  });

  test("a message with a part of it changed, cut off or repeated ends in an object or in an error about it", () => {
    const kind = fc.constantFrom(...kinds);
    fc.assert(
      fc.property(kind, fc.integer(), fc.nat(), fc.nat({ max: 255 }), ({ facts, apiVersion }, seed, place, byte) => {
        const object = canonicalize(facts.schema, anyValue(facts.schema, new Random(seed), 0));
        const bytes = envelop(apiVersion, facts.kind, encodeMessage(facts.schema, object as object));
        const at = place % bytes.length;
        const changed = Buffer.from(bytes);
        changed[at] = byte;
        for (const one of [changed, bytes.subarray(0, at), Buffer.concat([bytes, bytes.subarray(at)])]) {
          const value = decoded(facts.schema, one);
          // What was read can be brought into the kind's form, or is refused as any other body.
          if (value !== undefined) {
            try {
              canonicalize(facts.schema, value);
            } catch (error) {
              assert.equal((error as { code?: number }).code, 400, String(error));
            }
          }
        }
      }),
      { numRuns: 400 },
    );
  });
});
