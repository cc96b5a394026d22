import type { Node, Service } from "../../api/generated/core-v1.ts";
import type { Endpoint, EndpointSlice } from "../../api/generated/discovery-v1.ts";
import { type Cidr, parseIp } from "../../machinery/cidr.ts";
import type { DeepReadonly } from "../../machinery/object.ts";
import type { DnsAnswer, DnsRecord } from "./record.ts";
import { addressOfDashed, addressOfReverseName, dashedAddress } from "./reverse-name.ts";

/** What the zone is made from. */
export interface ClusterView {
  service(namespace: string, name: string): DeepReadonly<Service> | undefined;
  slices(namespace: string, service: string): readonly DeepReadonly<EndpointSlice>[];
  servicesByIp(address: string): readonly DeepReadonly<Service>[];
  slicesByIp(address: string): readonly DeepReadonly<EndpointSlice>[];
  namespaceHasServices(namespace: string): boolean;
  node(name: string): DeepReadonly<Node> | undefined;
  nodesByIp(address: string): readonly DeepReadonly<Node>[];
  /** Addresses of a name that somebody added. */
  extraHost(name: string): readonly string[];
}

export interface ZoneOptions {
  /** "cluster.local" */
  readonly domain: string;
  /** The address of this server, which the zone's name server has. */
  readonly serverAddress: string;
  /** Ranges whose reverse names are answered here and nowhere else. */
  readonly ranges: readonly Cidr[];
}

/** The name exists and is an alias: `target` is to be followed. */
export interface Alias {
  readonly alias: DnsRecord & { type: "CNAME" };
  readonly target: string;
}

const recordTtlSeconds = 5;
const nodeTtlSeconds = 60;

type Records = readonly DnsRecord[];
/** "nothing": the name exists, but has no such records; "no name": there is no such name. */
type Found = { readonly answers: Records; readonly additionals?: Records } | Alias | "nothing" | "no name";

/** The names of the cluster after the Kubernetes DNS specification 1.1.0; a function of what the view holds. */
export class ClusterZone {
  readonly #view: ClusterView;
  readonly #options: ZoneOptions;

  constructor(view: ClusterView, options: ZoneOptions) {
    this.#view = view;
    this.#options = { ...options, domain: options.domain.toLowerCase() };
  }

  /** Whether names like this one are answered here alone. Node names and other reverse names may also be upstream's. */
  owns(name: string): boolean {
    if (this.#relative(name) !== undefined) return true;
    const ip = parseIp(addressOfReverseName(name) ?? "");
    return ip !== undefined && this.#options.ranges.some((range) => range.contains(ip));
  }

  /** Answers; undefined: not from here. `name` is in lower case. */
  resolve(name: string, type: string): DnsAnswer | Alias | undefined {
    const relative = this.#relative(name);
    const found =
      relative !== undefined
        ? this.#inZone(name, relative, type)
        : (this.#reverse(name, type) ?? this.#node(name, type));
    if (found === undefined || (found === "no name" && !this.owns(name))) return undefined;
    if (typeof found === "object" && "alias" in found) return found;
    const answers = typeof found === "object" ? found.answers : [];
    return {
      code: found === "no name" ? "NXDOMAIN" : "NOERROR",
      authoritative: true,
      answers,
      authorities: answers.length ? [] : [this.#soa()],
      additionals: typeof found === "object" ? (found.additionals ?? []) : [],
    };
  }

  /** The labels before the zone's name; undefined outside the zone. */
  #relative(name: string): string[] | undefined {
    const { domain } = this.#options;
    if (name === domain) return [];
    return name.endsWith(`.${domain}`) ? name.slice(0, -domain.length - 1).split(".") : undefined;
  }

  #inZone(name: string, labels: string[], type: string): Found {
    const { domain, serverAddress } = this.#options;
    const kind = labels.at(-1);
    if (kind === undefined) {
      if (type === "SOA") return { answers: [this.#soa()] };
      if (type !== "NS") return "nothing";
      const target = `ns.dns.${domain}`;
      const answers: Records = [{ name, type: "NS", ttl: recordTtlSeconds, data: target }];
      return { answers, additionals: addressRecords(target, [serverAddress], "A", recordTtlSeconds) };
    }
    if (kind === "svc") return this.#services(name, labels.slice(0, -1), type);
    if (kind === "pod") return pod(name, labels.slice(0, -1), type);
    if (labels.length === 1 && kind === "dns-version") {
      if (type !== "TXT") return "nothing";
      return { answers: [{ name, type: "TXT", ttl: recordTtlSeconds, data: ["1.1.0"] }] };
    }
    if (kind === "dns" && labels.length === 1) return "nothing";
    if (kind === "dns" && labels.length === 2 && labels[0] === "ns") return addresses(name, [serverAddress], type);
    return "no name";
  }

  #services(name: string, labels: string[], type: string): Found {
    const [namespace, serviceName, ...rest] = labels.reverse() as [string?, string?, ...string[]];
    if (namespace === undefined) return "nothing";
    if (serviceName === undefined) return this.#view.namespaceHasServices(namespace) ? "nothing" : "no name";
    const service = this.#view.service(namespace, serviceName);
    if (!service) return "no name";
    if (service.spec?.type === "ExternalName") {
      return rest.length ? "no name" : externalName(name, service.spec.externalName);
    }
    const slices = this.#view.slices(namespace, serviceName);
    const base = `${serviceName}.${namespace}.svc.${this.#options.domain}`;
    const headless = service.spec?.clusterIP === "None";
    if (rest.length === 0) {
      if (type === "SRV") return this.#srv(name, base, service, slices);
      // A headless Service whose endpoints are all gone still has its name.
      return addresses(name, headless ? endpointAddresses(slices) : clusterIps(service), type);
    }
    const [first, second] = rest as [string, string?];
    if (rest.length === 1) {
      if (first.startsWith("_")) return "nothing";
      const own = endpointAddresses(slices, first);
      return own.length ? addresses(name, own, type) : "no name";
    }
    if (rest.length !== 2 || !first.startsWith("_") || !second!.startsWith("_")) return "no name";
    const found = this.#srv(name, base, service, slices, { protocol: first.slice(1), port: second!.slice(1) });
    return type === "SRV" || found === "no name" ? found : "nothing";
  }

  /** The ports of a Service; without a filter those of all names. */
  #srv(
    name: string,
    base: string,
    service: DeepReadonly<Service>,
    slices: readonly DeepReadonly<EndpointSlice>[],
    filter?: { protocol: string; port: string },
  ): Found {
    const wanted = (port: { readonly name?: string; readonly protocol?: string }) =>
      !filter || (port.name === filter.port && (port.protocol ?? "TCP").toLowerCase() === filter.protocol);
    const targets = new Map<string, { port: number; target: string; addresses: readonly string[] }>();
    if (service.spec?.clusterIP !== "None") {
      for (const port of service.spec?.ports ?? []) {
        if (wanted(port))
          targets.set(`${port.port}`, { port: port.port, target: base, addresses: clusterIps(service) });
      }
    } else {
      for (const slice of slices) {
        for (const endpoint of (slice.endpoints ?? []).filter(isReady)) {
          for (const port of slice.ports ?? []) {
            if (!port.port || !wanted(port)) continue;
            const target = `${endpointLabel(endpoint)}.${base}`;
            targets.set(`${target}:${port.port}`, { port: port.port, target, addresses: endpoint.addresses });
          }
        }
      }
    }
    if (!targets.size) return filter ? "no name" : "nothing";
    const weight = Math.max(1, Math.floor(100 / targets.size));
    const additionals = new Map<string, DnsRecord>();
    const answers: Records = [...targets.values()].map(({ port, target, addresses }) => {
      for (const type of ["A", "AAAA"] as const) {
        for (const record of addressRecords(target, addresses, type, recordTtlSeconds)) {
          additionals.set(`${target} ${record.data}`, record);
        }
      }
      return { name, type: "SRV", ttl: recordTtlSeconds, data: { priority: 0, weight, port, target } };
    });
    return { answers, additionals: [...additionals.values()] };
  }

  #reverse(name: string, type: string): Found | undefined {
    const address = addressOfReverseName(name);
    if (!address) return undefined;
    const names = this.#namesOf(address);
    if (names.length) return type === "PTR" ? { answers: pointers(name, names, recordTtlSeconds) } : "nothing";
    const nodes = this.#view.nodesByIp(address).map((node) => node.metadata.name!);
    if (nodes.length) return type === "PTR" ? { answers: pointers(name, nodes, nodeTtlSeconds) } : "nothing";
    return "no name";
  }

  /** A Service's own address leads to its name; an endpoint's to its name within its Services. */
  #namesOf(address: string): string[] {
    const { domain } = this.#options;
    const services = this.#view.servicesByIp(address);
    if (services.length) {
      return services.map(({ metadata }) => `${metadata.name}.${metadata.namespace}.svc.${domain}`);
    }
    const named: string[] = [];
    const dashed: string[] = [];
    for (const slice of this.#view.slicesByIp(address)) {
      const { namespace, labels } = slice.metadata;
      const serviceName = labels?.["kubernetes.io/service-name"];
      const service = serviceName && namespace ? this.#view.service(namespace, serviceName) : undefined;
      if (!service) continue;
      for (const endpoint of slice.endpoints ?? []) {
        if (!endpoint.addresses.includes(address) || !isReady(endpoint)) continue;
        const full = `${endpointLabel(endpoint)}.${serviceName}.${namespace}.svc.${domain}`;
        if (endpoint.hostname) named.push(full);
        else if (service.spec?.clusterIP === "None") dashed.push(full);
      }
    }
    return [...new Set(named.length ? named : dashed)];
  }

  /** The bare names of the nodes, as K3s serves them to pods. */
  #node(name: string, type: string): Found | undefined {
    const internal = this.#view.node(name)?.status?.addresses?.filter((entry) => entry.type === "InternalIP") ?? [];
    const known = internal.length ? internal.map(({ address }) => address) : this.#view.extraHost(name);
    return known.length ? addresses(name, known, type, nodeTtlSeconds) : undefined;
  }

  #soa(): DnsRecord {
    const { domain } = this.#options;
    return {
      name: domain,
      type: "SOA",
      ttl: recordTtlSeconds,
      data: {
        mname: `ns.dns.${domain}`,
        rname: `hostmaster.${domain}`,
        serial: 1,
        refresh: 7200,
        retry: 1800,
        expire: 86400,
        minimum: recordTtlSeconds,
      },
    };
  }
}

/** The address stands in the name, so every pod has one without anybody keeping a list. */
function pod(name: string, labels: string[], type: string): Found {
  if (labels.length < 2) return "nothing";
  const address = labels.length === 2 ? addressOfDashed(labels[0]!) : undefined;
  return address ? addresses(name, [address], type) : "no name";
}

function externalName(name: string, target: string | undefined): Found {
  if (!target) return "nothing";
  const data = target.replace(/\.$/, "").toLowerCase();
  return { alias: { name, type: "CNAME", ttl: recordTtlSeconds, data }, target: data };
}

function addresses(name: string, all: readonly string[], type: string, ttl = recordTtlSeconds): Found {
  if (type !== "A" && type !== "AAAA") return "nothing";
  const answers = addressRecords(name, all, type, ttl);
  return answers.length ? { answers } : "nothing";
}

function addressRecords(name: string, all: readonly string[], type: "A" | "AAAA", ttl: number) {
  const family = type === "A" ? 4 : 6;
  return all.filter((address) => parseIp(address)?.family === family).map((data) => ({ name, type, ttl, data }));
}

function pointers(name: string, targets: readonly string[], ttl: number): Records {
  return targets.map((data) => ({ name, type: "PTR", ttl, data }));
}

function clusterIps({ spec }: DeepReadonly<Service>): readonly string[] {
  return spec?.clusterIPs ?? (spec?.clusterIP ? [spec.clusterIP] : []);
}

/** The addresses of ready endpoints; with `label` only of the one that is called so. */
function endpointAddresses(slices: readonly DeepReadonly<EndpointSlice>[], label?: string): string[] {
  const found = slices.flatMap((slice) =>
    (slice.endpoints ?? [])
      .filter((endpoint) => isReady(endpoint) && (label === undefined || endpointLabel(endpoint) === label))
      .flatMap((endpoint) => endpoint.addresses),
  );
  return [...new Set(found)];
}

function endpointLabel(endpoint: DeepReadonly<Endpoint>): string {
  return endpoint.hostname || dashedAddress(endpoint.addresses[0] ?? "");
}

function isReady({ conditions }: DeepReadonly<Endpoint>): boolean {
  return conditions?.ready !== false;
}
