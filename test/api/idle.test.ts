/** A cluster that has what it wants writes nothing: no controller may answer its own writes for ever. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { pods } from "../../src/api/generated/core-v1.ts";
import { createHttpsClient, type HttpsClient } from "../../src/client/https-client.ts";
import { readKubeconfig } from "../../src/client/kubeconfig.ts";
import { ioClock } from "../../src/machinery/clock.ts";
import { silentLogger } from "../../src/machinery/log.ts";
import { eventually } from "../support/eventually.ts";
import { startHollowNodes } from "../support/hollow-nodes.ts";
import { type ServerProcess, startServerProcess } from "../support/server-process.ts";

/** Longer than any delay with which a controller comes back to its own work. */
const quietMs = 5_000;

let server: ServerProcess;
let client: HttpsClient;
const over = new AbortController();

before(async () => {
  server = await startServerProcess({ args: ["--disable-scheduler"] });
  client = createHttpsClient({
    ...(await readKubeconfig(server.kubeconfig)),
    userAgent: "idle-test",
    logger: silentLogger,
  });
  await startHollowNodes(client, { names: ["one", "two"], signal: over.signal });
});
after(async () => {
  over.abort();
  client?.close();
  await server?.stop();
});

const template = (app: string, more: object = {}) => ({
  metadata: { labels: { app } },
  spec: {
    containers: [
      {
        name: "main",
        image: "example.com/main:1",
        resources: { requests: { cpu: "0.1", memory: "64Mi" } },
        env: [{ name: "IP", valueFrom: { fieldRef: { fieldPath: "status.podIP" } } }],
      },
    ],
    volumes: [{ name: "scratch", emptyDir: {} }],
    ...more,
  },
});
const selector = (app: string) => ({ matchLabels: { app } });
const object = (apiVersion: string, kind: string, name: string, spec: object) => ({
  apiVersion,
  kind,
  metadata: { name },
  spec,
});

const workloads = [
  object("apps/v1", "Deployment", "web", { replicas: 2, selector: selector("web"), template: template("web") }),
  object("apps/v1", "ReplicaSet", "set", { replicas: 1, selector: selector("set"), template: template("set") }),
  object("apps/v1", "DaemonSet", "every", { selector: selector("every"), template: template("every") }),
  object("apps/v1", "StatefulSet", "data", {
    replicas: 2,
    serviceName: "data",
    selector: selector("data"),
    template: template("data"),
  }),
  object("v1", "ReplicationController", "old", { replicas: 1, selector: { app: "old" }, template: template("old") }),
  object("batch/v1", "Job", "once", {
    parallelism: 2,
    completions: 4,
    template: template("once", { restartPolicy: "Never" }),
  }),
  object("batch/v1", "CronJob", "nightly", {
    schedule: "0 3 1 1 *",
    jobTemplate: { spec: { template: template("nightly", { restartPolicy: "Never" }) } },
  }),
  object("policy/v1", "PodDisruptionBudget", "web", { maxUnavailable: 1, selector: selector("web") }),
  object("v1", "Service", "web", { selector: { app: "web" }, ports: [{ port: 80 }] }),
  object("v1", "Service", "data", { clusterIP: "None", selector: { app: "data" }, ports: [{ port: 80 }] }),
  object("v1", "ResourceQuota", "quota", { hard: { pods: "50", "requests.cpu": "20" } }),
  object("v1", "PersistentVolumeClaim", "waits", {
    accessModes: ["ReadWriteOnce"],
    storageClassName: "none",
    resources: { requests: { storage: "1Gi" } },
  }),
];

test("with every kind of workload running, nothing is written", async () => {
  await server.kubectl(["apply", "-f", "-"], {
    input: JSON.stringify({ apiVersion: "v1", kind: "List", items: workloads }),
  });
  const running = 2 + 1 + 2 + 2 + 1 + 2;
  await eventually(async () => {
    const { items } = await client.list(pods, { namespace: "default" });
    assert.equal(items.filter(({ status }) => status?.phase === "Running").length, running);
  }, 30_000);
  for (const workload of ["deployment/web", "statefulset/data", "daemonset/every"]) {
    await server.kubectl(["rollout", "status", workload, "--timeout=20s"]);
  }
  // Every list tells the revision of the whole store.
  const revision = async () => (await client.list(pods, { limit: 1 })).metadata.resourceVersion!;
  const settled = await eventually(async () => {
    const before = await revision();
    await ioClock.sleep(1000);
    assert.equal(await revision(), before, "objects are still being written");
    return before;
  }, 20_000);
  await ioClock.sleep(quietMs);
  const now = await revision();
  assert.equal(now, settled, `${Number(now) - Number(settled)} writes in ${quietMs} ms of quiet`);
});
