import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import { allow, answer, change, deny, pass } from "../../../support/webhook-answers.ts";
import { RawAnswer, type WebhookHandler, WebhookServer } from "../../../support/webhook-server.ts";
import { ApiHarness, type Json } from "../harness.ts";

const mutatingPath = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations";
const validatingPath = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";
const configMapsPath = "/api/v1/namespaces/default/configmaps";

const ruleFor = (resource: string, more: object = {}) => ({
  operations: ["*"],
  apiGroups: ["*"],
  apiVersions: ["*"],
  resources: [resource],
  ...more,
});

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

  const hook = (path: string, handler: WebhookHandler, more: object = {}) => {
    routes.set(path, handler);
    return {
      name: `${path.slice(1).replaceAll("/", "-")}.example.com`,
      admissionReviewVersions: ["v1"],
      clientConfig: server.at(path),
      sideEffects: "None",
      rules: [ruleFor("configmaps", { apiGroups: [""], apiVersions: ["v1"] })],
      ...more,
    };
  };
  const register = async (kind: "mutating" | "validating", ...webhooks: object[]) => {
    const path = kind === "mutating" ? mutatingPath : validatingPath;
    const created = await api.post(path, { metadata: { generateName: "w-" }, webhooks });
    assert.equal(created.code, 201, created.text);
    return created.body;
  };
  const createMap = (name: string, more: object = {}, query = "") =>
    api.post(`${configMapsPath}${query}`, { metadata: { name }, ...more });
  const requests = () => server.reviews.map(({ request }) => request);
  const add = (key: string) => (review: Json) =>
    change(review, [
      ...(review.request.object.data ? [] : [{ op: "add", path: "/data", value: {} }]),
      { op: "add", path: `/data/${key}`, value: "yes" },
    ]);

  test("get a whole review of what is to be written, and refuse with their own words", async () => {
    await register(
      "validating",
      hook("/deny", (review) =>
        review.request.object?.data?.bad
          ? deny(review, { message: "no bad data", code: 409, reason: "Conflict" })
          : allow(review),
      ),
    );
    const refused = await createMap("bad", { data: { bad: "yes" } }, "?fieldManager=me&fieldValidation=Strict");
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

  test("see what was before, and the options of updates, patches and deletes", async () => {
    await register("validating", hook("/see", pass));
    await createMap("map", { data: { a: "1" } });
    const patched = await api.patch(`${configMapsPath}/map?fieldManager=me`, "merge", { data: { a: "2" } });
    assert.equal(patched.code, 200);
    const applied = { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "applied" } };
    await api.patch(`${configMapsPath}/applied?fieldManager=me&force=true`, "apply", applied);
    await api.delete(`${configMapsPath}/map`, { propagationPolicy: "Background", gracePeriodSeconds: 0 });
    const meta = { apiVersion: "meta.k8s.io/v1" };
    const seen = requests().map(({ operation, object, oldObject, options }) => [
      operation,
      object?.data?.a,
      oldObject?.data?.a,
      options,
    ]);
    assert.deepEqual(seen, [
      ["CREATE", "1", undefined, { kind: "CreateOptions", ...meta }],
      ["UPDATE", "2", "1", { kind: "UpdateOptions", ...meta, fieldManager: "me" }],
      ["CREATE", undefined, undefined, { kind: "CreateOptions", ...meta, fieldManager: "me" }],
      [
        "DELETE",
        undefined,
        "2",
        { kind: "DeleteOptions", ...meta, gracePeriodSeconds: 0, propagationPolicy: "Background" },
      ],
    ]);
    assert.equal(requests()[3].object, null);
  });

  test("refuse with code 400 and without explanation when they say nothing", async () => {
    await register(
      "validating",
      hook("/deny", (review) => deny(review, { code: 200 })),
    );
    const { code, body } = await createMap("map");
    assert.equal(code, 400);
    assert.equal(body.message, 'admission webhook "deny.example.com" denied the request without explanation');
  });

  test("are called in the order of their configurations' names, each about what the one before made", async () => {
    const seen: string[] = [];
    const note = (of: string) => (review: Json) => {
      seen.push(`${of}: ${Object.keys(review.request.object.data ?? {})}`);
      return add(of)(review);
    };
    const post = (name: string, ...webhooks: object[]) => api.post(mutatingPath, { metadata: { name }, webhooks });
    await post("b", hook("/third", note("third")));
    await post("a", hook("/first", note("first")), hook("/second", note("second")));
    const { body } = await createMap("map");
    assert.deepEqual(seen, ["first: ", "second: first", "third: first,second"]);
    assert.deepEqual(body.data, { first: "yes", second: "yes", third: "yes" });
  });

  test("what they add is pruned, defaulted and validated as if it had come with the request", async () => {
    const pods = { rules: [ruleFor("pods")] };
    const operations = [{ op: "add", path: "/spec/tolerations/-", value: { key: "k", operator: "Exists", bogus: 1 } }];
    await register(
      "mutating",
      hook("/pods", (review) => change(review, operations), pods),
    );
    const spec = { containers: [{ name: "c", image: "i" }] };
    const path = "/api/v1/namespaces/default/pods";
    await api.post("/api/v1/namespaces/default/serviceaccounts", { metadata: { name: "default" } });
    const { body, code, text } = await api.post(path, { metadata: { name: "p" }, spec });
    assert.equal(code, 201, text);
    assert.deepEqual(body.spec.tolerations.at(-1), { key: "k", operator: "Exists" });
    routes.set("/pods", (review) => change(review, [{ op: "replace", path: "/spec/containers/0/name", value: "No" }]));
    const refused = await api.post(path, { metadata: { name: "q" }, spec });
    assert.equal(refused.code, 422);
    assert.match(refused.body.message, /spec\.containers\[0\]\.name: Invalid value: "No"/);
  });

  test("see the object again when others changed it after them, if they want that, and only once", async () => {
    const calls: string[] = [];
    const counting = (name: string, handler: WebhookHandler) => (review: Json, path: string) => {
      calls.push(name);
      return handler(review, path);
    };
    await register(
      "mutating",
      hook(
        "/again",
        counting("again", (review) => (review.request.object.data?.b ? add("seen")(review) : allow(review))),
        {
          reinvocationPolicy: "IfNeeded",
        },
      ),
      hook("/never", counting("never", pass)),
      hook("/b", counting("b", add("b"))),
    );
    const { body } = await createMap("map");
    assert.deepEqual(calls, ["again", "never", "b", "again"]);
    assert.deepEqual(body.data, { b: "yes", seen: "yes" });
  });

  test("a webhook that changes a Service has its address allocated once, after it", async () => {
    const operations = [{ op: "add", path: "/spec/type", value: "NodePort" }];
    await register(
      "mutating",
      hook("/type", (review) => change(review, operations), { rules: [ruleFor("services")] }),
    );
    const service = { metadata: { name: "s" }, spec: { ports: [{ port: 80 }] } };
    const { body, code, text } = await api.post("/api/v1/namespaces/default/services", service);
    assert.equal(code, 201, text);
    assert.equal(body.spec.type, "NodePort");
    assert.ok(body.spec.ports[0].nodePort >= 30000);
    assert.equal(requests()[0].object.spec.clusterIP, undefined);
    await api.delete("/api/v1/namespaces/default/services/s");
  });

  test("that garble who owns which fields are warned of, and the owners stay", async () => {
    const path = "/metadata/managedFields/0/fieldsV1";
    const operations = [{ op: "replace", path, value: { "x:data": {} } }];
    await register(
      "mutating",
      hook("/owners", (review) => change(review, operations)),
    );
    const { body, headers, code, text } = await createMap("map", { data: { a: "b" } });
    assert.equal(code, 201, text);
    assert.deepEqual(body.metadata.managedFields[0].fieldsV1["f:data"], { ".": {}, "f:a": {} });
    assert.match(headers.get("warning") ?? "", /managedFields was in an invalid state after admission/);
  });

  test("that judge are asked at the same time", async () => {
    let release: () => void = () => {};
    const both = new Promise<void>((resolve) => {
      release = resolve;
    });
    let waiting = 0;
    const wait: WebhookHandler = async (review) => {
      if (++waiting === 2) release();
      await both;
      return allow(review);
    };
    await register("validating", hook("/one", wait), hook("/two", wait));
    assert.equal((await createMap("map")).code, 201);
  });

  test("are not asked about other resources, operations, scopes, labels or namespaces", async () => {
    const never: WebhookHandler = (review) => deny(review);
    await register(
      "validating",
      hook("/resource", never, { rules: [ruleFor("secrets")] }),
      hook("/operation", never, { rules: [ruleFor("configmaps", { operations: ["DELETE"] })] }),
      hook("/scope", never, { rules: [ruleFor("*/*", { scope: "Cluster" })] }),
      hook("/group", never, { rules: [ruleFor("configmaps", { apiGroups: ["apps"] })] }),
      hook("/labels", never, { objectSelector: { matchLabels: { judged: "yes" } } }),
      hook("/namespace", never, { namespaceSelector: { matchLabels: { judged: "yes" } } }),
      hook("/condition", never, { matchConditions: [{ name: "c", expression: "object.metadata.name != 'map'" }] }),
    );
    assert.equal((await createMap("map")).code, 201);
    await api.delete(validatingPath);
    await register("validating", hook("/labels", never, { objectSelector: { matchLabels: { judged: "yes" } } }));
    const labels = { metadata: { labels: { judged: "yes" } } };
    assert.equal((await api.patch(`${configMapsPath}/map`, "merge", labels)).code, 400, "the new object has the label");
  });

  test("a selector of objects is tried on the old object, too", async () => {
    await createMap("map", { metadata: { name: "map", labels: { judged: "yes" } } });
    await register(
      "validating",
      hook("/labels", (review) => deny(review), { objectSelector: { matchLabels: { judged: "yes" } } }),
    );
    assert.equal((await api.delete(`${configMapsPath}/map`)).code, 400);
    const free = { metadata: { labels: { judged: null } } };
    assert.equal((await api.patch(`${configMapsPath}/map`, "merge", free)).code, 400);
  });

  test("with matchPolicy Equivalent judge other versions in their own, with Exact they do not", async () => {
    const v1 = { rules: [ruleFor("horizontalpodautoscalers", { apiGroups: ["autoscaling"], apiVersions: ["v1"] })] };
    const target = { scaleTargetRef: { kind: "Deployment", name: "web", apiVersion: "apps/v1" }, maxReplicas: 5 };
    const operations = [{ op: "add", path: "/spec/targetCPUUtilizationPercentage", value: 44 }];
    await register(
      "mutating",
      hook("/hpa", (review) => change(review, operations), v1),
    );
    const path = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers";
    const { body, text, code } = await api.post(path, { metadata: { name: "h" }, spec: target });
    assert.equal(code, 201, text);
    assert.equal(body.spec.metrics[0].resource.target.averageUtilization, 44);
    const [request] = requests();
    assert.deepEqual(request.kind, { group: "autoscaling", version: "v1", kind: "HorizontalPodAutoscaler" });
    assert.equal(request.requestKind.version, "v2");
    assert.equal(request.object.apiVersion, "autoscaling/v1");
    await api.delete(mutatingPath);
    await api.delete(`${path}/h`);
    await register(
      "validating",
      hook("/exact", (review) => deny(review), { ...v1, matchPolicy: "Exact" }),
    );
    assert.equal((await api.post(path, { metadata: { name: "h" }, spec: target })).code, 201);
  });

  test("judge a Scale as a Scale, and what they make of it counts", async () => {
    const path = "/apis/apps/v1/namespaces/default/deployments";
    const labels = { app: "web" };
    const template = { metadata: { labels }, spec: { containers: [{ name: "c", image: "i" }] } };
    await api.post(path, { metadata: { name: "web" }, spec: { selector: { matchLabels: labels }, template } });
    const operations = [{ op: "replace", path: "/spec/replicas", value: 2 }];
    await register(
      "mutating",
      hook("/scale", (review) => change(review, operations), { rules: [ruleFor("deployments/scale")] }),
    );
    const scaled = await api.patch(`${path}/web/scale`, "merge", { spec: { replicas: 9 } });
    assert.equal(scaled.code, 200, scaled.text);
    assert.equal(scaled.body.spec.replicas, 2);
    const [{ kind, resource, subResource, object, oldObject }] = requests();
    assert.deepEqual(kind, { group: "autoscaling", version: "v1", kind: "Scale" });
    assert.deepEqual([resource.resource, subResource], ["deployments", "scale"]);
    assert.deepEqual([object.kind, object.spec.replicas, oldObject.spec.replicas], ["Scale", 9, 1]);
    await api.delete(`${path}/web`);
  });

  test("judge evictions and connections", async () => {
    await register(
      "validating",
      hook("/pods", (review) => deny(review, { message: "not now" }), {
        rules: [ruleFor("pods/eviction"), ruleFor("pods/exec", { operations: ["CONNECT"] })],
      }),
    );
    const eviction = { apiVersion: "policy/v1", kind: "Eviction", metadata: { name: "p" } };
    const evicted = await api.post("/api/v1/namespaces/default/pods/p/eviction", eviction);
    assert.match(evicted.body.message, /denied the request: not now/);
    const executed = await api.post("/api/v1/namespaces/default/pods/p/exec?command=ls&command=-l&stdout=1", undefined);
    assert.match(executed.body.message, /denied the request: not now/);
    const [first, second] = requests();
    assert.deepEqual(
      [first.operation, first.kind, first.object.kind, first.name],
      ["CREATE", { group: "policy", version: "v1", kind: "Eviction" }, "Eviction", "p"],
    );
    assert.deepEqual(second.object, { kind: "PodExecOptions", apiVersion: "v1", stdout: true, command: ["ls", "-l"] });
    assert.deepEqual([second.operation, second.oldObject, second.options], ["CONNECT", null, null]);
  });

  test("of namespaces get the namespace's name as its namespace, and its own labels select it", async () => {
    const selector = { namespaceSelector: { matchLabels: { judged: "yes" } }, rules: [ruleFor("namespaces")] };
    await register(
      "validating",
      hook("/ns", (review) => deny(review), selector),
    );
    assert.equal((await api.post("/api/v1/namespaces", { metadata: { name: "free" } })).code, 201);
    const judged = { metadata: { name: "judged", labels: { judged: "yes" } } };
    assert.equal((await api.post("/api/v1/namespaces", judged)).code, 400);
    assert.equal(requests()[0].namespace, "judged");
    await api.delete("/api/v1/namespaces/free");
  });

  test("dry runs are told, and refused for those that have side effects", async () => {
    const { metadata } = await register("validating", hook("/dry", pass));
    assert.equal((await createMap("map", {}, "?dryRun=All")).code, 201);
    assert.deepEqual([requests()[0].dryRun, requests()[0].options.dryRun], [true, ["All"]]);
    // Such a webhook cannot be registered any more, but may be stored since it could.
    const entry = (await api.store.get(`/registry/validatingwebhookconfigurations/${metadata.name}`))!;
    const bytes = Buffer.from(entry.value.toString().replace('"sideEffects":"None"', '"sideEffects":"Some"'));
    assert.ok((await api.store.update(entry.key, bytes, entry.modRevision)).ok);
    const refused = await createMap("map", {}, "?dryRun=All");
    assert.equal(refused.code, 400);
    assert.equal(refused.body.message, 'admission webhook "dry.example.com" does not support dry run');
  });

  test("warn, also with a refusal; long warnings are cut when there are too many", async () => {
    await register(
      "validating",
      hook("/warn", (review) => allow(review, { warnings: ['use "x"', "größer", ""] })),
    );
    const warned = await createMap("map");
    assert.deepEqual(
      warned.headers.get("warning"),
      `299 - "use \\"x\\"", 299 - "${Buffer.from("größer").toString("latin1")}"`,
    );
    routes.set("/warn", (review) => answer(review, { allowed: false, warnings: ["a".repeat(4000), "b".repeat(300)] }));
    const refused = await createMap("other");
    assert.equal(refused.code, 400);
    assert.equal(refused.headers.get("warning"), `299 - "${"a".repeat(256)}", 299 - "${"b".repeat(256)}"`);
  });

  test("that answer nonsense refuse or are ignored, as their failure policy says", async () => {
    const good = (review: Json) => allow(review);
    const failures: [WebhookHandler, RegExp][] = [
      [
        () => new RawAnswer(500, "boom"),
        /failed to call webhook: an error on the server \("boom"\) has prevented the request from succeeding$/,
      ],
      [
        () => new RawAnswer(404, "nothing"),
        /failed to call webhook: the server could not find the requested resource$/,
      ],
      [() => new RawAnswer(200, ""), /0-length response with status code: 200/],
      [() => new RawAnswer(200, "text"), /failed to call webhook: couldn't get version\/kind; json parse error/],
      [
        (review) => ({ ...good(review), response: undefined }),
        /received invalid webhook response: webhook response was absent$/,
      ],
      [
        (review) => ({ ...good(review), kind: "Other" }),
        /expected webhook response of admission.k8s.io\/v1, Kind=AdmissionReview, got admission.k8s.io\/v1, Kind=Other$/,
      ],
      [
        () => ({ apiVersion: "admission.k8s.io/v1", kind: "AdmissionReview", response: { uid: "x", allowed: true } }),
        /expected response.uid="[^"]+", got "x"$/,
      ],
      [(review) => allow(review, { patch: "W10=" }), /webhook returned response.patch but not response.patchType$/],
      [
        (review) => allow(review, { patch: "eyJ9", patchType: "JSONPatch" }),
        /received undecodable patch in webhook response/,
      ],
      [(review) => allow(review, { patch: "W3t9XQ==", patchType: "Other" }), /unsupported patch type "Other"$/],
    ];
    const { metadata } = await register("mutating", hook("/bad", pass));
    for (const [handler, message] of failures) {
      routes.set("/bad", handler);
      const { code, body } = await createMap("map");
      assert.equal(code, 500);
      assert.match(body.message, /^Internal error occurred: failed calling webhook "bad\.example\.com": /);
      assert.match(body.message, message);
    }
    const path = "/webhooks/0/failurePolicy";
    await api.patch(`${mutatingPath}/${metadata.name}`, "json", [{ op: "replace", path, value: "Ignore" }]);
    for (const [index, [handler]] of failures.entries()) {
      routes.set("/bad", handler);
      assert.equal((await createMap(`map-${index}`)).code, 201);
    }
  });

  test("may not change what is deleted, nor make a patch that does not apply", async () => {
    await createMap("map");
    await register(
      "mutating",
      hook("/patch", (review) => change(review, [{ op: "remove", path: "/metadata/nothing" }])),
    );
    const other = await createMap("other");
    assert.equal(other.code, 500);
    assert.match(other.body.message, /^Internal error occurred: /);
    const deleted = await api.delete(`${configMapsPath}/map`);
    assert.equal(deleted.code, 500);
    assert.match(deleted.body.message, /attempted to modify the object, which is not supported for this operation$/);
  });

  test("are asked over connections that are kept, and asked again when one was closed meanwhile", async () => {
    await register("validating", hook("/kept", pass));
    const before = server.connections;
    for (let i = 0; i < 5; i++) assert.equal((await createMap(`map-${i}`)).code, 201);
    assert.ok(server.connections - before <= 1);
    server.dropConnections();
    assert.equal((await createMap("after")).code, 201);
  });

  test("of the first API version get its reviews", async () => {
    await register(
      "mutating",
      hook(
        "/old",
        (review) => ({
          response: {
            allowed: true,
            patch: (change(review, [{ op: "add", path: "/data", value: { a: "b" } }]) as Json).response.patch,
          },
        }),
        { admissionReviewVersions: ["v0", "v1beta1", "v1"] },
      ),
    );
    const { body } = await createMap("map");
    assert.deepEqual(body.data, { a: "b" });
    assert.equal(server.reviews[0].apiVersion, "admission.k8s.io/v1beta1");
  });

  test("never stand in the way of webhook configurations", async () => {
    await register(
      "validating",
      hook("/all", (review) => deny(review), { rules: [ruleFor("*/*")] }),
    );
    const { metadata } = await register("mutating", hook("/other", pass));
    assert.equal((await api.delete(`${mutatingPath}/${metadata.name}`)).code, 200);
    assert.equal((await createMap("map")).code, 400);
  });

  test("are held to the rules of their configuration", async () => {
    const refused = async (more: object, message: RegExp) => {
      const { code, body } = await api.post(validatingPath, {
        metadata: { name: "w" },
        webhooks: [hook("/x", pass, more)],
      });
      assert.equal(code, 422);
      assert.match(body.message, message);
    };
    await refused(
      { name: "short" },
      /webhooks\[0\]\.name: Invalid value: "short": should be a domain with at least three segments separated by dots/,
    );
    await refused(
      { sideEffects: "Some" },
      /webhooks\[0\]\.sideEffects: Unsupported value: "Some": supported values: "None", "NoneOnDryRun"/,
    );
    await refused(
      { admissionReviewVersions: [] },
      /admissionReviewVersions: Required value: must specify one of v1, v1beta1/,
    );
    await refused(
      { admissionReviewVersions: ["v9"] },
      /admissionReviewVersions: Invalid value: \["v9"\]: must include at least one of v1, v1beta1/,
    );
    await refused(
      { timeoutSeconds: 31 },
      /timeoutSeconds: Invalid value: 31: the timeout value must be between 1 and 30 seconds/,
    );
    await refused(
      { failurePolicy: "Maybe" },
      /failurePolicy: Unsupported value: "Maybe": supported values: "Fail", "Ignore"/,
    );
    await refused({ clientConfig: {} }, /clientConfig: Required value: exactly one of url or service is required/);
    await refused(
      { clientConfig: { url: "http://x.example.com/a?b" } },
      /'https' is the only allowed URL scheme; desired format: https:\/\/host\[\/path\].*query parameters are not permitted in the URL/s,
    );
    await refused(
      { clientConfig: { url: "https://user@x.example.com" } },
      /user information is not permitted in the URL/,
    );
    await refused(
      { clientConfig: { service: { name: "", namespace: "n", port: 0, path: "a//b" } } },
      /service\.name: Required value.*service\.port: Invalid value: 0: port is not valid: must be between 1 and 65535, inclusive.*service\.path: Invalid value: "a\/\/b": must start with a '\/'/s,
    );
    await refused(
      { rules: [ruleFor("*/*", { resources: ["*/*", "pods"] })] },
      /resources: Invalid value: \["\*\/\*","pods"\]: if '\*\/\*' is present, must not specify other resources/,
    );
    await refused(
      { rules: [ruleFor("pods", { operations: ["WATCH"] })] },
      /rules\[0\]\.operations\[0\]: Unsupported value: "WATCH"/,
    );
    await refused(
      { matchConditions: [{ name: "a b", expression: "" }] },
      /matchConditions\[0\]\.expression: Required value/,
    );
    const twice = [hook("/x", pass), hook("/x", pass)];
    const duplicate = await api.post(validatingPath, { metadata: { name: "w" }, webhooks: twice });
    assert.match(duplicate.body.message, /webhooks\[1\]\.name: Duplicate value: "x\.example\.com"/);
  });
});
