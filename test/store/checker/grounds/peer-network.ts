import assert from "node:assert/strict";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import { ownerOf } from "../../../support/connection-owner.ts";
import { runningEtcds } from "../../../support/etcd-processes.ts";
import { eventually } from "../../../support/eventually.ts";
import { Wire } from "../../../support/wire.ts";
import type { Fault } from "../fault.ts";

/** The network between members of etcd on this machine: a wire between each two of them. */
export interface PeerNetwork extends AsyncDisposable {
  /** What the server at an index is to be started with. */
  args(index: number): readonly string[];
  readonly faults: readonly Fault[];
}

/** Where a member is said to be, and where it is: what comes for the one is passed on to the other. */
const peerPort = 2380;
const innerPort = 2390;
const metricsPort = 2381;

/**
 * Takes the place of members of etcd at their addresses, before these are started. Members call each other from any port
 * of 127.0.0.1: who calls is found out by whose the connection is.
 * @param addresses in IPv4's loopback network, in the order of the servers
 */
export async function startPeerNetwork(addresses: readonly string[]): Promise<PeerNetwork> {
  const places = addresses.map((_, index) => index);
  const links = places.flatMap((a) => places.slice(a + 1).map((b): Link => ({ ends: [a, b], wire: new Wire() })));
  const members = new Members(addresses);
  await using starting = new AsyncDisposableStack();
  for (const [index, host] of addresses.entries()) {
    const server = createServer((near) => {
      const caller = members.at(near);
      const link = links.find(({ ends }) => ends.includes(index) && ends.includes(caller ?? -1));
      // One that is gone again, which the kernel knows nothing of.
      if (!link || caller === index) near.resetAndDestroy();
      else link.wire.carry(near, { host, port: innerPort });
    });
    server.listen(peerPort, host);
    await once(server, "listening");
    starting.defer(() => server[Symbol.asyncDispose]());
  }
  // First: a server closes when its last connection does.
  for (const { wire } of links) starting.defer(() => wire.cut());
  const all = starting.move();
  return {
    args: (index) => ["--etcd-arg", `listen-peer-urls=https://${addresses[index]}:${innerPort}`],
    faults: [...links.flatMap(linkFaults), ...places.map((index) => isolation(links, index, addresses[index]!))],
    [Symbol.asyncDispose]: () => all.disposeAsync(),
  };
}

/** What is between two members. */
interface Link {
  /** Their places. */
  readonly ends: readonly number[];
  readonly wire: Wire;
}

function linkFaults({ ends, wire }: Link): readonly Fault[] {
  const of = `etcd ${ends.join(" and ")}`;
  return [
    {
      kind: "two members of etcd are cut off from each other",
      of,
      healFirst: true,
      inject: async () => wire.cut(),
      heal: async () => wire.heal(),
    },
    {
      kind: "packets between two members of etcd are lost",
      of,
      healFirst: true,
      inject: async () => wire.stall(),
      heal: async () => wire.heal(),
    },
  ];
}

/** A member without all others: it can neither lead nor follow, which it takes a second or two to find out. */
function isolation(links: readonly Link[], index: number, address: string): Fault {
  const own = links.filter(({ ends }) => ends.includes(index));
  return {
    kind: "a member of etcd is alone",
    of: `etcd ${index}`,
    healFirst: true,
    inject: async () => {
      for (const { wire } of own) wire.stall();
      // A fault that went past the members would look like one that they withstood.
      await eventually(async () =>
        assert.ok(!(await hasLeader(address)), `the member at ${address} still has a leader`),
      );
    },
    heal: async () => {
      for (const { wire } of own) wire.heal();
    },
  };
}

/** What a member says of itself. One that does not run has none. */
async function hasLeader(address: string): Promise<boolean> {
  try {
    const metrics = await fetch(`http://${address}:${metricsPort}/metrics`, { signal: AbortSignal.timeout(5000) });
    return /^etcd_server_has_leader 1$/m.test(await metrics.text());
  } catch {
    return false;
  }
}

/** Knows the members that run by their processes. */
class Members {
  readonly #addresses: readonly string[];
  /** Of those that ran when it last looked: their places by their process. */
  #known = new Map<number, number>();

  constructor(addresses: readonly string[]) {
    this.#addresses = addresses;
  }

  /** The place of the member that called; undefined when none of them did. */
  at(accepted: Socket): number | undefined {
    const known = ownerOf(accepted, [...this.#known.keys()]);
    if (known !== undefined) return this.#known.get(known);
    this.#known = this.#look();
    const found = ownerOf(accepted, [...this.#known.keys()]);
    return found === undefined ? undefined : this.#known.get(found);
  }

  #look(): Map<number, number> {
    return new Map(
      runningEtcds().flatMap(({ pid, configFile }) => {
        const index = this.#addresses.indexOf(addressIn(configFile) ?? "");
        return index < 0 ? [] : [[pid, index]];
      }),
    );
  }
}

/** The address in a member's configuration; undefined for one that was removed meanwhile. */
function addressIn(configFile: string): string | undefined {
  try {
    const { "advertise-client-urls": url } = JSON.parse(readFileSync(configFile, "utf8"));
    return new URL(url).hostname;
  } catch {
    return undefined;
  }
}
