import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, type TestContext, test } from "node:test";
import type Docker from "dockerode";
import type { EndpointSlice } from "../../src/api/generated/discovery-v1.ts";
import { addNodes } from "../../src/cluster/add-nodes.ts";
import { loadBalancerName } from "../../src/cluster/cluster-names.ts";
import { deleteNode } from "../../src/cluster/delete-node.ts";
import { connectDocker } from "../../src/cluster/docker.ts";
import { type ClusterNode, getCluster, publisherOf, serversOf } from "../../src/cluster/inventory.ts";
import { startCluster, stopCluster } from "../../src/cluster/lifecycle.ts";
import { run } from "../../tools/run.ts";
import { createTestCluster, type TestCluster } from "../support/cluster.ts";
import { addressOf, assertClusterWorks, podsOf, webOnEveryNode } from "../support/cluster-state.ts";
import { eventually } from "../support/eventually.ts";
import { kubectl } from "../support/kubectl.ts";
import { temporaryDirectory } from "../support/temporary-directory.ts";

/** Clusters of several servers behind one address, on real containers: any server may be lost, added or taken away. */

describe("three servers with embedded etcd, and two agents", () => {
  let docker: Docker;
  let cluster: TestCluster;

  before(async () => {
    docker = await connectDocker();
    cluster = await createTestCluster({ servers: 3, agents: 2, images: ["k3ts/test-web:1.0"], timeoutMs: 240_000 });
    await cluster.kubectl(["apply", "-f", "-"], { input: webOnEveryNode });
    await assertClusterWorks(cluster);
  });
  after(() => cluster?.remove());

  const servers = () => cluster.nodes.filter((name) => name.includes("-server-"));
  const found = async (name: string): Promise<ClusterNode> => {
    const node = (await getCluster(docker, cluster.name)).nodes.find((each) => each.name === name);
    assert.ok(node, `there is a container ${name}`);
    return node;
  };
  const refresh = async () => {
    cluster.nodes = (await getCluster(docker, cluster.name)).nodes.map(({ name }) => name);
  };

  /** The addresses of the Service `kubernetes` are those of the servers that there are. */
  const assertEndpoints = () =>
    eventually(async () => {
      const slice = await cluster.kubectlJson<EndpointSlice>(["get", "endpointslice", "kubernetes"]);
      const listed = (slice.endpoints ?? []).flatMap(({ addresses }) => addresses).sort();
      assert.deepEqual(listed, (await Promise.all(servers().map(addressOf))).sort());
    }, 60_000);

  /** The members of etcd, by the Nodes that say so. */
  const assertMembers = () =>
    eventually(async () => {
      const names = await cluster.kubectl(["get", "nodes", "-l", "node-role.kubernetes.io/etcd", "-o", "name"]);
      assert.deepEqual(
        names.trim().split("\n").sort(),
        servers().map((name) => `node/${name}`),
      );
    }, 60_000);

  /** Each look is a short one: what pods there are is only known for sure when their nodes have reported again. */
  const assertWorks = () => eventually(() => assertClusterWorks(cluster, 10_000), 180_000);

  /** Writes through the one address, and reads what was written. Gives how often it had to be tried. */
  async function write(name: string): Promise<number> {
    let attempts = 0;
    await eventually(async () => {
      attempts++;
      await cluster.kubectl(["apply", "--request-timeout=10s", "-f", "-"], {
        input: JSON.stringify({ apiVersion: "v1", kind: "ConfigMap", metadata: { name }, data: { name } }),
      });
    }, 60_000);
    const read = ["get", "configmap", name, "--request-timeout=10s", "-o", "jsonpath={.data.name}"];
    assert.equal(await eventually(() => cluster.kubectl(read), 60_000), name);
    return attempts;
  }

  test("servers are members of etcd, and all of them stand behind one address", async () => {
    assert.equal(servers().length, 3);
    await assertMembers();
    await assertEndpoints();
    assert.equal(publisherOf(await getCluster(docker, cluster.name)).name, loadBalancerName(cluster.name));
  });

  test("each server in turn is killed and started, and the one address goes on answering", async (t) => {
    for (const server of servers()) {
      await run("docker", ["kill", server]);
      const attempts = await write(`without-${server}`);
      t.diagnostic(`without ${server}: ${attempts} attempts`);
      for (let round = 0; round < 3; round++) await write(`without-${server}-${round}`);
      await run("docker", ["start", server]);
      await assertEndpoints();
      await assertWorks();
    }
  });

  test("logs and exec reach every node through whichever server is asked", async () => {
    const pods = await podsOf(cluster, "app=web");
    assert.equal(pods.length, cluster.nodes.length);
    for (const server of servers()) {
      for (const { metadata } of pods) {
        const name = metadata.name ?? "";
        await eventually(async () => {
          assert.match(await cluster.exec(server, ["kubectl", "logs", name]), new RegExp(`serving ${name} on port 80`));
          assert.equal((await cluster.exec(server, ["kubectl", "exec", name, "--", "hostname"])).trim(), name);
        }, 60_000);
      }
    }
  });

  test("a server is not given up while etcd needs it", async () => {
    const [first = "", second = ""] = servers();
    await run("docker", ["stop", "-t", "20", second]);
    try {
      await assert.rejects(deleteNode(docker, await found(first)), /1 of 2 servers would run, and 2 are needed/);
    } finally {
      await run("docker", ["start", second]);
    }
    await assertEndpoints();
    await assertWorks();
  });

  test("a server is added, and the one that began the cluster is deleted", async () => {
    const [began = ""] = servers();
    const options = { cluster: cluster.name, role: "server", names: [""], timeoutMs: 240_000 } as const;
    await addNodes(docker, options);
    await refresh();
    assert.equal(servers().length, 4);
    const [added] = servers().slice(-1);
    await importTestImage(added!);
    await assertMembers();
    await assertEndpoints();
    await deleteNode(docker, await found(began));
    await refresh();
    assert.equal(servers().length, 3);
    assert.ok(!servers().includes(began));
    await assertMembers();
    await assertEndpoints();
    await write("after-the-first");
    await assertWorks();
  });

  test("all of them stop, and come back together", async () => {
    await stopCluster(docker, await getCluster(docker, cluster.name));
    await startCluster(docker, await getCluster(docker, cluster.name), { wait: true, timeoutMs: 240_000 });
    await assertWorks();
    assert.equal(serversOf(await getCluster(docker, cluster.name)).length, 3);
    await assertMembers();
    await assertEndpoints();
    await write("after-all");
  });

  async function importTestImage(node: string): Promise<void> {
    await run("sh", ["-c", 'docker save k3ts/test-web:1.0 | docker exec -i "$1" ctr images import -', "sh", node]);
  }
});

for (const [name, environment, nodes] of [
  [
    "postgres",
    { K3TS_POSTGRES_IMAGE: "k3ts/test-postgres:1.0", POSTGRES_PASSWORD: "test" },
    ["agent-0", "agent-1", "server-0", "server-1"],
  ],
  ["etcd", {}, ["agent-0", "agent-1", "server-0", "server-1", "server-2"]],
] as const) {
  test(`compose/${name}.yaml is such a cluster, and does without its first server`, async (t) => {
    const compose = composeProject(t, name, environment);
    await compose("up", "-d", "--pull", "never");
    const server = "server-1";
    await eventually(async () => {
      const output = await compose("exec", "-T", server, "kubectl", "get", "nodes", "--no-headers");
      const lines = output.split("\n").sort();
      assert.deepEqual(
        lines.map((line) => line.split(" ")[0]),
        nodes,
      );
      for (const line of lines) assert.match(line, / Ready /);
    }, 240_000);
    const address = await compose("port", "loadbalancer", "6443");
    const text = await compose("exec", "-T", server, "cat", "/etc/rancher/k3s/k3s.yaml");
    const kubeconfig = join(temporaryDirectory(t), "kubeconfig.yaml");
    writeFileSync(kubeconfig, text.replace("127.0.0.1:6443", address), { mode: 0o600 });
    await kubectl(["create", "configmap", "kept"], { kubeconfig });
    await compose("kill", "server-0");
    await eventually(() => kubectl(["get", "configmap", "kept", "--request-timeout=10s"], { kubeconfig }), 60_000);
    await eventually(
      () =>
        kubectl(["create", "configmap", `new-${randomBytes(2).toString("hex")}`, "--request-timeout=10s"], {
          kubeconfig,
        }),
      60_000,
    );
  });
}

function composeProject(t: TestContext, name: string, environment: Record<string, string>) {
  const project = `test-${randomBytes(4).toString("hex")}`;
  const compose = (...args: string[]) =>
    run("docker", ["compose", "-p", project, "-f", `compose/${name}.yaml`, ...args], {
      env: { K3TS_API_PORT: "0", ...environment },
    });
  t.after(() => compose("down", "-v", "-t", "1"));
  return compose;
}
