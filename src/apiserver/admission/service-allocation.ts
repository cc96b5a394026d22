import { type Service, type ServiceSpec, services } from "../../api/generated/core-v1.ts";
import { serviceCIDRs } from "../../api/generated/networking-v1.ts";
import type { Client } from "../../client/client.ts";
import { createInformer } from "../../client/informer.ts";
import { type Cidr, parseCidr } from "../../machinery/cidr.ts";
import type { Clock } from "../../machinery/clock.ts";
import type { Logger } from "../../machinery/log.ts";
import type { DeepReadonly } from "../../machinery/object.ts";
import { type FieldError, fieldError, internalError, invalid } from "../../machinery/status.ts";
import type { AdmissionAttributes, AdmissionPlugin } from "../request.ts";
import { isAbout } from "./kinds.ts";
import { type Holder, NumberPool } from "./number-pool.ts";
import { familyOf, type IpFamily, settleFamilies } from "./service-families.ts";
import { StoreTurn, type StoreTurnOptions } from "./store-turn.ts";

export interface ServiceAllocationOptions {
  readonly client: Client;
  /** One range a family, the default one first. */
  readonly serviceCidrs: readonly string[];
  readonly nodePortRange: { readonly from: number; readonly to: number };
  readonly clock: Clock;
  readonly logger: Logger;
  readonly signal: AbortSignal;
  /** Where other servers hand out addresses, too: only one of them at a time. */
  readonly turns?: StoreTurnOptions;
}

/** Addresses beyond this many are not handed out: a range of IPv6 would fill no memory, but no cluster needs it either. */
const mostAddresses = 2 ** 20;

interface AddressRange {
  readonly cidr: Cidr;
  readonly family: IpFamily;
  /**
   * Number n is the address n + 1 of the range: the first one is the network's. Of ranges that overlap, the first one
   * that contains an address keeps it.
   */
  readonly pool: NumberPool;
  /** The uid of the ServiceCIDR that it comes from; absent: the cluster was started with it. */
  readonly from?: string;
  /** Is it going, so that nothing more is handed out of it? */
  readonly closed?: boolean;
}

/** What one request took, so that it can be given back. */
type Taken = { readonly pool: NumberPool; readonly number: number }[];

/** How many numbers are kept for those who choose themselves: a fraction of the range, within bounds. */
function staticBand(size: number, fraction: number, atLeast: number, atMost: number): number {
  if (size < atLeast) return 0;
  return Math.min(Math.max(atLeast, Math.floor(size / fraction)), atMost);
}

function makeRange(text: string, more: Pick<AddressRange, "from"> = {}): AddressRange {
  const cidr = parseCidr(text);
  const all = cidr.size > BigInt(mostAddresses) ? mostAddresses : Number(cidr.size);
  // Neither the network's address nor, with IPv4, the broadcast address belongs to a service.
  const usable = Math.max(0, all - (cidr.family === 4 ? 2 : 1));
  const pool = new NumberPool(usable, staticBand(usable, 16, 16, 256));
  // The first one is the API server's own, whether its service stands already or not.
  if (more.from === undefined) pool.take(0, { uid: "" });
  return { cidr, family: cidr.family === 4 ? "IPv4" : "IPv6", pool, ...more };
}

/**
 * Gives Services their cluster addresses and node ports. What is taken is known from the stored Services, followed by an
 * informer, and from the requests under way; so it is right after every start, and a request that fails gives back.
 */
export function serviceAllocation(options: ServiceAllocationOptions): AdmissionPlugin {
  const { client, clock, logger, signal, turns } = options;
  const own = options.serviceCidrs.map((text) => makeRange(text));
  let ranges: readonly AddressRange[] = own;
  const { from, to } = options.nodePortRange;
  const ports = new NumberPool(to - from + 1, staticBand(to - from + 1, 32, 16, 128));
  const families = own.map((range) => range.family);
  const taken = new WeakMap<AdmissionAttributes, Taken>();
  const leaving = new WeakMap<AdmissionAttributes, () => void>();

  const numbersOf = (spec: DeepReadonly<ServiceSpec> | undefined): Taken => {
    const numbers: Taken = [];
    for (const ip of spec?.clusterIPs ?? (spec?.clusterIP ? [spec.clusterIP] : [])) {
      const found = place(ip, ranges);
      if (found) numbers.push(found);
    }
    for (const port of [...(spec?.ports ?? []).map((one) => one.nodePort), spec?.healthCheckNodePort]) {
      if (port && port >= from && port <= to) numbers.push({ pool: ports, number: port - from });
    }
    return numbers;
  };

  const informer = createInformer(client, services, { clock, logger });
  informer.on({
    add: (service) => {
      for (const { pool, number } of numbersOf(service.spec)) pool.note(number, service.metadata.uid ?? "");
    },
    update: (service, old) => {
      const uid = service.metadata.uid ?? "";
      const now = numbersOf(service.spec);
      for (const { pool, number } of numbersOf(old.spec)) {
        if (!now.some((one) => one.pool === pool && one.number === number)) pool.free(number, { uid });
      }
      for (const { pool, number } of now) pool.note(number, uid);
    },
    delete: (service) => {
      const uid = service.metadata.uid ?? "";
      for (const { pool, number } of numbersOf(service.spec)) pool.free(number, { uid });
      for (const { pool } of own) pool.take(0, { uid: "" });
    },
  });
  void informer.start(signal);

  /** Ranges that were added while the cluster runs; what services have of them is found again. */
  const added = createInformer(client, serviceCIDRs, { clock, logger });
  const rangesChanged = () => {
    const texts = new Set(own.map(({ cidr }) => String(cidr)));
    ranges = [
      ...own,
      ...added.list().flatMap(({ metadata, spec }) => {
        const closed = metadata.deletionTimestamp !== undefined;
        const from = metadata.uid ?? "";
        const cidrs = (spec?.cidrs ?? []).map(parseCidr).filter((cidr) => !texts.has(String(cidr)));
        return cidrs.map((cidr) => {
          // Requests under way hold numbers of its pool.
          const known = ranges.find((range) => range.from === from && String(range.cidr) === String(cidr));
          return { ...(known ?? makeRange(String(cidr), { from })), closed };
        });
      }),
    ];
    for (const service of informer.list()) {
      for (const { pool, number } of numbersOf(service.spec)) pool.note(number, service.metadata.uid ?? "");
    }
  };
  added.on({ add: rangesChanged, update: rangesChanged, delete: rangesChanged });
  void added.start(signal);

  /** Brings what is thought to be taken to what is stored now. */
  const lookAgain = async () => {
    const stored = new Map<NumberPool, Map<number, string>>();
    for (const { metadata, spec } of (await client.list(services)).items) {
      for (const { pool, number } of numbersOf(spec)) {
        const ofPool = stored.get(pool) ?? new Map<number, string>();
        stored.set(pool, ofPool.set(number, metadata.uid ?? ""));
      }
    }
    for (const pool of new Set([ports, ...ranges.map((range) => range.pool)])) {
      pool.replaceStored(stored.get(pool) ?? new Map());
    }
  };

  const turn = turns && new StoreTurn("services", turns, lookAgain);

  return {
    name: "ServiceAllocation",
    last: true,
    async admit(attributes) {
      if (!isAbout(attributes, services, "CREATE", "UPDATE")) return;
      if (!informer.hasSynced || !added.hasSynced) await Promise.all([informer.synced(signal), added.synced(signal)]);
      const service: Service = attributes.object;
      const { spec } = service;
      if (!spec) return;
      const old = attributes.oldObject as Service | undefined;
      if (old?.spec) keepAllocated(spec, old.spec);
      if (turn && !attributes.dryRun) leaving.set(attributes, await turn.enter());
      const uid = old?.metadata.uid;
      const holder: Holder = uid === undefined ? { request: attributes } : { uid };
      const mine: Taken = [];
      taken.set(attributes, mine);
      const held = numbersOf(old?.spec);
      // The store is ahead of the informer: what stands there belongs to this service, whatever was heard of it.
      if (uid !== undefined) for (const { pool, number } of held) pool.note(number, uid);
      const record = (pool: NumberPool, number: number) => {
        // What the stored object has already is not this request's to give back.
        if (!held.some((one) => one.pool === pool && one.number === number)) mine.push({ pool, number });
      };
      const errors = [
        ...(spec.type === "ExternalName" ? [] : allocateAddresses(spec, ranges, families, holder, record)),
        ...allocatePorts(spec, ports, { from, to }, holder, record),
      ];
      if (errors.length > 0) throw invalid({ group: "", resource: "Service" }, service.metadata.name ?? "", errors);
    },
    release(attributes) {
      const mine = taken.get(attributes);
      if (!mine) return;
      taken.delete(attributes);
      const uid = attributes.oldObject?.metadata.uid;
      for (const { pool, number } of mine) pool.free(number, uid === undefined ? { request: attributes } : { uid });
    },
    done(attributes) {
      leaving.get(attributes)?.();
      leaving.delete(attributes);
    },
  };
}

function place(ip: string, ranges: readonly AddressRange[]) {
  for (const { cidr, pool } of ranges) {
    const index = cidr.indexOf(ip);
    if (index !== undefined && index >= 1n && index <= BigInt(pool.size)) return { pool, number: Number(index) - 1 };
  }
  return undefined;
}

/** An update that leaves allocated values out means the ones that are there. */
function keepAllocated(spec: ServiceSpec, old: ServiceSpec): void {
  if (spec.type === "ExternalName" || old.type === "ExternalName") return;
  if (!spec.clusterIP && old.clusterIP) spec.clusterIP = old.clusterIP;
  if (!spec.clusterIPs?.length && old.clusterIPs && spec.clusterIP === old.clusterIP)
    spec.clusterIPs = [...old.clusterIPs];
  if (!spec.ipFamilies && old.ipFamilies && spec.ipFamilyPolicy === undefined) {
    spec.ipFamilies = [...old.ipFamilies];
    if (old.ipFamilyPolicy) spec.ipFamilyPolicy = old.ipFamilyPolicy;
  }
  const used = new Set((spec.ports ?? []).map((port) => port.nodePort));
  if (!needsNodePorts(spec)) return;
  for (const port of spec.ports ?? []) {
    const before = old.ports?.find(
      (one) => one.port === port.port && (one.protocol ?? "TCP") === (port.protocol ?? "TCP"),
    );
    if (!port.nodePort && before?.nodePort && !used.has(before.nodePort)) port.nodePort = before.nodePort;
  }
  if (!spec.healthCheckNodePort && old.healthCheckNodePort && needsHealthPort(spec)) {
    spec.healthCheckNodePort = old.healthCheckNodePort;
  }
}

function needsNodePorts(spec: ServiceSpec): boolean {
  return spec.type === "NodePort" || (spec.type === "LoadBalancer" && spec.allocateLoadBalancerNodePorts !== false);
}

function needsHealthPort(spec: ServiceSpec): boolean {
  return spec.type === "LoadBalancer" && spec.externalTrafficPolicy === "Local";
}

type Record = (pool: NumberPool, number: number) => void;

function allocateAddresses(
  spec: ServiceSpec,
  ranges: readonly AddressRange[],
  families: readonly IpFamily[],
  holder: Holder,
  record: Record,
): FieldError[] {
  if (spec.clusterIP && !spec.clusterIPs?.length) spec.clusterIPs = [spec.clusterIP];
  const errors = settleFamilies(spec, families);
  if (errors.length > 0) return errors;
  if (spec.clusterIP === "None") {
    spec.clusterIPs = ["None"];
    return [];
  }
  const ips = [...(spec.clusterIPs ?? [])];
  ips.length = Math.min(ips.length, spec.ipFamilies!.length);
  for (const [index, family] of spec.ipFamilies!.entries()) {
    const open = ranges.filter((one) => one.family === family && !one.closed);
    const [range] = open;
    if (!range) continue;
    const wanted = ips[index];
    if (!wanted) {
      ips[index] = takeAnyAddress(open, ranges, holder, record);
      continue;
    }
    const home = open.find(({ cidr }) => cidr.contains(wanted)) ?? range;
    const why = takeAddress(wanted, home, holder, record);
    if (why) {
      const text = `failed to allocate IP ${wanted}: ${why}`;
      errors.push(fieldError.invalid("spec.clusterIPs", spec.clusterIPs, text));
    }
  }
  if (errors.length > 0) return errors;
  spec.clusterIPs = ips;
  spec.clusterIP = ips[0]!;
  return [];
}

/** How often another address is tried when one belongs to a range that overlaps, and is taken there. */
const tries = 256;

/** A free address of the first range that has any. Throws 500 when there is none. */
function takeAnyAddress(
  open: readonly AddressRange[],
  ranges: readonly AddressRange[],
  holder: Holder,
  record: Record,
): string {
  for (const { cidr, pool } of open) {
    for (let attempt = 0; attempt < tries; attempt++) {
      const number = pool.takeAny(holder);
      if (number === undefined) break;
      const ip = cidr.nth(number + 1);
      const home = place(ip, ranges) ?? { pool, number };
      if (home.pool === pool) {
        record(pool, number);
        return ip;
      }
      pool.free(number, holder);
      if (!home.pool.take(home.number, holder)) continue;
      record(home.pool, home.number);
      return ip;
    }
  }
  throw internalError(new Error("failed to allocate a serviceIP: range is full"));
}

function takeAddress(ip: string, range: AddressRange, holder: Holder, record: Record): string | undefined {
  if (!familyOf(ip)) return "must be a valid IP address";
  const found = place(ip, [range]);
  // Beyond what is handed out, but inside: nobody else can get it from here.
  if (!found && range.cidr.contains(ip) && range.cidr.size > BigInt(mostAddresses)) return undefined;
  if (!found)
    return `the provided network does not match the current range: the provided IP (${ip}) is not in the valid range. The range of valid IPs is ${range.cidr}`;
  if (!found.pool.take(found.number, holder)) return "provided IP is already allocated";
  record(found.pool, found.number);
  return undefined;
}

function allocatePorts(
  spec: ServiceSpec,
  pool: NumberPool,
  { from, to }: { from: number; to: number },
  holder: Holder,
  record: Record,
): FieldError[] {
  const errors: FieldError[] = [];
  const take = (field: string, wanted: number) => {
    if (wanted < from || wanted > to) {
      const text = `provided port is not in the valid range. The range of valid ports is ${from}-${to}`;
      errors.push(fieldError.invalid(field, wanted, text));
    } else if (pool.take(wanted - from, holder)) record(pool, wanted - from);
    else errors.push(fieldError.invalid(field, wanted, "provided port is already allocated"));
  };
  const takeAny = (): number => {
    const number = pool.takeAny(holder);
    if (number === undefined) throw internalError(new Error("failed to allocate a nodePort: range is full"));
    record(pool, number);
    return number + from;
  };
  if (needsNodePorts(spec)) {
    // Chosen ones first, so that none of them is handed to a neighbour.
    for (const [index, port] of (spec.ports ?? []).entries()) {
      if (port.nodePort) take(`spec.ports[${index}].nodePort`, port.nodePort);
    }
    for (const port of spec.ports ?? []) {
      if (port.nodePort) continue;
      // One port of a service over TCP and UDP is one node port.
      const twin = spec.ports?.find((one) => one.port === port.port && one.nodePort && one.protocol !== port.protocol);
      port.nodePort = twin?.nodePort ?? takeAny();
    }
  }
  if (needsHealthPort(spec)) {
    if (spec.healthCheckNodePort) take("spec.healthCheckNodePort", spec.healthCheckNodePort);
    else spec.healthCheckNodePort = takeAny();
  }
  return errors;
}
