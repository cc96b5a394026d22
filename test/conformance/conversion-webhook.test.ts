/** Conversion of custom resources by a webhook outside of the cluster. Authority: CustomResourceConversionWebhook. */
import assert from "node:assert/strict";
import { after, before } from "node:test";
import { customResourceDefinitions } from "../../src/api/generated/apiextensions-v1.ts";
import { WebhookServer } from "../support/webhook-server.ts";
import { type Cluster, conformance } from "./conformance.ts";
import { anySchema, type CustomObject, definitionOf } from "./custom-resource.ts";
import { soon } from "./waiting.ts";

const suite = "[sig-api-machinery] CustomResourceConversionWebhook [Privileged:ClusterAdmin]";

let server: WebhookServer;
before(async () => {
  // v1 has hostPort "host:port", v2 has host and port.
  server = await WebhookServer.start(({ apiVersion, request: { uid, desiredAPIVersion, objects } }) => {
    const convertedObjects = objects.map(({ hostPort, host, port, ...rest }: Record<string, string>) => {
      const [first, second] = (hostPort ?? "").split(":");
      return desiredAPIVersion.endsWith("/v2")
        ? { ...rest, apiVersion: desiredAPIVersion, host: first, port: second }
        : { ...rest, apiVersion: desiredAPIVersion, hostPort: `${host}:${port}` };
    });
    return {
      kind: "ConversionReview",
      apiVersion,
      response: { uid, result: { status: "Success" }, convertedObjects },
    };
  });
});
after(() => server.stop());

async function define(cluster: Cluster) {
  const crd = definitionOf(cluster, { versions: [{ name: "v1" }, { name: "v2" }] });
  const webhook = { clientConfig: server.at("/crdconvert"), conversionReviewVersions: ["v1", "v1beta1"] };
  crd.body.spec.conversion = { strategy: "Webhook", webhook };
  await crd.create();
  return crd;
}

const made = (name: string, namespace: string, fields: object) =>
  ({ metadata: { name, namespace }, ...fields }) as unknown as CustomObject;

conformance(`${suite} should be able to convert from CR v1 to CR v2 [Conformance]`, async (_, cluster) => {
  const { client, namespace } = cluster;
  const crd = await define(cluster);
  await client.create(crd.typeOf("v1"), made("one", namespace, { hostPort: "localhost:8080" }));
  const v2 = await client.get(crd.typeOf("v2"), "one", { namespace });
  assert.deepEqual([v2.apiVersion, v2["host"], v2["port"]], [`${crd.type.group}/v2`, "localhost", "8080"]);
});

conformance(`${suite} should be able to convert a non homogeneous list of CRs [Conformance]`, async (_, cluster) => {
  const { client, namespace } = cluster;
  const crd = await define(cluster);
  await client.create(crd.typeOf("v1"), made("first", namespace, { hostPort: "localhost:8080" }));
  const versions = ["v1", "v2"].map((name) => ({ name, served: true, storage: name === "v2", schema: anySchema }));
  await client.patch(customResourceDefinitions, crd.name, { type: "merge", body: { spec: { versions } } });
  await soon(async () => {
    const { status } = await client.get(customResourceDefinitions, crd.name);
    assert.deepEqual(status?.storedVersions, ["v1", "v2"]);
  });
  await soon(() => client.create(crd.typeOf("v2"), made("second", namespace, { host: "localhost", port: "8080" })));
  const v2 = await soon(() => client.list(crd.typeOf("v2"), { namespace }));
  assert.deepEqual(
    v2.items.map(({ metadata, host, port }) => [metadata.name, host, port]),
    [
      ["first", "localhost", "8080"],
      ["second", "localhost", "8080"],
    ],
  );
  const v1 = await soon(() => client.list(crd.typeOf("v1"), { namespace }));
  assert.deepEqual(
    v1.items.map(({ metadata, hostPort }) => [metadata.name, hostPort]),
    [
      ["first", "localhost:8080"],
      ["second", "localhost:8080"],
    ],
  );
});
