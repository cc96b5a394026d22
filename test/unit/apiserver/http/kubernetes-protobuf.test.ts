import assert from "node:assert/strict";
import { test } from "node:test";
import { builtInSchema } from "../../../../src/api/schemas.ts";
import { decodeKubernetesProtobuf } from "../../../../src/apiserver/http/kubernetes-protobuf.ts";

type Value = string | number | Buffer;

/** Fields by number, in the wire format: texts and bytes with their length, numbers as varints. */
function encode(...fields: [number, Value][]): Buffer {
  const varint = (value: number): number[] =>
    value < 128 ? [value] : [(value % 128) | 128, ...varint(Math.floor(value / 128))];
  return Buffer.concat(
    fields.map(([number, value]) => {
      if (typeof value === "number") return Buffer.from([...varint(number * 8), ...varint(value)]);
      const bytes = Buffer.from(value as string);
      return Buffer.concat([Buffer.from([...varint(number * 8 + 2), ...varint(bytes.length)]), bytes]);
    }),
  );
}

function envelope(apiVersion: string, kind: string, raw: Buffer): Buffer {
  return Buffer.concat([Buffer.from("k8s\0"), encode([1, encode([1, apiVersion], [2, kind])], [2, raw])]);
}

const schemaFor = (_apiVersion: string, kind: string) => builtInSchema(`io.k8s.api.core.v1.${kind}`);

test("metadata, maps and bytes come out as wire JSON", () => {
  const metadata = encode([1, "settings"], [3, "default"], [11, encode([1, "app"], [2, "web"])]);
  const raw = encode([1, metadata], [2, encode([1, "a"], [2, "1"])], [3, encode([1, "b"], [2, Buffer.from([255, 0])])]);
  assert.deepEqual(decodeKubernetesProtobuf(envelope("v1", "ConfigMap", raw), schemaFor), {
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: { name: "settings", namespace: "default", labels: { app: "web" } },
    data: { a: "1" },
    binaryData: { b: "/wA=" },
  });
});

test("what JSON inlines is found in its sub-message, and ports may be names or numbers", () => {
  const httpGet = (port: Buffer) => encode([1, "/healthz"], [2, port]);
  const probe = (port: Buffer) => encode([1, encode([2, httpGet(port)])], [2, 5]);
  const container = encode(
    [1, "web"],
    [10, probe(encode([1, 1], [3, "http"]))],
    [11, probe(encode([1, 0], [2, 8080]))],
  );
  const quantity = encode([8, encode([2, encode([1, "cpu"], [2, encode([1, "500m"])])])]);
  const volume = encode([1, "data"], [2, encode([2, encode([1, "Memory"])])]);
  const spec = encode([1, volume], [2, Buffer.concat([container, quantity])]);
  const pod = decodeKubernetesProtobuf(envelope("v1", "Pod", encode([2, spec])), schemaFor);
  assert.deepEqual(pod["spec"], {
    volumes: [{ name: "data", emptyDir: { medium: "Memory" } }],
    containers: [
      {
        name: "web",
        livenessProbe: { httpGet: { path: "/healthz", port: "http" }, initialDelaySeconds: 5 },
        readinessProbe: { httpGet: { path: "/healthz", port: 8080 }, initialDelaySeconds: 5 },
        resources: { requests: { cpu: "500m" } },
      },
    ],
  });
});

test("a body that is no protobuf, or breaks off anywhere, is refused", () => {
  assert.throws(
    () => decodeKubernetesProtobuf(Buffer.from("{}"), schemaFor),
    /does not appear to be a protobuf message/,
  );
  const whole = envelope("v1", "ConfigMap", encode([1, encode([1, "settings"])]));
  for (let length = 5; length < whole.length; length++) {
    try {
      const part = decodeKubernetesProtobuf(whole.subarray(0, length), schemaFor);
      assert.equal(part["metadata"], undefined, `cut at ${length}`);
    } catch (error) {
      assert.match((error as Error).message, /^(proto:|Find schema)/);
    }
  }
});
