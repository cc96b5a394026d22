import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import { RawAnswer, type WebhookHandler, WebhookServer } from "../../../support/webhook-server.ts";
import { ApiHarness, type Json } from "../harness.ts";

const mutatingPath = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations";
const validatingPath = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";
const configMapsPath = "/api/v1/namespaces/default/configmaps";

const configMapRule = { operations: ["*"], apiGroups: [""], apiVersions: ["v1"], resources: ["configmaps"] };

/** The answer to a review. */
const answer = (review: Json, response: object) => ({
  kind: "AdmissionReview",
  apiVersion: review.apiVersion,
  response: { uid: review.request.uid, ...response },
});
const allow = (review: Json, more: object = {}) => answer(review, { allowed: true, ...more });
const deny = (review: Json, status?: object) => answer(review, { allowed: false, ...(status ? { status } : {}) });
const patched = (review: Json, operations: object[]) =>
  allow(review, { patchType: "JSONPatch", patch: Buffer.from(JSON.stringify(operations)).toString("base64") });

describe("admission webhooks", () => {
  let api: ApiHarness;
  let server: WebhookServer;
  const routes = new Map<string, WebhookHandler>();
  before(async () => {
    api = await ApiHarness.start();
    server = await WebhookServer.start((review, path) =>
      routes.get(new URL(path, "https://x").pathname)!(review, path),
    );
  });
  after(async () => {
    await api.stop();
    await server.stop();
  });
  afterEach(async () => {
    await api.delete(mutatingPath);
    await api.delete(validatingPath);
    await api.delete(configMapsPath);
    routes.clear();
    server.reviews.length = 0;
  });

  const hook = (path: string, handler: WebhookHandler | undefined, more: object = {}) => {
    if (handler) routes.set(path, handler);
    return {
      name: `${path.slice(1).replaceAll("/", "-")}.example.com`,
      admissionReviewVersions: ["v1"],
      clientConfig: server.at(path),
      sideEffects: "None",
      rules: [configMapRule],
      ...more,
    };
  };
  const register = async (kind: "mutating" | "validating", name: string, ...webhooks: object[]) => {
    const created = await api.post(kind === "mutating" ? mutatingPath : validatingPath, {
      metadata: { name },
      webhooks,
    });
    assert.equal(created.code, 201, created.text);
    return created.body;
  };
  const createMap = (name: string, data: object = {}, query = "") =>
    api.post(`${configMapsPath}${query}`, { metadata: { name }, data });

  test("get a whole review of what is to be written, and refuse with their own words", async () => {
    await register(
      "validating",
      "deny",
      hook("/deny", (review) =>
        review.request.object?.data?.bad
          ? deny(review, { message: "no bad data", code: 409, reason: "Conflict" })
          : allow(review),
      ),
    );
    const refused = await createMap("bad", { bad: "yes" }, "?fieldManager=me&fieldValidation=Strict");
    assert.equal(refused.code, 409);
    assert.equal(refused.body.reason, "Conflict");
    assert.equal(refused.body.message, 'admission webhook "deny.example.com" denied the request: no bad data');
    const [{ request, ...type }] = server.reviews;
    assert.deepEqual(type, { kind: "AdmissionReview", apiVersion: "admission.k8s.io/v1" });
    const { uid, object, ...rest } = request;
    assert.match(uid, /^[0-9a-f-]{36}$/);
    assert.equal(object.metadata.name, "bad");
    assert.deepEqual([object.kind, object.apiVersion], ["ConfigMap", "v1"]);
    const kind = { group: "", version: "v1", kind: "ConfigMap" };
    const resource = { group: "", version: "v1", resource: "configmaps" };
    assert.deepEqual(rest, {
      kind,
      resource,
      requestKind: kind,
      requestResource: resource,
      name: "bad",
      namespace: "default",
      operation: "CREATE",
      userInfo: { username: "admin", groups: ["system:masters", "system:authenticated"] },
      oldObject: null,
      dryRun: false,
      options: {
        kind: "CreateOptions",
        apiVersion: "meta.k8s.io/v1",
        fieldManager: "me",
        fieldValidation: "Strict",
      },
    });
    assert.equal((await createMap("good")).code, 201);
  });
});
