/** Conversion of custom resources by a webhook outside of the cluster. Authority: CustomResourceConversionWebhook. */
import assert from "node:assert/strict";
import { after, before } from "node:test";
import { customResourceDefinitions } from "../../src/api/generated/apiextensions-v1.ts";
import type { WatchEvent } from "../../src/client/client.ts";
import { WebhookServer } from "../support/webhook-server.ts";
import { type Cluster, conformance } from "./conformance.ts";
import { anySchema, type CustomObject, definitionOf } from "./custom-resource.ts";
import { soon, summary, watchUntil } from "./waiting.ts";

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

conformance(
  "[sig-api-machinery] CustomResourceFieldSelectors [Privileged:ClusterAdmin] CustomResourceFieldSelectors MUST list and watch custom resources matching the field selector [Conformance]",
  async (_, cluster) => {
    const { client, namespace } = cluster;
    const version = (name: string, ...fields: string[]) => ({
      name,
      schema: {
        openAPIV3Schema: {
          type: "object",
          properties: Object.fromEntries(fields.map((field) => [field, { type: "string" }])),
        },
      },
      selectableFields: fields.map((field) => ({ jsonPath: `.${field}` })),
    });
    const crd = definitionOf(cluster, { versions: [version("v1", "hostPort"), version("v2", "host", "port")] });
    const webhook = { clientConfig: server.at("/crdconvert"), conversionReviewVersions: ["v1"] };
    crd.body.spec.conversion = { strategy: "Webhook", webhook };
    await crd.create();
    const selections = [
      { type: crd.typeOf("v2"), fieldSelector: "host=host1", first: ["a", "b"] },
      { type: crd.typeOf("v2"), fieldSelector: "host=host1,port=80", first: ["a"] },
      { type: crd.typeOf("v1"), fieldSelector: "hostPort=host1:80", first: ["a"] },
      { type: crd.typeOf("v1"), fieldSelector: "hostPort=host1:8080", first: ["b"] },
    ];
    const watches: Promise<WatchEvent<CustomObject>[]>[] = [];
    for (const { type, fieldSelector, first } of selections) {
      const { metadata } = await client.list(type, { namespace });
      const options = { namespace, fieldSelector, resourceVersion: metadata.resourceVersion! };
      let left = first.length;
      watches.push(watchUntil(client, type, options, (event) => event.type === "DELETED" && --left === 0));
    }
    const make = (name: string, host: string, port: string) =>
      client.create(crd.typeOf("v2"), made(name, namespace, { host, port }));
    await make("a", "host1", "80");
    await make("b", "host1", "8080");
    await make("c", "host2", "80");
    const names = async (type: typeof crd.type, fieldSelector: string) =>
      (await client.list(type, { namespace, fieldSelector })).items.map(({ metadata }) => metadata.name);
    for (const { type, fieldSelector, first } of selections) assert.deepEqual(await names(type, fieldSelector), first);
    // One goes, and one is no longer what was asked for: both are gone for who watches.
    await client.delete(crd.typeOf("v2"), "a", { namespace });
    await client.patch(crd.typeOf("v2"), "b", { type: "merge", body: { host: "host2" } }, { namespace });
    for (const { type, fieldSelector } of selections) assert.deepEqual(await names(type, fieldSelector), []);
    for (const [index, events] of (await Promise.all(watches)).entries()) {
      const { first, type } = selections[index]!;
      assert.deepEqual(
        summary(events),
        ["ADDED", "DELETED"].flatMap((kind) => first.map((name) => `${kind} ${name}`)),
      );
      assert.ok(events.every(({ object }) => object.apiVersion === `${type.group}/${type.version}`));
    }
  },
);
