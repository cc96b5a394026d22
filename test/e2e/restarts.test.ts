import assert from "node:assert/strict";
import { join } from "node:path";
import { after, afterEach, before, describe, test } from "node:test";
import { run } from "../../tools/run.ts";
import { createTestCluster, type TestCluster } from "../support/cluster.ts";
import {
  addressOf,
  assertClusterWorks,
  objectIds,
  runningTasks,
  settledObjectIds,
  webOnEveryNode,
} from "../support/cluster-state.ts";
import { eventually } from "../support/eventually.ts";

/** Containers of nodes stop and start, and come back with other addresses: the cluster follows by itself. */

const main = join(import.meta.dirname, "../../src/main.ts");

describe("a cluster comes back after its containers", () => {
  let cluster: TestCluster;
  let server: string;
  let agents: string[];
  let ids: string[];

  before(async () => {
    cluster = await createTestCluster({ agents: 2, images: ["k3ts/test-web:1.0"] });
    [server = ""] = cluster.servers;
    agents = cluster.agents;
    await cluster.kubectl(["apply", "-f", "-"], { input: webOnEveryNode });
    await assertClusterWorks(cluster);
    ids = await settledObjectIds(cluster);
  });
  after(() => cluster?.remove());
  afterEach(async () => {
    assert.deepEqual(await objectIds(cluster), ids, "no object is lost or made anew");
  });

  const addresses = () => Promise.all(cluster.nodes.map(addressOf));
  const stop = (...nodes: string[]) => run("docker", ["stop", "-t", "20", ...nodes]);
  /** The engine gives the lowest free address first, so the order decides who gets which. */
  const start = async (...nodes: string[]) => {
    for (const node of nodes) await run("docker", ["start", node]);
  };
  /** While containers are there that took the lowest free addresses, as those that nodes just had. */
  const withPlaceholders = async (count: number, work: () => Promise<void>) => {
    const names = Array.from({ length: count }, (_, index) => `${cluster.name}-placeholder-${index}`);
    try {
      for (const name of names) {
        await run("docker", ["run", "-d", "--name", name, "--network", cluster.network, "k3ts/test-web:1.0"]);
      }
      await work();
    } finally {
      await run("docker", ["rm", "-f", ...names]);
    }
  };
  const logSince = (node: string, sinceMs: number) =>
    run("sh", ["-c", 'docker logs --since "$2" "$1" 2>&1', "sh", node, new Date(sinceMs).toISOString()]);

  test("all stopped, and started in another order, so that addresses are swapped", async () => {
    const old = await addresses();
    await stop(...cluster.nodes);
    const byAddress = cluster.nodes.map((node, index) => ({ node, last: Number(old[index]?.split(".").at(-1)) }));
    const order = byAddress.sort((a, b) => b.last - a.last).map(({ node }) => node);
    await start(...order);
    assert.notDeepEqual(await addresses(), old);
    await assertClusterWorks(cluster);
  });

  test("agents first: they wait for a server", async () => {
    await stop(...cluster.nodes);
    await start(...agents);
    await start(...cluster.servers);
    await assertClusterWorks(cluster);
  });

  test("one server, with another address if it has none of its own, while agents and their containers keep running", async () => {
    const tasks = await Promise.all(agents.map((node) => runningTasks(cluster, node)));
    const old = await addressOf(server);
    const sinceMs = Date.now();
    await stop(server);
    await withPlaceholders(1, async () => {
      await start(server);
      // Members of etcd are created with an address, which they keep.
      assert.equal((await addressOf(server)) === old, cluster.datastore === "etcd");
      await assertClusterWorks(cluster);
    });
    assert.deepEqual(await Promise.all(agents.map((node) => runningTasks(cluster, node))), tasks);
    for (const node of agents) {
      await eventually(
        async () =>
          assert.match(
            await logSince(node, sinceMs),
            /Tunnel to the server was cut.*\n(.*\n)*.*Remotedialer connected to proxy/,
          ),
        60_000,
      );
    }
  });

  test("two agents that swap their addresses while servers run", async () => {
    const old = await Promise.all(agents.map(addressOf));
    await stop(...agents);
    const inOrder = Number(old[0]?.split(".").at(-1)) < Number(old[1]?.split(".").at(-1));
    await start(...(inOrder ? [...agents].reverse() : agents));
    assert.deepEqual(await Promise.all(agents.map(addressOf)), [...old].reverse());
    await assertClusterWorks(cluster);
  });

  test("containers that get other addresses while they run", async () => {
    const moving = [agents[0]!, server];
    const old = await Promise.all(moving.map(addressOf));
    const tasks = await Promise.all(cluster.nodes.map((node) => runningTasks(cluster, node)));
    for (const node of moving) await run("docker", ["network", "disconnect", cluster.network, node]);
    await withPlaceholders(3, async () => {
      for (const node of moving) await run("docker", ["network", "connect", cluster.network, node]);
      const now = await Promise.all(moving.map(addressOf));
      assert.ok(now[0] !== old[0] && now[1] !== old[1], `${old} became ${now}`);
      await assertClusterWorks(cluster);
    });
    assert.deepEqual(await Promise.all(cluster.nodes.map((node) => runningTasks(cluster, node))), tasks);
  });

  test("`k3ts cluster stop` and `start`", async () => {
    await run(process.execPath, [main, "cluster", "stop", cluster.name]);
    const running = ["ps", "-q", "--filter", `label=k3ts.cluster=${cluster.name}`];
    assert.equal(await run("docker", running), "");
    await run(process.execPath, [main, "cluster", "start", cluster.name]);
    // Started means that nodes are Ready; their pods follow.
    const nodes = await cluster.kubectl(["get", "nodes", "--no-headers"]);
    assert.equal(nodes.match(/ Ready /g)?.length, cluster.nodes.length);
    await assertClusterWorks(cluster);
  });

  test("nothing failed unheard meanwhile", async () => {
    for (const node of cluster.nodes) {
      const log = await run("sh", ["-c", 'docker logs "$1" 2>&1', "sh", node]);
      assert.doesNotMatch(log, /Unhandled rejection|Event handler failed/, node);
    }
  });
});
