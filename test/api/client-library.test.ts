/** The API as programs use it through Kubernetes' own JavaScript client. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import {
  ApiException,
  AppsV1Api,
  AuthenticationV1Api,
  CoreV1Api,
  KubeConfig,
  KubernetesObjectApi,
  makeInformer,
  PatchStrategy,
  setHeaderOptions,
  type V1ConfigMap,
  Watch,
} from "@kubernetes/client-node";
import { eventually } from "../support/eventually.ts";
import { type ServerProcess, startServerProcess } from "../support/server-process.ts";

let server: ServerProcess;
const config = new KubeConfig();
let core: CoreV1Api;
const namespace = "library";

before(async () => {
  server = await startServerProcess();
  config.loadFromFile(server.kubeconfig);
  core = config.makeApiClient(CoreV1Api);
  await core.createNamespace({ body: { metadata: { name: namespace } } });
});
after(() => server?.stop());

async function rejection(promise: Promise<unknown>): Promise<{ code: number; reason: string }> {
  const error = await promise.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  assert.ok(error instanceof ApiException);
  const body: unknown = typeof error.body === "string" ? JSON.parse(error.body) : error.body;
  return { code: error.code, reason: (body as { reason: string }).reason };
}

test("creates, reads, replaces, lists and deletes", async () => {
  const body = { metadata: { name: "one", labels: { a: "b" } }, data: { k: "v" } };
  const made = await core.createNamespacedConfigMap({ namespace, body });
  assert.ok(made.metadata?.creationTimestamp instanceof Date);
  assert.deepEqual(await rejection(core.createNamespacedConfigMap({ namespace, body })), {
    code: 409,
    reason: "AlreadyExists",
  });
  const read = await core.readNamespacedConfigMap({ namespace, name: "one" });
  const replaced = await core.replaceNamespacedConfigMap({
    namespace,
    name: "one",
    body: { ...read, data: { k: "w" } },
  });
  assert.equal(replaced.data?.["k"], "w");
  assert.deepEqual(await rejection(core.replaceNamespacedConfigMap({ namespace, name: "one", body: read })), {
    code: 409,
    reason: "Conflict",
  });
  const { items } = await core.listNamespacedConfigMap({ namespace, labelSelector: "a=b" });
  assert.deepEqual(
    items.map(({ metadata }) => metadata?.name),
    ["one"],
  );
  const status = await core.deleteNamespacedConfigMap({ namespace, name: "one" });
  assert.equal(status.status, "Success");
  assert.equal((await rejection(core.readNamespacedConfigMap({ namespace, name: "one" }))).code, 404);
});

test("patches in all four ways", async () => {
  const apps = config.makeApiClient(AppsV1Api);
  const labels = { app: "web" };
  const spec = { containers: [{ name: "main", image: "example.com/main:1" }] };
  const template = { metadata: { labels }, spec };
  const deployment = { metadata: { name: "web" }, spec: { replicas: 0, selector: { matchLabels: labels }, template } };
  await apps.createNamespacedDeployment({ namespace, body: deployment });
  const patch = (strategy: string, body: object, more: object = {}) =>
    apps.patchNamespacedDeployment(
      { namespace, name: "web", body, ...more },
      setHeaderOptions("Content-Type", strategy),
    );
  const json = await patch(PatchStrategy.JsonPatch, [{ op: "add", path: "/spec/minReadySeconds", value: 3 }]);
  assert.equal(json.spec?.minReadySeconds, 3);
  const merge = await patch(PatchStrategy.MergePatch, { spec: { minReadySeconds: null } });
  assert.equal(merge.spec?.minReadySeconds, undefined);
  const side = { spec: { template: { spec: { containers: [{ name: "side", image: "example.com/side" }] } } } };
  const strategic = await patch(PatchStrategy.StrategicMergePatch, side);
  assert.deepEqual(
    strategic.spec?.template.spec?.containers.map(({ name }) => name),
    ["side", "main"],
  );
  const applied = {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name: "web" },
    spec: { minReadySeconds: 9 },
  };
  const apply = await patch(PatchStrategy.ServerSideApply, applied, { fieldManager: "library" });
  assert.equal(apply.spec?.minReadySeconds, 9);
});

test("objects of any kind go by what they say they are", async () => {
  const objects = KubernetesObjectApi.makeApiClient(config);
  const lease = { apiVersion: "coordination.k8s.io/v1", kind: "Lease", metadata: { name: "any", namespace } };
  const made = await objects.create({ ...lease, spec: { holderIdentity: "me" } });
  assert.equal(made.kind, "Lease");
  assert.equal((await objects.read(lease)).metadata?.name, "any");
  await objects.delete(lease);
});

test("an informer hears of every change", async () => {
  const list = () => core.listNamespacedConfigMap({ namespace });
  const informer = makeInformer(config, `/api/v1/namespaces/${namespace}/configmaps`, list);
  const heard: string[] = [];
  for (const verb of ["add", "update", "delete"] as const) {
    informer.on(verb, (object: V1ConfigMap) => {
      if (object.metadata?.name === "seen") heard.push(`${verb} ${object.data?.["k"]}`);
    });
  }
  await informer.start();
  try {
    await core.createNamespacedConfigMap({ namespace, body: { metadata: { name: "seen" }, data: { k: "1" } } });
    await core.replaceNamespacedConfigMap({
      namespace,
      name: "seen",
      body: { metadata: { name: "seen" }, data: { k: "2" } },
    });
    await core.deleteNamespacedConfigMap({ namespace, name: "seen" });
    await eventually(() => assert.deepEqual(heard, ["add 1", "update 2", "delete 2"]));
  } finally {
    await informer.stop();
  }
});

test("a watch follows from a revision, and ends when it is told to", async () => {
  const { metadata } = await core.listNamespacedConfigMap({ namespace });
  const phases: string[] = [];
  const { promise: ended, resolve } = Promise.withResolvers<void>();
  const watch = await new Watch(config).watch(
    `/api/v1/namespaces/${namespace}/configmaps`,
    { resourceVersion: metadata?.resourceVersion, fieldSelector: "metadata.name=watched" },
    (phase) => phases.push(phase),
    () => resolve(),
  );
  await core.createNamespacedConfigMap({ namespace, body: { metadata: { name: "watched" } } });
  await eventually(() => assert.deepEqual(phases, ["ADDED"]));
  watch.abort();
  await ended;
});

test("says who asks", async () => {
  const review = await config.makeApiClient(AuthenticationV1Api).createSelfSubjectReview({ body: {} });
  assert.equal(review.status?.userInfo?.username, "system:admin");
});
