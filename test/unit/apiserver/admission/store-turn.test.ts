import assert from "node:assert/strict";
import { describe, test } from "node:test";
import {
  configMaps,
  namespaces,
  type ResourceQuota,
  resourceQuotas,
  type Service,
  services,
} from "../../../../src/api/generated/core-v1.ts";
import { StoreTurn } from "../../../../src/apiserver/admission/store-turn.ts";
import { type Clock, ioClock } from "../../../../src/machinery/clock.ts";
import { silentLogger } from "../../../../src/machinery/log.ts";
import { StatusError } from "../../../../src/machinery/status.ts";
import { FakeClock } from "../../../support/fake-clock.ts";
import { startSharingServer } from "../../../support/shared-control-plane.ts";
import { openSharedStore } from "../../../support/shared-store.ts";

const namespace = "default";

function service(name: string, spec: object = {}): Service {
  return { metadata: { name, namespace }, spec: { ports: [{ port: 80 }], ...spec } };
}

describe("servers that share a store", () => {
  test("one has the turn at a time, and each gets it", async (t) => {
    const store = await openSharedStore(t);
    const turns = [1, 2, 3].map(() => new StoreTurn("test", { store, clock: ioClock, logger: silentLogger }));
    const inside = new Set<number>();
    const seen: number[] = [];
    await Promise.all(
      turns.flatMap((turn, index) =>
        Array.from({ length: 20 }, async () => {
          const leave = await turn.enter();
          assert.deepEqual(
            [...inside].filter((other) => other !== index),
            [],
          );
          inside.add(index);
          seen.push(index);
          await ioClock.sleep(2);
          inside.delete(index);
          leave();
        }),
      ),
    );
    assert.equal(seen.length, 60);
  });

  test("a turn lasts as long as its requests, and is over for the others when its server is gone", async (t) => {
    const clock = new FakeClock();
    const store = await openSharedStore(t, clock);
    const turnBy = (by: Clock) => new StoreTurn("test", { store, clock: by, logger: silentLogger });
    let entered = false;
    const enter = async () => {
      const leave = await turnBy(ioClock).enter();
      entered = true;
      leave();
    };
    const pass = async (seconds: number) => {
      for (let second = 0; second < seconds && !entered; second++) {
        await clock.advance(1000);
        // For the store's worker, and for who waits.
        await ioClock.sleep(120);
      }
    };
    const leave = await turnBy(clock).enter();
    const first = enter();
    await pass(20);
    assert.equal(entered, false, "it was prolonged");
    leave();
    await first;
    // Killed: its clock stands still, so it neither leaves nor prolongs.
    await turnBy(new FakeClock()).enter();
    entered = false;
    const second = enter();
    await pass(10);
    assert.equal(entered, false);
    await pass(20);
    await second;
  });

  test("whoever cannot prepare for the turn gives it up and says why", async (t) => {
    const store = await openSharedStore(t);
    let broken = true;
    const options = { store, clock: ioClock, logger: silentLogger };
    const turn = new StoreTurn("test", options, async () => {
      if (broken) throw new Error("cannot be read");
    });
    await assert.rejects(turn.enter(), /cannot be read/);
    broken = false;
    (await turn.enter())();
  });

  test("no two Services get one address or node port, whichever servers are asked", async (t) => {
    const store = await openSharedStore(t);
    // Hardly more numbers than are asked for: any two servers would choose the same ones.
    const options = { serviceCidr: "10.43.0.0/26", nodePortRange: { from: 30_000, to: 30_049 } };
    const servers = await Promise.all(
      ["192.0.2.1", "192.0.2.2", "192.0.2.3"].map((address) =>
        startSharingServer(t, store, { ...options, advertise: { address, port: 6443 } }),
      ),
    );
    const made = await Promise.all(
      Array.from({ length: 45 }, (_, index) =>
        servers[index % servers.length]!.client.create(services, service(`s${index}`, { type: "NodePort" })),
      ),
    );
    const ips = made.map(({ spec }) => spec!.clusterIP!);
    const ports = made.map(({ spec }) => spec!.ports![0]!.nodePort!);
    assert.equal(new Set(ips).size, 45, "addresses");
    assert.equal(new Set(ports).size, 45, "node ports");
    assert.ok(!ips.includes("10.43.0.1"));
  });

  test("who waited for a turn and was called off meanwhile writes nothing", async (t) => {
    const store = await openSharedStore(t);
    const { client } = await startSharingServer(t, store);
    const leave = await new StoreTurn("services", { store, clock: ioClock, logger: silentLogger }).enter();
    const called = new AbortController();
    const creating = client.create(services, service("late"), { signal: called.signal });
    creating.catch(() => {});
    await ioClock.sleep(50);
    called.abort(new Error("another may lead"));
    leave();
    await assert.rejects(creating, /another may lead/);
    await assert.rejects(client.get(services, "late", { namespace }), { code: 404 });
    // Its turn is over for the others, and what it had taken is free.
    await client.create(services, service("next"));
  });

  test("an address that is chosen is given once, and again after its Service is gone, on another server", async (t) => {
    const store = await openSharedStore(t);
    const [one, two] = await Promise.all(
      ["192.0.2.1", "192.0.2.2"].map((address) => startSharingServer(t, store, { advertise: { address, port: 6443 } })),
    );
    const clusterIP = "10.43.0.99";
    const results = await Promise.allSettled([
      one!.client.create(services, service("a", { clusterIP })),
      two!.client.create(services, service("b", { clusterIP })),
    ]);
    const refused = results.filter((result) => result.status === "rejected");
    assert.equal(refused.length, 1);
    assert.match(String(refused[0]!.reason.message), /provided IP is already allocated/);
    for (const name of ["a", "b"]) await one!.client.delete(services, name, { namespace }).catch(() => {});
    for (const [index, name] of ["c", "d", "e"].entries()) {
      const { client } = index % 2 ? one! : two!;
      const { spec } = await client.create(services, service(name, { clusterIP }));
      assert.equal(spec?.clusterIP, clusterIP);
      await (index % 2 ? two! : one!).client.delete(services, name, { namespace });
    }
  });

  test("a quota is not passed by requests to several servers at once", async (t) => {
    const store = await openSharedStore(t);
    const servers = await Promise.all(
      ["192.0.2.1", "192.0.2.2"].map((address) => startSharingServer(t, store, { advertise: { address, port: 6443 } })),
    );
    const { client } = servers[0]!;
    await client.create(namespaces, { metadata: { name: "limited" } });
    const quota: ResourceQuota = {
      metadata: { name: "q", namespace: "limited" },
      spec: { hard: { "count/configmaps": "7" } },
    };
    await client.create(resourceQuotas, quota);
    // Quotas are known to every server a moment later, as in Kubernetes.
    for (const server of servers) await server.client.list(resourceQuotas, { namespace: "limited" });
    const results = await Promise.allSettled(
      Array.from({ length: 24 }, (_, index) =>
        servers[index % 2]!.client.create(configMaps, { metadata: { name: `c${index}`, namespace: "limited" } }),
      ),
    );
    const refused = results.flatMap((result) => (result.status === "rejected" ? [result.reason] : []));
    for (const reason of refused) {
      assert.ok(reason instanceof StatusError && /exceeded quota: q/.test(reason.message), String(reason));
    }
    const { items } = await client.list(configMaps, { namespace: "limited" });
    assert.equal(items.length, 7);
    assert.equal(results.length - refused.length, 7);
  });
});
