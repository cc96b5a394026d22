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
