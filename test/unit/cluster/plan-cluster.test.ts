import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { loadBalancerOptions } from "../../../src/cluster/load-balancer-spec.ts";
import { containerOptions, parsePort } from "../../../src/cluster/node-spec.ts";
import { type ClusterSettings, planCluster } from "../../../src/cluster/plan-cluster.ts";

function plan(settings: Partial<ClusterSettings> = {}) {
  const { nodes, loadBalancer } = planCluster(
    {
      name: "demo",
      servers: 1,
      agents: 0,
      serverImage: "k3ts/server",
      agentImage: "k3ts/agent",
      loadBalancerImage: "k3ts/loadbalancer",
      ...settings,
    },
    { token: "secret", api: { host: "127.0.0.1", port: 40000 }, publishedHost: "127.0.0.1" },
  );
  return {
    nodes: nodes.map(containerOptions),
    loadBalancer: loadBalancer && loadBalancerOptions(loadBalancer),
  };
}

const api = { "6443/tcp": [{ HostIp: "127.0.0.1", HostPort: "40000" }] };
const joins = (container: { Env?: string[] | undefined }) =>
  container.Env?.find((entry) => entry.startsWith("K3S_URL="))?.slice("K3S_URL=".length);
const bindings = (container: { HostConfig?: { PortBindings?: unknown } | undefined } | undefined) =>
  container?.HostConfig?.PortBindings;

describe("one server", () => {
  it("publishes the API itself, on SQLite, and agents join it", () => {
    const { nodes, loadBalancer } = plan({ agents: 1 });
    const [server, agent] = nodes;
    assert.equal(loadBalancer, undefined);
    assert.deepEqual(bindings(server), api);
    assert.deepEqual(bindings(agent), {});
    assert.equal(joins(server!), undefined);
    assert.equal(joins(agent!), "https://k3ts-demo-server-0:6443");
    assert.equal(server!.Labels?.["k3ts.datastore"], "sqlite");
    assert.deepEqual(server!.Cmd, ["server", "--tls-san=0.0.0.0", "--tls-san=127.0.0.1"]);
  });

  it("has a load balancer where one is asked for, or where others may come", () => {
    for (const settings of [{ loadBalancer: true }, { clusterInit: true }, { ports: ["8080:80@loadbalancer"] }]) {
      const { nodes, loadBalancer } = plan({ ...settings, agents: 1 });
      assert.ok(loadBalancer, JSON.stringify(settings));
      assert.deepEqual(bindings(nodes[0]), {});
      assert.equal(joins(nodes[1]!), "https://k3ts-demo-serverlb:6443");
    }
  });
});

describe("several servers", () => {
  it("the first begins etcd, the others join it, and the load balancer's name is in their certificates", () => {
    const { nodes, loadBalancer } = plan({ servers: 3, agents: 2 });
    assert.deepEqual(
      nodes.map(({ name }) => name),
      ["k3ts-demo-server-0", "k3ts-demo-server-1", "k3ts-demo-server-2", "k3ts-demo-agent-0", "k3ts-demo-agent-1"],
    );
    const first = "https://k3ts-demo-server-0:6443";
    const front = "https://k3ts-demo-serverlb:6443";
    assert.deepEqual(nodes.map(joins), [undefined, first, first, front, front]);
    assert.deepEqual(
      nodes.map(({ Cmd }) => Cmd?.includes("--cluster-init")),
      [true, false, false, false, false],
    );
    for (const server of nodes.slice(0, 3)) {
      assert.ok(server.Cmd?.includes("--tls-san=k3ts-demo-serverlb"));
      assert.deepEqual(bindings(server), {});
      assert.equal(server.Labels?.["k3ts.datastore"], "etcd");
    }
    assert.equal(loadBalancer?.name, "k3ts-demo-serverlb");
    assert.deepEqual(bindings(loadBalancer), api);
  });

  it("with a database all begin alike, and its address is no argument", () => {
    const { nodes } = plan({ servers: 2, datastoreEndpoint: "postgres://user:password@db/kubernetes" });
    for (const server of nodes) {
      assert.ok(server.Env?.includes("K3S_DATASTORE_ENDPOINT=postgres://user:password@db/kubernetes"));
      assert.doesNotMatch(server.Cmd!.join(" "), /password|cluster-init/);
      assert.equal(joins(server), undefined);
      assert.equal(server.Labels?.["k3ts.datastore"], "external");
    }
  });

  it("a database is found wherever it is named", () => {
    for (const settings of [
      { serverArgs: ["--datastore-endpoint=http://etcd:2379"] },
      { serverArgs: ["--datastore-endpoint", "http://etcd:2379"] },
      { environment: ["K3S_DATASTORE_ENDPOINT=http://etcd:2379"] },
    ]) {
      const { nodes } = plan({ servers: 2, ...settings });
      assert.equal(nodes[1]!.Labels?.["k3ts.datastore"], "external");
      assert.equal(joins(nodes[1]!), undefined);
    }
  });

  it("contradictions are refused", () => {
    assert.throws(() => plan({ servers: 2, datastoreEndpoint: "sqlite:///data/x.db" }), /a file of one server/);
    assert.throws(() => plan({ clusterInit: true, datastoreEndpoint: "http://etcd:2379" }), /exclude each other/);
    assert.throws(() => plan({ servers: 0 }), /at least one server/);
  });

  it("without a load balancer the first server publishes the API", () => {
    const { nodes, loadBalancer } = plan({ servers: 3, agents: 1, loadBalancer: false });
    assert.equal(loadBalancer, undefined);
    assert.deepEqual(nodes.slice(0, 3).map(bindings), [api, {}, {}]);
    assert.equal(joins(nodes[3]!), "https://k3ts-demo-server-0:6443");
  });
});

describe("published ports", () => {
  it("TCP goes through the load balancer where there is one, anything else to the first server", () => {
    const { nodes, loadBalancer } = plan({ servers: 3, ports: ["8080:80", "5353:53/udp"] });
    assert.deepEqual(bindings(loadBalancer), { "80/tcp": [{ HostIp: "0.0.0.0", HostPort: "8080" }], ...api });
    assert.equal(loadBalancer?.Labels?.["k3ts.ports"], "80");
    assert.deepEqual(bindings(nodes[0]), { "53/udp": [{ HostIp: "0.0.0.0", HostPort: "5353" }] });
    assert.deepEqual(bindings(plan({ ports: ["8080:80"] }).nodes[0]), {
      "80/tcp": [{ HostIp: "0.0.0.0", HostPort: "8080" }],
      ...api,
    });
  });

  it("a node is named as k3d does", () => {
    const { nodes } = plan({ servers: 2, agents: 2, ports: ["8080:80@server:1", "127.0.0.1:8081:80@agent:1"] });
    assert.deepEqual(nodes.map(bindings), [
      {},
      { "80/tcp": [{ HostIp: "0.0.0.0", HostPort: "8080" }] },
      {},
      { "80/tcp": [{ HostIp: "127.0.0.1", HostPort: "8081" }] },
    ]);
    assert.throws(() => plan({ ports: ["8080:80@agent:0"] }), /there will be 0 agents/);
    assert.throws(() => plan({ ports: ["8080:80@everywhere"] }), /invalid port "8080:80@everywhere"/);
    assert.throws(() => plan({ servers: 3, ports: ["53:53/udp@loadbalancer"] }), /passes on TCP only/);
    assert.throws(() => plan({ loadBalancer: false, ports: ["80:80@loadbalancer"] }), /exclude each other/);
  });

  it("are host:container, with an address and a protocol if need be", () => {
    assert.deepEqual(parsePort("8080:80"), { address: "0.0.0.0", host: "8080", container: "80/tcp" });
    assert.deepEqual(parsePort("127.0.0.1:53:53/udp"), { address: "127.0.0.1", host: "53", container: "53/udp" });
    assert.throws(() => parsePort("http"), /invalid port "http"/);
  });
});
