import assert from "node:assert/strict";
import { test } from "node:test";
import type { Lease } from "../../../src/api/generated/coordination-v1.ts";
import { configMaps } from "../../../src/api/generated/core-v1.ts";
import type { Client, WatchOptions } from "../../../src/client/client.ts";
import { fencedClient } from "../../../src/client/fenced-client.ts";
import { type Leadership, runAsLeader } from "../../../src/client/leader-election.ts";
import { silentLogger } from "../../../src/machinery/log.ts";
import { conflict, notFound, StatusError } from "../../../src/machinery/status.ts";
import { FakeClock } from "../../support/fake-clock.ts";

const facts = { group: "coordination.k8s.io", resource: "leases" };

/** One Lease with optimistic locking, which can be watched. */
class LeaseServer {
  lease: Lease | undefined;
  #version = 0;
  readonly #watchers = new Set<(lease: Lease) => void>();
  /** Whom it does not answer. */
  readonly unreachable = new Set<string>();
  /** Whose requests it takes and never answers. */
  readonly silent = new Set<string>();

  put(lease: Lease): Lease {
    this.lease = { ...lease, metadata: { ...lease.metadata, uid: "u", resourceVersion: String(++this.#version) } };
    for (const tell of this.#watchers) tell(this.lease);
    return this.lease;
  }

  clientOf(identity: string): Client {
    const up = async () => {
      if (this.unreachable.has(identity)) throw new Error("unreachable");
      if (this.silent.has(identity)) await new Promise(() => {});
    };
    const follow = (options: WatchOptions) => this.#watch(options);
    return {
      get: async () => {
        await up();
        if (!this.lease) throw notFound(facts, "l");
        return this.lease;
      },
      create: async (_type: unknown, lease: Lease) => {
        await up();
        if (this.lease) throw conflict(facts, "l", "there");
        return this.put(lease);
      },
      update: async (_type: unknown, lease: Lease) => {
        await up();
        if (lease.metadata.resourceVersion !== this.lease?.metadata.resourceVersion)
          throw conflict(facts, "l", "moved");
        return this.put(lease);
      },
      watch: (_type: unknown, options: WatchOptions) => follow(options),
    } as unknown as Client;
  }

  async *#watch({ signal }: WatchOptions) {
    const queue: Lease[] = this.lease ? [this.lease] : [];
    let wake = () => {};
    const tell = (lease: Lease) => {
      queue.push(lease);
      wake();
    };
    this.#watchers.add(tell);
    signal?.addEventListener("abort", () => wake());
    const annotations = { "k8s.io/initial-events-end": "true" };
    for (const object of queue.splice(0)) yield { type: "ADDED", object };
    yield { type: "BOOKMARK", object: { metadata: { resourceVersion: String(this.#version), annotations } } };
    while (!signal?.aborted) {
      for (const object of queue.splice(0)) yield { type: "MODIFIED", object };
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
    this.#watchers.delete(tell);
  }
}

interface Candidate {
  readonly stop: AbortController;
  readonly log: string[];
  readonly done: Promise<void>;
  leadership?: Leadership;
}

/** @param windDown how long the work takes to end when it is told to */
function candidate(server: LeaseServer, clock: FakeClock, identity: string, windDown = async () => {}): Candidate {
  const stop = new AbortController();
  const log: string[] = [];
  const client = server.clientOf(identity);
  const options = { client, namespace: "n", name: "l", identity, clock, logger: silentLogger };
  const result: Candidate = {
    stop,
    log,
    done: runAsLeader(options, stop.signal, async (leadership) => {
      result.leadership = leadership;
      log.push("leads");
      await new Promise((resolve) => leadership.signal.addEventListener("abort", resolve));
      await windDown();
      log.push("ends");
    }),
  };
  return result;
}

async function end(...candidates: Candidate[]): Promise<void> {
  for (const { stop } of candidates) stop.abort();
  await Promise.all(candidates.map(({ done }) => done));
}

test("one leads; when it gives up the lease the other follows at once", async () => {
  const clock = new FakeClock();
  const server = new LeaseServer();
  const first = candidate(server, clock, "first");
  await clock.advance(0);
  const second = candidate(server, clock, "second");
  await clock.advance(60_000);
  assert.deepEqual([first.log, second.log], [["leads"], []]);
  assert.equal(server.lease?.spec?.leaseTransitions, 0);
  await end(first);
  await clock.advance(0);
  assert.deepEqual([first.log, second.log], [["leads", "ends"], ["leads"]]);
  assert.equal(server.lease?.spec?.holderIdentity, "second");
  assert.equal(server.lease?.spec?.leaseTransitions, 1);
  await end(second);
});

test("a leader that cannot renew ends before another begins, and stands as a candidate again", async () => {
  const clock = new FakeClock();
  const server = new LeaseServer();
  const first = candidate(server, clock, "first");
  await clock.advance(0);
  const second = candidate(server, clock, "second");
  await clock.advance(3000);
  server.unreachable.add("first");
  await clock.advance(3500);
  assert.deepEqual([first.log, second.log], [["leads"], []]);
  await clock.advance(1000);
  // Its last renewal began after two seconds, and held for five.
  assert.deepEqual([first.log, second.log], [["leads", "ends"], []]);
  await clock.advance(1000);
  assert.deepEqual(second.log, []);
  await clock.advance(1000);
  assert.deepEqual(second.log, ["leads"]);
  server.unreachable.clear();
  await clock.advance(10_000);
  assert.deepEqual(first.log, ["leads", "ends"]);
  await end(second);
  await clock.advance(0);
  assert.deepEqual(first.log, ["leads", "ends", "leads"]);
  await end(first);
});

test("a renewal that is never answered ends the leadership as one that fails does", async () => {
  const clock = new FakeClock();
  const server = new LeaseServer();
  const leader = candidate(server, clock, "first");
  await clock.advance(1000);
  server.silent.add("first");
  await clock.advance(4500);
  assert.deepEqual(leader.log, ["leads", "ends"]);
  server.silent.clear();
  await clock.advance(8000);
  assert.deepEqual(leader.log, ["leads", "ends", "leads"]);
  await end(leader);
});

test("a lease whose holder is silent is taken over after its duration, counted from when it was seen to change", async () => {
  const clock = new FakeClock();
  const server = new LeaseServer();
  server.put({
    metadata: { name: "l", namespace: "n" },
    spec: { holderIdentity: "dead", leaseDurationSeconds: 15, renewTime: "2030-01-01T00:00:00.000000Z" },
  });
  const heir = candidate(server, clock, "heir");
  await clock.advance(14_500);
  assert.deepEqual(heir.log, []);
  await clock.advance(1000);
  assert.deepEqual(heir.log, ["leads"]);
  assert.equal(server.lease?.spec?.leaseTransitions, 1);
  await end(heir);
});

test("a killed leader is replaced within seven seconds and a half of its last renewal", async () => {
  const clock = new FakeClock();
  const server = new LeaseServer();
  const killed = candidate(server, clock, "killed");
  await clock.advance(0);
  const heir = candidate(server, clock, "heir");
  await clock.advance(20_100);
  // Killed: it neither renews nor releases.
  server.silent.add("killed");
  await clock.advance(7500);
  assert.deepEqual(heir.log, ["leads"]);
  await end(heir);
  void killed.stop.abort();
});

test("never two lead at once, whoever is cut off and however late their timers are", async () => {
  const clock = new FakeClock();
  const server = new LeaseServer();
  const names = ["a", "b", "c"];
  const all = names.map((name) => candidate(server, clock, name));
  let seed = 5;
  const random = () => {
    seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31;
    return seed / 2 ** 31;
  };
  const leaders = new Set<string>();
  for (let step = 0; step < 400; step++) {
    const name = names[Math.floor(random() * names.length)]!;
    if (random() < 0.3) server[random() < 0.5 ? "silent" : "unreachable"].add(name);
    else for (const set of [server.silent, server.unreachable]) set.delete(name);
    await clock.advance(Math.floor(random() * 3000));
    const holding = all.filter(({ leadership }) => leadership?.holds());
    assert.ok(holding.length <= 1, `step ${step}: ${holding.length} lead`);
    for (const one of holding) leaders.add(names[all.indexOf(one)]!);
    const working = all.filter(({ log }) => log.at(-1) === "leads");
    assert.ok(working.length <= 1, `step ${step}: ${working.length} work`);
  }
  assert.equal(leaders.size, 3);
  server.silent.clear();
  server.unreachable.clear();
  await end(...all);
});

test("work that does not end keeps the lease from being given back, and ended work frees it", async () => {
  const clock = new FakeClock();
  const server = new LeaseServer();
  let finish = () => {};
  const slow = candidate(server, clock, "slow", () => new Promise((resolve) => (finish = resolve)));
  await clock.advance(1000);
  slow.stop.abort();
  await clock.advance(1000);
  assert.equal(server.lease?.spec?.holderIdentity, "slow");
  finish();
  await slow.done;
  assert.equal(server.lease?.spec?.holderIdentity, "");
});

test("a process that stood still writes nothing after its time, even before its timers fire", async () => {
  const clock = new FakeClock();
  const lost = new AbortController();
  const untilMs = clock.now() + 5000;
  const written: string[] = [];
  const client = {
    create: async (_type: unknown, { metadata }: { metadata: { name: string } }) => void written.push(metadata.name),
  } as unknown as Client;
  const fenced = fencedClient(client, { holds: () => clock.now() < untilMs, lost: lost.signal });
  await fenced.create(configMaps, { metadata: { name: "in-time" } });
  await clock.advance(5000);
  await assert.rejects(
    fenced.create(configMaps, { metadata: { name: "late" } }),
    (error) => error instanceof StatusError && error.code === 403,
  );
  assert.deepEqual(written, ["in-time"]);
});
