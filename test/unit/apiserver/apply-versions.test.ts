import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { type WebhookHandler, WebhookServer } from "../../support/webhook-server.ts";
import { ApiHarness, type Json } from "./harness.ts";

const definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const autoscalers = (version: string) => `/apis/autoscaling/${version}/namespaces/default/horizontalpodautoscalers`;
const things = (plural: string, version: string) =>
  `/apis/versions.example.com/${version}/namespaces/default/${plural}`;

/** v1 has `hostPort: "host:port"`, the others have `host` and `port`. */
const converting: WebhookHandler = ({ apiVersion, request }: Json) => {
  const convertedObjects = request.objects.map(({ hostPort, host, port, ...rest }: Json) => {
    const [first, second] = hostPort?.split(":") ?? [host, port];
    const to = request.desiredAPIVersion;
    if (to.endsWith("/v1")) return { ...rest, apiVersion: to, ...(first ? { hostPort: `${first}:${second}` } : {}) };
    return { ...rest, apiVersion: to, ...(first ? { host: first } : {}), ...(second ? { port: second } : {}) };
  });
  return {
    kind: "ConversionReview",
    apiVersion,
    response: { uid: request.uid, result: { status: "Success" }, convertedObjects },
  };
};

const owners = (object: Json) =>
  Object.fromEntries(
    object.metadata.managedFields.map((one: Json) => [`${one.manager} ${one.apiVersion}`, one.fieldsV1]),
  );

describe("owners that wrote an object through different versions", () => {
  let api: ApiHarness;
  let server: WebhookServer;
  before(async () => {
    api = await ApiHarness.start();
    server = await WebhookServer.start(converting);
  });
  after(async () => {
    await api.stop();
    await server.stop();
  });

  const apply = (path: string, manager: string, body: object, force = false) =>
    api.patch(`${path}?fieldManager=${manager}&force=${force}`, "apply", body);

  async function define(plural: string, kind: string, versions: object[], conversion: object): Promise<void> {
    const name = `${plural}.versions.example.com`;
    const created = await api.post(definitions, {
      apiVersion: "apiextensions.k8s.io/v1",
      kind: "CustomResourceDefinition",
      metadata: { name },
      spec: { group: "versions.example.com", scope: "Namespaced", names: { plural, kind }, versions, conversion },
    });
    assert.equal(created.code, 201, created.text);
    await established(name);
  }

  async function established(name: string): Promise<void> {
    const watch = await api.watch(
      `${definitions}?watch=1&fieldSelector=metadata.name=${name}&sendInitialEvents=true&resourceVersionMatch=NotOlderThan`,
    );
    for (;;) {
      const { object } = await watch.next();
      if (object.status?.conditions?.some((c: Json) => c.type === "Established" && c.status === "True")) break;
    }
    watch.close();
  }

  const version = (name: string, properties: object, more: object = {}) => ({
    name,
    served: true,
    storage: false,
    schema: { openAPIV3Schema: { type: "object", properties } },
    ...more,
  });

  test("of an autoscaler conflict where the fields differ by version", async () => {
    const target = { scaleTargetRef: { kind: "Deployment", name: "web", apiVersion: "apps/v1" } };
    const spec = { ...target, maxReplicas: 5, targetCPUUtilizationPercentage: 70 };
    const created = await api.post(`${autoscalers("v1")}?fieldManager=x`, { metadata: { name: "h" }, spec });
    assert.equal(created.code, 201, created.text);
    const type = { apiVersion: "autoscaling/v2", kind: "HorizontalPodAutoscaler" };
    const cpu = (averageUtilization: number) => ({
      ...type,
      spec: {
        maxReplicas: 5,
        metrics: [{ type: "Resource", resource: { name: "cpu", target: { type: "Utilization", averageUtilization } } }],
      },
    });
    const refused = await apply(`${autoscalers("v2")}/h`, "y", cpu(80));
    assert.equal(refused.code, 409, refused.text);
    assert.equal(
      refused.body.message,
      'Apply failed with 1 conflict: conflict with "x" using autoscaling/v1: .spec.targetCPUUtilizationPercentage',
    );
    assert.deepEqual(refused.body.details.causes, [
      {
        reason: "FieldManagerConflict",
        message: 'conflict with "x" using autoscaling/v1',
        field: ".spec.targetCPUUtilizationPercentage",
      },
    ]);
    const shared = await apply(`${autoscalers("v2")}/h`, "y", cpu(70));
    assert.equal(shared.code, 200, shared.text);
    const forced = await apply(`${autoscalers("v2")}/h`, "y", cpu(80), true);
    assert.equal(forced.code, 200, forced.text);
    const has = owners(forced.body);
    assert.equal(has["x autoscaling/v1"]["f:spec"]["f:targetCPUUtilizationPercentage"], undefined);
    assert.deepEqual(has["x autoscaling/v1"]["f:spec"]["f:maxReplicas"], {});
    const back = await api.get(`${autoscalers("v1")}/h`);
    assert.equal(back.body.spec.targetCPUUtilizationPercentage, 80);
  });

  test("of kubectl's client-side apply give way to its server-side apply in the same version only", async () => {
    const type = { apiVersion: "autoscaling/v1", kind: "HorizontalPodAutoscaler" };
    const configuration = {
      ...type,
      metadata: { name: "last", namespace: "default" },
      spec: { scaleTargetRef: { kind: "Deployment", name: "web", apiVersion: "apps/v1" }, maxReplicas: 5 },
    };
    const annotation = { "kubectl.kubernetes.io/last-applied-configuration": JSON.stringify(configuration) };
    const created = await api.post(`${autoscalers("v1")}?fieldManager=kubectl-client-side-apply`, {
      ...configuration,
      metadata: { ...configuration.metadata, annotations: annotation },
    });
    assert.equal(created.code, 201, created.text);
    const more = { ...configuration, spec: { ...configuration.spec, maxReplicas: 6 } };
    const refused = await apply(`${autoscalers("v2")}/last`, "kubectl", { ...more, apiVersion: "autoscaling/v2" });
    assert.equal(refused.code, 409, refused.text);
    assert.equal(
      refused.body.message,
      'Apply failed with 1 conflict: conflict with "kubectl-client-side-apply" using autoscaling/v1: .spec.maxReplicas',
    );
    const taken = await apply(`${autoscalers("v1")}/last`, "kubectl", more);
    assert.equal(taken.code, 200, taken.text);
    assert.equal(taken.body.spec.maxReplicas, 6);
  });

  test("of a subresource are compared in their version, too, and keep their place", async () => {
    const spec = { scaleTargetRef: { kind: "Deployment", name: "web", apiVersion: "apps/v1" }, maxReplicas: 5 };
    await api.post(`${autoscalers("v1")}?fieldManager=x`, { metadata: { name: "sub" }, spec });
    const status = { status: { currentReplicas: 1, desiredReplicas: 2 } };
    const written = await api.patch(`${autoscalers("v1")}/sub/status?fieldManager=c`, "merge", status);
    assert.equal(written.code, 200, written.text);
    const type = { apiVersion: "autoscaling/v2", kind: "HorizontalPodAutoscaler" };
    const other = { ...type, status: { desiredReplicas: 3 } };
    const refused = await apply(`${autoscalers("v2")}/sub/status`, "y", other);
    assert.equal(
      refused.body.message,
      'Apply failed with 1 conflict: conflict with "c" with subresource "status" using autoscaling/v1: .status.desiredReplicas',
    );
    // The main resource takes no status: nobody loses or gets it there.
    const main = await apply(`${autoscalers("v2")}/sub`, "y", { ...other, spec: { maxReplicas: 5 } });
    assert.equal(main.code, 200, main.text);
    const has = owners(main.body);
    assert.deepEqual(has["c autoscaling/v1"]["f:status"]["f:desiredReplicas"], {});
    assert.deepEqual(has["y autoscaling/v2"], { "f:spec": { "f:maxReplicas": {} } });
  });

  test("of an event are compared across its two groups", async () => {
    const created = await api.post("/api/v1/namespaces/default/events?fieldManager=x", {
      metadata: { name: "e", namespace: "default" },
      involvedObject: { kind: "Pod", name: "p", namespace: "default" },
      message: "first",
      reason: "Why",
      type: "Normal",
      reportingComponent: "",
    });
    assert.equal(created.code, 201, created.text);
    const body = { apiVersion: "events.k8s.io/v1", kind: "Event", note: "second" };
    const refused = await apply("/apis/events.k8s.io/v1/namespaces/default/events/e", "y", body);
    assert.equal(refused.code, 409, refused.text);
    assert.equal(refused.body.message, 'Apply failed with 1 conflict: conflict with "x" using v1: .message');
  });

  test("that were forgotten are before-first-apply in the version of the first apply", async () => {
    const spec = { scaleTargetRef: { kind: "Deployment", name: "web", apiVersion: "apps/v1" }, maxReplicas: 5 };
    await api.post(autoscalers("v1"), { metadata: { name: "reset" }, spec });
    const reset = await api.patch(`${autoscalers("v1")}/reset`, "merge", { metadata: { managedFields: [{}] } });
    assert.equal(reset.body.metadata.managedFields, undefined);
    const type = { apiVersion: "autoscaling/v2", kind: "HorizontalPodAutoscaler" };
    const refused = await apply(`${autoscalers("v2")}/reset`, "y", { ...type, spec: { maxReplicas: 6 } });
    assert.equal(
      refused.body.message,
      'Apply failed with 1 conflict: conflict with "before-first-apply" using autoscaling/v2: .spec.maxReplicas',
    );
  });

  test("of a custom resource whose versions differ in their names conflict, though one is not served", async () => {
    const properties = { a: { type: "string" }, b: { type: "string" } };
    const versions = (served: boolean) => [
      version("v1", properties, { served }),
      version("v2", properties, { storage: true }),
    ];
    await define("plains", "Plain", versions(true), { strategy: "None" });
    const at = (name: string) => `${things("plains", name)}/one`;
    const of = (name: string, fields: object) => ({
      apiVersion: `versions.example.com/${name}`,
      kind: "Plain",
      ...fields,
    });
    const created = await api.post(
      `${things("plains", "v1")}?fieldManager=x`,
      of("v1", { metadata: { name: "one" }, a: "1" }),
    );
    assert.equal(created.code, 201, created.text);
    assert.equal((await apply(at("v2"), "y", of("v2", { b: "1" }))).code, 200);
    const wanted = 'Apply failed with 1 conflict: conflict with "x" using versions.example.com/v1: .a';
    assert.equal((await apply(at("v2"), "y", of("v2", { a: "2" }))).body.message, wanted);

    const path = `${definitions}/plains.versions.example.com`;
    const changed = await api.patch(path, "merge", { spec: { versions: versions(false) } });
    assert.equal(changed.code, 200, changed.text);
    while ((await api.get(at("v1"))).code !== 404) await new Promise(setImmediate);
    assert.equal((await apply(at("v2"), "y", of("v2", { a: "2" }))).body.message, wanted);
    const updated = await api.patch(`${at("v2")}?fieldManager=z`, "merge", { a: "3" });
    assert.deepEqual(Object.keys(owners(updated.body)).sort(), [
      "y versions.example.com/v2",
      "z versions.example.com/v2",
    ]);
  });

  test("of a custom resource that a webhook converts conflict as each version has the field", async () => {
    const text = { type: "string" };
    const versions = [
      version("v1", { hostPort: text }, { storage: true }),
      version("v2", { host: text, port: text }),
      version("v3", { host: text, port: text, note: text }),
    ];
    const webhook = { clientConfig: server.at("/convert"), conversionReviewVersions: ["v1"] };
    await define("hosts", "Host", versions, { strategy: "Webhook", webhook });
    const at = (name: string) => `${things("hosts", name)}/one`;
    const of = (name: string, fields: object) => ({
      apiVersion: `versions.example.com/${name}`,
      kind: "Host",
      ...fields,
    });
    const created = await apply(at("v1"), "x", of("v1", { hostPort: "localhost:80" }));
    assert.equal(created.code, 201, created.text);
    const refused = await apply(at("v2"), "y", of("v2", { host: "localhost", port: "81" }));
    assert.equal(refused.code, 409, refused.text);
    assert.equal(refused.body.message, 'Apply failed with 1 conflict: conflict with "x": .hostPort');
    const same = await apply(at("v2"), "y", of("v2", { host: "localhost", port: "80" }));
    assert.deepEqual(owners(same.body), {
      "x versions.example.com/v1": { "f:hostPort": {} },
      "y versions.example.com/v2": { "f:host": {}, "f:port": {} },
    });
    // Between two that are not stored, by way of the one that is.
    server.reviews.length = 0;
    const other = await apply(at("v3"), "z", of("v3", { port: "81" }));
    assert.equal(other.code, 409, other.text);
    assert.equal(
      other.body.message,
      'Apply failed with 2 conflicts: conflicts with "x":\n- .hostPort\nconflicts with "y":\n- .port',
    );
    const versionsSeen = server.reviews.map(({ request }: Json) => [
      request.objects[0].apiVersion,
      request.desiredAPIVersion,
    ]);
    assert.ok(versionsSeen.every((pair: string[]) => pair.includes("versions.example.com/v1")));
    const forced = await apply(at("v3"), "z", of("v3", { port: "81" }), true);
    assert.deepEqual(owners(forced.body), {
      "y versions.example.com/v2": { "f:host": {} },
      "z versions.example.com/v3": { "f:port": {} },
    });
    assert.equal((await api.get(at("v1"))).body.hostPort, "localhost:81");
  });
});
