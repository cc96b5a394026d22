import assert from "node:assert/strict";
import { test } from "node:test";
import type { Event, Node, Pod } from "../../src/api/generated/core-v1.ts";
import { run, tryRun } from "../../tools/run.ts";
import { createTestCluster, type TestCluster } from "../support/cluster.ts";
import { assertClusterWorks, podsOf, processOf, runningTasks, webOnEveryNode } from "../support/cluster-state.ts";
import { eventually } from "../support/eventually.ts";
import { tryKubectl } from "../support/kubectl.ts";

/** docs/reliability.md, "When the store fails": what a cluster of real nodes does without its database. */

/** Longer than nodes may be silent (50 s). */
const pauseMs = 60_000;

/** What must not change, because nothing happened to the nodes: their processes and pods, and what is said of them. */
async function stateOf(cluster: TestCluster) {
  const { items: nodes } = await cluster.kubectlJson<{ items: Node[] }>(["get", "nodes"]);
  const { items: pods } = await cluster.kubectlJson<{ items: Pod[] }>(["get", "pods", "-A"]);
  return {
    nodes: nodes.map(({ metadata, spec, status }) => {
      const ready = status?.conditions?.find(({ type }) => type === "Ready");
      return [metadata.name, ready?.status, ready?.lastTransitionTime, spec?.taints];
    }),
    pods: pods
      .map(({ metadata, status }) => [
        metadata.uid,
        metadata.deletionTimestamp,
        status?.containerStatuses?.map(({ containerID, restartCount }) => [containerID, restartCount]),
      ])
      .sort(),
    programs: await Promise.all(cluster.nodes.map((node) => processOf(cluster, node, "k3ts"))),
    ...(await tasksOf(cluster)),
  };
}

async function tasksOf(cluster: TestCluster) {
  return { tasks: await Promise.all(cluster.nodes.map((node) => runningTasks(cluster, node))) };
}

test("a database that is silent for longer than nodes may be costs no pod, no node and no restart", async (t) => {
  await using cluster = await createTestCluster({
    servers: 2,
    database: "postgres",
    agents: 1,
    images: ["k3ts/test-web:1.0"],
  });
  const { database, servers } = cluster;
  assert.ok(database);
  await cluster.kubectl(["apply", "-f", "-"], { input: webOnEveryNode });
  await assertClusterWorks(cluster);
  const web = await podsOf(cluster, "app=web");
  const before = await stateOf(cluster);

  /** Asks the Service from a pod of each node, without the API's help. */
  const assertServiceAnswers = () =>
    Promise.all(
      web.map(async ({ spec, status }) => {
        const id = status?.containerStatuses?.[0]?.containerID?.replace("containerd://", "") ?? "";
        const answer = ["crictl", "exec", id, "wget", "-qO-", "-T", "5", "http://web"];
        const name = (await cluster.exec(spec?.nodeName ?? "", answer)).trim();
        assert.ok(web.some(({ metadata }) => metadata.name === name));
      }),
    );

  await database.pause();
  const pausedMs = Date.now();
  try {
    for (const server of servers)
      await eventually(async () => {
        const { code, stderr } = await tryRun("docker", ["exec", server, "kubectl", "get", "--raw", "/readyz"]);
        assert.notEqual(code, 0);
        assert.match(stderr, /\[-\]etcd failed: .*PostgreSQL/);
      }, 60_000);
    const { code, stderr } = await tryKubectl(["create", "configmap", "during"], { kubeconfig: cluster.kubeconfig });
    assert.notEqual(code, 0);
    assert.match(stderr, /PostgreSQL at \S+:5432: /, "kubectl is told what does not answer");
    let looks = 0;
    for (; Date.now() - pausedMs < pauseMs; looks++) {
      await eventually(assertServiceAnswers, 60_000);
      assert.deepEqual(await tasksOf(cluster), { tasks: before.tasks });
    }
    t.diagnostic(`${looks} looks while the database was silent`);
  } finally {
    await database.unpause();
  }

  await eventually(() => cluster.kubectl(["apply", "--request-timeout=10s", "-f", "-"], { input: afterwards }), 60_000);
  for (const server of servers)
    await eventually(() => cluster.exec(server, ["kubectl", "get", "--raw", "/readyz"]), 60_000);
  // Controllers and the scheduler go on, and have had their look at all nodes then.
  await cluster.kubectl(["rollout", "status", "deployment/afterwards", "--timeout=180s"]);
  await cluster.kubectl(["delete", "deployment", "afterwards"]);
  await eventually(async () => assert.deepEqual(await podsOf(cluster, "app=afterwards"), []), 120_000);
  await assertClusterWorks(cluster);
  assert.deepEqual(await stateOf(cluster), before);
  const { items } = await cluster.kubectlJson<{ items: Event[] }>(["get", "events", "-A"]);
  const blamed = items.filter(({ reason = "" }) => /NodeNotReady|Evict|NodeNotSchedulable/.test(reason));
  assert.deepEqual(blamed, []);
  for (const node of cluster.nodes) {
    const log = await run("sh", ["-c", 'docker logs "$1" 2>&1', "sh", node]);
    assert.doesNotMatch(log, /Unhandled rejection|Event handler failed|starting it again/, node);
  }
});

const afterwards = `
apiVersion: apps/v1
kind: Deployment
metadata: { name: afterwards }
spec:
  replicas: 2
  selector: { matchLabels: { app: afterwards } }
  template:
    metadata: { labels: { app: afterwards } }
    spec:
      terminationGracePeriodSeconds: 0
      containers: [{ name: web, image: "k3ts/test-web:1.0" }]
`;
