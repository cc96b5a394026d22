import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { after, before, describe, test } from "node:test";
import { freePort } from "../../src/cluster/free-port.ts";
import { silentLogger } from "../../src/machinery/log.ts";
import { openEtcdStore } from "../../src/store/etcd/etcd-store.ts";
import { type Store, type StoreEvent, UnavailableError, UnknownOutcomeError } from "../../src/store/store.ts";
import { run, tryRun } from "../../tools/run.ts";
import { eventually } from "../support/eventually.ts";
import { FakeClock } from "../support/fake-clock.ts";
import { startTcpProxy } from "../support/tcp-proxy.ts";

const waitMs = 60_000;

describe("a store on three members of etcd", () => {
  const cluster = `test-etcd-members-${randomBytes(4).toString("hex")}`;
  const names = [1, 2, 3].map((index) => `${cluster}-${index}`);
  const servers: { host: string; port: number; tls: boolean }[] = [];
  const open = (): Promise<Store> =>
    openEtcdStore({ servers, files: {}, clock: new FakeClock(), logger: silentLogger });

  before(async () => {
    await run("docker", ["network", "create", cluster]);
    const initial = names.map((name) => `${name}=http://${name}:2380`).join(",");
    for (const name of names) {
      const port = await freePort("127.0.0.1");
      servers.push({ host: "127.0.0.1", port, tls: false });
      await run("docker", [
        ...["run", "-d", "--name", name, "--network", cluster, "-p", `127.0.0.1:${port}:2379`, "k3ts/test-etcd:1.0"],
        ...[`--name=${name}`, `--initial-cluster=${initial}`, "--listen-peer-urls=http://0.0.0.0:2380"],
        `--initial-advertise-peer-urls=http://${name}:2380`,
      ]);
    }
    await eventually(async () => (await open()).close(), 120_000);
  });
  after(async () => {
    await tryRun("docker", ["rm", "-fv", ...names]);
    await tryRun("docker", ["network", "rm", cluster]);
  });

  /** The container of the member that leads. */
  async function leader(): Promise<string> {
    for (const name of names) {
      const { code, stdout } = await tryRun("docker", ["exec", name, "etcdctl", "endpoint", "status", "-w", "json"]);
      if (code !== 0) continue;
      const [answer] = JSON.parse(stdout) as { Status: { header: { member_id: unknown }; leader: unknown } }[];
      if (answer && String(answer.Status.leader) === String(answer.Status.header.member_id)) return name;
    }
    throw new Error("no member leads");
  }

  test("a killed leader, and then a paused one, lose no write, and watches miss and repeat nothing", async () => {
    const store = await open();
    const events: StoreEvent[] = [];
    const errors: unknown[] = [];
    await store.watch("/led/", {
      afterRevision: await store.currentRevision(),
      onEvents: (more) => void events.push(...more),
      onError: (error) => errors.push(error),
    });
    const made = new Map<string, number>();
    const unknown = new Set<string>();
    let going = true;
    const writers = Array.from({ length: 4 }, async (_, writer) => {
      for (let index = 0; going; index++) {
        const key = `/led/${writer}/${index}`;
        try {
          const result = await store.create(key, Buffer.from(key));
          assert.ok(result.ok, key);
          made.set(key, result.revision);
        } catch (error) {
          if (error instanceof UnknownOutcomeError) unknown.add(key);
          else if (!(error instanceof UnavailableError)) throw error;
        }
      }
    });
    const goesOn = async (count: number) => {
      const before = made.size;
      await eventually(() => assert.ok(made.size >= before + count, `${made.size - before} writes`), waitMs);
    };
    await goesOn(50);
    const killed = await eventually(leader, waitMs);
    await run("docker", ["kill", killed]);
    await goesOn(50);
    await run("docker", ["start", killed]);
    const paused = await eventually(leader, waitMs);
    await run("docker", ["pause", paused]);
    await goesOn(50);
    await run("docker", ["unpause", paused]);
    await goesOn(50);
    going = false;
    await Promise.all(writers);
    const { entries, revision } = await store.list("/led/");
    await eventually(() => assert.ok((events.at(-1)?.revision ?? 0) >= entries.at(-1)!.modRevision), waitMs);
    const there = new Map(entries.map(({ key, modRevision }) => [key, modRevision]));
    for (const [key, at] of made) assert.equal(there.get(key), at, `${key} was acknowledged`);
    for (const key of there.keys()) assert.ok(made.has(key) || unknown.has(key), `${key} was refused, and is there`);
    const newest = Math.max(...there.values());
    assert.ok(newest <= revision);
    await eventually(() => assert.equal(events.at(-1)?.revision, newest), waitMs);
    assert.deepEqual(
      events.map(({ key, revision: at }) => [at, key]),
      entries.map(({ key, modRevision }) => [modRevision, key] as const).sort(([a], [b]) => a - b),
    );
    assert.deepEqual(errors, []);
    await store.close();
  });

  test("the own member is left when it dies, for others learned meanwhile, and gone back to when it is there again", async () => {
    const proxies = await Promise.all(servers.map((server) => startTcpProxy(server)));
    const placeOf = (index: number) => ({ host: "127.0.0.1", port: proxies[index]!.port, tls: false });
    const told: string[] = [];
    const tell = (...line: unknown[]) => void told.push(String(line.at(-1)));
    let changed = () => {};
    const store = await openEtcdStore({
      // That there are others is learned from the first.
      servers: [placeOf(0)],
      membership: {
        serversOf: (members) =>
          names.flatMap((name, at) => (members.some((one) => one.name === name) ? placeOf(at) : [])),
        onChange(listener) {
          changed = listener;
          return () => {};
        },
      },
      files: {},
      clock: new FakeClock(),
      logger: { ...silentLogger, debug: tell, info: tell, warn: tell },
    });
    try {
      await eventually(() => assert.ok(told.includes("The endpoints of etcd have changed")), waitMs);
      const events: StoreEvent[] = [];
      const errors: unknown[] = [];
      await store.watch("/own/", {
        afterRevision: await store.currentRevision(),
        onEvents: (more) => void events.push(...more),
        onError: (error) => errors.push(error),
      });
      const made: string[] = [];
      let count = 0;
      // A key whose answer was lost may be there, too.
      const write = async () => {
        const key = `/own/${count++}`;
        assert.ok((await store.create(key, Buffer.from(key))).ok);
        made.push(key);
      };
      await write();
      await run("docker", ["kill", names[0]!]);
      await eventually(write, waitMs);
      const deadMs = Date.now();
      // Longer than any of the store's own time-outs.
      while (Date.now() - deadMs < 9000) await write();
      assert.equal(store.problem(), undefined);
      assert.equal((await store.get("/own/0"))?.value.toString(), "/own/0");
      await run("docker", ["start", names[0]!]);
      changed();
      const home = "The preferred member of etcd answers again and is used";
      await eventually(() => assert.ok(told.includes(home)), waitMs);
      await write();
      // Nothing goes through the others any more, the watch neither.
      const before = told.length;
      for (const proxy of proxies.slice(1)) proxy.cut();
      await write();
      assert.equal((await store.get("/own/0"))?.value.toString(), "/own/0");
      assert.ok(!told.slice(before).some((text) => /broke|does not answer/.test(text)), told.slice(before).join("\n"));
      const { entries } = await store.list("/own/");
      await eventually(() => assert.equal(events.length, entries.length), waitMs);
      assert.deepEqual(
        events.map(({ key, revision }) => [revision, key]),
        entries.map(({ key, modRevision }) => [modRevision, key] as const).sort(([a], [b]) => a - b),
      );
      assert.ok(made.every((key) => entries.some((entry) => entry.key === key)));
      assert.deepEqual(errors, []);
    } finally {
      await store.close();
      for (const proxy of proxies) await proxy[Symbol.asyncDispose]();
    }
  });

  test("a member alone takes no writes and answers no consistent reads, and says so in bounded time", async () => {
    const store = await open();
    const [, ...others] = names;
    await run("docker", ["pause", ...others]);
    try {
      const begunMs = Date.now();
      const outcomes = await Promise.allSettled([store.get("/alone"), store.create("/alone", Buffer.from("x"))]);
      assert.ok(Date.now() - begunMs < 30_000);
      for (const outcome of outcomes) {
        assert.equal(outcome.status, "rejected");
        const { reason } = outcome as PromiseRejectedResult;
        assert.ok(reason instanceof UnavailableError || reason instanceof UnknownOutcomeError, String(reason));
      }
      assert.match(store.problem() ?? "", /etcd is not available/);
    } finally {
      await run("docker", ["unpause", ...others]);
    }
    await eventually(() => assert.equal(store.problem(), undefined), waitMs);
    await store.close();
  });
});
