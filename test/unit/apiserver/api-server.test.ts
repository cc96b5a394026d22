import assert from "node:assert/strict";
import { once } from "node:events";
import { after, before, describe, test } from "node:test";
import { WebSocket } from "ws";
import { configMaps } from "../../../src/api/generated/core-v1.ts";
import { StatusError } from "../../../src/machinery/status.ts";
import { ApiHarness, type Json } from "./harness.ts";

const maps = "/api/v1/namespaces/default/configmaps";
const deployments = "/apis/apps/v1/namespaces/default/deployments";

function configMap(name: string, data: Record<string, string> = { a: "1" }, metadata: object = {}) {
  return { apiVersion: "v1", kind: "ConfigMap", metadata: { name, ...metadata }, data };
}

function deployment(name: string, replicas = 1) {
  const labels = { app: name };
  const containers = [{ name: "web", image: "nginx", resources: { requests: { cpu: "0.5" } } }];
  return {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name },
    spec: { replicas, selector: { matchLabels: labels }, template: { metadata: { labels }, spec: { containers } } },
  };
}

describe("the API server", () => {
  let api: ApiHarness;
  before(async () => {
    api = await ApiHarness.start();
  });
  after(() => api.stop());

  describe("create", () => {
    test("sets uid, creationTimestamp, resourceVersion and managedFields, and answers 201", async () => {
      const { code, body } = await api.post(`${maps}?fieldManager=me`, configMap("create"));
      assert.equal(code, 201);
      assert.match(body.metadata.uid, /^[0-9a-f-]{36}$/);
      assert.equal(body.metadata.creationTimestamp, "2026-01-01T00:00:00Z");
      assert.match(body.metadata.resourceVersion, /^\d+$/);
      assert.equal(body.metadata.managedFields[0].manager, "me");
      const read = await api.get(`${maps}/create`);
      assert.deepEqual(read.body, body);
    });

    test("refuses an existing name with 409 AlreadyExists", async () => {
      await api.post(maps, configMap("twice"));
      const { code, body } = await api.post(maps, configMap("twice"));
      assert.equal(code, 409);
      assert.equal(body.reason, "AlreadyExists");
      assert.equal(body.message, 'configmaps "twice" already exists');
    });

    test("makes a name from generateName", async () => {
      const { body } = await api.post(maps, { metadata: { generateName: "gen-" }, data: {} });
      assert.match(body.metadata.name, /^gen-[a-z0-9]{5}$/);
    });

    test("brings built-in objects into canonical form and fills defaults", async () => {
      const { body } = await api.post(deployments, deployment("canonical"));
      const [container] = body.spec.template.spec.containers;
      assert.equal(container.resources.requests.cpu, "500m");
      assert.equal(container.terminationMessagePath, "/dev/termination-log");
      assert.equal(body.spec.strategy.rollingUpdate.maxSurge, "25%");
      assert.equal(body.metadata.generation, 1);
    });

    test("refuses invalid metadata with 422 and causes", async () => {
      const { code, body } = await api.post(maps, configMap("Not_Valid"));
      assert.equal(code, 422);
      assert.equal(body.reason, "Invalid");
      assert.equal(body.details.causes[0].field, "metadata.name");
      assert.match(
        body.message,
        /^ConfigMap "Not_Valid" is invalid: metadata\.name: Invalid value: "Not_Valid": a lowercase RFC 1123/,
      );
    });

    test("a dry run answers as a create would and writes nothing", async () => {
      const { code, body } = await api.post(`${maps}?dryRun=All`, configMap("dry"));
      assert.equal(code, 201);
      assert.ok(body.metadata.uid);
      assert.equal((await api.get(`${maps}/dry`)).code, 404);
      const refused = await api.post(`${maps}?dryRun=Some`, configMap("dry"));
      assert.equal(refused.code, 422);
    });

    test("refuses a namespace that differs from the path's", async () => {
      const { code, body } = await api.post(maps, configMap("elsewhere", {}, { namespace: "kube-system" }));
      assert.equal(code, 400);
      assert.match(body.message, /namespace of the provided object does not match/);
    });

    test("refuses a body over 3 MiB, and an object over etcd's 1.5 MiB, with 413", async () => {
      const tooLarge = await api.post(maps, configMap("large", { a: "x".repeat(3 * 1024 * 1024) }));
      assert.equal(tooLarge.code, 413);
      assert.match(tooLarge.body.message, /limit is 3145728/);
      const large = deployment("large");
      Object.assign(large.spec.template.spec.containers[0]!, { args: ["x".repeat(1.6 * 1024 * 1024)] });
      const overStore = await api.post(deployments, large);
      assert.equal(overStore.code, 413);
      assert.match(overStore.body.message, /etcdserver: request is too large/);
    });

    test("malformed bodies are 400, unknown content types 415, unacceptable replies 406", async () => {
      assert.equal((await api.post(maps, "{", {})).code, 400);
      assert.equal((await api.post(maps, "[]", {})).code, 400);
      assert.equal((await api.post(maps, "x", { type: "text/plain" })).code, 415);
      const unknown = await api.get(maps, { accept: "text/html" });
      assert.equal(unknown.code, 406);
      const both = await api.get(maps, { accept: "text/html,application/json" });
      assert.equal(both.code, 200);
    });

    test("takes and gives YAML", async () => {
      const yaml = "metadata:\n  name: yaml\ndata:\n  a: 'yes'\n";
      const { code, text } = await api.post(maps, yaml, { type: "application/yaml", accept: "application/yaml" });
      assert.equal(code, 201);
      assert.match(text, /^ {2}name: yaml$/m);
    });
  });

  describe("field validation", () => {
    const typo = { ...configMap("typo"), dota: {} };

    test("Warn, the default, drops unknown fields with a Warning header", async () => {
      const { code, headers, body } = await api.post(`${maps}?dryRun=All`, typo);
      assert.equal(code, 201);
      assert.match(headers.get("warning") ?? "", /^299 - "unknown field \\"dota\\""$/);
      assert.equal("dota" in body, false);
    });

    test("Strict refuses unknown and duplicate fields", async () => {
      const { code, body } = await api.post(`${maps}?fieldValidation=Strict`, typo);
      assert.equal(code, 400);
      assert.equal(
        body.message,
        'ConfigMap in version "v1" cannot be handled as a ConfigMap: strict decoding error: unknown field "dota"',
      );
      const twice = '{"metadata":{"name":"dup"},"data":{"a":"1","a":"2"}}';
      assert.match((await api.post(`${maps}?fieldValidation=Strict`, twice)).body.message, /duplicate field "data.a"/);
    });

    test("Ignore says nothing", async () => {
      const { headers } = await api.post(`${maps}?dryRun=All&fieldValidation=Ignore`, typo);
      assert.equal(headers.get("warning"), null);
    });
  });

  describe("update", () => {
    test("needs the current resourceVersion, or none", async () => {
      const { body: created } = await api.post(maps, configMap("lock"));
      const { body: first } = await api.put(`${maps}/lock`, { ...created, data: { a: "2" } });
      assert.notEqual(first.metadata.resourceVersion, created.metadata.resourceVersion);
      const stale = await api.put(`${maps}/lock`, { ...created, data: { a: "3" } });
      assert.equal(stale.code, 409);
      assert.match(
        stale.body.message,
        /^Operation cannot be fulfilled on configmaps "lock": the object has been modified/,
      );
      const free = await api.put(`${maps}/lock`, configMap("lock", { a: "4" }));
      assert.equal(free.code, 200);
      assert.equal(free.body.metadata.uid, created.metadata.uid);
    });

    test("that changes nothing writes nothing", async () => {
      const { body: created } = await api.post(maps, configMap("same"));
      const { body } = await api.put(`${maps}/same`, created);
      assert.equal(body.metadata.resourceVersion, created.metadata.resourceVersion);
    });

    test("of the main resource leaves the status, and of the status leaves the rest", async () => {
      const { body: created } = await api.post(deployments, deployment("status"));
      const changed = { ...created, spec: { ...created.spec, replicas: 5 }, status: { replicas: 9 } };
      const main = await api.put(`${deployments}/status`, changed);
      assert.equal(main.body.spec.replicas, 5);
      assert.equal(main.body.status.replicas, undefined);
      assert.equal(main.body.metadata.generation, 2);
      const status = {
        ...main.body,
        spec: { ...created.spec, replicas: 7 },
        status: { replicas: 9, readyReplicas: 9 },
      };
      const after = await api.put(`${deployments}/status/status`, status);
      assert.equal(after.code, 200);
      assert.equal(after.body.spec.replicas, 5);
      assert.equal(after.body.status.replicas, 9);
      assert.equal(after.body.metadata.generation, 2);
    });

    test("of what is not there is 404, but leases are created by it", async () => {
      assert.equal((await api.put(`${maps}/none`, configMap("none"))).code, 404);
      const leases = "/apis/coordination.k8s.io/v1/namespaces/default/leases";
      const lease = { metadata: { name: "made" }, spec: { holderIdentity: "me" } };
      assert.equal((await api.put(`${leases}/made`, lease)).code, 201);
    });

    test("refuses another name or uid than the object's", async () => {
      const { body: created } = await api.post(maps, configMap("name"));
      assert.equal((await api.put(`${maps}/name`, configMap("other"))).code, 400);
      const other = { ...created, metadata: { ...created.metadata, uid: "x", resourceVersion: "" } };
      const reply = await api.put(`${maps}/name`, other);
      assert.equal(reply.code, 409);
      assert.match(reply.body.message, /Precondition failed: UID in precondition: x/);
    });
  });

  describe("patch", () => {
    test("merges by JSON patch, merge patch and strategic merge", async () => {
      await api.post(deployments, deployment("patch"));
      const at = `${deployments}/patch`;
      const json = await api.patch(at, "json", [{ op: "replace", path: "/spec/replicas", value: 3 }]);
      assert.equal(json.body.spec.replicas, 3);
      const merge = await api.patch(at, "merge", { metadata: { labels: { a: "b" } } });
      assert.deepEqual(merge.body.metadata.labels, { a: "b" });
      const side = { spec: { template: { spec: { containers: [{ name: "side", image: "busybox" }] } } } };
      const strategic = await api.patch(at, "strategic", side);
      assert.deepEqual(
        strategic.body.spec.template.spec.containers.map((container: Json) => container.name),
        ["side", "web"],
      );
    });

    test("of many at once all succeed, since it is not bound to a revision", async () => {
      await api.post(maps, configMap("many", {}));
      const patches = Array.from({ length: 20 }, (_, index) =>
        api.patch(`${maps}/many`, "merge", { data: { [`k${index}`]: "v" } }),
      );
      assert.deepEqual(new Set((await Promise.all(patches)).map((reply) => reply.code)), new Set([200]));
      assert.equal(Object.keys((await api.get(`${maps}/many`)).body.data).length, 20);
    });

    test("that names a resourceVersion conflicts when that is old", async () => {
      const { body } = await api.post(maps, configMap("bound"));
      await api.patch(`${maps}/bound`, "merge", { data: { a: "2" } });
      const { resourceVersion } = body.metadata;
      const reply = await api.patch(`${maps}/bound`, "merge", { metadata: { resourceVersion }, data: { a: "3" } });
      assert.equal(reply.code, 409);
    });

    test("that does not apply is 422, of an unknown type 415, without a manager no apply", async () => {
      await api.post(maps, configMap("refused"));
      const at = `${maps}/refused`;
      assert.equal((await api.patch(at, "json", [{ op: "remove", path: "/data/none" }])).code, 422);
      assert.equal((await api.request("PATCH", at, { body: {} })).code, 415);
      assert.equal((await api.patch(at, "apply", configMap("refused"))).code, 422);
    });

    test("apply creates, removes what is no longer applied, and refuses fields of others unless forced", async () => {
      const at = `${maps}/applied?fieldManager=one`;
      const created = await api.patch(at, "apply", configMap("applied", { a: "1", b: "1" }));
      assert.equal(created.code, 201);
      const updated = await api.patch(at, "apply", configMap("applied", { a: "1" }));
      assert.equal(updated.code, 200);
      assert.deepEqual(updated.body.data, { a: "1" });
      const other = `${maps}/applied?fieldManager=two`;
      const refused = await api.patch(other, "apply", configMap("applied", { a: "2" }));
      assert.equal(refused.code, 409);
      assert.equal(refused.body.details.causes[0].reason, "FieldManagerConflict");
      const forced = await api.patch(`${other}&force=true`, "apply", configMap("applied", { a: "2" }));
      assert.equal(forced.code, 200);
      assert.deepEqual(forced.body.data, { a: "2" });
    });
  });

  describe("delete", () => {
    test("answers a Status with the object's uid, then 404", async () => {
      const { body: created } = await api.post(maps, configMap("gone"));
      const { code, body } = await api.delete(`${maps}/gone`);
      assert.equal(code, 200);
      assert.equal(body.status, "Success");
      assert.deepEqual(body.details, { name: "gone", kind: "configmaps", uid: created.metadata.uid });
      assert.equal((await api.delete(`${maps}/gone`)).code, 404);
    });

    test("waits for finalizers, and the update that removes the last one removes the object", async () => {
      await api.post(maps, configMap("final", {}, { finalizers: ["example.com/wait"] }));
      const { body } = await api.delete(`${maps}/final`);
      assert.ok(body.metadata.deletionTimestamp);
      const added = await api.patch(`${maps}/final`, "merge", {
        metadata: { finalizers: ["example.com/wait", "example.com/new"] },
      });
      assert.equal(added.code, 422);
      assert.equal((await api.patch(`${maps}/final`, "merge", { metadata: { finalizers: null } })).code, 200);
      assert.equal((await api.get(`${maps}/final`)).code, 404);
    });

    test("sets the garbage collector's finalizer for Orphan and Foreground", async () => {
      for (const [policy, finalizer] of [
        ["Orphan", "orphan"],
        ["Foreground", "foregroundDeletion"],
      ]) {
        await api.post(deployments, deployment(`gc-${finalizer!.toLowerCase()}`));
        const at = `${deployments}/gc-${finalizer!.toLowerCase()}`;
        const { body } = await api.delete(at, { propagationPolicy: policy });
        assert.deepEqual(body.metadata.finalizers, [finalizer]);
        assert.equal(body.metadata.generation, 2);
      }
    });

    test("keeps preconditions", async () => {
      await api.post(maps, configMap("guarded"));
      const reply = await api.delete(`${maps}/guarded`, { preconditions: { uid: "other" } });
      assert.equal(reply.code, 409);
      assert.equal((await api.get(`${maps}/guarded`)).code, 200);
    });

    test("of a collection takes what the selector finds and answers the list", async () => {
      for (const name of ["c1", "c2"]) await api.post(maps, configMap(name, {}, { labels: { group: "c" } }));
      const { body } = await api.delete(`${maps}?labelSelector=group%3Dc`);
      assert.equal(body.kind, "ConfigMapList");
      assert.equal(body.items.length, 2);
      assert.equal((await api.get(`${maps}?labelSelector=group%3Dc`)).body.items.length, 0);
    });

    test("of a namespace marks it, and finalize lets it go", async () => {
      await api.post("/api/v1/namespaces", { metadata: { name: "leaving" } });
      const { body } = await api.delete("/api/v1/namespaces/leaving");
      assert.equal(body.status.phase, "Terminating");
      const finalized = await api.put("/api/v1/namespaces/leaving/finalize", { ...body, spec: { finalizers: [] } });
      assert.equal(finalized.code, 200);
      assert.equal((await api.get("/api/v1/namespaces/leaving")).code, 404);
    });
  });

  describe("list", () => {
    before(async () => {
      await api.post("/api/v1/namespaces", { metadata: { name: "lists" } });
      await api.post("/api/v1/namespaces/lists/serviceaccounts", { metadata: { name: "default" } });
      for (let index = 0; index < 5; index++) {
        const labels = { parity: index % 2 === 0 ? "even" : "odd" };
        await api.post("/api/v1/namespaces/lists/configmaps", configMap(`m${index}`, {}, { labels }));
      }
    });
    const at = "/api/v1/namespaces/lists/configmaps";
    const names = (body: Json): string[] => body.items.map((item: Json) => item.metadata.name);

    test("carries no kind in its items and one resourceVersion", async () => {
      const { body } = await api.get(at);
      assert.equal(body.kind, "ConfigMapList");
      assert.equal(body.apiVersion, "v1");
      assert.match(body.metadata.resourceVersion, /^\d+$/);
      assert.equal("kind" in body.items[0], false);
      assert.deepEqual(names(body), ["m0", "m1", "m2", "m3", "m4"]);
    });

    test("selects by labels and fields, and refuses fields that the kind lacks", async () => {
      assert.deepEqual(names((await api.get(`${at}?labelSelector=parity%3Dodd`)).body), ["m1", "m3"]);
      assert.deepEqual(names((await api.get(`${at}?fieldSelector=metadata.name%3Dm2`)).body), ["m2"]);
      assert.deepEqual(names((await api.get(`${at}?fieldSelector=metadata.name!%3Dm2&limit=2`)).body), ["m0", "m1"]);
      const refused = await api.get(`${at}?fieldSelector=data.a%3D1`);
      assert.equal(refused.code, 400);
      assert.match(refused.body.message, /^"data\.a" is not a known field selector: only "metadata\.name"/);
    });

    test("in pages is a snapshot, whatever happens in between", async () => {
      const first = (await api.get(`${at}?limit=2`)).body;
      assert.deepEqual(names(first), ["m0", "m1"]);
      assert.equal(first.metadata.remainingItemCount, 3);
      await api.post(at, configMap("m22"));
      await api.delete(`${at}/m4`);
      const rest = (await api.get(`${at}?limit=10&continue=${first.metadata.continue}`)).body;
      assert.deepEqual(names(rest), ["m2", "m3", "m4"]);
      assert.equal(rest.metadata.resourceVersion, first.metadata.resourceVersion);
      await api.delete(`${at}/m22`);
      await api.post(at, configMap("m4"));
      // Long after, the store's own history serves the page.
      const exact = await api.get(`${at}?resourceVersion=${first.metadata.resourceVersion}&resourceVersionMatch=Exact`);
      assert.deepEqual(names(exact.body), ["m0", "m1", "m2", "m3", "m4"]);
    });

    test("with a continue token of a compacted revision is 410, with a broken one 400", async () => {
      const first = (await api.get(`${at}?limit=2&labelSelector=parity`)).body;
      const token = JSON.parse(Buffer.from(first.metadata.continue, "base64url").toString());
      const old = Buffer.from(JSON.stringify({ ...token, rv: 1 })).toString("base64url");
      await api.store.compact(Number(first.metadata.resourceVersion));
      const gone = await api.get(`${at}?limit=2&continue=${old}`);
      assert.equal(gone.code, 410);
      assert.equal(gone.body.reason, "Expired");
      await api.post("/api/v1/namespaces", { metadata: { name: "later" } });
      // The answer has a token that goes on behind the same object, with what is there now.
      const rest = await api.get(`${at}?continue=${gone.body.metadata.continue}`);
      assert.deepEqual(names(rest.body), ["m2", "m3", "m4"]);
      assert.notEqual(rest.body.metadata.resourceVersion, first.metadata.resourceVersion);
      assert.equal((await api.get(`${at}?continue=junk`)).code, 400);
    });

    test("checks the match rules of resourceVersion", async () => {
      const without = await api.get(`${at}?resourceVersionMatch=Exact`);
      assert.equal(without.code, 422);
      assert.match(without.body.message, /resourceVersionMatch is forbidden unless resourceVersion is provided/);
      assert.equal((await api.get(`${at}?resourceVersion=abc`)).code, 400);
    });

    test("as a Table has cells and metadata; as PartialObjectMetadataList only metadata", async () => {
      const table = await api.get(at, { accept: "application/json;as=Table;v=v1;g=meta.k8s.io,application/json" });
      assert.equal(table.body.kind, "Table");
      assert.deepEqual(
        table.body.columnDefinitions.map((column: Json) => column.name),
        ["Name", "Data", "Age"],
      );
      assert.equal(table.body.rows[0].cells[0], "m0");
      assert.equal(table.body.rows[0].object.kind, "PartialObjectMetadata");
      const partial = await api.get(at, { accept: "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io" });
      assert.equal(partial.body.kind, "PartialObjectMetadataList");
      assert.deepEqual(Object.keys(partial.body.items[0]).sort(), ["apiVersion", "kind", "metadata"]);
    });
  });

  describe("watch", () => {
    test("delivers what happens after a resourceVersion, in order", async () => {
      const { body: list } = await api.get(maps);
      await api.post(maps, configMap("w1"));
      const watch = await api.watch(`${maps}?watch=1&resourceVersion=${list.metadata.resourceVersion}`);
      await api.patch(`${maps}/w1`, "merge", { data: { b: "2" } });
      await api.delete(`${maps}/w1`);
      const events = await watch.take(3);
      watch.close();
      assert.deepEqual(
        events.map((event) => event.type),
        ["ADDED", "MODIFIED", "DELETED"],
      );
      assert.equal(events[0].object.kind, "ConfigMap");
      const versions = events.map((event) => Number(event.object.metadata.resourceVersion));
      assert.ok(versions[0]! < versions[1]! && versions[1]! < versions[2]!);
    });

    test("with sendInitialEvents gives the state, closed by an annotated bookmark", async () => {
      await api.post(maps, configMap("initial", {}, { labels: { watch: "initial" } }));
      const parameters = "watch=1&labelSelector=watch%3Dinitial&sendInitialEvents=true&allowWatchBookmarks=true";
      const watch = await api.watch(`${maps}?${parameters}&resourceVersionMatch=NotOlderThan`);
      const [added, bookmark] = await watch.take(2);
      assert.equal(added.type, "ADDED");
      assert.equal(bookmark.type, "BOOKMARK");
      assert.equal(bookmark.object.kind, "ConfigMap");
      assert.equal(bookmark.object.metadata.annotations["k8s.io/initial-events-end"], "true");
      await api.patch(`${maps}/initial`, "merge", { data: { b: "2" } });
      assert.equal((await watch.next()).type, "MODIFIED");
      watch.close();
      const refused = await api.get(`${maps}?watch=1&sendInitialEvents=true`);
      assert.equal(refused.code, 422);
    });

    test("objects enter and leave a selection as ADDED and DELETED", async () => {
      await api.post(maps, configMap("moves"));
      const { body: list } = await api.get(maps);
      const version = list.metadata.resourceVersion;
      const watch = await api.watch(`${maps}?watch=1&labelSelector=in%3Dyes&resourceVersion=${version}`);
      await api.patch(`${maps}/moves`, "merge", { metadata: { labels: { in: "yes" } } });
      await api.patch(`${maps}/moves`, "merge", { data: { a: "2" } });
      const { body: out } = await api.patch(`${maps}/moves`, "merge", { metadata: { labels: { in: "no" } } });
      const events = await watch.take(3);
      watch.close();
      assert.deepEqual(
        events.map((event) => [event.type, event.object.metadata.labels.in]),
        [
          ["ADDED", "yes"],
          ["MODIFIED", "yes"],
          ["DELETED", "yes"],
        ],
      );
      assert.equal(events[2].object.metadata.resourceVersion, out.metadata.resourceVersion);
    });

    test("ends after timeoutSeconds", async () => {
      const watch = await api.watch(`${maps}?watch=1&timeoutSeconds=1&resourceVersion=0&labelSelector=none`);
      assert.equal(await watch.next(), undefined);
    });

    test("from a revision before its resource was first read gets all that happened since", async () => {
      const leases = "/apis/coordination.k8s.io/v1/namespaces/default/leases";
      const { body: before } = await api.get(maps);
      await api.post(leases, { metadata: { name: "first" } });
      await api.post(leases, { metadata: { name: "second" } });
      const watch = await api.watch(`${leases}?watch=1&resourceVersion=${before.metadata.resourceVersion}`);
      assert.deepEqual(
        (await watch.take(2)).map(({ type, object }) => [type, object.metadata.name]),
        [
          ["ADDED", "first"],
          ["ADDED", "second"],
        ],
      );
      await api.delete(`${leases}/first`);
      assert.equal((await watch.next()).type, "DELETED");
      watch.close();
    });

    test("from a revision that is too old is 410 Expired, told by an event", async () => {
      await api.store.compact(2);
      const watch = await api.watch(`${maps}?watch=1&resourceVersion=1`);
      const [event] = await watch.take(1);
      assert.equal(event.type, "ERROR");
      assert.equal(event.object.code, 410);
      assert.equal(event.object.reason, "Expired");
      assert.match(event.object.message, /^too old resource version: 1 \(\d+\)$/);
    });

    test("as tables describes its columns once", async () => {
      const { body: list } = await api.get(maps);
      const accept = "application/json;as=Table;v=v1;g=meta.k8s.io";
      const watch = await api.watch(`${maps}?watch=1&resourceVersion=${list.metadata.resourceVersion}`, { accept });
      await api.post(maps, configMap("t1"));
      await api.delete(`${maps}/t1`);
      const [first, second] = await watch.take(2);
      watch.close();
      assert.ok(first.object.columnDefinitions.length > 0);
      assert.equal(second.object.columnDefinitions.length, 0);
      assert.equal(second.object.rows[0].cells[0], "t1");
    });
  });

  test("a watch over a WebSocket sends a message an event", async () => {
    const { body: list } = await api.get(maps);
    const url = `${api.url.replace("http", "ws")}${maps}?watch=1&resourceVersion=${list.metadata.resourceVersion}`;
    const socket = new WebSocket(url, { headers: { "x-user": "admin" } });
    await once(socket, "open");
    const message = once(socket, "message");
    await api.post(maps, configMap("socket"));
    const [data] = await message;
    assert.equal(JSON.parse(String(data)).object.metadata.name, "socket");
    socket.close();
    const refused = new WebSocket(url, { headers: { "x-user": "eve" } });
    const [, response] = await once(refused, "unexpected-response");
    assert.equal(response.statusCode, 403);
    response.destroy();
  });

  test("every served group-version has its APIService", async () => {
    const at = "/apis/apiregistration.k8s.io/v1/apiservices";
    const watch = await api.watch(`${at}?watch=1&resourceVersion=0`);
    const local = new Set<string>();
    while (!local.has("v1.") || !local.has("v1.apps")) {
      const { object } = await watch.next();
      if (object.status?.conditions?.[0]?.reason === "Local") local.add(object.metadata.name);
    }
    watch.close();
  });

  describe("scale", () => {
    test("shows and changes the replicas of a deployment", async () => {
      await api.post(deployments, deployment("scaled", 2));
      const { body } = await api.get(`${deployments}/scaled/scale`);
      assert.equal(body.kind, "Scale");
      assert.equal(body.apiVersion, "autoscaling/v1");
      assert.equal(body.spec.replicas, 2);
      assert.equal(body.status.selector, "app=scaled");
      const put = await api.put(`${deployments}/scaled/scale`, { ...body, spec: { replicas: 4 } });
      assert.equal(put.body.spec.replicas, 4);
      const patched = await api.patch(`${deployments}/scaled/scale`, "merge", { spec: { replicas: 6 } });
      assert.equal(patched.body.spec.replicas, 6);
      assert.equal((await api.get(`${deployments}/scaled`)).body.spec.replicas, 6);
      const negative = await api.patch(`${deployments}/scaled/scale`, "merge", { spec: { replicas: -1 } });
      assert.equal(negative.code, 422);
    });
  });

  describe("paths", () => {
    test("nobody is 401, nothing is 404, a wrong method 405", async () => {
      const nobody = await fetch(`${api.url}/api/v1/pods`);
      assert.equal(nobody.status, 401);
      assert.equal((await api.get("/api/v1/nothing")).code, 404);
      assert.equal((await api.get("/nothing")).code, 404);
      assert.equal((await api.request("POST", `${maps}/x`, { body: configMap("x") })).code, 405);
      assert.equal((await api.get("/api/v1/namespaces/a/nodes")).code, 404);
    });

    test("who may not is 403 with Kubernetes' words", async () => {
      const { code, body } = await api.get(maps, { user: "eve" });
      assert.equal(code, 403);
      assert.match(
        body.message,
        /User "eve" cannot list resource "configmaps" in API group "" in the namespace "default"/,
      );
    });

    test("discovery, in both forms, with an ETag that answers 304", async () => {
      const old = await api.get("/api/v1");
      assert.ok(old.body.resources.some((resource: Json) => resource.name === "pods/status"));
      const accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";
      const aggregated = await api.get("/apis", { accept });
      assert.equal(aggregated.body.kind, "APIGroupDiscoveryList");
      const etag = aggregated.headers.get("etag")!;
      const again = await api.fetch("GET", "/apis", { accept, headers: { "if-none-match": etag } });
      assert.equal(again.status, 304);
      await again.arrayBuffer();
    });

    test("version, health and metrics", async () => {
      assert.equal((await api.get("/version")).body.gitVersion, "v1.36.4+k3ts1");
      for (const path of ["/healthz", "/livez", "/readyz"]) assert.equal((await api.get(path)).text, "ok");
      assert.match((await api.get("/readyz?verbose")).text, /\[\+\]etcd ok/);
      assert.match((await api.get("/metrics")).text, /apiserver_request_total\{.*resource="configmaps".*verb="CREATE"/);
    });

    test("OpenAPI v3 names the kinds and the fieldValidation parameter of PATCH", async () => {
      const { body: index } = await api.get("/openapi/v3");
      const { body } = await api.get(index.paths["apis/apps/v1"].serverRelativeURL);
      const path = body.paths["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"];
      assert.deepEqual(path.patch["x-kubernetes-group-version-kind"], {
        group: "apps",
        kind: "Deployment",
        version: "v1",
      });
      assert.ok(JSON.stringify(path).includes("fieldValidation"));
    });
  });

  describe("the in-process client", () => {
    const masters = { name: "system:test", groups: ["system:masters"] };

    test("reads, writes and watches as HTTP does", async () => {
      const client = api.api.client(masters);
      const stop = new AbortController();
      const list = await client.list(configMaps, { namespace: "default" });
      const watch = client.watch(configMaps, {
        namespace: "default",
        resourceVersion: list.metadata.resourceVersion!,
        signal: stop.signal,
      });
      const created = await client.create(configMaps, {
        metadata: { name: "local", namespace: "default" },
        data: { a: "1" },
      });
      const { value } = await watch[Symbol.asyncIterator]().next();
      assert.equal(value.object.metadata.uid, created.metadata.uid);
      stop.abort();
      const patched = await client.patch(
        configMaps,
        "local",
        { type: "merge", body: { data: { b: "2" } } },
        { namespace: "default" },
      );
      assert.deepEqual(patched.data, { a: "1", b: "2" });
      const raced = client.update(configMaps, { ...created, data: {} });
      await assert.rejects(raced, (error) => error instanceof StatusError && error.reason === "Conflict");
      await client.delete(configMaps, "local", { namespace: "default" });
      await assert.rejects(client.get(configMaps, "local", { namespace: "default" }), { reason: "NotFound" });
    });

    test("is subject to authorization as its own user", async () => {
      const client = api.api.client({ name: "nobody", groups: [] });
      await assert.rejects(client.list(configMaps), { code: 403 });
    });
  });

  test("the kubernetes Service and the system namespaces are there from the start", async () => {
    const { body } = await api.get("/api/v1/namespaces/default/services/kubernetes");
    assert.equal(body.spec.clusterIP, "10.43.0.1");
    const slice = await api.get("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes");
    assert.deepEqual(slice.body.endpoints[0].addresses, ["192.0.2.1"]);
    for (const name of ["default", "kube-system", "kube-public", "kube-node-lease"]) {
      assert.equal((await api.get(`/api/v1/namespaces/${name}`)).code, 200);
    }
  });
});
