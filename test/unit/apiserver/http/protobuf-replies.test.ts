/** Requests and replies as typed Go clients exchange them: protobuf both ways, and nothing else accepted. */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { WebSocket } from "ws";
import { builtInSchema } from "../../../../src/api/schemas.ts";
import { decodeKubernetesProtobuf, envelop, protobufType } from "../../../../src/apiserver/http/kubernetes-protobuf.ts";
import { Input, partsOf } from "../../../../src/apiserver/protobuf/decode-message.ts";
import { encodeMessage } from "../../../../src/apiserver/protobuf/encode-message.ts";
import { canonicalize } from "../../../../src/machinery/canonical.ts";
import type { Schema } from "../../../../src/machinery/schema.ts";
import { ApiHarness, type Json } from "../harness.ts";

const meta = "io.k8s.apimachinery.pkg.apis.meta.v1";
const schemas: Record<string, Schema> = {
  ConfigMap: builtInSchema("io.k8s.api.core.v1.ConfigMap"),
  ConfigMapList: builtInSchema("io.k8s.api.core.v1.ConfigMapList"),
  Status: builtInSchema(`${meta}.Status`),
  DeleteOptions: builtInSchema(`${meta}.DeleteOptions`),
  APIResourceList: builtInSchema(`${meta}.APIResourceList`),
  Deployment: builtInSchema("io.k8s.api.apps.v1.Deployment"),
  Scale: builtInSchema("io.k8s.api.autoscaling.v1.Scale"),
  SelfSubjectReview: builtInSchema("io.k8s.api.authentication.v1.SelfSubjectReview"),
  // Only the metadata of a ConfigMap.
  PartialObjectMetadata: builtInSchema("io.k8s.api.core.v1.ConfigMap"),
  PartialObjectMetadataList: builtInSchema("io.k8s.api.core.v1.ConfigMapList"),
};

function decode(bytes: Buffer): Json {
  return decodeKubernetesProtobuf(bytes, (_apiVersion, kind) => schemas[kind]!);
}

const maps = "/api/v1/namespaces/default/configmaps";
const partial = "as=PartialObjectMetadata;v=v1;g=meta.k8s.io";

describe("an API server spoken to in protobuf", () => {
  let api: ApiHarness;

  before(async () => {
    api = await ApiHarness.start();
    await api.post("/api/v1/namespaces", { metadata: { name: "default" } });
  });

  after(() => api.stop());

  async function ask(method: string, path: string, body?: object & { kind: string }, accept = protobufType) {
    const { apiVersion = "v1" } = (body ?? {}) as { apiVersion?: string };
    const response = await fetch(api.url + path, {
      method,
      headers: { accept, "x-user": "admin", ...(body ? { "content-type": protobufType } : {}) },
      ...(body
        ? { body: new Uint8Array(envelop(apiVersion, body.kind, encodeMessage(schemas[body.kind]!, body))) }
        : {}),
    });
    const bytes = Buffer.from(await response.arrayBuffer());
    const type = response.headers.get("content-type");
    return { code: response.status, type, bytes, object: type === protobufType ? decode(bytes) : undefined };
  }

  async function asJson(path: string): Promise<Json> {
    return (await api.get(path)).body;
  }

  test("an object is created, read and changed, and is what JSON clients see", async () => {
    const created = await ask("POST", maps, {
      kind: "ConfigMap",
      metadata: { name: "one", annotations: { note: "ü" } },
      data: { a: "1" },
      binaryData: { b: "AP8=" },
    } as never);
    assert.equal(created.code, 201);
    assert.equal(created.type, protobufType);
    const json = await asJson(`${maps}/one`);
    assert.equal(json.binaryData.b, "AP8=");
    assert.deepEqual(canonicalize(schemas["ConfigMap"]!, created.object), canonicalize(schemas["ConfigMap"]!, json));
    const changed = await ask("PUT", `${maps}/one`, { ...created.object, data: { a: "2" } });
    assert.equal(changed.code, 200);
    const read = await ask("GET", `${maps}/one`);
    assert.deepEqual(read.object, changed.object);
    assert.equal(read.object.metadata.resourceVersion, changed.object.metadata.resourceVersion);
  });

  test("a list has its metadata and items without type", async () => {
    const { object } = await ask("GET", `${maps}?limit=1`);
    assert.equal(object.kind, "ConfigMapList");
    assert.match(object.metadata.resourceVersion, /^\d+$/);
    assert.deepEqual(
      object.items.map(({ kind, metadata }: Json) => [kind, metadata.name]),
      [[undefined, "one"]],
    );
    const empty = await ask("GET", "/api/v1/namespaces/other/configmaps");
    assert.equal(empty.object.items, undefined);
  });

  test("errors are Statuses in protobuf, but JSON where the client reads neither", async () => {
    const missing = await ask("GET", `${maps}/none`);
    assert.equal(missing.code, 404);
    assert.equal(missing.object.message, 'configmaps "none" not found');
    assert.deepEqual(missing.object.details, { name: "none", kind: "configmaps" });
    const refused = await ask("GET", `${maps}/none`, undefined, "text/html");
    assert.equal(refused.code, 406);
    assert.equal(refused.type, "application/json");
  });

  test("DeleteOptions are read: a wrong precondition conflicts, the right one deletes", async () => {
    const { object } = await ask("POST", maps, { kind: "ConfigMap", metadata: { name: "gone" } } as never);
    const options = (uid: string) => ({ kind: "DeleteOptions", gracePeriodSeconds: 0, preconditions: { uid } });
    const wrong = await ask("DELETE", `${maps}/gone`, options("wrong"));
    assert.equal(wrong.code, 409);
    const right = await ask("DELETE", `${maps}/gone`, options(object.metadata.uid));
    assert.equal(right.code, 200);
    assert.deepEqual([right.object.kind, right.object.status], ["Status", "Success"]);
  });

  test("a Scale and a review have types of their own", async () => {
    const template = { metadata: { labels: { app: "web" } }, spec: { containers: [{ name: "web", image: "web" }] } };
    const deployments = "/apis/apps/v1/namespaces/default/deployments";
    const spec = { replicas: 3, selector: { matchLabels: { app: "web" } }, template };
    await api.post(deployments, { metadata: { name: "web" }, spec });
    const { object } = await ask("GET", `${deployments}/web/scale`);
    assert.deepEqual([object.kind, object.apiVersion, object.spec.replicas], ["Scale", "autoscaling/v1", 3]);
    const scaled = await ask("PUT", `${deployments}/web/scale`, { ...object, spec: { replicas: 5 } });
    assert.equal(scaled.object.spec.replicas, 5);
    const review = await ask("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", {
      kind: "SelfSubjectReview",
      apiVersion: "authentication.k8s.io/v1",
    } as never);
    assert.equal(review.code, 201);
    assert.equal(review.object.status.userInfo.username, "admin");
  });

  test("discovery of a version is served, too", async () => {
    const { object } = await ask("GET", "/api/v1");
    assert.ok(object.resources.some(({ name, verbs }: Json) => name === "configmaps" && verbs.includes("watch")));
  });

  test("metadata alone goes in protobuf, tables as JSON", async () => {
    const { object } = await ask("GET", maps, undefined, `${protobufType};${partial.replace("data", "dataList")}`);
    assert.deepEqual([object.kind, object.apiVersion], ["PartialObjectMetadataList", "meta.k8s.io/v1"]);
    assert.deepEqual(Object.keys(object.items[0]), ["metadata"]);
    const table = "as=Table;v=v1;g=meta.k8s.io";
    const both = await ask("GET", maps, undefined, `${protobufType};${table},application/json;${table}`);
    assert.equal(both.type, "application/json");
    assert.equal((await ask("GET", maps, undefined, `${protobufType};${table}`)).code, 406);
  });

  test("a custom resource is not given in protobuf, its metadata is", async () => {
    const schema = { openAPIV3Schema: { type: "object", "x-kubernetes-preserve-unknown-fields": true } };
    const crd = await api.post("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", {
      metadata: { name: "things.example.com" },
      spec: {
        group: "example.com",
        scope: "Namespaced",
        names: { plural: "things", kind: "Thing" },
        versions: [{ name: "v1", served: true, storage: true, schema }],
      },
    });
    assert.equal(crd.code, 201, crd.text);
    const things = "/apis/example.com/v1/namespaces/default/things";
    for (let tries = 0; tries < 100 && (await api.get(things)).code === 404; tries++);
    await api.post(things, { apiVersion: "example.com/v1", kind: "Thing", metadata: { name: "t" }, any: 1 });
    assert.equal((await ask("GET", things)).code, 406);
    const both = await ask("GET", things, undefined, `${protobufType},application/json`);
    assert.deepEqual([both.code, both.type], [200, "application/json"]);
    const { object } = await ask("GET", `${things}/t`, undefined, `${protobufType};${partial}`);
    assert.deepEqual([object.kind, object.metadata.name], ["PartialObjectMetadata", "t"]);
    const posted = await ask("POST", things, { kind: "ConfigMap" }, "application/json");
    assert.equal(posted.code, 415);
  });

  describe("watch", () => {
    /** Reads frames: a length in four bytes, then a WatchEvent whose object is in its envelope. */
    async function* frames(path: string, accept = `${protobufType};stream=watch`) {
      const abort = new AbortController();
      const headers = { accept, "x-user": "admin" };
      const response = await fetch(api.url + path, { headers, signal: abort.signal });
      assert.equal(response.headers.get("content-type"), `${protobufType};stream=watch`);
      let rest = Buffer.alloc(0);
      try {
        for await (const chunk of response.body!) {
          rest = Buffer.concat([rest, chunk as Uint8Array]);
          while (rest.length >= 4 && rest.length >= 4 + rest.readUInt32BE()) {
            const end = 4 + rest.readUInt32BE();
            yield watchEvent(rest.subarray(4, end));
            rest = rest.subarray(end);
          }
        }
      } finally {
        abort.abort();
      }
    }

    function watchEvent(bytes: Buffer) {
      const [, type, extension] = partsOf(new Input(bytes));
      return { type: String(type), object: decode(partsOf(new Input(extension!))[1]!) };
    }

    test("gives the state, the bookmark that ends it, and what happens then", async () => {
      const query = "watch=true&sendInitialEvents=true&allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan";
      const events = frames(`${maps}?${query}`, protobufType);
      const first = (await events.next()).value!;
      assert.deepEqual([first.type, first.object.metadata.name], ["ADDED", "one"]);
      const bookmark = (await events.next()).value!;
      assert.deepEqual([bookmark.type, bookmark.object.kind], ["BOOKMARK", "ConfigMap"]);
      assert.deepEqual(bookmark.object.metadata.annotations, { "k8s.io/initial-events-end": "true" });
      await api.patch(`${maps}/one`, "merge", { data: { a: "3" } });
      const changed = (await events.next()).value!;
      assert.deepEqual([changed.type, changed.object.data.a], ["MODIFIED", "3"]);
      const json = await asJson(`${maps}/one`);
      assert.equal(changed.object.metadata.resourceVersion, json.metadata.resourceVersion);
      await events.return();
    });

    test("of metadata carries only that", async () => {
      const events = frames(`${maps}?watch=true`, `${protobufType};${partial}`);
      const first = (await events.next()).value!;
      assert.equal(first.object.kind, "PartialObjectMetadata");
      assert.equal(first.object.data, undefined);
      await events.return();
    });

    test("from a revision that is gone ends with a Status", async () => {
      await api.store.compact(2);
      const events = frames(`${maps}?watch=true&resourceVersion=1&timeoutSeconds=5`);
      const { type, object } = (await events.next()).value!;
      assert.equal(type, "ERROR");
      assert.deepEqual([object.kind, object.code, object.reason], ["Status", 410, "Expired"]);
      await events.return();
    });

    test("over a WebSocket sends a binary message an event", async () => {
      const socket = new WebSocket(`${api.url.replace("http", "ws")}${maps}?watch=true`, {
        headers: { "x-user": "admin", accept: `${protobufType};stream=watch` },
      });
      const [message, isBinary] = await new Promise<[Buffer, boolean]>((resolve, reject) => {
        socket.once("message", (data, binary) => resolve([data as Buffer, binary]));
        socket.once("error", reject);
      });
      socket.terminate();
      assert.equal(isBinary, true);
      assert.equal(watchEvent(message).object.metadata.name, "one");
    });
  });
});
