import assert from "node:assert/strict";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import type { Node } from "../../../../src/api/generated/core-v1.ts";
import { eventually } from "../../../support/eventually.ts";
import { joinByVeth, NetworkNamespace, requireNetworkTools } from "../support/netns.ts";

requireNetworkTools();

type Message = { line?: string; started?: unknown; failed?: string; patched?: { name: string; body: object } };

/** A node: a namespace with an uplink, and the program that sets its pod network up. */
class TestNode {
  readonly name: string;
  readonly namespace: NetworkNamespace;
  readonly messages: Message[] = [];
  readonly #folder: string;
  #process: ChildProcess;

  constructor(name: string, folder: string) {
    this.name = name;
    this.#folder = join(folder, name);
    this.namespace = new NetworkNamespace(name);
    this.#process = this.#spawn();
  }

  #spawn(): ChildProcess {
    const child = this.namespace.start(new URL("./network-node.ts", import.meta.url));
    // What one says that is ended already is no news.
    child.on("message", (message: Message) => this.#process === child && this.messages.push(message));
    return child;
  }

  get cniConfDir(): string {
    return join(this.#folder, "net.d");
  }

  get subnetDir(): string {
    return join(this.#folder, "flannel");
  }

  get lines(): string[] {
    return this.messages.flatMap(({ line }) => (line ? [line] : []));
  }

  send(message: object): void {
    this.#process.send(message);
  }

  start(backend: string, nodeIp: string): void {
    const { name: nodeName, cniConfDir, subnetDir } = this;
    const cidrs = { clusterCidr: "10.42.0.0/16", serviceCidr: "10.43.0.0/16" };
    const start = { backend, nodeName, nodeIp, cniConfDir, subnetDir, cniBinDir: "/usr/lib/cni", ...cidrs };
    this.send({ start });
  }

  /** Ends the program as a crash would, and starts it anew. */
  async restart(): Promise<void> {
    const ended = once(this.#process, "exit");
    this.#process.kill("SIGKILL");
    await ended;
    this.messages.length = 0;
    this.#process = this.#spawn();
  }

  async started(): Promise<unknown> {
    return eventually(() => {
      const failed = this.messages.find((message) => message.failed);
      if (failed) return assert.fail(failed.failed);
      const message = this.messages.find((message) => "started" in message);
      assert.ok(message, `the network of ${this.name} has started: ${this.lines.join(" | ")}`);
      return message.started;
    });
  }

  /** A pod, made by the plugins with the configuration that was written. Gives its namespace and address. */
  async addPod(label: string): Promise<{ namespace: NetworkNamespace; address: string }> {
    const namespace = new NetworkNamespace(`${this.name}-${label}`);
    const list = JSON.parse(await readFile(join(this.cniConfDir, "10-flannel.conflist"), "utf8"));
    const [plugin] = list.plugins;
    plugin.ipam.dataDir = join(this.#folder, "addresses");
    const environment = {
      CNI_COMMAND: "ADD",
      CNI_CONTAINERID: namespace.name,
      CNI_NETNS: `/run/netns/${namespace.name}`,
      CNI_IFNAME: "eth0",
      CNI_PATH: "/usr/lib/cni",
    };
    const settings = Object.entries(environment).map(([name, value]) => `${name}=${value}`);
    const input = JSON.stringify({ ...plugin, name: list.name, cniVersion: list.cniVersion });
    const result = JSON.parse(this.namespace.exec("env", [...settings, "/usr/lib/cni/bridge"], input));
    return { namespace, address: result.ips[0].address.split("/")[0] };
  }
}

function nodeObject(name: string, podCIDR: string | undefined, annotations = {}): Node {
  return { metadata: { name, annotations }, spec: podCIDR ? { podCIDR, podCIDRs: [podCIDR] } : {}, status: {} };
}

/** An answer or an error ends it at once; without either it throws after `seconds`. */
function ping(from: NetworkNamespace, address: string, { size = 56, seconds = 30 } = {}): void {
  from.exec("ping", ["-c", "1", "-W", `${seconds}`, "-M", "do", "-s", `${size}`, address]);
}

for (const backend of ["vxlan", "host-gw"] as const) {
  describe(`pod network with backend ${backend}`, () => {
    let folder: string;
    let a: TestNode;
    let b: TestNode;
    let podA: NetworkNamespace;
    let podB: NetworkNamespace;
    const known = new Map<string, Node>();

    /** What the API server would do: every node hears of every Node, and of what a node says of itself. */
    function tell(node: Node): void {
      known.set(node.metadata.name!, node);
      for (const receiver of [a, b]) receiver.send({ put: node });
    }
    async function relayAnnotations(from: TestNode): Promise<void> {
      const { patched } = await eventually(() => {
        const message = from.messages.findLast((message) => message.patched);
        assert.ok(message?.patched);
        return message;
      });
      const { annotations } = (patched!.body as Node).metadata;
      tell(nodeObject(from.name, known.get(from.name)?.spec?.podCIDR, annotations));
    }

    before(async () => {
      folder = await mkdtemp(join(tmpdir(), "k3ts-network-"));
      a = new TestNode("a", folder);
      b = new TestNode("b", folder);
      joinByVeth(
        { namespace: a.namespace, device: "eth0", address: "192.168.77.1/24" },
        { namespace: b.namespace, device: "eth0", address: "192.168.77.2/24" },
      );
    });

    after(async () => {
      for (const namespace of [podA, podB, a?.namespace, b?.namespace]) await namespace?.remove();
      await rm(folder, { recursive: true });
    });

    test("it waits for the node's pod range, then writes the configuration and says what happened", async () => {
      a.start(backend, "192.168.77.1");
      tell(nodeObject("a", undefined));
      await eventually(() => assert.deepEqual(a.lines, [`Starting flannel with backend ${backend}`]));
      await assert.rejects(readdir(a.cniConfDir), { code: "ENOENT" });

      tell(nodeObject("a", "10.42.0.0/24"));
      const mtu = backend === "vxlan" ? 1450 : 1500;
      assert.deepEqual(await a.started(), { podCidr: "10.42.0.0/24", mtu, bridgeFiltered: true });
      assert.deepEqual(a.lines, [
        `Starting flannel with backend ${backend}`,
        "Flannel found PodCIDR assigned for node a",
        "Waiting 10m0s for node controller to sync",
        "Node controller sync successful",
      ]);
      assert.deepEqual(await readdir(a.cniConfDir), ["10-flannel.conflist"]);
      const config = JSON.parse(await readFile(join(a.cniConfDir, "10-flannel.conflist"), "utf8"));
      assert.equal(config.plugins[0].bridge, "cni0");
      assert.equal(config.plugins[0].mtu, mtu);
      assert.deepEqual(config.plugins[0].ipam.ranges, [[{ subnet: "10.42.0.0/24" }]]);
      assert.equal(
        await readFile(join(a.subnetDir, "subnet.env"), "utf8"),
        `FLANNEL_NETWORK=10.42.0.0/16\nFLANNEL_SUBNET=10.42.0.1/24\nFLANNEL_MTU=${mtu}\nFLANNEL_IPMASQ=true\n`,
      );
      await relayAnnotations(a);
    });

    test("pods of two nodes reach each other with full-size packets and their own addresses", async () => {
      tell(nodeObject("b", "10.42.1.0/24"));
      b.start(backend, "192.168.77.2");
      await b.started();
      await relayAnnotations(b);
      const [pluggedA, pluggedB] = [await a.addPod("p"), await b.addPod("p")];
      assert.deepEqual([pluggedA.address, pluggedB.address], ["10.42.0.2", "10.42.1.2"]);
      [podA, podB] = [pluggedA.namespace, pluggedB.namespace];
      // 28 bytes of headers.
      const size = (backend === "vxlan" ? 1450 : 1500) - 28;
      await eventually(() => ping(podA, "10.42.1.2", { size, seconds: 1 }));
      ping(podB, "10.42.0.2", { size });
      ping(a.namespace, "10.42.1.2");
      podB.nft("table ip watch { chain c { type filter hook input priority 0; ip saddr 10.42.0.2 counter; }; }");
      ping(podA, "10.42.1.2");
      assert.match(podB.exec("nft", ["list", "table", "ip", "watch"]), /ip saddr 10.42.0.2 counter packets 1 /);
    });

    test("addresses of the pod range that no node has are unreachable at once", async () => {
      for (const namespace of [podA, a.namespace]) {
        // The kernel says so to a number of senders a second, on the whole machine: one that hears nothing asks again.
        const unreachable = /unreachable|No route to host/i;
        await eventually(() => assert.throws(() => ping(namespace, "10.42.200.5", { seconds: 1 }), unreachable));
      }
    });

    test("traffic that leaves the pod network carries the node's address", () => {
      b.namespace.ip("address add 203.0.113.9/32 dev lo");
      a.namespace.ip("route add 203.0.113.9 via 192.168.77.2");
      // The other node has no way back to the pod's own address.
      b.namespace.nft(
        "table ip watch { chain c { type filter hook input priority 0; ip saddr 192.168.77.1 ip daddr 203.0.113.9 counter; ip daddr 203.0.113.9 drop; }; }",
      );
      assert.throws(() => ping(podA, "203.0.113.9", { seconds: 1 }));
      const counted = b.namespace.exec("nft", ["list", "table", "ip", "watch"]);
      assert.match(counted, /ip saddr 192.168.77.1 ip daddr 203.0.113.9 counter packets 1 /);
      b.namespace.nft("delete table ip watch");
    });

    test("a node that comes back with another address is followed, in both directions", async () => {
      b.namespace.ip("address del 192.168.77.2/24 dev eth0");
      b.namespace.ip("address add 192.168.77.22/24 dev eth0");
      await b.restart();
      for (const node of known.values()) b.send({ put: node });
      b.start(backend, "192.168.77.22");
      await b.started();
      await relayAnnotations(b);
      await eventually(() => {
        const leads = a.namespace.ip("-N route show proto 107") + a.namespace.exec("bridge", ["fdb", "show"]);
        assert.match(leads, /192\.168\.77\.22 /);
        assert.doesNotMatch(leads, /192\.168\.77\.2 /);
      });
      await eventually(() => ping(podA, "10.42.1.2", { seconds: 1 }));
      await eventually(() => ping(podB, "10.42.0.2", { seconds: 1 }));
    });

    test("a program that starts again changes nothing that is right", async () => {
      const state = () => [
        a.namespace.exec("ip", ["-o", "link", "show"]).replaceAll(/ qdisc .*/g, ""),
        a.namespace.exec("ip", ["route", "show"]),
        a.namespace.exec("nft", ["list", "ruleset"]),
      ];
      const before = state();
      await a.restart();
      for (const node of known.values()) a.send({ put: node });
      a.start(backend, "192.168.77.1");
      await a.started();
      assert.deepEqual(state(), before);
      assert.ok(!a.messages.some((message) => message.patched), "the Node says everything already");
      ping(podA, "10.42.1.2");
    });

    test("a node that is deleted is no longer reached", async () => {
      a.send({ remove: "b" });
      await eventually(() => assert.throws(() => ping(podA, "10.42.1.2", { seconds: 1 }), /unreachable/i));
      if (backend === "vxlan") assert.equal(a.namespace.exec("bridge", ["fdb", "show", "dev", "flannel.1"]), "");
    });
  });
}

test("backend none sets nothing up", async () => {
  const folder = await mkdtemp(join(tmpdir(), "k3ts-network-"));
  const node = new TestNode("n", folder);
  try {
    node.start("none", "192.168.77.1");
    assert.equal(await node.started(), null);
    assert.deepEqual(await readdir(folder), []);
    assert.equal(node.namespace.exec("nft", ["list", "ruleset"]), "");
  } finally {
    await node.namespace.remove();
    await rm(folder, { recursive: true });
  }
});
