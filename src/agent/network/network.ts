import { networkInterfaces } from "node:os";
import { type Node, nodes } from "../../api/generated/core-v1.ts";
import type { Client } from "../../client/client.ts";
import type { Informer } from "../../client/informer.ts";
import { parseCidr } from "../../machinery/cidr.ts";
import type { Clock } from "../../machinery/clock.ts";
import type { Logger } from "../../machinery/log.ts";
import type { DeepReadonly } from "../../machinery/object.ts";
import { bridgeBatch, ipBatch, listFdb, listNeighbours, listRoutes } from "../host/ip.ts";
import { applyNft, listNftTable } from "../host/nft.ts";
import { cniConfigFile, renderCniConfig, renderSubnetFile, requirePlugins, writeWhole } from "./cni-config.ts";
import { ensureDevices, findUplink, podMtu, type Uplink } from "./devices.ts";
import { type Backend, type NetworkPeer, networkAnnotations, peerOf, podCidrOf } from "./flannel-annotations.ts";
import { allowForwarding } from "./forwarding.ts";
import { setKernelParameters } from "./kernel-parameters.ts";
import { networkTable, renderMasquerade } from "./masquerade.ts";
import { followNodes } from "./node-informer.ts";
import { diffOverlay, macOf, planOverlay, routeProtocol, vxlanDevice } from "./overlay.ts";

export interface NetworkOptions {
  readonly client: Client;
  /** Writes the annotations of this node's own Node; default `client`. */
  readonly nodeClient?: Client;
  readonly nodeName: string;
  /** The node's own IPv4 address. */
  readonly nodeIp: string;
  /** "none": nothing is set up; somebody else brings a CNI plugin. */
  readonly backend: Backend | "none";
  readonly clusterCidr: string;
  readonly serviceCidr: string;
  /** Interface between nodes; default the one that has `nodeIp`. */
  readonly iface?: string;
  /** Where containerd looks for CNI configuration. */
  readonly cniConfDir: string;
  /** Where the CNI plugins are. */
  readonly cniBinDir: string;
  /** Folder of subnet.env; default "/run/flannel". */
  readonly subnetDir?: string;
  /** An informer of Nodes that the caller follows already; absent: an own one is started. */
  readonly nodes?: Informer<Node>;
  /** Awaited before the line that tools take for "pods can be created now". */
  readonly usable?: (nodeName: string, signal: AbortSignal) => Promise<void>;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Ends the work. What was set up stays, since running pods use it. */
  readonly signal: AbortSignal;
}

export interface Network {
  readonly podCidr: string;
  readonly mtu: number;
  /**
   * Whether packets between pods of one bridge pass the node's nftables rules. Without that (br_netfilter is missing)
   * the proxy must masquerade Service traffic between pods of the same node.
   */
  readonly bridgeFiltered: boolean;
}

const retryFirstMs = 1000;
const retryMaxMs = 30_000;
/** What somebody else removed comes back after this long. */
const resyncMs = 300_000;
/** How often to look whether the interfaces are what they were: the tunnel's device goes with the one it is bound to. */
const lookMs = 10_000;

/**
 * Sets up the pod network of this node and keeps it in line with the other nodes. Resolves when pods can be networked;
 * `undefined` for backend "none". Rejects with the signal's reason.
 */
export async function startNetwork(options: NetworkOptions): Promise<Network | undefined> {
  const { backend, nodeName, logger, signal } = options;
  if (backend === "none") {
    logger.info("Pod network is left to another CNI plugin: flannel backend is none");
    return undefined;
  }
  logger.info(`Starting flannel with backend ${backend}`);
  await requirePlugins(options.cniBinDir);
  const informer = options.nodes ?? followNodes(options);
  const podCidr = await waitForPodCidr(informer, nodeName, signal);
  logger.info(`Flannel found PodCIDR assigned for node ${nodeName}`);
  logger.info("Waiting 10m0s for node controller to sync");
  await informer.synced(signal);

  const network = new PodNetwork(options, backend, podCidr, informer);
  const ready = await network.start();
  await options.usable?.(nodeName, signal);
  logger.info("Node controller sync successful");
  return ready;
}

function waitForPodCidr(informer: Informer<Node>, nodeName: string, signal: AbortSignal): Promise<string> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason);
    let remove = () => {};
    const onAbort = () => {
      remove();
      reject(signal.reason);
    };
    signal.addEventListener("abort", onAbort, { once: true });
    const look = () => {
      const node = informer.get(nodeName);
      const podCidr = node && podCidrOf(node);
      if (!podCidr) return;
      signal.removeEventListener("abort", onAbort);
      // Removing a handler while it is being added is not possible; after this turn it is.
      queueMicrotask(() => remove());
      resolve(podCidr);
    };
    remove = informer.on({ add: look, update: look });
  });
}

/** The interfaces that the pod network stands on, as text. Pods' own come and go all the time. */
function interfacesSeen(): string {
  const rows = Object.entries(networkInterfaces()).flatMap(([name, addresses]) =>
    /^(veth|lo$)/.test(name)
      ? []
      : (addresses ?? []).filter(({ family }) => family === "IPv4").map(({ cidr, mac }) => `${name} ${cidr} ${mac}`),
  );
  return rows.sort().join("\n");
}

class PodNetwork {
  readonly #options: NetworkOptions;
  readonly #backend: Backend;
  readonly #podCidr: string;
  readonly #nodes: Informer<Node>;
  readonly #warned = new Set<string>();
  #firewallWarned = false;
  #wake: (() => void) | undefined;
  #dirty = false;
  /** An earlier program may have left other rules. */
  #rulesWritten = false;

  constructor(options: NetworkOptions, backend: Backend, podCidr: string, informer: Informer<Node>) {
    this.#options = options;
    this.#backend = backend;
    this.#podCidr = podCidr;
    this.#nodes = informer;
  }

  async start(): Promise<Network> {
    const { cniConfDir, subnetDir = "/run/flannel", clusterCidr } = this.#options;
    const podCidr = this.#podCidr;
    const uplink = await this.#uplink();
    const mtu = podMtu(this.#backend, uplink.mtu);
    await this.#retried("set up the pod network", () => this.#reconcile());
    const bridgeFiltered = await setKernelParameters(this.#options.logger);
    await writeWhole(subnetDir, "subnet.env", renderSubnetFile({ clusterCidr, podCidr, mtu }));
    // Last: from here on the runtime takes pods.
    await writeWhole(cniConfDir, cniConfigFile, renderCniConfig({ podCidr, mtu }));
    this.#options.signal.addEventListener("abort", () => this.#wake?.(), { once: true });
    const mark = () => {
      this.#dirty = true;
      this.#wake?.();
    };
    // Nodes report their health all the time; only what they say of their network matters here.
    const said = (node: DeepReadonly<Node>) => JSON.stringify(peerOf(node));
    this.#nodes.on({ add: mark, update: (node, old) => said(node) !== said(old) && mark(), delete: mark });
    void this.#follow();
    return { podCidr, mtu, bridgeFiltered };
  }

  /** One round after another, each for everything that changed meanwhile, and one every few minutes. */
  async #follow(): Promise<void> {
    const { clock, signal } = this.#options;
    let syncedMs = clock.now();
    let seen = interfacesSeen();
    while (!signal.aborted) {
      if (!this.#dirty) {
        await new Promise<void>((resolve) => {
          const timer = clock.after(lookMs, resolve);
          this.#wake = () => {
            timer.cancel();
            resolve();
          };
        });
        this.#wake = undefined;
      }
      if (signal.aborted) return;
      if (!this.#dirty && clock.now() - syncedMs < resyncMs && interfacesSeen() === seen) continue;
      this.#dirty = false;
      await this.#retried("keep the pod network in line", () => this.#reconcile()).catch(() => {});
      syncedMs = clock.now();
      seen = interfacesSeen();
    }
  }

  async #uplink(): Promise<Uplink> {
    const { nodeIp, iface } = this.#options;
    return findUplink({ nodeIp, ...(iface ? { iface } : {}) });
  }

  async #reconcile(): Promise<void> {
    const { nodeName, clusterCidr, serviceCidr } = this.#options;
    const [backend, podCidr] = [this.#backend, this.#podCidr];
    const uplink = await this.#uplink();
    await ensureDevices({ backend, nodeName, podCidr, uplink, mtu: podMtu(backend, uplink.mtu) });
    const peers: NetworkPeer[] = [];
    for (const node of this.#nodes.list()) {
      const peer = peerOf(node);
      if (peer) peers.push(peer);
    }
    const wanted = planOverlay({
      backend,
      nodeName,
      nodeIp: uplink.address,
      device: uplink.device,
      podCidr,
      clusterCidr: `${parseCidr(clusterCidr)}`,
      serviceCidr: `${parseCidr(serviceCidr)}`,
      peers,
    });
    this.#warnOfOtherBackends(peers);
    const vxlan = backend === "vxlan";
    const observed = {
      routes: await listRoutes(routeProtocol),
      neighbours: vxlan ? await listNeighbours(vxlanDevice) : [],
      fdb: vxlan ? await listFdb(vxlanDevice) : [],
    };
    const commands = diffOverlay(wanted, observed);
    await bridgeBatch(commands.bridge);
    await ipBatch(commands.ip);
    if (!this.#rulesWritten || (await listNftTable("ip", networkTable)) === undefined) {
      await applyNft(renderMasquerade({ clusterCidr, podCidr }));
      this.#rulesWritten = true;
    }
    await this.#allowForwarding();
    await this.#annotate(uplink);
  }

  /** A firewall that cannot be opened may let pods through all the same: nothing else waits for it. */
  async #allowForwarding(): Promise<void> {
    const { clusterCidr, logger } = this.#options;
    try {
      await allowForwarding(`${parseCidr(clusterCidr)}`);
    } catch (error) {
      if (this.#firewallWarned) return;
      this.#firewallWarned = true;
      const fields = { error: error instanceof Error ? error.message : String(error) };
      logger.warn(fields, "Could not let pods through this machine's iptables firewall");
    }
  }

  /** Tells the other nodes where this one is; only when the Node does not say so already. */
  async #annotate(uplink: Uplink): Promise<void> {
    const { client, nodeClient = client, nodeName, signal } = this.#options;
    const wanted = networkAnnotations({
      backend: this.#backend,
      publicIp: uplink.address,
      vtepMac: macOf(`${vxlanDevice} ${nodeName}`),
    });
    const present = this.#nodes.get(nodeName)?.metadata.annotations ?? {};
    if (Object.entries(wanted).every(([key, value]) => present[key] === value)) return;
    await nodeClient.patch(nodes, nodeName, { type: "merge", body: { metadata: { annotations: wanted } } }, { signal });
  }

  #warnOfOtherBackends(peers: readonly NetworkPeer[]): void {
    for (const { name, backend } of peers) {
      if (backend === this.#backend || this.#warned.has(name)) continue;
      this.#warned.add(name);
      const fields = { node: name, backend, wanted: this.#backend };
      this.#options.logger.warn(fields, "Pods of a node cannot be reached: it runs another flannel backend");
    }
  }

  async #retried(what: string, action: () => Promise<void>): Promise<void> {
    const { clock, logger, signal } = this.#options;
    for (let delayMs = retryFirstMs; ; delayMs = Math.min(delayMs * 2, retryMaxMs)) {
      try {
        return await action();
      } catch (error) {
        if (signal.aborted) throw signal.reason;
        const fields = { error: error instanceof Error ? error.message : String(error), retryMs: delayMs };
        logger.warn(fields, `Could not ${what}`);
        await clock.sleep(delayMs, signal);
      }
    }
  }
}
