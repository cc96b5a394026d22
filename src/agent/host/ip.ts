import { CommandError, run } from "./command.ts";

export interface Link {
  readonly name: string;
  readonly index: number;
  readonly mtu: number;
  /** "link/ether" address, "02:42:…". */
  readonly mac: string;
  readonly up: boolean;
  /** "vxlan", "bridge", "dummy", "veth"; absent for plain devices. */
  readonly kind?: string;
  /** What the kind holds: for vxlan `id`, `port`, `local`, `link`. */
  readonly data: Readonly<Record<string, unknown>>;
  readonly addresses: readonly LinkAddress[];
}

export interface LinkAddress {
  readonly family: "inet" | "inet6";
  readonly address: string;
  readonly prefixLength: number;
  readonly scope: string;
}

export interface Route {
  /** "10.42.1.0/24" or "default"; addresses of one host come with "/32" or "/128". */
  readonly destination: string;
  /** "unicast", "unreachable", "blackhole", … */
  readonly type: string;
  readonly gateway?: string;
  readonly device?: string;
  /** Who made it: 2 the kernel, 3 boot, 4 an administrator; other numbers are programs. */
  readonly protocol: number;
  readonly source?: string;
  readonly metric?: number;
}

export interface Neighbour {
  readonly address: string;
  readonly mac: string;
  readonly permanent: boolean;
}

/** One entry of a vxlan device's forwarding table: frames for `mac` go to the node at `destination`. */
export interface FdbEntry {
  readonly mac: string;
  readonly destination: string;
}

interface RawLink {
  ifname: string;
  ifindex: number;
  mtu: number;
  address?: string;
  flags: string[];
  linkinfo?: { info_kind?: string; info_data?: Record<string, unknown> };
  addr_info?: { family: string; local: string; prefixlen: number; scope: string }[];
}

async function query<T>(args: readonly string[], program = "ip"): Promise<T[]> {
  const { stdout } = await run(program, ["-j", ...args]);
  // Absent things are printed as nothing, or as empty objects.
  return stdout.trim() === "" ? [] : (JSON.parse(stdout) as T[]);
}

/** Every network interface with its addresses. */
export async function listLinks(): Promise<Link[]> {
  const raw = await query<Partial<RawLink>>(["-d", "address", "show"]);
  return raw.filter((link): link is RawLink => link.ifname !== undefined).map(toLink);
}

/** One interface, or `undefined` when there is none of that name. */
export async function getLink(name: string): Promise<Link | undefined> {
  try {
    const raw = await query<Partial<RawLink>>(["-d", "address", "show", "dev", name]);
    const found = raw.find((link): link is RawLink => link.ifname === name);
    return found && toLink(found);
  } catch (error) {
    if (error instanceof CommandError && error.stderr.includes("does not exist")) return undefined;
    throw error;
  }
}

function toLink(raw: RawLink): Link {
  return {
    name: raw.ifname,
    index: raw.ifindex,
    mtu: raw.mtu,
    mac: raw.address ?? "",
    up: raw.flags.includes("UP"),
    ...(raw.linkinfo?.info_kind ? { kind: raw.linkinfo.info_kind } : {}),
    data: raw.linkinfo?.info_data ?? {},
    addresses: (raw.addr_info ?? []).flatMap((info) =>
      info.family === "inet" || info.family === "inet6"
        ? [{ family: info.family, address: info.local, prefixLength: info.prefixlen, scope: info.scope }]
        : [],
    ),
  };
}

interface RawRoute {
  dst: string;
  type?: string;
  gateway?: string;
  dev?: string;
  protocol?: string;
  prefsrc?: string;
  metric?: number;
}

/** IPv4 routes of the main table; with `protocol` only those that this number made. */
export async function listRoutes(protocol?: number): Promise<Route[]> {
  const selector = protocol === undefined ? [] : ["proto", `${protocol}`];
  const raw = await query<RawRoute>(["-N", "-d", "-4", "route", "show", ...selector]);
  return raw.map((route) => ({
    destination: route.dst === "default" || route.dst.includes("/") ? route.dst : `${route.dst}/32`,
    type: routeTypes[route.type ?? "1"] ?? route.type ?? "unicast",
    ...(route.gateway ? { gateway: route.gateway } : {}),
    ...(route.dev ? { device: route.dev } : {}),
    // What was selected is not printed again.
    protocol: Number(route.protocol ?? protocol),
    ...(route.prefsrc ? { source: route.prefsrc } : {}),
    ...(route.metric ? { metric: route.metric } : {}),
  }));
}

/** `-N` keeps protocol numbers as numbers whatever names a distribution gives them, and types with them. */
const routeTypes: Record<string, string> = { "1": "unicast", "2": "local", "6": "blackhole", "7": "unreachable" };

/** Neighbours of a device whose link-layer address is known. */
export async function listNeighbours(device: string): Promise<Neighbour[]> {
  const raw = await query<{ dst?: string; lladdr?: string; state?: string[] }>(["-4", "neigh", "show", "dev", device]);
  return raw.flatMap((entry) =>
    entry.dst && entry.lladdr
      ? [{ address: entry.dst, mac: entry.lladdr, permanent: entry.state?.includes("PERMANENT") ?? false }]
      : [],
  );
}

/** The forwarding entries of a vxlan device that name a remote node. */
export async function listFdb(device: string): Promise<FdbEntry[]> {
  const raw = await query<{ mac?: string; dst?: string }>(["fdb", "show", "dev", device], "bridge");
  return raw.flatMap((entry) => (entry.mac && entry.dst ? [{ mac: entry.mac, destination: entry.dst }] : []));
}

/**
 * Runs many commands of `ip` (each a line without the word "ip": "route replace …") in one process, in order, stopping
 * at the first that fails; what came before it stays. Throws `CommandError`.
 */
export async function ipBatch(lines: readonly string[]): Promise<void> {
  await batch("ip", lines);
}

/** The same for `bridge` ("fdb replace …"). */
export async function bridgeBatch(lines: readonly string[]): Promise<void> {
  await batch("bridge", lines);
}

async function batch(program: string, lines: readonly string[]): Promise<void> {
  if (lines.length === 0) return;
  await run(program, ["-batch", "-"], { input: `${lines.join("\n")}\n` });
}
