import { readFile } from "node:fs/promises";
import type { Node } from "../../api/generated/core-v1.ts";
import type { Client } from "../../client/client.ts";
import type { Informer } from "../../client/informer.ts";
import { parseCidr } from "../../machinery/cidr.ts";
import type { Clock } from "../../machinery/clock.ts";
import type { Logger } from "../../machinery/log.ts";
import { followNodes } from "../network/node-informer.ts";
import { followServices, type ServiceInformers } from "../proxy/service-informers.ts";
import { type ClusterView, ClusterZone } from "./cluster-zone.ts";
import { ensureDnsDevice } from "./device.ts";
import { listenDns } from "./dns-listener.ts";
import { followExtraHosts } from "./extra-hosts.ts";
import { Forwarder } from "./forwarder.ts";
import { parseNameservers } from "./resolv-conf.ts";
import { Responder } from "./responder.ts";

export interface DnsOptions {
  readonly client: Client;
  /** The cluster's DNS address, "10.43.0.10"; this node gets it. */
  readonly bindAddress: string;
  readonly clusterDomain: string;
  readonly serviceCidr: string;
  readonly clusterCidr: string;
  /** Name servers for everything else; absent: those of `resolvConf`. */
  readonly upstreams?: readonly string[];
  /** Default "/etc/resolv.conf"; read again when it is more than half a minute old. */
  readonly resolvConf?: string;
  /** Shared with the proxy; absent: own ones are started. */
  readonly informers?: ServiceInformers;
  /** Shared with the network; absent: an own one is started. */
  readonly nodes?: Informer<Node>;
  /** For tests: default 53, for questions and for upstream. */
  readonly port?: number;
  readonly upstreamPort?: number;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

export interface Dns {
  readonly port: number;
}

/** Clients ask again after 5 s; an answer that says "not yet" must come before. */
const patienceMs = 4000;
const rereadMs = 30_000;
/** What K3s takes where the node names no name server. */
const fallbackUpstreams = ["8.8.8.8"];

/**
 * Serves the cluster's DNS on this node. It listens before the cluster's names are known, and holds questions back
 * until they are. Resolves when it can answer; rejects when the address is taken, or with the signal's reason.
 */
export async function startDns(options: DnsOptions): Promise<Dns> {
  const { bindAddress, clusterDomain, clock, logger, signal, port = 53 } = options;
  const { services, endpointSlices } = options.informers ?? followServices(options);
  const nodes = options.nodes ?? followNodes(options);
  const informers = [services, endpointSlices, nodes];
  services.addIndex("ip", ({ spec }) =>
    (spec?.clusterIPs ?? [spec?.clusterIP ?? ""]).filter((ip) => ip && ip !== "None"),
  );
  endpointSlices.addIndex("ip", (slice) => [...new Set((slice.endpoints ?? []).flatMap(({ addresses }) => addresses))]);
  nodes.addIndex("ip", (node) =>
    (node.status?.addresses ?? []).filter(({ type }) => type === "InternalIP").map(({ address }) => address),
  );

  // Nobody waits for these: few clusters have any.
  const extraHosts = followExtraHosts(options);
  const view: ClusterView = {
    service: (namespace, name) => services.get(`${namespace}/${name}`),
    slices: (namespace, service) => endpointSlices.byIndex("service", `${namespace}/${service}`),
    servicesByIp: (address) => services.byIndex("ip", address),
    slicesByIp: (address) => endpointSlices.byIndex("ip", address),
    namespaceHasServices: (namespace) => services.list(namespace).length > 0,
    node: (name) => nodes.get(name),
    nodesByIp: (address) => nodes.byIndex("ip", address),
    extraHost: (name) => extraHosts.addressesOf(name),
  };
  const ranges = [parseCidr(options.serviceCidr), parseCidr(options.clusterCidr)];
  const zone = new ClusterZone(view, { domain: clusterDomain, serverAddress: bindAddress, ranges });
  const forwarder = new Forwarder({
    upstreams: upstreamsOf(options),
    clock,
    ...(options.upstreamPort ? { port: options.upstreamPort } : {}),
  });
  const synced = Promise.all(informers.map((informer) => informer.synced(signal)));
  synced.catch(() => {});
  const ready = async () => {
    if (informers.every((informer) => informer.hasSynced)) return;
    await within(synced, patienceMs, clock);
  };
  const responder = new Responder({ zone, forwarder, ready, logger });
  const changed = () => responder.invalidate();
  for (const informer of [...informers, extraHosts.informer])
    informer.on({ add: changed, update: changed, delete: changed });

  await ensureDnsDevice(bindAddress);
  const listener = await listenDns({ address: bindAddress, port, responder, clock });
  signal.addEventListener("abort", () => listener.close(), { once: true });
  await synced;
  // Negative answers from the time before must not live on.
  responder.invalidate();
  logger.info({ address: bindAddress, domain: clusterDomain }, "Cluster DNS is answering");
  return { port: listener.port };
}

/** The name servers, without this server itself: asking it would never end. */
function upstreamsOf({ upstreams, resolvConf = "/etc/resolv.conf", bindAddress, clock }: DnsOptions) {
  if (upstreams) return async () => upstreams;
  let known: readonly string[] = [];
  let readMs = Number.NEGATIVE_INFINITY;
  return async () => {
    if (clock.now() - readMs < rereadMs) return known;
    readMs = clock.now();
    const text = await readFile(resolvConf, "utf8").catch(() => "");
    const found = parseNameservers(text).filter((address) => address !== bindAddress);
    known = found.length ? found : fallbackUpstreams;
    return known;
  };
}

function within(promise: Promise<unknown>, timeoutMs: number, clock: Clock): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = clock.after(timeoutMs, () => reject(new Error("the cluster's names are not known yet")));
    promise
      .then(
        () => resolve(),
        (error) => reject(error),
      )
      .finally(() => timer.cancel());
  });
}
