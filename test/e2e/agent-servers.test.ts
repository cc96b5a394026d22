import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { loadBalancerName } from "../../src/cluster/cluster-names.ts";
import { run } from "../../tools/run.ts";
import { createTestCluster, type TestCluster } from "../support/cluster.ts";
import { addressOf } from "../support/cluster-state.ts";
import { eventually } from "../support/eventually.ts";

/** An agent lives with several servers: which of them it was told to join matters no more once it knows the others. */

const waitMs = 90_000;

describe("an agent of three servers", () => {
  let cluster: TestCluster;
  let servers: string[];
  let agent: string;

  before(async () => {
    cluster = await createTestCluster({ servers: 3, agents: 1, images: ["k3ts/test-web:1.0"], timeoutMs: 240_000 });
    servers = cluster.nodes.filter((name) => name.includes("-server-"));
    [agent = ""] = cluster.nodes.filter((name) => name.includes("-agent-"));
  });
  after(() => cluster?.remove());

  const logOf = (node: string) => run("sh", ["-c", 'docker logs "$1" 2>&1', "sh", node]);
  const remembered = async () => {
    const text = await cluster.exec(agent, ["cat", "/var/lib/rancher/k3s/agent/etc/k3s-agent-load-balancer.json"]);
    return (JSON.parse(text) as { ServerAddresses: string[] }).ServerAddresses.sort();
  };
  const addressesOf = async (names: string[]) =>
    (await Promise.all(names.map(async (name) => `${await addressOf(name)}:6443`))).sort();

  /**
   * The agent hears of a pod that is made now, runs it, and gives its log to the server that is asked. Again where it
   * fails: the others choose another leader of etcd meanwhile.
   */
  async function assertAgentWorks(server: string, name: string): Promise<void> {
    const kubectl = (...args: string[]) => eventually(() => cluster.exec(server, ["kubectl", ...args]), waitMs);
    const pod = {
      apiVersion: "v1",
      kind: "Pod",
      metadata: { name },
      spec: {
        nodeName: agent,
        terminationGracePeriodSeconds: 0,
        containers: [{ name: "web", image: "k3ts/test-web:1.0" }],
      },
    };
    const apply = ["kubectl", "apply", "-f", "-"];
    await eventually(() => cluster.exec(server, apply, { input: JSON.stringify(pod) }), waitMs);
    await kubectl("wait", `pod/${name}`, "--for=condition=Ready", "--timeout=30s");
    await kubectl("logs", name);
    await kubectl("delete", "pod", name, "--ignore-not-found", "--timeout=30s");
  }

  const assertAllRemembered = async () => {
    const addresses = await addressesOf(servers);
    await eventually(async () => assert.deepEqual(await remembered(), addresses), waitMs);
    return addresses;
  };

  test("knows all of them, and says so in K3s' words", async () => {
    const addresses = await assertAllRemembered();
    const log = await logOf(agent);
    assert.match(log, /Running load balancer k3s-agent-load-balancer 127\.0\.0\.1:6444 -> \[.*\] \[default: .+:6443\]/);
    assert.match(log, /Got apiserver addresses from supervisor: \[.+:6443\]/);
    assert.match(log, /Updated load balancer k3s-agent-load-balancer server addresses -> \[(\S+:6443 ){2}\S+:6443\]/);
    await eventually(async () => {
      const connected = await logOf(agent);
      for (const address of addresses) {
        assert.match(connected, new RegExp(`Remotedialer connected to proxy" url=wss://${address}/v1-k3s/connect`));
      }
    }, waitMs);
  });

  test("works on when any one of them is killed, and has a tunnel to it again when it is back", async () => {
    for (const [index, server] of servers.entries()) {
      const other = servers[(index + 1) % servers.length]!;
      await run("docker", ["kill", server]);
      await assertAgentWorks(other, `without-${index}`);
      await run("docker", ["start", server]);
      await assertAgentWorks(server, `back-${index}`);
    }
  });

  test("starts again while what it was told to join is gone", async () => {
    await assertAllRemembered();
    const sinceMs = Date.now();
    const joinedBy = loadBalancerName(cluster.name);
    await run("docker", ["stop", "-t", "1", joinedBy]);
    await run("docker", ["restart", "-t", "10", agent]);
    await assertAgentWorks(servers[0]!, "after-restart");
    const script = 'docker logs --since "$2" "$1" 2>&1';
    const log = await run("sh", ["-c", script, "sh", agent, new Date(sinceMs).toISOString()]);
    assert.match(log, new RegExp(`Running load balancer .* -> \\[(\\S+:6443 ?){3}\\] \\[default: ${joinedBy}:6443\\]`));
    await run("docker", ["start", joinedBy]);
  });
});
