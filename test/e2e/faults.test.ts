import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import { type ConfigMap, configMaps, type Node, type Pod } from "../../src/api/generated/core-v1.ts";
import { createInformer } from "../../src/client/informer.ts";
import { clientOf } from "../../src/cluster/kubeconfig-client.ts";
import { readKubeconfigFile } from "../../src/cluster/kubeconfig-file.ts";
import { ioClock } from "../../src/machinery/clock.ts";
import { silentLogger } from "../../src/machinery/log.ts";
import { run } from "../../tools/run.ts";
import { createTestCluster, type TestCluster } from "../support/cluster.ts";
import {
  assertClusterWorks,
  objectIds,
  podsOf,
  processOf,
  runningTasks,
  settledObjectIds,
  webOnEveryNode,
} from "../support/cluster-state.ts";
import { eventually } from "../support/eventually.ts";
import { tryKubectl } from "../support/kubectl.ts";

/** Processes are killed with SIGKILL, connections cut, nodes lost: what the fault left alone keeps running. */

describe("a cluster withstands faults", () => {
  let cluster: TestCluster;
  let server: string;
  let first: string;
  let second: string;
  let ids: string[];

  before(async () => {
    cluster = await createTestCluster({ agents: 2, images: ["k3ts/test-web:1.0"] });
    [server = ""] = cluster.servers;
    [first = "", second = ""] = cluster.agents;
    await cluster.kubectl(["apply", "-f", "-"], { input: webOnEveryNode });
    await assertClusterWorks(cluster);
    ids = await settledObjectIds(cluster);
  });
  after(() => cluster?.remove());
  afterEach(async () => {
    assert.deepEqual(await objectIds(cluster), ids, "no object is lost or made anew");
  });

  const allTasks = () => Promise.all(cluster.nodes.map((node) => runningTasks(cluster, node)));
  const kill9 = (node: string, pid: number) => cluster.exec(node, ["kill", "-9", String(pid)]);
  const restartsOf = async () =>
    (await podsOf(cluster, "app=web")).map(({ metadata, status }) => [
      metadata.uid,
      status?.containerStatuses?.[0]?.containerID,
      status?.containerStatuses?.[0]?.restartCount,
    ]);
  const logSince = (node: string, sinceMs: number) =>
    run("sh", ["-c", 'docker logs --since "$2" "$1" 2>&1', "sh", node, new Date(sinceMs).toISOString()]);

  /** A pod that is made now runs on a node: its kubelet hears of it, and its runtime works. */
  async function assertRunsNewPods(node: string, name: string): Promise<void> {
    const pod = {
      apiVersion: "v1",
      kind: "Pod",
      metadata: { name },
      spec: {
        nodeName: node,
        terminationGracePeriodSeconds: 0,
        containers: [{ name: "web", image: "k3ts/test-web:1.0" }],
      },
    } satisfies Pod & { apiVersion: string; kind: string };
    await cluster.kubectl(["apply", "-f", "-"], { input: JSON.stringify(pod) });
    await cluster.kubectl(["wait", `pod/${name}`, "--for=condition=Ready", "--timeout=120s"]);
    const filter = `labels."io.kubernetes.pod.name"==${name}`;
    const listed = await cluster.exec(node, ["ctr", "-n", "k8s.io", "containers", "ls", "-q", filter]);
    const ids = listed.split("\n").map((id) => id.trim());
    assert.equal(ids.length, 2, `sandbox and container of ${name}`);
    await cluster.kubectl(["delete", "pod", name, "--timeout=120s"]);
    // The object goes at once; what ran may outlive it, and would be taken for one of those that must keep running.
    await eventually(async () => {
      const tasks = await runningTasks(cluster, node);
      for (const id of ids) assert.ok(!tasks.some((task) => task.startsWith(id)), `${name} still runs`);
    }, 120_000);
  }

  test("kill -9 of the server: it starts again with the same objects, containers run on, watches resume", async () => {
    const [tasks, restarts, program] = [await allTasks(), await restartsOf(), await processOf(cluster, server, "k3ts")];
    const keepsake = await cluster.kubectlJson<ConfigMap>(["get", "configmap", "keepsake"]);
    const client = clientOf(readKubeconfigFile(cluster.kubeconfig));
    const stop = new AbortController();
    try {
      const informer = createInformer(client, configMaps, {
        namespace: "default",
        clock: ioClock,
        logger: silentLogger,
      });
      const heard: string[] = [];
      informer.on({
        add: ({ metadata }) => heard.push(`add ${metadata.name}`),
        update: ({ metadata }) => heard.push(`update ${metadata.name}`),
        delete: ({ metadata }) => heard.push(`delete ${metadata.name}`),
      });
      void informer.start(stop.signal);
      await informer.synced(AbortSignal.timeout(60_000));
      heard.length = 0;

      await kill9(server, program);
      // Applied, since an attempt may succeed without its answer arriving.
      const afterwards = JSON.stringify({ apiVersion: "v1", kind: "ConfigMap", metadata: { name: "afterwards" } });
      await eventually(() => cluster.kubectl(["apply", "-f", "-"], { input: afterwards }), 120_000);
      await eventually(() => assert.deepEqual(heard, ["add afterwards"]), 120_000);
      await cluster.kubectl(["delete", "configmap", "afterwards"]);
      await eventually(() => assert.deepEqual(heard, ["add afterwards", "delete afterwards"]), 60_000);
    } finally {
      stop.abort(new Error("the test is over"));
      client.close();
    }
    // Others may have answered for it.
    await eventually(async () => assert.notEqual(await processOf(cluster, server, "k3ts"), program), 120_000);
    assert.deepEqual(await cluster.kubectlJson<ConfigMap>(["get", "configmap", "keepsake"]), keepsake);
    await assertClusterWorks(cluster);
    assert.deepEqual(await allTasks(), tasks);
    assert.deepEqual(await restartsOf(), restarts);
    for (const node of cluster.nodes) await assertRunsNewPods(node, "after-server");
  });

  test("kill -9 of containerd: it starts again, containers run on, new pods start", async () => {
    for (const node of [server, first]) {
      const [tasks, restarts] = [await allTasks(), await restartsOf()];
      const pid = await processOf(cluster, node, "containerd");
      await kill9(node, pid);
      await assertRunsNewPods(node, "after-containerd");
      await assertClusterWorks(cluster);
      assert.deepEqual(await allTasks(), tasks);
      assert.deepEqual(await restartsOf(), restarts);
      assert.notEqual(await processOf(cluster, node, "containerd"), pid);
    }
  });

  test("kill -9 of an agent: it starts again, and its containers run on", async () => {
    const [tasks, restarts, program] = [await allTasks(), await restartsOf(), await processOf(cluster, first, "k3ts")];
    await kill9(first, program);
    await assertRunsNewPods(first, "after-agent");
    assert.notEqual(await processOf(cluster, first, "k3ts"), program);
    await assertClusterWorks(cluster);
    assert.deepEqual(await allTasks(), tasks);
    assert.deepEqual(await restartsOf(), restarts);
  });

  test("a cut between agent and server: the tunnel connects again and says so", async () => {
    const sinceMs = Date.now();
    const rule = "tcp dport 6443 reject with tcp reset";
    const cut = `table inet cut {\n chain out {\n type filter hook output priority 0\n ${rule}\n }\n}\n`;
    await cluster.exec(first, ["nft", "-f", "-"], { input: cut });
    // Somebody uses the tunnel, and so meets the cut; without that it would be the next ping.
    const pod = (await podsOf(cluster, "app=web")).find(({ spec }) => spec?.nodeName === first)?.metadata.name ?? "";
    const used = await tryKubectl(["logs", pod, "--request-timeout=10s"], { kubeconfig: cluster.kubeconfig });
    assert.notEqual(used.code, 0);
    await eventually(
      async () => assert.match(await logSince(first, sinceMs), /Tunnel to the server was cut, connecting again/),
      120_000,
    );
    await cluster.exec(first, ["nft", "delete", "table", "inet", "cut"]);
    await eventually(
      async () => assert.match(await logSince(first, sinceMs), /Remotedialer connected to proxy/),
      120_000,
    );
    await assertClusterWorks(cluster);
    await assertRunsNewPods(first, "after-cut");
  });

  test("an agent that is gone: its pods are replaced elsewhere, and it finds its place when it comes back", async () => {
    // More than nodes, so that each has one.
    const replicas = cluster.nodes.length + 1;
    const manifest = `
apiVersion: apps/v1
kind: Deployment
metadata: { name: movable }
spec:
  replicas: ${replicas}
  selector: { matchLabels: { app: movable } }
  template:
    metadata: { labels: { app: movable } }
    spec:
      terminationGracePeriodSeconds: 0
      tolerations:
        - { key: node.kubernetes.io/unreachable, operator: Exists, effect: NoExecute, tolerationSeconds: 1 }
        - { key: node.kubernetes.io/not-ready, operator: Exists, effect: NoExecute, tolerationSeconds: 1 }
      containers: [{ name: web, image: "k3ts/test-web:1.0" }]
`;
    await cluster.kubectl(["apply", "-f", "-"], { input: manifest });
    await cluster.kubectl(["rollout", "status", "deployment/movable", "--timeout=180s"]);
    const lost = (await podsOf(cluster, "app=movable")).filter(({ spec }) => spec?.nodeName === second);
    assert.notEqual(lost.length, 0);
    await run("docker", ["kill", second]);
    await eventually(async () => {
      const pods = await podsOf(cluster, "app=movable");
      const ready = pods.filter(
        ({ metadata, spec, status }) =>
          !metadata.deletionTimestamp &&
          spec?.nodeName !== second &&
          status?.conditions?.some(({ type, status }) => type === "Ready" && status === "True"),
      );
      assert.equal(ready.length, replicas);
    }, 300_000);
    const node = await cluster.kubectlJson<Node>(["get", "node", second]);
    assert.equal(node.status?.conditions?.find(({ type }) => type === "Ready")?.status, "Unknown");
    assert.ok(node.spec?.taints?.some(({ key, effect }) => key?.endsWith("/unreachable") && effect === "NoExecute"));

    await run("docker", ["start", second]);
    await assertClusterWorks(cluster);
    await eventually(async () => {
      const names = (await podsOf(cluster, "app=movable")).map(({ metadata }) => metadata.uid);
      for (const { metadata } of lost) assert.ok(!names.includes(metadata.uid), `${metadata.name} is gone`);
      const taints = (await cluster.kubectlJson<Node>(["get", "node", second])).spec?.taints;
      assert.equal(taints, undefined);
    }, 120_000);
    // Nothing of the lost pods runs on: the web server's sandbox and container are all there is.
    await eventually(async () => assert.equal((await runningTasks(cluster, second)).length, 2), 120_000);
    await cluster.kubectl(["delete", "deployment", "movable"]);
  });

  test("nothing failed unheard meanwhile", async () => {
    for (const node of cluster.nodes) {
      const log = await run("sh", ["-c", 'docker logs "$1" 2>&1', "sh", node]);
      assert.doesNotMatch(log, /Unhandled rejection|Event handler failed/, node);
      // The two programs that were killed here, and no other.
      const restarts = log.match(/ended with code \d+; starting it again/g) ?? [];
      const killed = [server, first].includes(node) ? ["ended with code 137; starting it again"] : [];
      assert.deepEqual(restarts, killed, `${node}: ${log.match(/level=fatal.*/g)}`);
    }
  });
});
