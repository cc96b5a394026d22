import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import { RawAnswer, type WebhookHandler, WebhookServer } from "../../../support/webhook-server.ts";
import { ApiHarness, type Json } from "../harness.ts";

const definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const name = "boxes.stable.example.com";
const at = (version: string) => `/apis/stable.example.com/${version}/namespaces/default/boxes`;

/** v1 has `hostPort: "host:port"`, v2 has `host` and `port`. */
function convert(object: Json, apiVersion: string): Json {
  const { hostPort, host, port, ...rest } = object;
  if (apiVersion.endsWith("/v1")) return { ...rest, apiVersion, hostPort: `${host}:${port}` };
  const [first, second] = hostPort.split(":");
  return { ...rest, apiVersion, host: first, port: second };
}

const success = (review: Json, convertedObjects: Json[]) => ({
  kind: "ConversionReview",
  apiVersion: review.apiVersion,
  response: { uid: review.request.uid, result: { status: "Success" }, convertedObjects },
});
const converting: WebhookHandler = (review) =>
  success(
    review,
    review.request.objects.map((object: Json) => convert(object, review.request.desiredAPIVersion)),
  );

const text = { type: "string" };
const version = (of: string, storage: boolean, properties: object) => ({
  name: of,
  served: true,
  storage,
  schema: { openAPIV3Schema: { type: "object", properties } },
});
const versions = (stored: "v1" | "v2") => [
  version("v1", stored === "v1", { hostPort: text }),
  version("v2", stored === "v2", { host: text, port: text, color: { type: "string", default: "blue" } }),
];

describe("custom resources that a webhook converts", () => {
  let api: ApiHarness;
  let server: WebhookServer;
  before(async () => {
    api = await ApiHarness.start();
    server = await WebhookServer.start(converting);
    const created = await api.post(definitions, {
      apiVersion: "apiextensions.k8s.io/v1",
      kind: "CustomResourceDefinition",
      metadata: { name },
      spec: {
        group: "stable.example.com",
        scope: "Namespaced",
        names: { plural: "boxes", singular: "box", kind: "Box" },
        versions: versions("v1"),
        conversion: {
          strategy: "Webhook",
          webhook: { clientConfig: server.at("/convert"), conversionReviewVersions: ["v1"] },
        },
      },
    });
    assert.equal(created.code, 201, created.text);
    await served();
  });
  after(async () => {
    await api.stop();
    await server.stop();
  });
  afterEach(async () => {
    server.handler = converting;
    await store("v1");
    await api.delete(at("v1"));
    server.reviews.length = 0;
  });

  /** Waits until both versions are served as the definition says now. */
  async function served(): Promise<void> {
    const watch = await api.watch(
      `${definitions}?watch=1&fieldSelector=metadata.name=${name}&sendInitialEvents=true&resourceVersionMatch=NotOlderThan`,
    );
    for (;;) {
      const { object } = await watch.next();
      if (object.status?.conditions?.some((c: Json) => c.type === "Established" && c.status === "True")) break;
    }
    watch.close();
  }

  /** Makes another version the one that is stored, and waits until writes follow it. */
  async function store(of: "v1" | "v2"): Promise<void> {
    const { body } = await api.get(`${definitions}/${name}`);
    // The last test takes it away.
    if (!body.spec || body.spec.versions.find(({ storage }: Json) => storage).name === of) return;
    const changed = await api.patch(`${definitions}/${name}`, "merge", { spec: { versions: versions(of) } });
    assert.equal(changed.code, 200, changed.text);
    for (let attempt = 0; ; attempt++) {
      const probe = `probe-${of}-${attempt}`;
      await api.post(at("v2"), { metadata: { name: probe }, host: "h", port: "1" });
      const key = `/registry/stable.example.com/boxes/default/${probe}`;
      const entry = await api.store.get(key);
      await api.delete(`${at("v2")}/${probe}`);
      if (entry && JSON.parse(entry.value.toString()).apiVersion === `stable.example.com/${of}`) return;
    }
  }

  const create = async (version: "v1" | "v2", of: string) => {
    const body = version === "v1" ? { hostPort: "localhost:8080" } : { host: "localhost", port: "8080" };
    const created = await api.post(at(version), { metadata: { name: of, labels: { made: version } }, ...body });
    assert.equal(created.code, 201, created.text);
    return created.body;
  };

  // Conformance: CustomResourceConversionWebhook should be able to convert from CR v1 to CR v2.
  test("are written in one version and read in the other", async () => {
    const written = await create("v1", "one");
    assert.equal(written.hostPort, "localhost:8080");
    const { body, code } = await api.get(`${at("v2")}/one`);
    assert.equal(code, 200);
    assert.deepEqual(
      [body.kind, body.apiVersion, body.host, body.port, body.hostPort],
      ["Box", "stable.example.com/v2", "localhost", "8080", undefined],
    );
    assert.equal(body.metadata.uid, written.metadata.uid);
    assert.equal(body.metadata.resourceVersion, written.metadata.resourceVersion);
    assert.equal(body.color, "blue", "defaults of the version that is read");
    const [{ request }] = server.reviews;
    assert.equal(request.desiredAPIVersion, "stable.example.com/v2");
    assert.equal(request.objects[0].metadata.resourceVersion, undefined);
  });

  test("are stored in the storage version, whichever they are written in", async () => {
    const written = await create("v2", "one");
    assert.deepEqual([written.host, written.port], ["localhost", "8080"]);
    assert.equal((await api.get(`${at("v1")}/one`)).body.hostPort, "localhost:8080");
    const patched = await api.patch(`${at("v2")}/one`, "merge", { port: "9090" });
    assert.equal(patched.code, 200, patched.text);
    assert.deepEqual([patched.body.port, patched.body.metadata.generation], ["9090", 2]);
    assert.equal((await api.get(`${at("v1")}/one`)).body.hostPort, "localhost:9090");
    const gone = await api.delete(`${at("v2")}/one`);
    assert.equal(gone.code, 200, gone.text);
  });

  // Conformance: CustomResourceConversionWebhook should be able to convert a non homogeneous list of CRs.
  test("are listed in one version, whatever the versions that they are stored in", async () => {
    await create("v1", "first");
    await store("v2");
    await create("v2", "second");
    for (const [version, field, value] of [
      ["v2", "host", "localhost"],
      ["v1", "hostPort", "localhost:8080"],
    ] as const) {
      const { body, code } = await api.get(at(version));
      assert.equal(code, 200);
      assert.deepEqual(
        body.items.map((item: Json) => [item.metadata.name, item.apiVersion, item[field]]),
        [
          ["first", `stable.example.com/${version}`, value],
          ["second", `stable.example.com/${version}`, value],
        ],
      );
    }
  });

  test("are asked for together when a list is read for the first time", async () => {
    server.handler = () => new RawAnswer(500, "out of order");
    for (let i = 0; i < 5; i++) await create("v1", `box-${i}`);
    assert.equal((await api.get(at("v2"))).code, 500, "nothing is kept of what could not be converted");
    server.handler = converting;
    server.reviews.length = 0;
    const { body } = await api.get(at("v2"));
    assert.equal(body.items.length, 5);
    assert.deepEqual(
      server.reviews.map(({ request }) => request.objects.length),
      [5],
    );
    await api.get(`${at("v2")}/box-3`);
    assert.equal(server.reviews.length, 1, "what was converted is kept");
  });

  test("are watched in every version, in the order of their changes, however long a conversion takes", async () => {
    const { body } = await api.get(at("v2"));
    const watch = await api.watch(`${at("v2")}?watch=1&resourceVersion=${body.metadata.resourceVersion}`);
    let release: () => void = () => {};
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    server.handler = async (review, path) => {
      await held;
      return converting(review, path);
    };
    await create("v1", "one");
    await create("v1", "two");
    await api.patch(`${at("v1")}/one`, "merge", { hostPort: "other:1" });
    await api.delete(`${at("v1")}/two`);
    release();
    const events = await watch.take(4);
    watch.close();
    assert.deepEqual(
      events.map(({ type, object }) => [type, object.metadata.name, object.host]),
      [
        ["ADDED", "one", "localhost"],
        ["ADDED", "two", "localhost"],
        ["MODIFIED", "one", "other"],
        ["DELETED", "two", "localhost"],
      ],
    );
  });

  test("cannot be read while their webhook fails, and can again when it answers", async () => {
    await create("v1", "one");
    server.handler = () => new RawAnswer(500, "out of order");
    const failed = await api.get(`${at("v2")}/one`);
    assert.equal(failed.code, 500);
    assert.equal(
      failed.body.message,
      'conversion webhook for stable.example.com/v1, Kind=Box failed: an error on the server ("out of order") has prevented the request from succeeding',
    );
    assert.equal((await api.get(`${at("v1")}/one`)).code, 200, "the version that is stored needs no webhook");
    const refused = await api.post(at("v2"), { metadata: { name: "two" }, host: "h", port: "1" });
    assert.equal(refused.code, 500);
    server.handler = converting;
    assert.equal((await api.get(`${at("v2")}/one`)).code, 200);
    assert.equal((await api.get(`${at("v1")}/two`)).code, 404);
  });

  test("are not held up by another one that cannot be converted", async () => {
    await create("v1", "good");
    await create("v1", "broken");
    const broken: WebhookHandler = (review, path) =>
      review.request.objects.some(({ metadata }: Json) => metadata.name === "broken")
        ? new RawAnswer(500, "out of order")
        : converting(review, path);
    server.handler = broken;
    await create("v1", "other");
    await api.patch(`${at("v1")}/broken`, "merge", { hostPort: "x:1" });
    assert.equal((await api.get(at("v2"))).code, 500);
    assert.equal((await api.get(`${at("v2")}/broken`)).code, 500);
    assert.equal((await api.get(`${at("v2")}/good`)).body.host, "localhost");
    assert.equal((await api.patch(`${at("v2")}/good`, "merge", { port: "1" })).body.port, "1");
    assert.equal((await api.delete(`${at("v2")}/good`)).code, 200);
    const missing = await api.get(`${at("v2")}/good`);
    assert.equal(missing.code, 404);
  });

  test("end watches with an error when their webhook fails", async () => {
    const { body } = await api.get(at("v2"));
    const watch = await api.watch(`${at("v2")}?watch=1&resourceVersion=${body.metadata.resourceVersion}`);
    server.handler = () => new RawAnswer(500, "out of order");
    await create("v1", "one");
    const { type, object } = await watch.next();
    assert.deepEqual([type, object.code], ["ERROR", 500]);
    assert.equal(await watch.next(), undefined);
  });

  test("are protected from webhooks that answer something else", async () => {
    await create("v1", "one");
    const answers: [WebhookHandler, RegExp][] = [
      [(review) => success(review, []), /returned 0 objects, expected 1$/],
      [
        (review) => success(review, review.request.objects),
        /returned invalid object at index 0: invalid groupVersion \(expected stable.example.com\/v2, received stable.example.com\/v1\)$/,
      ],
      [
        (review) =>
          success(
            review,
            review.request.objects.map((o: Json) => ({ ...convert(o, "stable.example.com/v2"), kind: "Bag" })),
          ),
        /invalid kind \(expected Box, received Bag\)$/,
      ],
      [
        (review) =>
          success(
            review,
            review.request.objects.map((o: Json) => ({
              ...convert(o, "stable.example.com/v2"),
              metadata: { ...o.metadata, uid: "x" },
            })),
          ),
        /returned invalid object: must have the same UID: .* != x$/,
      ],
      [
        (review) =>
          success(
            review,
            review.request.objects.map((o: Json) => ({
              ...convert(o, "stable.example.com/v2"),
              metadata: { ...o.metadata, labels: { "a b": "c" } },
            })),
          ),
        /returned invalid metadata: metadata.labels: Invalid value: "a b"/,
      ],
      [
        (review) => ({
          ...success(review, []),
          response: { uid: review.request.uid, result: { status: "Failure", message: "no way" } },
        }),
        /failed: no way$/,
      ],
      [
        (review) => ({ ...success(review, []), response: { uid: "other" } }),
        /expected response.uid="[^"]+", got "other"$/,
      ],
      [() => ({}), /expected webhook response of apiextensions.k8s.io\/v1, Kind=ConversionReview, got \/, Kind=$/],
    ];
    for (const [handler, message] of answers) {
      server.handler = handler;
      const { code, body } = await api.get(`${at("v2")}/one`);
      assert.equal(code, 500);
      assert.match(body.message, message);
    }
  });

  test("keep their metadata, but for labels and annotations that the webhook may change", async () => {
    const written = await create("v1", "one");
    server.handler = (review) =>
      success(
        review,
        review.request.objects.map((object: Json) => ({
          ...convert(object, review.request.desiredAPIVersion),
          metadata: {
            ...object.metadata,
            labels: { new: "label" },
            annotations: { a: "b" },
            finalizers: ["x.example.com/y"],
          },
        })),
      );
    const { body } = await api.get(`${at("v2")}/one`);
    assert.deepEqual(body.metadata.labels, { new: "label" });
    assert.deepEqual(body.metadata.annotations, { a: "b" });
    assert.equal(body.metadata.finalizers, undefined);
    assert.deepEqual(body.metadata.managedFields, written.metadata.managedFields);
    const selected = await api.get(`${at("v2")}?labelSelector=new=label`);
    assert.equal(selected.body.items.length, 1, "selectors see the object as it is read");
  });

  test("go with their definition, without a webhook", async () => {
    await create("v1", "one");
    server.handler = () => new RawAnswer(500, "out of order");
    const { body } = await api.delete(`${definitions}/${name}`);
    const from = body.metadata.resourceVersion;
    const watch = await api.watch(`${definitions}?watch=1&fieldSelector=metadata.name=${name}&resourceVersion=${from}`);
    while ((await watch.next()).type !== "DELETED");
    watch.close();
    const { code } = await api.get(`${definitions}/${name}`);
    assert.equal(code, 404);
  });
});
