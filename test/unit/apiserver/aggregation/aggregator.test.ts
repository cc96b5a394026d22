/** Authority: https://kubernetes.io/docs/tasks/extend-kubernetes/configure-aggregation-layer/ and the conformance test "aggregator-supports-the-sample-apiserver". */
import assert from "node:assert/strict";
import { request as httpRequest } from "node:http";
import type { Duplex } from "node:stream";
import { type TestContext, test } from "node:test";
import type { KubeObject, ResourceType } from "../../../../src/machinery/object.ts";
import { eventually } from "../../../support/eventually.ts";
import { makeCertificate } from "../certificates.ts";
import { ApiHarness, type Json } from "../harness.ts";
import { ExtensionServer, flunders, json } from "./extension-server.ts";

const group = "wardle.example.com";
const root = `/apis/${group}/v1alpha1`;
const service = "/api/v1/namespaces/ext/services";
const slices = "/apis/discovery.k8s.io/v1/namespaces/ext/endpointslices";
const apiServices = "/apis/apiregistration.k8s.io/v1/apiservices";
const name = `v1alpha1.${group}`;

const slice = {
  metadata: { name: "sample-api-1", labels: { "kubernetes.io/service-name": "sample-api" } },
  addressType: "IPv4",
  endpoints: [{ addresses: ["10.42.0.9"], conditions: { ready: true } }],
  ports: [{ name: "", port: 8443, protocol: "TCP" }],
};

const apiService = (extension: ExtensionServer, spec: object = {}) => ({
  metadata: { name },
  spec: {
    group,
    version: "v1alpha1",
    groupPriorityMinimum: 2000,
    versionPriority: 200,
    service: { namespace: "ext", name: "sample-api", port: 7443 },
    caBundle: Buffer.from(extension.authority.certificate).toString("base64"),
    ...spec,
  },
});

async function start(t: TestContext) {
  const extension = await ExtensionServer.start();
  t.after(() => extension.stop());
  const clientAuthority = await makeCertificate({ subject: "CN=client-ca" });
  const dialled: string[] = [];
  const harness = await ApiHarness.start({
    proxyClient: { cert: extension.proxy.certificate, key: extension.proxy.key },
    extensionAuthentication: {
      clientCa: clientAuthority.certificate,
      requestHeaderCa: extension.proxyAuthority.certificate,
      allowedNames: ["system:auth-proxy"],
    },
    dialNode: async (_node, address) => {
      dialled.push(address);
      return extension.dial();
    },
  });
  t.after(() => harness.stop());
  await harness.post("/api/v1/namespaces", { metadata: { name: "ext" } });
  const condition = async (): Promise<Json> =>
    (await harness.get(`${apiServices}/${name}`)).body.status?.conditions?.[0];
  const reason = (wanted: string) => eventually(async () => assert.equal((await condition())?.reason, wanted));
  const addBackend = async () => {
    await harness.post(service, { metadata: { name: "sample-api" }, spec: { ports: [{ port: 7443 }] } });
    await harness.post(slices, slice);
  };
  /** Everything in place, and seen to answer. */
  const register = async (spec?: object) => {
    await addBackend();
    assert.equal((await harness.post(apiServices, apiService(extension, spec))).code, 201);
    await reason("Passed");
    await eventually(async () => assert.equal((await harness.get(root)).code, 200));
  };
  return { harness, extension, dialled, clientAuthority, condition, reason, addBackend, register };
}

test("an APIService says step by step what it lacks, and is available once its server answers", async (t) => {
  const { harness, extension, condition, reason } = await start(t);
  await harness.post(apiServices, apiService(extension));
  await reason("ServiceNotFound");
  assert.equal((await condition()).message, 'service/sample-api in "ext" is not present');
  const refused = await harness.get(`${root}/flunders`);
  assert.deepEqual([refused.code, refused.text], [503, "service unavailable\n"]);
  assert.equal(refused.headers.get("content-type"), "text/plain; charset=utf-8");
  await harness.post(service, { metadata: { name: "sample-api" }, spec: { ports: [{ port: 443 }] } });
  await reason("ServicePortError");
  await harness.patch(`${service}/sample-api`, "merge", { spec: { ports: [{ port: 7443, protocol: "TCP" }] } });
  await reason("EndpointsNotFound");
  await harness.post(slices, { ...slice, endpoints: [] });
  await reason("MissingEndpoints");
  extension.answers.delete(root);
  await harness.put(`${slices}/sample-api-1`, slice);
  await reason("FailedDiscoveryCheck");
  assert.equal(
    (await condition()).message,
    `failing or missing response from https://10.42.0.9:8443${root}: bad status from https://10.42.0.9:8443${root}: 404`,
  );
  assert.equal((await condition()).status, "False");
  extension.answers.set(root, (_request, response) => json(response, 200, flunders));
  await reason("Passed");
  assert.equal((await condition()).message, "all checks passed");
  const metric = async (text: string) => assert.ok((await harness.get("/metrics")).text.split("\n").includes(text));
  await eventually(() => metric(`aggregator_unavailable_apiservice{name="${name}"} 0`));
  await harness.delete(`${slices}/sample-api-1`);
  await reason("EndpointsNotFound");
  await eventually(() => metric(`aggregator_unavailable_apiservice{name="${name}"} 1`));
  // Counted once the condition is written.
  await eventually(() =>
    metric(`aggregator_unavailable_apiservice_total{name="${name}",reason="EndpointsNotFound"} 1`),
  );
  await metric('aggregator_unavailable_apiservice{name="v1.apps"} 0');
  await harness.get(`${root}/made-up`);
  assert.doesNotMatch((await harness.get("/metrics")).text, /made-up/, "what is not known here is no label");
  await harness.delete(`${apiServices}/${name}`);
  await eventually(async () => assert.equal((await harness.get(`${root}/flunders`)).code, 404));
});

test("a request reaches the server with the front proxy's certificate and the name of who asks, not their credentials", async (t) => {
  const { harness, extension, dialled, register } = await start(t);
  await register();
  extension.answers.set(`${root}/namespaces/default/flunders`, (_request, response, { body }) =>
    json(response, 201, { got: JSON.parse(body) }, { "x-own": "kept", warning: '299 - "own"' }),
  );
  const made = await harness.post(
    `${root}/namespaces/default/flunders?fieldManager=me&x=%20y`,
    { kind: "Flunder" },
    {
      headers: {
        authorization: "Bearer secret",
        "x-remote-user": "somebody-else",
        "x-remote-group": "system:masters",
        "impersonate-user": "jane@example.com",
        "impersonate-uid": "u-1",
        "impersonate-group": "system:masters",
        "impersonate-extra-example.com%2fscopes": "read",
      },
    },
  );
  assert.deepEqual([made.code, made.body], [201, { got: { kind: "Flunder" } }]);
  assert.equal(made.headers.get("x-own"), "kept");
  const seen = extension.seen.find(({ method }) => method === "POST")!;
  assert.equal(seen.url, `${root}/namespaces/default/flunders?fieldManager=me&x=%20y`);
  assert.equal(seen.clientName, "system:auth-proxy");
  assert.equal(seen.headers["x-remote-user"], "jane@example.com");
  assert.equal(seen.headers["x-remote-uid"], "u-1");
  assert.equal(seen.headers["x-remote-group"], "system:masters, system:authenticated");
  assert.equal(seen.headers["x-remote-extra-example.com%2fscopes"], "read");
  assert.equal(seen.headers.authorization, undefined);
  assert.equal(seen.headers["impersonate-user"], undefined);
  assert.deepEqual([...new Set(dialled)], ["10.42.0.9:8443"]);
});

test("who may not use the group is refused before the server is asked", async (t) => {
  const { harness, extension, register } = await start(t);
  await register();
  const before = extension.seen.length;
  const refused = await harness.get(`${root}/namespaces/default/flunders`, { user: "nobody" });
  assert.equal(refused.code, 403);
  assert.match(
    refused.body.message,
    /^flunders\.wardle\.example\.com is forbidden: User "nobody" cannot list resource/,
  );
  assert.equal(
    extension.seen.slice(before).some(({ url }) => url.includes("flunders")),
    false,
  );
});

test("a watch passes events as they come, and ends at the server when the client goes", async (t) => {
  const { harness, extension, register } = await start(t);
  await register();
  let send: (event: object) => void = () => {};
  const ended = Promise.withResolvers<void>();
  extension.answers.set(`${root}/flunders`, (request, response) => {
    response.writeHead(200, { "content-type": "application/json" });
    response.flushHeaders();
    send = (event) => response.write(`${JSON.stringify(event)}\n`);
    request.socket.once("close", () => ended.resolve());
  });
  const watch = await harness.watch(`${root}/flunders?watch=true`);
  send({ type: "ADDED", object: { metadata: { name: "a" } } });
  assert.equal((await watch.next()).object.metadata.name, "a");
  send({ type: "DELETED", object: { metadata: { name: "a" } } });
  assert.equal((await watch.next()).type, "DELETED");
  watch.close();
  await ended.promise;
});

test("an upgraded connection is joined to the server's", async (t) => {
  const { harness, extension, register } = await start(t);
  await register();
  const socket = await new Promise<Duplex>((resolve, reject) => {
    const request = httpRequest(`${harness.url}${root}/flunders/x/connect`, {
      headers: { "x-user": "admin", connection: "Upgrade", upgrade: "echo" },
    });
    request.on("upgrade", (_response, joined) => resolve(joined));
    request.on("error", reject);
    request.end();
  });
  socket.write("hello");
  const [chunk] = (await new Promise<Buffer[]>((resolve) => socket.once("data", (data) => resolve([data])))) as [
    Buffer,
  ];
  assert.equal(chunk.toString(), "hello");
  socket.destroy();
  // Not the last one: what the server is asked for its documents comes in between.
  const seen = extension.seen.find(({ url }) => url === `${root}/flunders/x/connect`);
  assert.equal(seen?.headers["x-remote-user"], "admin");
});

test("a redirect is not followed and not passed on", async (t) => {
  const { harness, extension, register } = await start(t);
  await register();
  extension.answers.set(`${root}/flunders`, (_request, response) => {
    response.writeHead(302, { location: "https://elsewhere.example" });
    response.end();
  });
  const { code, text } = await harness.get(`${root}/flunders`);
  assert.equal(code, 502);
  assert.match(text, /^the backend attempted to redirect this request, which is not permitted/);
});

test("a server whose certificate is not of the bundle, or not for the service, is not spoken to", async (t) => {
  const { harness, extension, condition, reason, addBackend } = await start(t);
  await addBackend();
  const other = await makeCertificate({ subject: "CN=other-ca" });
  const caBundle = Buffer.from(other.certificate).toString("base64");
  await harness.post(apiServices, apiService(extension, { caBundle }));
  await reason("FailedDiscoveryCheck");
  assert.match(
    (await condition()).message,
    /failing or missing response from https:\/\/10\.42\.0\.9:8443.*certificate/,
  );
  assert.equal(extension.seen.length, 0);
  await harness.patch(`${apiServices}/${name}`, "merge", { spec: { caBundle: null, insecureSkipTLSVerify: true } });
  await reason("Passed");
});

test("discovery names the group where its priority puts it, with the server's resources in both forms", async (t) => {
  const { harness, register } = await start(t);
  const v2 = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
  await register();
  const { body: list } = await harness.get("/apis");
  const groups: string[] = list.groups.map((one: Json) => one.name);
  assert.equal(groups[0], "apiregistration.k8s.io");
  assert.equal(groups.at(-1), group);
  assert.deepEqual((await harness.get(`/apis/${group}`)).body, {
    kind: "APIGroup",
    apiVersion: "v1",
    name: group,
    versions: [{ groupVersion: `${group}/v1alpha1`, version: "v1alpha1" }],
    preferredVersion: { groupVersion: `${group}/v1alpha1`, version: "v1alpha1" },
  });
  assert.deepEqual((await harness.get(root)).body, flunders);
  const remote = async () => (await harness.get("/apis", { accept: v2 })).body.items.at(-1);
  const kind = { group, version: "v1alpha1", kind: "Flunder" };
  const wanted = {
    metadata: { name: group },
    versions: [
      {
        version: "v1alpha1",
        resources: [
          {
            resource: "flunders",
            responseKind: kind,
            scope: "Namespaced",
            singularResource: "flunder",
            verbs: ["get", "list", "watch"],
            subresources: [{ subresource: "status", responseKind: kind, verbs: ["get"] }],
          },
        ],
        freshness: "Current",
      },
    ],
  };
  await eventually(async () => assert.deepEqual(await remote(), wanted));
  await harness.delete(`${slices}/sample-api-1`);
  await eventually(async () =>
    assert.deepEqual((await remote()).versions, [{ version: "v1alpha1", freshness: "Stale" }]),
  );
  await harness.delete(`${apiServices}/${name}`);
  await eventually(async () => assert.equal((await harness.get(`/apis/${group}`)).code, 404));
});

test("an aggregated document of the server is taken as it is", async (t) => {
  const { harness, extension, register } = await start(t);
  const contentType = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
  extension.answers.set("/apis", (_request, response) => {
    response.writeHead(200, { "content-type": contentType, etag: '"1"' });
    const versions = [{ version: "v1alpha1", resources: [{ resource: "fischers", scope: "Cluster", verbs: ["get"] }] }];
    response.end(JSON.stringify({ items: [{ metadata: { name: group }, versions }] }));
  });
  await register();
  await eventually(async () => {
    const { body } = await harness.get("/apis", { accept: contentType });
    assert.equal(body.items.at(-1).versions[0].resources?.[0].resource, "fischers");
  });
});

test("OpenAPI documents have the server's part: v3 from the server itself, v2 in one document", async (t) => {
  const { harness, extension, register } = await start(t);
  const own = `apis/${group}/v1alpha1`;
  extension.answers.set("/openapi/v3", (_request, response) =>
    json(response, 200, { paths: { [own]: { serverRelativeURL: `/openapi/v3/${own}?hash=1` }, version: {} } }),
  );
  extension.answers.set(`/openapi/v3/${own}`, (_request, response) => json(response, 200, { openapi: "3.0.0" }));
  const flunder = { type: "object", properties: { spec: { $ref: "#/definitions/Spec" } } };
  extension.answers.set("/openapi/v2", (_request, response) =>
    json(response, 200, {
      paths: {
        [`${root.slice(0)}/flunders`]: { get: { responses: { 200: { schema: { $ref: "#/definitions/Flunder" } } } } },
        "/version/": {},
      },
      definitions: { Flunder: flunder, Spec: { type: "string" }, Unused: {} },
    }),
  );
  await register();
  await eventually(async () => {
    const { body } = await harness.get("/openapi/v3");
    assert.equal(body.paths[own]?.serverRelativeURL, `/openapi/v3/${own}?hash=1`);
    assert.ok(body.paths["api/v1"]);
  });
  assert.deepEqual((await harness.get(`/openapi/v3/${own}?hash=1`)).body, { openapi: "3.0.0" });
  const { body } = await harness.get("/openapi/v2");
  assert.ok(body.paths[`${root}/flunders`]);
  assert.ok(body.paths["/api/v1/pods"] || body.paths["/api/v1/pods/"]);
  assert.deepEqual(body.definitions.Flunder, flunder);
  assert.equal(body.definitions.Unused, undefined);
});

test("a server that knows only OpenAPI v2 has a v3 document that is made of it", async (t) => {
  const { harness, extension, register } = await start(t);
  const own = `apis/${group}/v1alpha1`;
  const get = { produces: ["application/json"], responses: { 200: { schema: { $ref: "#/definitions/Flunder" } } } };
  extension.answers.set("/openapi/v2", (_request, response) =>
    json(response, 200, { paths: { [`${root}/flunders`]: { get } }, definitions: { Flunder: { type: "object" } } }),
  );
  await register();
  const url = await eventually(async () => {
    const { body } = await harness.get("/openapi/v3");
    assert.ok(body.paths[own]);
    return body.paths[own].serverRelativeURL;
  });
  assert.match(url, new RegExp(`^/openapi/v3/${own}\\?hash=[0-9A-F]{64}$`));
  const { body } = await harness.get(url);
  assert.deepEqual(body.components.schemas, { Flunder: { type: "object" } });
  assert.ok(body.paths[`${root}/flunders`].get.responses["200"].content["application/json"]);
});

test("this server's own components read what other servers serve, as who they are and may", async (t) => {
  const { harness, extension, register } = await start(t);
  const type = {
    group,
    version: "v1alpha1",
    resource: "flunders",
    kind: "Flunder",
    namespaced: true,
  } as ResourceType<KubeObject>;
  const controller = harness.api.client({ name: "system:serviceaccount:kube-system:c", groups: ["system:masters"] });
  await assert.rejects(controller.list(type), { code: 404 }, "nobody serves it yet");
  await harness.post(apiServices, apiService(extension));
  await eventually(() => assert.rejects(controller.list(type), { code: 503 }));
  await harness.delete(`${apiServices}/${name}`);
  await register();
  const items = [{ metadata: { name: "one", namespace: "default" } }];
  extension.answers.set(`${root}/namespaces/default/flunders`, (_request, response) => json(response, 200, { items }));
  const found = await controller.list(type, { namespace: "default", labelSelector: "a=b,c!=d" });
  assert.deepEqual(found.items, items);
  const seen = extension.seen.find(({ url }) => url.startsWith(`${root}/namespaces/default/flunders`))!;
  assert.equal(seen.url, `${root}/namespaces/default/flunders?labelSelector=a%3Db%2Cc%21%3Dd`);
  assert.equal(seen.headers["x-remote-user"], "system:serviceaccount:kube-system:c");
  await assert.rejects(controller.get(type, "two", { namespace: "default" }), { code: 404, reason: "NotFound" });
  const nobody = harness.api.client({ name: "nobody", groups: [] });
  await assert.rejects(nobody.list(type, { namespace: "default" }), { code: 403 });
});

test("extension servers find in kube-system whom to trust; what others add stays, what they remove comes back", async (t) => {
  const { harness, extension, clientAuthority } = await start(t);
  const path = "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication";
  const data = async () => (await harness.get(path)).body.data;
  const wanted = {
    "client-ca-file": clientAuthority.certificate.trim(),
    "requestheader-allowed-names": '["system:auth-proxy"]',
    "requestheader-client-ca-file": extension.proxyAuthority.certificate.trim(),
    "requestheader-extra-headers-prefix": '["X-Remote-Extra-"]',
    "requestheader-group-headers": '["X-Remote-Group"]',
    "requestheader-username-headers": '["X-Remote-User"]',
  };
  const trimmed = async () =>
    Object.fromEntries(Object.entries((await data()) ?? {}).map(([key, value]) => [key, String(value).trim()]));
  await eventually(async () => assert.deepEqual(await trimmed(), wanted));
  await harness.delete(path);
  await eventually(async () => assert.deepEqual(await trimmed(), wanted));
  const other = await makeCertificate({ subject: "CN=another-server-ca" });
  await harness.patch(path, "merge", {
    data: { "client-ca-file": other.certificate, "requestheader-allowed-names": "[]" },
  });
  await eventually(async () => {
    const now = await trimmed();
    assert.equal(now["requestheader-allowed-names"], '["system:auth-proxy"]');
    assert.equal(now["client-ca-file"]?.match(/BEGIN CERTIFICATE/g)?.length, 2);
  });
});

test("APIServices of this server itself are available from the start, and those of custom groups come back", async (t) => {
  const { harness } = await start(t);
  await eventually(async () => {
    const { body } = await harness.get(`${apiServices}/v1.apps`);
    const [condition] = body.status.conditions;
    assert.deepEqual([condition.status, condition.reason], ["True", "Local"]);
    assert.deepEqual([body.spec.groupPriorityMinimum, body.spec.versionPriority], [17800, 15]);
  });
  const names = { plural: "toys", kind: "Toy" };
  const versions = [{ name: "v1", served: true, storage: true, schema: { openAPIV3Schema: { type: "object" } } }];
  await harness.post("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", {
    metadata: { name: "toys.example.com" },
    spec: { group: "example.com", scope: "Namespaced", names, versions },
  });
  const custom = `${apiServices}/v1.example.com`;
  await eventually(async () => assert.equal((await harness.get(custom)).code, 200));
  await harness.patch(custom, "merge", { spec: { versionPriority: 7 } });
  await eventually(async () => assert.equal((await harness.get(custom)).body.spec.versionPriority, 100));
  const { uid } = (await harness.get(custom)).body.metadata;
  await harness.delete(custom);
  await eventually(async () => {
    const { code, body } = await harness.get(custom);
    assert.ok(code === 200 && body.metadata.uid !== uid);
  });
});
