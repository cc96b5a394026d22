/**
 * Which server the agent's next connection goes to, and which connections may stay. Pure: what is known of the servers
 * is a value, and what happens makes the next one.
 */

/** unchecked: nothing is known, or no more than that it took a connection; failed: its tunnel fell or it took none. */
export type ServerHealth = "unchecked" | "healthy" | "failed";

/** Addresses are "host:port". */
export interface ServerStates {
  /** Where `--server` points. It is used when nothing that is listed works, and need not be listed itself. */
  readonly fallback: string;
  /** The cluster's servers, as far as they are known; the first is preferred among equals. */
  readonly listed: readonly string[];
  readonly health: ReadonlyMap<string, ServerHealth>;
  /** The server that took the last connection: kept while it works, so that a node's view goes on from one cache. */
  readonly active: string | undefined;
}

/** A connection through the load balancer. A name leads to an address, which may be that of a listed server. */
export interface Destination {
  readonly dialled: string;
  readonly reached: string;
}

/** Only the fallback is known. */
export function unknownServers(fallback: string): ServerStates {
  return { fallback, listed: [], health: new Map(), active: undefined };
}

/** All servers in the order in which a connection is tried with them. */
export function dialOrder(states: ServerStates): string[] {
  const { fallback, listed, active } = states;
  const all = listed.includes(fallback) ? listed : [...listed, fallback];
  const rank = (address: string): number => {
    const failed = healthOf(states, address) === "failed";
    if (!listed.includes(address)) return failed ? 5 : 3;
    if (failed) return 4;
    if (address === active) return 0;
    return healthOf(states, address) === "healthy" ? 1 : 2;
  };
  return [...all].sort((a, b) => rank(a) - rank(b));
}

/**
 * The list as the cluster now tells it; an empty one is taken for a bad answer and changes nothing.
 * @param random from 0 to 1: agents that hear of the same servers spread over them
 */
export function withServers(states: ServerStates, addresses: readonly string[], random: () => number): ServerStates {
  const next = [...new Set(addresses)];
  if (next.length === 0 || sameServers(next, states.listed)) return states;
  const listed = next
    .map((address) => ({ address, place: random() }))
    .sort((a, b) => a.place - b.place)
    .map(({ address }) => address);
  const known = [...states.health].filter(([address]) => listed.includes(address) || address === states.fallback);
  const active = states.active !== undefined && listed.includes(states.active) ? states.active : undefined;
  return { ...states, listed, health: new Map(known), active };
}

/** A connection to the server was made, or could not be made. */
export function withDial(states: ServerStates, address: string, connected: boolean): ServerStates {
  if (!connected) return withHealth(states, address, "failed");
  const recovered = healthOf(states, address) === "failed" ? withHealth(states, address, "unchecked") : states;
  return { ...recovered, active: address };
}

/** The tunnel to the server stands, or fell. */
export function withTunnel(states: ServerStates, address: string, connected: boolean): ServerStates {
  return withHealth(states, address, connected ? "healthy" : "failed");
}

/**
 * May the connection stay? One to a server that left the list may not, and one to a failed server, or to the fallback
 * where it is no listed server, only until another is known to work: its client has to notice, and connect again.
 */
export function keeps(states: ServerStates, { dialled, reached }: Destination): boolean {
  const { listed, fallback } = states;
  const server = listed.includes(reached) ? reached : dialled;
  const betterExists = listed.some((address) => address !== server && healthOf(states, address) === "healthy");
  if (listed.includes(server)) return healthOf(states, server) !== "failed" || !betterExists;
  return server === fallback && !betterExists;
}

export function sameServers(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((address) => b.includes(address));
}

function healthOf(states: ServerStates, address: string): ServerHealth {
  return states.health.get(address) ?? "unchecked";
}

function withHealth(states: ServerStates, address: string, health: ServerHealth): ServerStates {
  if (!states.listed.includes(address) && address !== states.fallback) return states;
  return { ...states, health: new Map(states.health).set(address, health) };
}
