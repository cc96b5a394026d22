import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { eventually } from "../../support/eventually.ts";
import { ApiHarness, type Json } from "./harness.ts";

const definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const widgets = "/apis/example.com/v1/namespaces/default/widgets";

const definition = {
  apiVersion: "apiextensions.k8s.io/v1",
  kind: "CustomResourceDefinition",
  metadata: { name: "widgets.example.com" },
  spec: {
    group: "example.com",
    scope: "Namespaced",
    names: { plural: "widgets", kind: "Widget", shortNames: ["wd"], categories: ["all"] },
    versions: [
      {
        name: "v1",
        served: true,
        storage: true,
        schema: {
          openAPIV3Schema: {
            type: "object",
            properties: {
              spec: {
                type: "object",
                required: ["size"],
                properties: {
                  size: { type: "integer", minimum: 1 },
                  color: { type: "string", default: "blue" },
                  replicas: { type: "integer" },
                },
              },
              status: { type: "object", properties: { replicas: { type: "integer" }, selector: { type: "string" } } },
            },
          },
        },
        subresources: {
          status: {},
          scale: {
            specReplicasPath: ".spec.replicas",
            statusReplicasPath: ".status.replicas",
            labelSelectorPath: ".status.selector",
          },
        },
        selectableFields: [{ jsonPath: ".spec.color" }],
        additionalPrinterColumns: [{ name: "Size", type: "integer", jsonPath: ".spec.size" }],
      },
      {
        name: "v1beta1",
        served: true,
        storage: false,
        schema: { openAPIV3Schema: { type: "object", "x-kubernetes-preserve-unknown-fields": true } },
      },
    ],
  },
};

function widget(name: string, spec: object) {
  return { apiVersion: "example.com/v1", kind: "Widget", metadata: { name }, spec };
}

describe("custom resources", () => {
  let api: ApiHarness;
  before(async () => {
    api = await ApiHarness.start();
    const created = await api.post(definitions, definition);
    assert.equal(created.code, 201, created.text);
    const watch = await api.watch(`${definitions}?watch=1&resourceVersion=${created.body.metadata.resourceVersion}`);
    for (;;) {
      const { object } = await watch.next();
      if (object.status?.conditions?.some((c: Json) => c.type === "Established" && c.status === "True")) break;
    }
    watch.close();
  });
  after(() => api.stop());

  test("are in discovery and OpenAPI once their definition is established", async () => {
    const { body } = await api.get("/apis/example.com/v1");
    const [resource, scale, status] = body.resources;
    assert.deepEqual([resource.name, scale.name, status.name], ["widgets", "widgets/scale", "widgets/status"]);
    assert.deepEqual(resource.shortNames, ["wd"]);
    const { body: index } = await api.get("/openapi/v3");
    const document = await api.get(index.paths["apis/example.com/v1"].serverRelativeURL);
    assert.equal(document.code, 200);
    assert.ok(document.text.includes('"kind":"Widget"'));
  });

  test("keep their text, lose unknown fields, get defaults and are validated by their schema", async () => {
    const created = await api.post(widgets, widget("one", { size: 1, extra: true }));
    assert.equal(created.code, 201);
    assert.deepEqual(created.body.spec, { size: 1, color: "blue" });
    assert.equal(created.body.metadata.generation, 1);
    assert.match(created.headers.get("warning") ?? "", /unknown field \\"spec.extra\\"/);
    const small = await api.post(widgets, widget("small", { size: 0 }));
    assert.equal(small.code, 422);
    assert.match(
      small.body.message,
      /spec\.size: Invalid value: 0: spec\.size in body should be greater than or equal to 1/,
    );
    const missing = await api.post(widgets, widget("missing", {}));
    assert.equal(missing.code, 422);
    assert.match(missing.body.message, /spec\.size: Required value/);
  });

  test("count generations of the spec only, and keep the status for its subresource", async () => {
    await api.post(widgets, widget("status", { size: 1 }));
    const merged = await api.patch(`${widgets}/status`, "merge", { spec: { size: 2 }, status: { replicas: 3 } });
    assert.equal(merged.body.metadata.generation, 2);
    assert.equal(merged.body.status, undefined);
    const status = await api.patch(`${widgets}/status/status`, "merge", { spec: { size: 9 }, status: { replicas: 3 } });
    assert.equal(status.body.metadata.generation, 2);
    assert.deepEqual([status.body.spec.size, status.body.status.replicas], [2, 3]);
  });

  test("are scaled through the paths of their definition", async () => {
    await api.post(widgets, widget("scaled", { size: 1, replicas: 2 }));
    const { body } = await api.get(`${widgets}/scaled/scale`);
    assert.equal(body.spec.replicas, 2);
    const scaled = await api.patch(`${widgets}/scaled/scale`, "merge", { spec: { replicas: 5 } });
    assert.equal(scaled.code, 200);
    assert.equal((await api.get(`${widgets}/scaled`)).body.spec.replicas, 5);
  });

  test("know server-side apply and merge patch, and no strategic merge", async () => {
    const at = `${widgets}/applied?fieldManager=me`;
    assert.equal((await api.patch(at, "apply", widget("applied", { size: 1, color: "red" }))).code, 201);
    const again = await api.patch(at, "apply", widget("applied", { size: 1 }));
    assert.equal(again.body.spec.color, "blue");
    assert.equal((await api.patch(`${widgets}/applied`, "strategic", {})).code, 415);
  });

  test("are listed with kinds, in tables with their columns, and selected by their fields", async () => {
    await api.post(widgets, widget("red", { size: 7, color: "red" }));
    const { body } = await api.get(`${widgets}?fieldSelector=spec.color%3Dred`);
    assert.deepEqual(
      body.items.map((item: Json) => [item.kind, item.metadata.name]),
      [["Widget", "red"]],
    );
    const accept = "application/json;as=Table;v=v1;g=meta.k8s.io";
    const table = await api.get(`${widgets}?fieldSelector=spec.color%3Dred`, { accept });
    assert.deepEqual(table.body.rows[0].cells, ["red", 7]);
  });

  test("are served in each version, and stored in one", async () => {
    await api.post(widgets, widget("versions", { size: 1 }));
    const { body } = await api.get("/apis/example.com/v1beta1/namespaces/default/widgets/versions");
    assert.equal(body.apiVersion, "example.com/v1beta1");
    assert.equal(body.spec.size, 1);
    const stored = await api.store.get("/registry/example.com/widgets/default/versions");
    assert.equal(JSON.parse(stored!.value.toString()).apiVersion, "example.com/v1");
  });

  test("are watched", async () => {
    const { body: list } = await api.get(widgets);
    const watch = await api.watch(`${widgets}?watch=1&resourceVersion=${list.metadata.resourceVersion}`);
    await api.post(widgets, widget("watched", { size: 1 }));
    const event = await watch.next();
    watch.close();
    assert.deepEqual([event.type, event.object.kind], ["ADDED", "Widget"]);
  });

  test("definitions that cannot be served are refused", async () => {
    const { spec } = definition;
    const misnamed = await api.post(definitions, { ...definition, metadata: { name: "gadgets.example.com" } });
    assert.equal(misnamed.code, 422);
    assert.match(misnamed.body.message, /must be spec\.names\.plural/);
    const conversion = { strategy: "Webhook", webhook: { conversionReviewVersions: ["v1"] } };
    const names = { plural: "gadgets", kind: "Gadget" };
    const webhook = { ...definition, metadata: { name: "gadgets.example.com" }, spec: { ...spec, names, conversion } };
    const placeless = await api.post(definitions, webhook);
    assert.equal(placeless.code, 422);
    assert.match(
      placeless.body.message,
      /spec\.conversion\.webhookClientConfig: Required value: required when strategy is set to Webhook/,
    );
  });

  test("are held to the CEL rules of their definition, which must be good ones", async () => {
    const names = { plural: "rockets", kind: "Rocket" };
    const rockets = "/apis/example.com/v1/namespaces/default/rockets";
    const of = (rule: object) => {
      const fuel = { type: "integer", "x-kubernetes-validations": [rule] };
      const openAPIV3Schema = { type: "object", properties: { spec: { type: "object", properties: { fuel } } } };
      const versions = [{ name: "v1", served: true, storage: true, schema: { openAPIV3Schema } }];
      const spec = { group: "example.com", scope: "Namespaced", names, versions };
      return { ...definition, metadata: { name: "rockets.example.com" }, spec };
    };
    const wrong = await api.post(definitions, of({ rule: "self.foo > 1" }));
    assert.equal(wrong.code, 422);
    assert.match(wrong.body.message, /rule: Invalid value: .*type 'int' does not support field selection/);
    const created = await api.post(definitions, of({ rule: "self <= oldSelf", message: "fuel only burns" }));
    assert.equal(created.code, 201);
    const watch = await api.watch(`${definitions}?watch=1&resourceVersion=${created.body.metadata.resourceVersion}`);
    const established = ({ object }: Json) => object.status?.conditions?.some((c: Json) => c.type === "Established");
    while (!established(await watch.next())) {}
    watch.close();
    const rocket = { ...widget("r", { fuel: 9 }), kind: "Rocket" };
    const first = await api.post(rockets, rocket);
    assert.equal(first.code, 201);
    const burnt = await api.put(`${rockets}/r`, { ...first.body, spec: { fuel: 8 } });
    assert.equal(burnt.code, 200);
    const refused = await api.put(`${rockets}/r`, { ...burnt.body, spec: { fuel: 10 } });
    assert.equal(refused.code, 422);
    assert.equal(
      refused.body.message,
      'Rocket.example.com "r" is invalid: spec.fuel: Invalid value: 10: fuel only burns',
    );
    await api.delete(`${definitions}/rockets.example.com`);
  });

  test("that are stored show the defaults that came later, and lose the fields that went", async () => {
    const schema = (properties: object) => ({
      openAPIV3Schema: { type: "object", properties: { spec: { type: "object", properties } } },
    });
    const version = (properties: object) => [{ name: "v1", served: true, storage: true, schema: schema(properties) }];
    const names = { plural: "boxes", kind: "Box" };
    const boxes = "/apis/example.com/v1/namespaces/default/boxes";
    const spec = { group: "example.com", scope: "Namespaced", names };
    const metadata = { name: "boxes.example.com" };
    const properties = { a: { type: "string" }, gone: { type: "string" } };
    await api.post(definitions, { ...definition, metadata, spec: { ...spec, versions: version(properties) } });
    const made = { apiVersion: "example.com/v1", kind: "Box", metadata: { name: "b" }, spec: { gone: "x" } };
    await eventually(async () => assert.equal((await api.post(boxes, made)).code, 201));
    const versions = version({ a: { type: "string", default: "A" } });
    const changed = await api.patch(`${definitions}/boxes.example.com`, "merge", { spec: { versions } });
    assert.equal(changed.code, 200, changed.text);
    await eventually(async () => assert.deepEqual((await api.get(`${boxes}/b`)).body.spec, { a: "A" }));
    assert.deepEqual((await api.get(boxes)).body.items[0].spec, { a: "A" });
    const watch = await api.watch(`${boxes}?watch=1`);
    assert.deepEqual((await watch.next()).object.spec, { a: "A" });
    watch.close();
    // It is no write: the object keeps the version that it was stored in.
    const [before, after] = [await api.get(`${boxes}/b`), await api.get(`${boxes}/b`)];
    assert.equal(after.body.metadata.resourceVersion, before.body.metadata.resourceVersion);
    assert.equal(after.body.metadata.generation, 1);
  });

  test("go with their definition", async () => {
    const names = { plural: "gadgets", kind: "Gadget" };
    const other = { ...definition, metadata: { name: "gadgets.example.com" }, spec: { ...definition.spec, names } };
    const created = await api.post(definitions, other);
    // Other tests' definitions may still be on their way out: only this one counts.
    const selected = `watch=1&fieldSelector=metadata.name%3Dgadgets.example.com`;
    const watch = await api.watch(
      `${definitions}?${selected}&resourceVersion=${created.body.metadata.resourceVersion}`,
    );
    const established = ({ object }: Json) => object.status?.conditions?.some((c: Json) => c.type === "Established");
    let event = await watch.next();
    while (!established(event)) event = await watch.next();
    const gadgets = "/apis/example.com/v1/namespaces/default/gadgets";
    assert.equal((await api.post(gadgets, { ...widget("g", { size: 1 }), kind: "Gadget" })).code, 201);
    assert.equal((await api.delete(`${definitions}/gadgets.example.com`)).code, 200);
    while (event.type !== "DELETED") event = await watch.next();
    watch.close();
    assert.equal(await api.store.get("/registry/example.com/gadgets/default/g"), undefined);
  });
});
