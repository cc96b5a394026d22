/** A cluster that has what it wants writes nothing: no controller may answer its own writes for ever. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { leases } from "../../src/api/generated/coordination-v1.ts";
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

const nodeNames = ["one", "two"];
const inLeases = { namespace: "kube-node-lease" };
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
  await startHollowNodes(client, { names: nodeNames, signal: over.signal });
  for (const name of nodeNames) {
    await client.create(
      leases,
      { metadata: { name }, spec: { holderIdentity: name, leaseDurationSeconds: 40 } },
      inLeases,
    );
  }
});
after(async () => {
  over.abort();
  client?.close();
  await server?.stop();
});

/** Says that the nodes are alive, when the test chooses: of a node that is silent too long controllers write. */
async function renewLeases(): Promise<void> {
  const renewTime = new Date().toISOString().replace("Z", "000Z");
  for (const name of nodeNames) {
    await client.patch(leases, name, { type: "merge", body: { spec: { renewTime } } }, inLeases);
  }
}

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
    await renewLeases();
    const { items } = await client.list(pods, { namespace: "default" });
    assert.equal(items.filter(({ status }) => status?.phase === "Running").length, running);
  });
  for (const workload of ["deployment/web", "statefulset/data", "daemonset/every"]) {
    await renewLeases();
    await server.kubectl(["rollout", "status", workload, "--timeout=30s"]);
  }
  // Every list tells the revision of the whole store.
  const revision = async () => (await client.list(pods, { limit: 1 })).metadata.resourceVersion!;
  const settled = await eventually(async () => {
    await renewLeases();
    const before = await revision();
    await ioClock.sleep(1000);
    assert.equal(await revision(), before, "objects are still being written");
    return before;
  });
  await ioClock.sleep(quietMs);
  const now = await revision();
  assert.equal(now, settled, `${Number(now) - Number(settled)} writes in ${quietMs} ms of quiet`);
});
