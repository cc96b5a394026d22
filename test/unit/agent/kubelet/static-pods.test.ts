import assert from "node:assert/strict";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import type { PodWorker } from "../../../../src/agent/kubelet/pod-worker.ts";
import { isStatic, mirrorAnnotation, StaticPods, staticPodOf } from "../../../../src/agent/kubelet/static-pods.ts";
import type { Pod } from "../../../../src/api/generated/core-v1.ts";
import type { Client, DeleteOptions } from "../../../../src/client/client.ts";
import type { Informer } from "../../../../src/client/informer.ts";
import { type Logger, silentLogger } from "../../../../src/machinery/log.ts";
import { keyOf } from "../../../../src/machinery/object.ts";
import { eventually } from "../../../support/eventually.ts";
import { temporaryDirectory } from "../../../support/temporary-directory.ts";
import { pod } from "./pod-fixture.ts";
import { workerRig } from "./worker-rig.ts";

const manifest: Pod = {
  apiVersion: "v1",
  kind: "Pod",
  metadata: { name: "web", annotations: { theirs: "1" } },
  spec: { containers: [{ name: "main", image: "busybox:1" }] },
};

test("a manifest becomes a pod of this node, with the defaults that the API would set", () => {
  const of = staticPodOf(manifest, "/manifests/web.yaml", "n", Date.parse("2026-01-01T00:00:00Z"));
  assert.deepEqual([of.metadata.name, of.metadata.namespace, of.spec?.nodeName], ["web-n", "default", "n"]);
  assert.deepEqual([of.spec?.restartPolicy, of.spec?.terminationGracePeriodSeconds], ["Always", 30]);
  assert.deepEqual(of.spec?.tolerations, [{ operator: "Exists", effect: "NoExecute" }]);
  assert.deepEqual(of.metadata.annotations, {
    theirs: "1",
    "kubernetes.io/config.hash": of.metadata.uid,
    "kubernetes.io/config.source": "file",
    "kubernetes.io/config.seen": "2026-01-01T00:00:00Z",
  });
  assert.equal(isStatic(of), true);
  assert.equal(isStatic(pod()), false);
});

test("its uid follows from node, file and content, so that a restart finds the same pod", () => {
  const uid = (of: Pod, path: string, node: string) => staticPodOf(of, path, node, 1).metadata.uid;
  const same = uid(manifest, "/a", "n");
  assert.equal(staticPodOf(structuredClone(manifest), "/a", "n", 2).metadata.uid, same);
  const changed = { ...manifest, spec: { containers: [{ name: "main", image: "busybox:2" }] } };
  for (const other of [uid(changed, "/a", "n"), uid(manifest, "/b", "n"), uid(manifest, "/a", "m")])
    assert.notEqual(other, same);
});

function rig(t: TestContext, mirrors = new Map<string, Pod>()) {
  const directory = join(temporaryDirectory(t), "manifests");
  mkdirSync(directory);
  const { context, runtime, clock } = workerRig(t, pod());
  const workers = new Map<string, PodWorker>();
  const created: Pod[] = [];
  const deleted: [name: string, options: DeleteOptions][] = [];
  const errors: object[] = [];
  const client = {
    create: async (_: unknown, object: Pod) => {
      created.push(object);
      mirrors.set(keyOf(object), object);
      return object;
    },
    delete: async (_: unknown, name: string, options: DeleteOptions) => {
      deleted.push([name, options]);
      mirrors.delete(`${options.namespace}/${name}`);
    },
  } as unknown as Client;
  const informer = { hasSynced: true, get: (key: string) => mirrors.get(key) } as unknown as Informer<Pod>;
  const logger: Logger = { ...silentLogger, error: (fields: object | string) => errors.push(Object(fields)) };
  const staticPods = new StaticPods({
    directory,
    client,
    nodeName: "n",
    context,
    workers,
    informer,
    clock,
    logger,
  });
  const stop = new AbortController();
  t.after(() => {
    stop.abort();
    for (const worker of workers.values()) worker.stop();
  });
  const write = (name: string, content: unknown) =>
    writeFileSync(join(directory, name), typeof content === "string" ? content : JSON.stringify(content));
  const start = () => staticPods.start(stop.signal);
  return { directory, staticPods, workers, runtime, clock, created, deleted, errors, write, start };
}

test("a manifest is run, and shown in the API through a mirror without our uid", async (t) => {
  const { workers, created, write, start } = rig(t);
  write("web.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec: {containers: [{name: main, image: b:1}]}");
  await start();
  await eventually(() => assert.equal(created.length, 1));
  const [uid] = [...workers.keys()];
  assert.equal(created[0]?.metadata.uid, undefined);
  assert.equal(created[0]?.metadata.annotations?.[mirrorAnnotation], uid);
  assert.equal(created[0]?.metadata.name, "web-n");
});

test("what is no pod is told with its file, and keeps no other out", async (t) => {
  const { workers, errors, write, start } = rig(t);
  write("a.yaml", "kind: Service\nmetadata: {name: x}");
  write("b.yaml", "kind: Pod\nmetadata: {");
  write("c.json", manifest);
  write("notes.txt", "not a manifest");
  write(".hidden.yaml", manifest);
  await start();
  assert.deepEqual([workers.size, errors.length], [1, 2]);
  assert.match(JSON.stringify(errors[0]), /a\.yaml.*want a Pod with a name and containers/);
});

test("a changed manifest is another pod; a removed one ends, and its mirror goes", async (t) => {
  const { directory, workers, clock, created, deleted, write, start } = rig(t);
  write("web.json", manifest);
  await start();
  await eventually(() => assert.equal(created.length, 1));
  const [first] = [...workers.values()];
  write("web.json", { ...manifest, spec: { containers: [{ name: "main", image: "busybox:2" }] } });
  await eventually(async () => {
    await clock.advance(250);
    assert.equal(workers.size, 2);
  });
  assert.equal(deleted[0]?.[0], "web-n");
  assert.equal(deleted[0]?.[1].gracePeriodSeconds, 0);
  await eventually(() => assert.equal(first?.ended, true));
  rmSync(join(directory, "web.json"));
  await eventually(async () => {
    await clock.advance(250);
    assert.ok([...workers.values()].every((worker) => worker.ended));
  });
});

test("a directory that is removed takes its pods with it, and nothing else", async (t) => {
  const { directory, workers, clock, deleted, write, start } = rig(t);
  write("web.json", manifest);
  await start();
  assert.equal(workers.size, 1);
  rmSync(directory, { recursive: true });
  await eventually(async () => {
    await clock.advance(250);
    assert.ok([...workers.values()].every((worker) => worker.ended));
  });
  assert.equal(deleted[0]?.[0], "web-n");
});

test("a mirror that is outdated or being deleted is removed by its uid; one that is right is left alone", async (t) => {
  const { staticPods, deleted, created, write, start } = rig(t);
  write("web.json", manifest);
  await start();
  await eventually(() => assert.equal(created.length, 1));
  const mirror: Pod = { ...created[0]!, metadata: { ...created[0]!.metadata, uid: "mirror-uid" } };
  staticPods.checkMirror(mirror);
  assert.equal(deleted.length, 0);
  staticPods.checkMirror({ ...mirror, metadata: { ...mirror.metadata, deletionTimestamp: "2026-01-01T00:00:00Z" } });
  staticPods.checkMirror({ ...mirror, metadata: { ...mirror.metadata, annotations: { [mirrorAnnotation]: "old" } } });
  assert.deepEqual(
    deleted.map(([, { preconditions }]) => preconditions),
    [{ uid: "mirror-uid" }, { uid: "mirror-uid" }],
  );
});
