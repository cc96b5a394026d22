/** The API on the wire: what clients without kubectl rely on. Authority: Kubernetes' API concepts page and API conventions. */
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { request } from "node:https";
import { networkInterfaces } from "node:os";
import { createInterface } from "node:readline";
import { after, before, describe, test } from "node:test";
import { eventually } from "../support/eventually.ts";
import { type RawReply, type RawRequest, rawRequest } from "../support/raw-request.ts";
import { type ServerProcess, startServerProcess } from "../support/server-process.ts";

interface Meta {
  name: string;
  uid: string;
  resourceVersion: string;
  generation?: number;
  deletionTimestamp?: string;
  finalizers?: string[];
  annotations?: Record<string, string>;
}
interface Body {
  kind: string;
  metadata: Meta;
  data?: Record<string, string>;
}
interface List {
  kind: string;
  metadata: { resourceVersion: string; continue?: string; remainingItemCount?: number };
  items: Body[];
}
interface Status {
  kind: string;
  status: string;
  reason: string;
  message: string;
  code: number;
  details?: { kind?: string; name?: string; causes?: { field?: string; reason: string; message: string }[] };
}
interface Event {
  type: string;
  object: Body & Status;
}

let server: ServerProcess;
before(async () => {
  server = await startServerProcess();
});
after(() => server?.stop());

const send = (path: string, options?: RawRequest) => rawRequest(server, path, options);
const maps = (namespace: string, name?: string) =>
  `/api/v1/namespaces/${namespace}/configmaps${name === undefined ? "" : `/${name}`}`;
const configMap = (name: string, more: object = {}) => ({
  apiVersion: "v1",
  kind: "ConfigMap",
  metadata: { name },
  ...more,
});
const post = (path: string, body: unknown, more: RawRequest = {}) => send(path, { method: "POST", body, ...more });

async function namespace(name: string): Promise<string> {
  const { code } = await post("/api/v1/namespaces", { metadata: { name } });
  assert.equal(code, 201);
  // What controllers put into it belongs to what the tests list, watch and need.
  for (const path of [maps(name, "kube-root-ca.crt"), `/api/v1/namespaces/${name}/serviceaccounts/default`]) {
    await eventually(async () => assert.equal((await send(path)).code, 200, path));
  }
  return name;
}

function refused(reply: RawReply, code: number, reason: string, message: RegExp | string): Status {
  const status = reply.json<Status>();
  assert.equal(reply.code, code, reply.text);
  assert.deepEqual([status.kind, status.status, status.code, status.reason], ["Status", "Failure", code, reason]);
  if (typeof message === "string") assert.equal(status.message, message);
  else assert.match(status.message, message);
  return status;
}

/** Reads a watch's events until it ends or `enough` says so. */
function watch(path: string, enough: (events: Event[]) => boolean = () => false): Promise<Event[]> {
  return new Promise((resolve, reject) => {
    const call = request(new URL(path, server.url), { ...server.credentials, agent: false }, (response) => {
      assert.equal(response.statusCode, 200);
      const events: Event[] = [];
      let done = false;
      // Ended from this side, a response is an aborted one.
      response.on("error", () => {});
      const reader = createInterface({ input: response });
      reader.on("line", (line) => {
        // The reader gives the lines that came together one after the other, closed or not.
        if (done) return;
        events.push(JSON.parse(line) as Event);
        done = enough(events);
        if (!done) return;
        resolve(events);
        reader.close();
        call.destroy();
      });
      reader.on("close", () => resolve(events));
    });
    call.on("error", reject);
    call.end();
  });
}

describe("lists", () => {
  before(async () => {
    await namespace("lists");
    for (const name of ["a", "b", "c", "d", "e"]) await post(maps("lists"), configMap(name));
  });
  const list = async (query: string) => (await send(`${maps("lists")}?${query}`)).json<List>();

  test("pages continue at the state of the first one", async () => {
    const first = await list("limit=2&fieldSelector=metadata.name!=kube-root-ca.crt");
    assert.deepEqual(
      first.items.map(({ metadata }) => metadata.name),
      ["a", "b"],
    );
    // With a selector nobody knows how many remain.
    assert.equal(first.metadata.remainingItemCount, undefined);
    const whole = await list("limit=2");
    assert.equal(whole.metadata.remainingItemCount, 4);
    await post(maps("lists"), configMap("bb"));
    const next = await list(`limit=10&continue=${encodeURIComponent(whole.metadata.continue!)}`);
    assert.deepEqual(
      next.items.map(({ metadata }) => metadata.name),
      ["c", "d", "e", "kube-root-ca.crt"],
    );
    assert.equal(next.metadata.resourceVersion, whole.metadata.resourceVersion);
    assert.equal(next.metadata.continue, undefined);
  });

  test("an exact revision shows the past", async () => {
    const now = (await list("")).metadata.resourceVersion;
    await send(maps("lists", "e"), { method: "DELETE" });
    const names = (found: List) => found.items.map(({ metadata }) => metadata.name);
    assert.ok(names(await list(`resourceVersion=${now}&resourceVersionMatch=Exact`)).includes("e"));
    assert.ok(!names(await list(`resourceVersion=${now}&resourceVersionMatch=NotOlderThan`)).includes("e"));
  });

  test("parameters that contradict each other, or mean nothing, are refused", async () => {
    const get = (query: string) => send(`${maps("lists")}?${query}`);
    refused(await get("continue=nonsense"), 400, "BadRequest", /^continue key is not valid/);
    refused(
      await get("resourceVersionMatch=Exact"),
      422,
      "Invalid",
      'ListOptions.meta.k8s.io "" is invalid: resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided',
    );
    const future = await get("resourceVersion=99999999");
    refused(future, 504, "Timeout", /^Timeout: Too large resource version: 99999999, current: \d+$/);
    assert.equal(future.headers["retry-after"], "1");
    refused(await get("limit=x"), 400, "BadRequest", /invalid syntax$/);
    refused(await get("labelSelector=a%3D%3D%3D"), 400, "BadRequest", /^unable to parse requirement: found '='/);
    refused(
      await get("fieldSelector=data.a%3Db"),
      400,
      "BadRequest",
      '"data.a" is not a known field selector: only "metadata.name", "metadata.namespace"',
    );
  });

  test("what is known and not built is refused, not ignored", async () => {
    const shard = await send(`${maps("lists")}?shardSelector=shardRange(object.metadata.uid,'0x0','0x8')`);
    refused(shard, 501, "NotImplemented", /^shardSelector is not supported by this version of k3ts$/);
    const unsafe = "ignoreStoreReadErrorWithClusterBreakingPotential";
    refused(
      await send(`${maps("lists", "a")}?${unsafe}=true`, { method: "DELETE" }),
      501,
      "NotImplemented",
      new RegExp(unsafe),
    );
  });
});

describe("watches", () => {
  before(() => namespace("watches"));

  test("from a list's revision: every change after it, in order", async () => {
    const { metadata } = (await send(maps("watches"))).json<List>();
    const seen = watch(
      `${maps("watches")}?watch=1&resourceVersion=${metadata.resourceVersion}&fieldSelector=metadata.name=w`,
      (events) => events.length === 3,
    );
    await post(maps("watches"), configMap("w"));
    await send(maps("watches", "w"), { method: "PUT", body: configMap("w", { data: { a: "b" } }) });
    await send(maps("watches", "w"), { method: "DELETE" });
    const events = await seen;
    assert.deepEqual(
      events.map(({ type }) => type),
      ["ADDED", "MODIFIED", "DELETED"],
    );
    const revisions = events.map(({ object }) => Number(object.metadata.resourceVersion));
    assert.deepEqual(
      revisions,
      [...revisions].sort((a, b) => a - b),
    );
    assert.deepEqual(events[2]!.object.data, { a: "b" });
  });

  test("an object that comes under a selector is added, one that leaves it deleted", async () => {
    await post(maps("watches"), configMap("moves"));
    const { metadata } = (await send(maps("watches"))).json<List>();
    const seen = watch(
      `${maps("watches")}?watch=1&resourceVersion=${metadata.resourceVersion}&labelSelector=in%3Dside`,
      (events) => events.length === 2,
    );
    for (const labels of [{ in: "side" }, {}]) {
      await send(maps("watches", "moves"), { method: "PUT", body: { metadata: { name: "moves", labels } } });
    }
    assert.deepEqual(
      (await seen).map(({ type }) => type),
      ["ADDED", "DELETED"],
    );
  });

  test("sendInitialEvents: the state first, then a bookmark that says so", async () => {
    const query = "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    const events = await watch(`${maps("watches")}?${query}`, (all) => all.at(-1)?.type === "BOOKMARK");
    const last = events.at(-1)!.object;
    assert.equal(last.metadata.annotations?.["k8s.io/initial-events-end"], "true");
    assert.ok(events.slice(0, -1).every(({ type }) => type === "ADDED"));
    assert.ok(events.slice(0, -1).some(({ object }) => object.metadata.name === "kube-root-ca.crt"));
    refused(
      await send(`${maps("watches")}?watch=1&sendInitialEvents=true`),
      422,
      "Invalid",
      /sendInitialEvents requires setting resourceVersionMatch to NotOlderThan$/,
    );
  });

  test("from the first revision on it tells all that happened, while nothing of it is compacted", async () => {
    await post(maps("watches"), configMap("old"));
    const events = await watch(`${maps("watches")}?watch=1&resourceVersion=1`, (all) =>
      all.some(({ object }) => object.metadata.name === "old"),
    );
    assert.ok(events.every(({ type }) => ["ADDED", "MODIFIED", "DELETED"].includes(type)));
    const revisions = events.map(({ object }) => Number(object.metadata.resourceVersion));
    assert.deepEqual(
      revisions,
      [...revisions].sort((a, b) => a - b),
    );
  });

  test("ends after timeoutSeconds", async () => {
    assert.deepEqual(
      await watch(`${maps("watches")}?watch=1&timeoutSeconds=1&resourceVersion=0&labelSelector=none`),
      [],
    );
  });
});

describe("writes", () => {
  before(() => namespace("writes"));
  const put = (body: { metadata: { name: string } }) =>
    send(maps("writes", body.metadata.name), { method: "PUT", body });

  test("a dry run answers like the write, and leaves nothing", async () => {
    const reply = await post(`${maps("writes")}?dryRun=All`, configMap("dry"));
    assert.equal(reply.code, 201);
    assert.match(reply.json<Body>().metadata.uid, /^[0-9a-f-]{36}$/);
    assert.equal((await send(maps("writes", "dry"))).code, 404);
    refused(await post(`${maps("writes")}?dryRun=Some`, configMap("dry")), 422, "Invalid", /dryRun: Unsupported value/);
  });

  test("fieldValidation: Strict refuses, Warn warns, Ignore is silent", async () => {
    const body = (name: string) =>
      `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"${name}"},"dat":{},"data":{"a":"b","a":"c"}}`;
    refused(
      await post(`${maps("writes")}?fieldValidation=Strict`, body("strict")),
      400,
      "BadRequest",
      'ConfigMap in version "v1" cannot be handled as a ConfigMap: strict decoding error: unknown field "dat", duplicate field "data.a"',
    );
    const warned = await post(`${maps("writes")}?fieldValidation=Warn`, body("warned"));
    assert.equal(warned.code, 201);
    assert.equal(
      warned.headers["warning"],
      String.raw`299 - "unknown field \"dat\"", 299 - "duplicate field \"data.a\""`,
    );
    assert.deepEqual(warned.json<Body>().data, { a: "c" });
    const ignored = await post(`${maps("writes")}?fieldValidation=Ignore`, body("ignored"));
    assert.deepEqual([ignored.code, ignored.headers["warning"]], [201, undefined]);
    refused(
      await post(`${maps("writes")}?fieldValidation=No`, body("no")),
      422,
      "Invalid",
      /fieldValidation: Unsupported value: "No"/,
    );
  });

  test("an update is bound to the revision and the uid that it names", async () => {
    const made = (await post(maps("writes"), configMap("bound"))).json<Body>();
    const changed = (metadata: object) => ({
      ...configMap("bound"),
      metadata: { name: "bound", ...metadata },
      data: { a: "b" },
    });
    assert.equal((await put(changed({ resourceVersion: made.metadata.resourceVersion }))).code, 200);
    refused(
      await put(changed({ resourceVersion: made.metadata.resourceVersion })),
      409,
      "Conflict",
      'Operation cannot be fulfilled on configmaps "bound": the object has been modified; please apply your changes to the latest version and try again',
    );
    refused(await put(changed({ uid: "other" })), 409, "Conflict", /Precondition failed: UID in precondition: other/);
    const remove = (preconditions: object) =>
      send(maps("writes", "bound"), {
        method: "DELETE",
        body: { kind: "DeleteOptions", apiVersion: "v1", preconditions },
      });
    refused(await remove({ uid: "other" }), 409, "Conflict", /Precondition failed: UID in precondition: other/);
    refused(
      await remove({ resourceVersion: "1" }),
      409,
      "Conflict",
      /Precondition failed: ResourceVersion in precondition: 1/,
    );
    assert.equal((await remove({ uid: made.metadata.uid })).code, 200);
  });

  test("an update that changes nothing is no write", async () => {
    const made = (await post(maps("writes"), configMap("same"))).json<Body>();
    assert.equal((await put(configMap("same"))).json<Body>().metadata.resourceVersion, made.metadata.resourceVersion);
  });

  test("an object with a finalizer goes when the last one is taken off", async () => {
    await post(maps("writes"), { ...configMap("held"), metadata: { name: "held", finalizers: ["example.com/hold"] } });
    assert.equal((await send(maps("writes", "held"), { method: "DELETE" })).code, 200);
    const held = (await send(maps("writes", "held"))).json<Body>();
    assert.match(held.metadata.deletionTimestamp ?? "", /Z$/);
    const add = { metadata: { finalizers: ["example.com/hold", "example.com/late"] } };
    const headers = { "content-type": "application/merge-patch+json" };
    refused(
      await send(maps("writes", "held"), { method: "PATCH", headers, body: add }),
      422,
      "Invalid",
      /metadata\.finalizers: Forbidden: no new finalizers can be added if the object is being deleted/,
    );
    await send(maps("writes", "held"), { method: "PATCH", headers, body: { metadata: { finalizers: null } } });
    assert.equal((await send(maps("writes", "held"))).code, 404);
  });

  test("what a pod's node is, and its debug containers, is for subresources to say", async () => {
    const container = { name: "main", image: "example.com/main" };
    const pods = "/api/v1/namespaces/writes/pods";
    assert.equal((await post(pods, { metadata: { name: "p" }, spec: { containers: [container] } })).code, 201);
    const headers = { "content-type": "application/strategic-merge-patch+json" };
    const patch = (path: string, spec: object) =>
      send(`${pods}/p${path}`, { method: "PATCH", headers, body: { spec } });
    const debug = { ephemeralContainers: [{ name: "debug", image: "example.com/debug" }] };
    for (const spec of [{ nodeName: "n" }, debug]) {
      refused(await patch("", spec), 422, "Invalid", /spec: Forbidden: pod updates may not change fields other than/);
    }
    assert.equal((await patch("/ephemeralcontainers", debug)).code, 200);
    const changed = { ephemeralContainers: [{ name: "debug", image: "example.com/other" }] };
    refused(
      await patch("/ephemeralcontainers", changed),
      422,
      "Invalid",
      /existing ephemeral containers "debug" may not be changed/,
    );
    const sized = { containers: [{ ...container, resources: { requests: { cpu: "1" } } }] };
    refused(await patch("", sized), 422, "Invalid", /pod updates may not change fields other than/);
    refused(await patch("/resize", sized), 422, "Invalid", /Pod QOS Class may not change as a result of resizing/);
    const binding = { apiVersion: "v1", kind: "Binding", metadata: { name: "p" }, target: { kind: "Node", name: "n" } };
    assert.equal((await post(`${pods}/p/binding`, binding)).code, 201);
    refused(await post(`${pods}/p/binding`, binding), 409, "Conflict", /pod p is already assigned to node "n"/);
    const before = (await send(`${pods}/p`)).json<Body>().metadata.generation!;
    const leaving = (await send(`${pods}/p`, { method: "DELETE" })).json<Body>();
    // It behaves differently from now on, and its generation says so.
    assert.equal(leaving.metadata.generation, before + 1);
    assert.match(leaving.metadata.deletionTimestamp ?? "", /Z$/);
    await send(`${pods}/p?gracePeriodSeconds=0`, { method: "DELETE" });
    assert.equal((await send(`${pods}/p`)).code, 404);
  });

  test("a job's pods stay by default, and a warning says so", async () => {
    const jobs = "/apis/batch/v1/namespaces/writes/jobs";
    const template = { spec: { restartPolicy: "Never", containers: [{ name: "c", image: "i" }] } };
    await post(jobs, { metadata: { name: "j" }, spec: { suspend: true, template } });
    const { headers } = await send(`${jobs}/j`, { method: "DELETE" });
    assert.match(String(headers["warning"]), /child pods are preserved by default when jobs are deleted/);
  });
});

describe("bodies", () => {
  before(() => namespace("bodies"));
  const create = (body: unknown, headers: Record<string, string> = {}) => post(maps("bodies"), body, { headers });

  test("malformed ones are refused with what is wrong", async () => {
    for (const body of ["{", "", "[]", "null"]) {
      refused(
        await create(body),
        400,
        "BadRequest",
        /^the object provided is unrecognized \(must be of type ConfigMap\)/,
      );
    }
    const rows: [body: unknown, message: RegExp][] = [
      [{ ...configMap("x"), kind: "Secret" }, /^Secret in version "v1" cannot be handled as a ConfigMap/],
      [
        { ...configMap("x"), apiVersion: "v2" },
        /^the API version in the data \(v2\) does not match the expected API version \(v1\)$/,
      ],
      [
        configMap("x", { data: { a: 1 } }),
        /json: cannot unmarshal number into Go struct field ConfigMap\.data of type string$/,
      ],
      [
        configMap("x", { metadata: "no" }),
        /json: cannot unmarshal string into Go struct field ConfigMap\.metadata of type v1\.ObjectMeta$/,
      ],
      [
        configMap("x", { metadata: { name: "x", namespace: "y" } }),
        /^the namespace of the provided object does not match/,
      ],
    ];
    for (const [body, message] of rows) refused(await create(body), 400, "BadRequest", message);
    const status = refused(
      await create(configMap("X_")),
      422,
      "Invalid",
      /^ConfigMap "X_" is invalid: metadata\.name: Invalid value: "X_"/,
    );
    assert.equal(status.details?.causes?.[0]?.field, "metadata.name");
  });

  test("formats: YAML is read and written, others are refused with those that are known", async () => {
    const yaml = await create("metadata: {name: yaml}\ndata: {a: b}\n", { "content-type": "application/yaml" });
    assert.equal(yaml.code, 201);
    const read = await send(maps("bodies", "yaml"), { headers: { accept: "application/yaml" } });
    assert.match(read.text, /^ {2}name: yaml$/m);
    refused(
      await create("x", { "content-type": "text/plain" }),
      415,
      "UnsupportedMediaType",
      /accepted media types include: application\/json/,
    );
    const html = await send(maps("bodies", "yaml"), { headers: { accept: "text/html" } });
    refused(html, 406, "NotAcceptable", /^only the following media types are accepted: application\/json/);
    refused(
      await send(maps("bodies", "yaml"), { method: "PATCH", body: {} }),
      415,
      "UnsupportedMediaType",
      /application\/apply-patch\+yaml/,
    );
  });

  test("beyond 3 MiB they are refused, on both protocols", async () => {
    const body = configMap("big", { data: { a: "x".repeat(3 * 1024 * 1024) } });
    for (const http of ["1.1", "2"] as const) {
      refused(
        await post(maps("bodies"), body, { http }),
        413,
        "RequestEntityTooLarge",
        "Request entity too large: limit is 3145728",
      );
    }
    const refusedSize = await create(configMap("big", { data: { a: "x".repeat(1_100_000) } }));
    refused(refusedSize, 422, "Invalid", /Too long: may not be more than 1048576 bytes/);
  });
});

describe("what it serves", () => {
  test("HTTP/1.1 and HTTP/2 answer alike", async () => {
    const path = "/api/v1/namespaces/default";
    const [one, two] = [await send(path), await send(path, { http: "2" })];
    assert.deepEqual([one.code, one.text], [two.code, two.text]);
    assert.equal(two.headers["content-type"], "application/json");
  });

  test("aggregated discovery, with a tag that saves sending it again", async () => {
    const accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    const reply = await send("/apis", { headers: { accept } });
    assert.equal(reply.headers["content-type"], accept);
    const groups = reply.json<{
      items: { metadata: { name: string }; versions: { version: string; resources: object[] }[] }[];
    }>();
    assert.ok(groups.items.find(({ metadata }) => metadata.name === "apps")!.versions[0]!.resources.length >= 5);
    const etag = String(reply.headers["etag"]);
    const again = await send("/apis", { headers: { accept, "if-none-match": etag } });
    assert.deepEqual([again.code, again.text], [304, ""]);
    const plain = await send("/apis");
    assert.equal(plain.json<{ kind: string }>().kind, "APIGroupList");
  });

  test("OpenAPI v3, by group and version, cached by hash", async () => {
    const { paths } = (await send("/openapi/v3")).json<{ paths: Record<string, { serverRelativeURL: string }> }>();
    const apps = await send(paths["apis/apps/v1"]!.serverRelativeURL);
    assert.equal(apps.code, 200);
    assert.match(String(apps.headers["cache-control"]), /immutable/);
    const document = apps.json<{ openapi: string; components: { schemas: Record<string, object> } }>();
    assert.match(document.openapi, /^3\.0/);
    assert.ok(document.components.schemas["io.k8s.api.apps.v1.Deployment"]);
  });

  test("tables and metadata alone, of lists and of objects", async () => {
    const as = (kind: string) => ({ headers: { accept: `application/json;as=${kind};v=v1;g=meta.k8s.io` } });
    const path = maps("default", "kube-root-ca.crt");
    const table = (await send(path, as("Table"))).json<{
      kind: string;
      columnDefinitions: { name: string }[];
      rows: { cells: unknown[]; object: { kind: string } }[];
    }>();
    assert.deepEqual(
      table.columnDefinitions.map(({ name }) => name),
      ["Name", "Data", "Age"],
    );
    assert.deepEqual(table.rows[0]!.cells.slice(0, 2), ["kube-root-ca.crt", "1"]);
    assert.equal(table.rows[0]!.object.kind, "PartialObjectMetadata");
    const bare = await send(`${path}?includeObject=None`, as("Table"));
    assert.equal(bare.json<{ rows: { object?: unknown }[] }>().rows[0]!.object ?? null, null);
    const metadata = (await send(path, as("PartialObjectMetadata"))).json<Body>();
    assert.deepEqual([metadata.kind, metadata.data], ["PartialObjectMetadata", undefined]);
    assert.equal(
      (await send(maps("default"), as("PartialObjectMetadataList"))).json<List>().kind,
      "PartialObjectMetadataList",
    );
  });

  test("whoever is unknown gets 401, whoever may not 403, what is not there 404, what cannot be done 405", async () => {
    refused(await send("/api/v1/pods", { as: "nobody" }), 401, "Unauthorized", "Unauthorized");
    const headers = { authorization: "Bearer nonsense" };
    refused(await send("/api/v1/pods", { as: "nobody", headers }), 401, "Unauthorized", "Unauthorized");
    const eve = { headers: { "impersonate-user": "eve" } };
    refused(
      await send("/api/v1/namespaces/default/secrets/x", eve),
      403,
      "Forbidden",
      'secrets "x" is forbidden: User "eve" cannot get resource "secrets" in API group "" in the namespace "default"',
    );
    refused(await send("/metrics", eve), 403, "Forbidden", 'forbidden: User "eve" cannot get path "/metrics"');
    refused(await send("/api/v1/nope"), 404, "NotFound", "the server could not find the requested resource");
    const missing = refused(await send(maps("default", "nope")), 404, "NotFound", 'configmaps "nope" not found');
    assert.deepEqual(missing.details, { name: "nope", kind: "configmaps" });
    refused(
      await send(maps("default"), { method: "PUT", body: {} }),
      405,
      "MethodNotAllowed",
      /is not supported on resources of kind "configmaps"$/,
    );
  });
});

describe("proxies", () => {
  test("services and pods are reached through the API, but not what only the server can reach", async (t) => {
    const backend = createServer((incoming, reply) => {
      reply.setHeader("x-seen", String(incoming.headers["authorization"]));
      reply.end(`${incoming.method} ${incoming.url}`);
    });
    const own = Object.values(networkInterfaces()).flatMap((list) => list ?? []);
    const ip = own.find(({ family, internal }) => family === "IPv4" && !internal)!.address;
    await new Promise<void>((resolve) => backend.listen(0, ip, resolve));
    t.after(() => backend.close());
    const { port } = backend.address() as { port: number };
    await namespace("proxies");
    const path = "/api/v1/namespaces/proxies";
    const slices = "/apis/discovery.k8s.io/v1/namespaces/proxies/endpointslices";
    await post(`${path}/services`, { metadata: { name: "web" }, spec: { ports: [{ name: "http", port: 80 }] } });
    refused(
      await send(`${path}/services/web:http/proxy/`),
      503,
      "ServiceUnavailable",
      'no endpoints available for service "web"',
    );
    const labels = { "kubernetes.io/service-name": "web" };
    const slice = { addressType: "IPv4", ports: [{ name: "http", port }], endpoints: [{ addresses: [ip] }] };
    assert.equal((await post(slices, { metadata: { name: "web", labels }, ...slice })).code, 201);
    const reply = await send(`${path}/services/web:http/proxy/a/b?c=d`, {
      headers: { "impersonate-group": "system:masters", "impersonate-user": "x" },
    });
    assert.deepEqual([reply.code, reply.text, reply.headers["x-seen"]], [200, "GET /a/b?c=d", "undefined"]);

    const options = await send(`${path}/services/web:http/proxy/x`, { method: "OPTIONS" });
    assert.deepEqual([options.code, options.text], [200, "OPTIONS /x"]);

    // A node that no other test names: pods of nodes that are not there are taken away after a while.
    const pod = {
      metadata: { name: "p" },
      spec: { nodeName: "behind-proxy", containers: [{ name: "c", image: "i" }] },
    };
    assert.equal((await post(`${path}/pods`, pod)).code, 201);
    const headers = { "content-type": "application/merge-patch+json" };
    const address = (podIP: string) =>
      send(`${path}/pods/p/status`, { method: "PATCH", headers, body: { status: { podIP, podIPs: [{ ip: podIP }] } } });
    await address(ip);
    assert.equal((await send(`${path}/pods/p:${port}/proxy/x`)).text, "GET /x");
    await address("127.0.0.1");
    refused(await send(`${path}/pods/p:${port}/proxy/x`), 400, "BadRequest", "address not allowed");
  });
});
