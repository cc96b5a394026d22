import { watch } from "node:fs";
import { mkdir } from "node:fs/promises";
import { type Lease, leases } from "../../api/generated/coordination-v1.ts";
import { type ContainerImage, type Node, type NodeCondition, nodes } from "../../api/generated/core-v1.ts";
import { Backoff } from "../../client/backoff.ts";
import type { Client } from "../../client/client.ts";
import { createInformer } from "../../client/informer.ts";
import { isOlder } from "../../client/resource-version.ts";
import { type Clock, formatMicroTime, formatTime } from "../../machinery/clock.ts";
import { deepEqual } from "../../machinery/equality.ts";
import type { Logger } from "../../machinery/log.ts";
import { StatusError } from "../../machinery/status.ts";
import type { Cri } from "../containerd/cri.ts";
import { nodeInfo, nodeResources } from "./node-facts.ts";

export interface NodeRegistrationOptions {
  readonly client: Client;
  readonly cri: Cri;
  readonly nodeName: string;
  readonly nodeIps: readonly string[];
  readonly nodeExternalIps: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  readonly taints: readonly { readonly key: string; readonly value?: string | undefined; readonly effect: string }[];
  readonly maxPods: number;
  readonly version: string;
  readonly rootDir: string;
  readonly cniConfDir: string;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

const leaseDurationSeconds = 40;
/**
 * Twice in a lease's life, at moments that all nodes share: the server writes the renewals of a whole cluster to its disk at
 * once. Half as often as other kubelets do; a node counts as gone 50 s after its last renewal, which is no later for that.
 */
const renewMs = 20_000;
const reportMs = 300_000;
/** How often readiness is looked at when nothing hints that it changed. */
const checkMs = 10_000;
const mostImages = 50;

/** Keeps the Node object and its lease true. */
export class NodeRegistration {
  readonly #options: NodeRegistrationOptions;
  #allocatable: Record<string, string> = {};
  #node: Node | undefined;
  #lease: Lease | undefined;
  #lastReportMs = 0;
  #reporting: Promise<void> | undefined;
  #again = false;
  #wasReady = false;

  constructor(options: NodeRegistrationOptions) {
    this.#options = options;
  }

  get allocatable(): Readonly<Record<string, string>> {
    return this.#allocatable;
  }

  /** Registers the node, and keeps it up to date until the signal aborts. Resolves then. */
  async run(): Promise<void> {
    const { clock, logger, nodeName, cniConfDir, signal } = this.#options;
    const backoff = new Backoff({ clock, firstMs: 200, maxMs: 7000 });
    while (!signal.aborted) {
      try {
        await this.#register();
        logger.info({ node: nodeName }, "Successfully registered node");
        break;
      } catch (error) {
        logger.warn({ node: nodeName, error: (error as Error).message }, "Node could not be registered yet");
        await backoff.wait(signal).catch(() => {});
      }
    }
    if (signal.aborted) return;
    await mkdir(cniConfDir, { recursive: true });
    if (signal.aborted) return;
    // The node is usable the moment that the network's configuration is there.
    const watcher = watch(cniConfDir, () => void this.#watchReadiness());
    watcher.on("error", () => {});
    signal.addEventListener("abort", () => watcher.close(), { once: true });
    void this.#watchReadiness();
    this.#followOwnNode();
    let renewedAt = -1;
    while (!signal.aborted) {
      const period = Math.floor(clock.now() / renewMs);
      // One that failed is tried again at the next check.
      if (period !== renewedAt || !this.#lease) await this.#renewLease();
      if (renewedAt >= 0) await this.report();
      renewedAt = period;
      await clock.sleep(checkMs - (clock.now() % checkMs), signal).catch(() => {});
    }
  }

  /**
   * Others write the node as well: the node lifecycle controller says Unknown when our leases did not come through, and
   * a user may delete the object. Both are answered at once.
   */
  #followOwnNode(): void {
    const { client, nodeName, clock, logger, signal } = this.#options;
    const informer = createInformer(client, nodes, { fieldSelector: `metadata.name=${nodeName}`, clock, logger });
    const see = (node: Node) => {
      const known = Number(this.#node?.metadata.resourceVersion ?? 0);
      if (node.metadata.uid === this.#node?.metadata.uid && Number(node.metadata.resourceVersion) <= known) return;
      this.#node = node;
      const ready = node.status?.conditions?.find(({ type }) => type === "Ready")?.status === "True";
      if (ready !== this.#wasReady) void this.report();
    };
    informer.on({
      add: (node) => see(node as Node),
      update: (node, old) => {
        // Set back to a snapshot: what was reported last does not stand there.
        if (isOlder(node, old)) this.#node = undefined;
        see(node as Node);
      },
      delete: (node) => {
        if (node.metadata.uid !== this.#node?.metadata.uid) return;
        logger.warn({ node: nodeName }, "Node was deleted; it registers again");
        this.#node = undefined;
        this.#lease = undefined;
        this.#lastReportMs = 0;
        void this.report();
      },
    });
    void informer.start(signal);
  }

  /** Looks at the node and writes its status when it changed or five minutes have passed. Never rejects. */
  async report(): Promise<void> {
    if (this.#reporting) {
      this.#again = true;
      return this.#reporting;
    }
    this.#reporting = (async () => {
      do {
        this.#again = false;
        try {
          await this.#writeStatus();
        } catch (error) {
          const { logger, nodeName, signal } = this.#options;
          if (!signal.aborted)
            logger.warn({ node: nodeName, error: (error as Error).message }, "Node status could not be written");
        }
      } while (this.#again);
      // In one turn with the last look: between them a report that is asked for would never come.
      this.#reporting = undefined;
    })();
    await this.#reporting;
  }

  /** The runtime takes a moment to read a new configuration: look a few times, then leave it to the steady check. */
  async #watchReadiness(): Promise<void> {
    const { clock, signal } = this.#options;
    for (let delayMs = 20; delayMs < 2000 && !signal.aborted; delayMs *= 2) {
      await this.report();
      if (this.#wasReady) return;
      await clock.sleep(delayMs, signal).catch(() => {});
    }
  }

  async #register(): Promise<void> {
    const { client, nodeName, labels, annotations, taints } = this.#options;
    const status = await this.#status(undefined);
    try {
      this.#node = await client.create(nodes, {
        apiVersion: "v1",
        kind: "Node",
        metadata: { name: nodeName, labels: { ...labels }, annotations: { ...annotations } },
        spec: {
          providerID: `k3s://${nodeName}`,
          ...(taints.length > 0
            ? { taints: taints.map(({ key, value, effect }) => ({ key, effect, ...(value ? { value } : {}) })) }
            : {}),
        },
        status,
      });
      // A create drops the status (it is a subresource).
      if (!this.#node.status?.conditions?.length) await this.#writeStatus();
    } catch (error) {
      if (!(error instanceof StatusError && error.reason === "AlreadyExists")) throw error;
      const body = { metadata: { labels, annotations } };
      this.#node = await client.patch(nodes, nodeName, { type: "merge", body });
      await this.#writeStatus();
    }
    await this.#renewLease();
  }

  async #status(before: Node | undefined): Promise<NonNullable<Node["status"]>> {
    const { cri, clock, nodeIps, nodeExternalIps, nodeName, rootDir, maxPods, version } = this.#options;
    const resources = await nodeResources(rootDir, maxPods);
    this.#allocatable = resources.allocatable;
    const nowMs = clock.now();
    let runtimeVersion = "";
    let problem: string | undefined;
    let images: ContainerImage[] = before?.status?.images ?? [];
    try {
      runtimeVersion = (await cri.version()).runtimeVersion;
      const conditions = (await cri.status()).status?.conditions ?? [];
      const failed = (type: string) => conditions.find((condition) => condition.type === type && !condition.status);
      const network = failed("NetworkReady");
      const runtime = failed("RuntimeReady");
      if (runtime)
        problem = `container runtime not ready: RuntimeReady=false reason:${runtime.reason} message:${runtime.message}`;
      else if (network)
        problem = `container runtime network not ready: NetworkReady=false reason:${network.reason} message:${network.message}`;
      images = (await cri.listImages())
        .sort((a, b) => b.size - a.size)
        .slice(0, mostImages)
        .map((image) => ({ names: [...image.repoDigests, ...image.repoTags], sizeBytes: image.size }))
        .filter(({ names }) => names.length > 0);
    } catch (error) {
      problem = `container runtime is down: ${(error as Error).message}`;
      runtimeVersion = before?.status?.nodeInfo?.containerRuntimeVersion?.replace("containerd://", "") ?? "";
    }
    const wanted: Omit<NodeCondition, "lastHeartbeatTime" | "lastTransitionTime">[] = [
      {
        type: "MemoryPressure",
        status: "False",
        reason: "KubeletHasSufficientMemory",
        message: "kubelet has sufficient memory available",
      },
      {
        type: "DiskPressure",
        status: "False",
        reason: "KubeletHasNoDiskPressure",
        message: "kubelet has no disk pressure",
      },
      {
        type: "PIDPressure",
        status: "False",
        reason: "KubeletHasSufficientPID",
        message: "kubelet has sufficient PID available",
      },
      problem
        ? { type: "Ready", status: "False", reason: "KubeletNotReady", message: problem }
        : { type: "Ready", status: "True", reason: "KubeletReady", message: "kubelet is posting ready status" },
    ];
    const old = before?.status?.conditions ?? [];
    const ours = new Set(wanted.map(({ type }) => type));
    return {
      addresses: [
        ...nodeIps.map((address) => ({ type: "InternalIP", address })),
        ...nodeExternalIps.map((address) => ({ type: "ExternalIP", address })),
        { type: "Hostname", address: nodeName },
      ],
      ...resources,
      conditions: [
        ...wanted.map((condition) => {
          const known = old.find(({ type }) => type === condition.type);
          const since = known?.status === condition.status ? known.lastTransitionTime : undefined;
          return { ...condition, lastHeartbeatTime: formatTime(nowMs), lastTransitionTime: since ?? formatTime(nowMs) };
        }),
        ...old.filter(({ type }) => !ours.has(type)),
      ],
      daemonEndpoints: { kubeletEndpoint: { Port: 10250 } },
      images,
      nodeInfo: await nodeInfo(version, runtimeVersion),
    };
  }

  async #writeStatus(): Promise<void> {
    const { client, clock, nodeName, logger } = this.#options;
    // Others write the node too (taints, conditions of the network): what stands there is read before what is written.
    const due = clock.now() - this.#lastReportMs >= reportMs;
    const before = this.#node;
    const status = await this.#status(before);
    const ready = status.conditions?.find(({ type }) => type === "Ready")?.status === "True";
    const without = (of: Node["status"]) => ({
      ...of,
      conditions: of?.conditions?.map(({ lastHeartbeatTime: _, ...condition }) => condition),
    });
    const comparable = { ...before?.status, volumesAttached: undefined, volumesInUse: undefined };
    if (!due && before && deepEqual(without(comparable), without(status))) return;
    const fresh =
      before && !due ? before : await client.get(nodes, nodeName).catch((error: Error) => this.#reRegister(error));
    const foreign = (fresh.status?.conditions ?? []).filter(
      ({ type }) => !["MemoryPressure", "DiskPressure", "PIDPressure", "Ready"].includes(type),
    );
    const own = (status.conditions ?? []).filter(({ type }) =>
      ["MemoryPressure", "DiskPressure", "PIDPressure", "Ready"].includes(type),
    );
    const body = {
      metadata: { resourceVersion: fresh.metadata.resourceVersion },
      status: { ...status, conditions: [...own, ...foreign] },
    };
    try {
      this.#node = await client.patch(nodes, nodeName, { type: "merge", body }, { subresource: "status" });
    } catch (error) {
      if (!(error instanceof StatusError) || (error.code !== 409 && error.code !== 404)) throw error;
      this.#node = await client.get(nodes, nodeName).catch((again: Error) => this.#reRegister(again));
      const conditions = [
        ...own,
        ...(this.#node.status?.conditions ?? []).filter(
          ({ type }) => !own.some((condition) => condition.type === type),
        ),
      ];
      const second = {
        metadata: { resourceVersion: this.#node.metadata.resourceVersion },
        status: { ...status, conditions },
      };
      this.#node = await client.patch(nodes, nodeName, { type: "merge", body: second }, { subresource: "status" });
    }
    this.#lastReportMs = clock.now();
    if (ready !== this.#wasReady) logger.info({ node: nodeName }, ready ? "Node is ready" : "Node is not ready");
    this.#wasReady = ready;
  }

  /** Somebody deleted the Node while we live: it is made again. */
  async #reRegister(error: Error): Promise<Node> {
    if (!(error instanceof StatusError && error.code === 404)) throw error;
    const { client, nodeName, labels, annotations } = this.#options;
    this.#lease = undefined;
    return client.create(nodes, {
      apiVersion: "v1",
      kind: "Node",
      metadata: { name: nodeName, labels: { ...labels }, annotations: { ...annotations } },
      spec: { providerID: `k3s://${nodeName}` },
    });
  }

  async #renewLease(): Promise<void> {
    const { client, clock, nodeName, logger, signal } = this.#options;
    const namespace = "kube-node-lease";
    for (let attempt = 0; attempt < 3 && !signal.aborted; attempt++) {
      try {
        const spec = { holderIdentity: nodeName, leaseDurationSeconds, renewTime: formatMicroTime(clock.now()) };
        if (!this.#lease) {
          const uid = this.#node?.metadata.uid;
          const owner = uid ? { ownerReferences: [{ apiVersion: "v1", kind: "Node", name: nodeName, uid }] } : {};
          try {
            this.#lease = await client.create(
              leases,
              {
                apiVersion: "coordination.k8s.io/v1",
                kind: "Lease",
                metadata: { name: nodeName, namespace, ...owner },
                spec,
              },
              { namespace },
            );
            return;
          } catch (error) {
            if (!(error instanceof StatusError && error.reason === "AlreadyExists")) throw error;
            this.#lease = await client.get(leases, nodeName, { namespace });
          }
        }
        this.#lease = await client.update(
          leases,
          { ...this.#lease, spec: { ...this.#lease.spec, ...spec } },
          { namespace },
        );
        return;
      } catch (error) {
        this.#lease = undefined;
        if (attempt === 2)
          logger.warn({ node: nodeName, error: (error as Error).message }, "Node lease could not be renewed");
        await clock.sleep(200 * (attempt + 1), signal).catch(() => {});
      }
    }
  }
}
