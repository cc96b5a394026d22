import assert from "node:assert/strict";
import { describe, type TestContext, test } from "node:test";
import { type ConfigMap, type Node, type Pod, pods } from "../../src/api/generated/core-v1.ts";
import { createInformer } from "../../src/client/informer.ts";
import { clientOf } from "../../src/cluster/kubeconfig-client.ts";
import { readKubeconfigFile } from "../../src/cluster/kubeconfig-file.ts";
import { serverImage } from "../../src/commands/images.ts";
import { ioClock } from "../../src/machinery/clock.ts";
import { silentLogger } from "../../src/machinery/log.ts";
import { run, tryRun } from "../../tools/run.ts";
import { createTestCluster, type TestCluster } from "../support/cluster.ts";
import { assertClusterWorks, objectIds, podsOf, settledObjectIds, webOnEveryNode } from "../support/cluster-state.ts";
import { eventually } from "../support/eventually.ts";

/** Clusters go back to a snapshot as the README and K3s' documentation ("etcd-snapshot") say, while their agents run on. */

const patienceMs = 180_000;

/** A Deployment whose pods are on one node, and which end at once. */
const deploymentOn = (node: string, name: string, replicas: number) => `
apiVersion: apps/v1
kind: Deployment
metadata: { name: ${name} }
spec:
  replicas: ${replicas}
  selector: { matchLabels: { app: ${name} } }
  template:
    metadata: { labels: { app: ${name} } }
    spec:
      nodeName: ${node}
      terminationGracePeriodSeconds: 0
      containers: [{ name: web, image: "k3ts/test-web:1.0" }]
`;

/** A pod that nobody makes again, which is Ready when it is told to be. */
const podOn = (node: string, name: string) => `
apiVersion: v1
kind: Pod
metadata: { name: ${name}, labels: { app: ${name} } }
spec:
  nodeName: ${node}
  terminationGracePeriodSeconds: 0
  containers:
    - name: web
      image: k3ts/test-web:1.0
      readinessProbe: { exec: { command: [test, -f, /tmp/ready] }, periodSeconds: 1 }
`;

interface Sandbox {
  readonly state: string;
  readonly metadata: { readonly name: string; readonly uid: string };
}

/** "name uid" of the pods that run on a node, by its runtime. */
async function podsOn(cluster: TestCluster, node: string): Promise<string[]> {
  const { items } = JSON.parse(await cluster.exec(node, ["crictl", "pods", "-o", "json"])) as { items: Sandbox[] };
  const ready = items.filter(({ state }) => state === "SANDBOX_READY");
  return ready.map(({ metadata }) => `${metadata.name} ${metadata.uid}`).sort();
}

const idOf = ({ metadata }: Pod) => `${metadata.name} ${metadata.uid}`;
const isReady = ({ status }: Pod) => status?.conditions?.find(({ type }) => type === "Ready")?.status === "True";

async function idsOf(cluster: TestCluster, app: string): Promise<string[]> {
  return (await podsOf(cluster, `app=${app}`)).map(idOf).sort();
}

/** All pods of an application are Ready. */
const ready = (cluster: TestCluster, app: string, count: number) =>
  eventually(async () => {
    const found = await podsOf(cluster, `app=${app}`);
    assert.deepEqual(
      found.map((pod) => [pod.metadata.name, isReady(pod)]),
      found.map(({ metadata }) => [metadata.name, true]),
    );
    assert.equal(found.length, count);
  }, patienceMs);

/** What stands for this test's purposes; a reset server gets its node's password anew. */
async function idsToKeep(ids: Promise<readonly string[]>): Promise<readonly string[]> {
  return (await ids).filter((id) => !id.includes(".node-password.k3s"));
}

async function revisionOf(cluster: TestCluster): Promise<number> {
  const list = JSON.parse(await cluster.kubectl(["get", "--raw", "/api/v1/nodes"])) as {
    metadata: { resourceVersion: string };
  };
  return Number(list.metadata.resourceVersion);
}

/** A watch of this test's own, which outlives the restore. */
async function followPods(t: TestContext, cluster: TestCluster): Promise<() => string[]> {
  const client = clientOf(readKubeconfigFile(cluster.kubeconfig));
  const stop = new AbortController();
  t.after(() => {
    stop.abort(new Error("the test is over"));
    client.close();
  });
  const informer = createInformer(client, pods, { namespace: "default", clock: ioClock, logger: silentLogger });
  void informer.start(stop.signal);
  await informer.synced(AbortSignal.timeout(60_000));
  return () =>
    informer
      .list()
      .map((pod) => idOf(pod as Pod))
      .sort();
}

/** Saves a snapshot and gives its name. */
async function save(cluster: TestCluster, server: string): Promise<string> {
  const { code, stdout, stderr } = await tryRun("docker", ["exec", server, "k3s", "etcd-snapshot", "save"]);
  assert.equal(code, 0, stderr);
  const name = /Snapshot (on-demand-\S+-\d+) saved\./.exec(stdout + stderr)?.[1] ?? "";
  const listed = await cluster.exec(server, ["k3s", "etcd-snapshot", "ls"]);
  const location = `file:///var/lib/rancher/k3s/server/db/snapshots/${name}`;
  assert.match(listed, new RegExp(`^Name +Location +Size +Created\n(.*\n)*${name} +${location} +\\d+ +2`));
  return name;
}

/** What the README tells to type for a server that is stopped. */
async function tryRestore(server: string, snapshot: string): Promise<{ code: number; log: string }> {
  const { code, stdout, stderr } = await tryRun("docker", [
    ...["run", "--rm", "--name", `${server}-restore`, "--volumes-from", server, serverImage],
    ...["server", "--cluster-reset", `--cluster-reset-restore-path=${snapshot}`],
  ]);
  return { code, log: stdout + stderr };
}

async function restore(server: string, snapshot: string): Promise<void> {
  const { code, log } = await tryRestore(server, snapshot);
  assert.equal(code, 0, log);
  assert.match(log, /membership has been reset, restart without --cluster-reset flag now/);
}

const stop = (...nodes: string[]) => run("docker", ["stop", "-t", "20", ...nodes]);
const start = (...nodes: string[]) => run("docker", ["start", ...nodes]);

/**
 * Changes a cluster after a snapshot in every way that comes to mind, has it set back, and looks whether all of it is as it
 * was, runs, and goes on.
 * @param setBack takes the cluster back to the snapshot and starts it again
 */
async function goesBack(
  t: TestContext,
  cluster: TestCluster,
  setBack: (snapshot: string) => Promise<void>,
): Promise<void> {
  const [server = ""] = cluster.nodes;
  const agent = cluster.nodes.at(-1) ?? "";
  const apply = (input: string) => cluster.kubectl(["apply", "-f", "-"], { input });
  const makeReady = (name: string) => cluster.kubectl(["exec", name, "--", "touch", "/tmp/ready"]);
  await apply(
    [webOnEveryNode, deploymentOn(agent, "kept", 2), podOn(agent, "again"), podOn(agent, "later")].join("---"),
  );
  await ready(cluster, "kept", 2);
  await eventually(() => makeReady("again"));
  await ready(cluster, "again", 1);
  await eventually(() => cluster.kubectl(["exec", "later", "--", "true"]));
  await assertClusterWorks(cluster);
  const ids = await idsToKeep(settledObjectIds(cluster));
  const apps = ["kept", "again", "later"];
  const before = await Promise.all(apps.map((app) => idsOf(cluster, app)));
  const snapshot = await save(cluster, server);

  // A Deployment goes, another comes; a pod is made again under its name; one becomes Ready; data changes.
  const listed = await followPods(t, cluster);
  await cluster.kubectl(["delete", "deployment/kept", "pod/again", "--timeout=120s"]);
  await apply([deploymentOn(agent, "unknown", 2), podOn(agent, "again")].join("---"));
  await makeReady("later");
  await cluster.kubectl(["create", "configmap", "unknown"]);
  await cluster.kubectl(["patch", "configmap", "keepsake", "--type=merge", "-p", '{"data":{"a":"2"}}']);
  await ready(cluster, "unknown", 2);
  await ready(cluster, "later", 1);
  await eventually(async () => assert.deepEqual(await idsOf(cluster, "kept"), []), patienceMs);
  assert.notDeepEqual(await idsOf(cluster, "again"), before[1]);
  const highest = await revisionOf(cluster);

  const tooEarly = await tryRestore(server, snapshot);
  assert.equal(tooEarly.code, 78, tooEarly.log);
  assert.match(tooEarly.log, /stop the server (first|before)/);
  await setBack(snapshot);

  await eventually(async () => {
    assert.ok((await revisionOf(cluster)) > highest, "revisions go forward");
    assert.equal((await cluster.kubectlJson<ConfigMap>(["get", "configmap", "keepsake"])).data?.["a"], "1");
    const gone = await cluster.kubectl(["get", "deployment/unknown", "configmap/unknown", "--ignore-not-found"]);
    assert.equal(gone, "");
  }, patienceMs);
  await assertClusterWorks(cluster, patienceMs);
  assert.deepEqual(await idsToKeep(objectIds(cluster)), ids, "objects are those of the snapshot");

  // Pods are the very same, run, and are said to; others do not.
  await eventually(async () => {
    for (const node of cluster.nodes) {
      const all = await cluster.kubectlJson<{ items: Pod[] }>(["get", "pods", "-A"]);
      const known = all.items.filter(({ spec }) => spec?.nodeName === node).map(idOf);
      assert.deepEqual(await podsOn(cluster, node), known.sort(), `what runs on ${node}`);
    }
  }, patienceMs);
  assert.deepEqual(await Promise.all(apps.map((app) => idsOf(cluster, app))), before);
  await ready(cluster, "later", 1);
  await eventually(async () => {
    // Again each time: the first may have met the pod that goes.
    await makeReady("again");
    assert.deepEqual((await podsOf(cluster, "app=again")).map(isReady), [true]);
  }, patienceMs);
  await ready(cluster, "kept", 2);
  const [asking] = await podsOf(cluster, "app=web");
  await eventually(async () => {
    for (const { metadata, status } of await podsOf(cluster, "app=kept")) {
      const answer = ["exec", asking?.metadata.name ?? "", "--", "wget", "-qO-", "-T", "5", `http://${status?.podIP}`];
      assert.equal((await cluster.kubectl(answer)).trim(), metadata.name);
    }
  }, patienceMs);

  // Controllers, the scheduler and watches go on.
  await cluster.kubectl(["scale", "deployment/kept", "--replicas=3"]);
  await ready(cluster, "kept", 3);
  await cluster.kubectl(["create", "deployment", "new", "--image=k3ts/test-web:1.0"]);
  await ready(cluster, "new", 1);
  const expected = async () => (await cluster.kubectlJson<{ items: Pod[] }>(["get", "pods"])).items.map(idOf).sort();
  await eventually(async () => assert.deepEqual(listed(), await expected()), patienceMs);
  for (const node of cluster.nodes) {
    const log = await run("sh", ["-c", 'docker logs "$1" 2>&1', "sh", node]);
    assert.doesNotMatch(log, /Unhandled rejection|Event handler failed/, node);
  }
}

describe("a cluster goes back to a snapshot", () => {
  test("with SQLite: the agent, which runs on, does as the snapshot says", async (t) => {
    await using cluster = await createTestCluster({ servers: 1, agents: 1, images: ["k3ts/test-web:1.0"] });
    const [server = ""] = cluster.nodes;
    await goesBack(t, cluster, async (snapshot) => {
      await stop(server);
      await restore(server, snapshot);
      await start(server);
    });
  });

  test("with embedded etcd: the other servers join the one that was restored", async (t) => {
    await using cluster = await createTestCluster({ servers: 3, agents: 1, images: ["k3ts/test-web:1.0"] });
    const [first = "", ...others] = cluster.nodes.slice(0, 3);
    const members = async () => {
      const { items } = await cluster.kubectlJson<{ items: Node[] }>(["get", "nodes"]);
      return items.flatMap(({ metadata }) => metadata.annotations?.["etcd.k3s.cattle.io/node-name"] ?? []).sort();
    };
    await goesBack(t, cluster, async (snapshot) => {
      const before = await members();
      await stop(first, ...others);
      await restore(first, snapshot);
      await start(first);
      for (const server of others) {
        const removed = ["--entrypoint", "rm", serverImage, "-rf", "/var/lib/rancher/k3s/server/db"];
        await run("docker", ["run", "--rm", "--volumes-from", server, ...removed]);
      }
      await start(...others);
      await eventually(async () => {
        const now = await members();
        assert.deepEqual(
          now.filter((name) => before.includes(name)),
          [],
          "all are new members",
        );
        assert.deepEqual(
          now.map((name) => name.replace(/-[0-9a-f]{8}$/, "")),
          [first, ...others].sort(),
        );
      }, patienceMs);
    });
  });
});
