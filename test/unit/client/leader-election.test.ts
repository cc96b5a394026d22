import assert from "node:assert/strict";
import { test } from "node:test";
import type { Lease } from "../../../src/api/generated/coordination-v1.ts";
import type { Client } from "../../../src/client/client.ts";
import { runAsLeader } from "../../../src/client/leader-election.ts";
import { silentLogger } from "../../../src/machinery/log.ts";
import { conflict, notFound } from "../../../src/machinery/status.ts";
import { FakeClock } from "../../support/fake-clock.ts";

const facts = { group: "coordination.k8s.io", resource: "leases" };

/** One Lease with optimistic locking. */
function leaseServer() {
  const state: { lease: Lease | undefined; version: number; down: boolean } = {
    lease: undefined,
    version: 0,
    down: false,
  };
  const store = (lease: Lease) => {
    const resourceVersion = String(++state.version);
    state.lease = { ...lease, metadata: { ...lease.metadata, resourceVersion } };
    return state.lease;
  };
  const up = () => {
    if (state.down) throw new Error("unreachable");
  };
  const client = {
    async get() {
      up();
      if (!state.lease) throw notFound(facts, "l");
      return state.lease;
    },
    async create(_type: unknown, lease: Lease) {
      up();
      return store(lease);
    },
    async update(_type: unknown, lease: Lease) {
      up();
      if (lease.metadata.resourceVersion !== state.lease?.metadata.resourceVersion) throw conflict(facts, "l", "moved");
      return store(lease);
    },
  } as unknown as Client;
  return { client, state };
}

function candidate(client: Client, clock: FakeClock, identity: string) {
  const stop = new AbortController();
  const log: string[] = [];
  const options = { client, namespace: "n", name: "l", identity, clock, logger: silentLogger };
  const done = runAsLeader(options, stop.signal, (signal) => {
    log.push("leads");
    return new Promise((resolve) =>
      signal.addEventListener("abort", () => {
        log.push("ends");
        resolve();
      }),
    );
  }).catch((error: Error) => log.push(error.message));
  return { stop, log, done };
}

test("one leads; when it gives up the lease the other follows within a retry", async () => {
  const clock = new FakeClock();
  const { client, state } = leaseServer();
  const first = candidate(client, clock, "first");
  await clock.advance(0);
  const second = candidate(client, clock, "second");
  await clock.advance(60_000);
  assert.deepEqual([first.log, second.log], [["leads"], []]);
  assert.equal(state.lease?.spec?.leaseTransitions, 0);
  first.stop.abort();
  await first.done;
  await clock.advance(6000);
  assert.deepEqual([first.log, second.log], [["leads", "ends"], ["leads"]]);
  assert.equal(state.lease?.spec?.holderIdentity, "second");
  second.stop.abort();
  await second.done;
});

test("a leader that cannot renew for ten seconds stops leading and says so", async () => {
  const clock = new FakeClock();
  const { client, state } = leaseServer();
  const leader = candidate(client, clock, "first");
  await clock.advance(3000);
  state.down = true;
  await clock.advance(8000);
  assert.deepEqual(leader.log, ["leads"]);
  await clock.advance(6000);
  await leader.done;
  assert.deepEqual(leader.log, ["leads", "ends", 'leadership of lease "l" was lost']);
});

test("a lease whose holder is silent is taken over after its duration", async () => {
  const clock = new FakeClock();
  const { client, state } = leaseServer();
  await client.create(
    {} as never,
    {
      metadata: { name: "l", namespace: "n" },
      spec: { holderIdentity: "dead", leaseDurationSeconds: 15, renewTime: "2030-01-01T00:00:00.000000Z" },
    } as never,
  );
  const heir = candidate(client, clock, "heir");
  await clock.advance(14_000);
  assert.deepEqual(heir.log, []);
  await clock.advance(6000);
  assert.deepEqual(heir.log, ["leads"]);
  assert.equal(state.lease?.spec?.leaseTransitions, 1);
  heir.stop.abort();
  await heir.done;
});
