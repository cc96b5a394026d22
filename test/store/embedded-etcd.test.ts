import assert from "node:assert/strict";
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { after, before, describe, type TestContext, test } from "node:test";
import type { Supervisor } from "../../src/agent/bootstrap/supervisor-client.ts";
import { ioClock } from "../../src/machinery/clock.ts";
import { ConfigurationError } from "../../src/machinery/configuration-error.ts";
import { silentLogger } from "../../src/machinery/log.ts";
import { GrpcError } from "../../src/rpc/grpc-client.ts";
import { isInitialized } from "../../src/server/etcd/data-directory.ts";
import { type EmbeddedEtcd, startEmbeddedEtcd } from "../../src/server/etcd/embedded-etcd.ts";
import { MemberRemovedError } from "../../src/server/etcd/etcd-process.ts";
import { hasFounders } from "../../src/server/etcd/founders.ts";
import { foundingFiles } from "../../src/server/etcd/founding-files.ts";
import { migrateStore } from "../../src/store/migrate.ts";
import { openStore } from "../../src/store/open-store.ts";
import { openSqliteStore } from "../../src/store/sqlite/sqlite-store.ts";
import { CompactedError, type Store } from "../../src/store/store.ts";
import { loopbackNetwork, provideEtcd } from "../support/etcd-programs.ts";
import { eventually } from "../support/eventually.ts";
import { FakeClock } from "../support/fake-clock.ts";
import { temporaryDirectory } from "../support/temporary-directory.ts";

const patienceMs = 60_000;

/** A machine of the test: its server's directory, its name and an address of its own on loopback. */
interface Machine {
  readonly directory: string;
  readonly nodeName: string;
  readonly address: string;
}

function machines(context: TestContext, count: number): Machine[] {
  const network = loopbackNetwork();
  return Array.from({ length: count }, (_, index) => {
    const directory = temporaryDirectory(context);
    mkdirSync(join(directory, "db"));
    return { directory, nodeName: `server-${index}`, address: `${network}.${index + 1}` };
  });
}

async function start(
  context: TestContext,
  machine: Machine,
  options: {
    joined?: EmbeddedEtcd;
    supervisor?: () => Promise<Supervisor>;
    args?: readonly string[];
    signal?: AbortSignal;
  } = {},
): Promise<EmbeddedEtcd> {
  const { joined, supervisor } = options;
  const etcd = await startEmbeddedEtcd({
    ...machine,
    supervisor: joined ? async () => supervisorOf(joined) : supervisor,
    exposeMetrics: false,
    extraArguments: options.args ?? [],
    clock: ioClock,
    logger: silentLogger,
    signal: options.signal ?? context.signal,
  });
  context.after(() => etcd.stop());
  return etcd;
}

/** What a server that joins asks of the one that it joins. */
function supervisorOf(etcd: EmbeddedEtcd): Supervisor {
  return {
    url: new URL(`https://${etcd.address}:6443`),
    ca: "",
    get: async (path) => {
      assert.equal(path, "/db/info");
      return Buffer.from(await etcd.info());
    },
    post: () => Promise.reject(new Error("nothing is posted")),
  };
}

/** Of a server that must not ask whom it could join. */
const nobodyToAsk = () => Promise.reject(new Error("nobody is there to be asked"));

async function giveFoundingFiles(founders: readonly Machine[]): Promise<void> {
  const files = await foundingFiles(founders, ioClock);
  for (const [index, { directory }] of founders.entries()) {
    for (const { path, text } of files[index]!) {
      mkdirSync(dirname(join(directory, path)), { recursive: true });
      writeFileSync(join(directory, path), text, { mode: 0o600 });
    }
  }
}

/** The authorities that a server takes over when it joins. */
function takeAuthorities(from: Machine, to: Machine): void {
  for (const file of ["server-ca.crt", "server-ca.key", "peer-ca.crt", "peer-ca.key"])
    cpSync(join(from.directory, "tls/etcd", file), join(to.directory, "tls/etcd", file));
}

async function open(context: TestContext, etcd: EmbeddedEtcd): Promise<Store> {
  const store = await openStore({ ...etcd, sqlitePath: "", logger: silentLogger, clock: new FakeClock() });
  context.after(() => store.close());
  return store;
}

function openSqlite(machine: Machine): Promise<Store> {
  return openSqliteStore({ path: sqliteOf(machine), logger: silentLogger, clock: new FakeClock() });
}

const sqliteOf = ({ directory }: Machine) => join(directory, "db", "state.db");

/** The process of a machine's etcd. */
function etcdPid({ directory }: Machine): number {
  const config = join(directory, "db", "etcd", "config");
  for (const entry of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    try {
      if (readFileSync(`/proc/${entry}/cmdline`, "utf8").startsWith(`etcd\0--config-file\0${config}`))
        return Number(entry);
    } catch {
      // It has ended meanwhile.
    }
  }
  throw new Error(`no etcd runs with ${config}`);
}

async function fillSqlite(machine: Machine, count: number, above: number): Promise<Store> {
  const sqlite = await openSqlite(machine);
  await sqlite.raiseRevision(above);
  await Promise.all(
    Array.from({ length: count }, (_, index) =>
      sqlite.create(`/registry/configmaps/c${index}`, Buffer.from(`${index}`)),
    ),
  );
  await sqlite.create("/registry/events/e", Buffer.from("event"));
  await sqlite.create("/registry/masterleases/10.0.0.1", Buffer.from("here"));
  return sqlite;
}

describe("embedded etcd", { concurrency: 2 }, () => {
  let remove: () => void;
  before(async () => {
    remove = await provideEtcd();
  });
  after(() => remove());

  test("two servers that join a third at the same moment become voting members, and all hold what one wrote", async (context) => {
    const [first, second, third] = machines(context, 3) as [Machine, Machine, Machine];
    const one = await start(context, first);
    takeAuthorities(first, second);
    takeAuthorities(first, third);
    const others = await Promise.all([second, third].map((machine) => start(context, machine, { joined: one })));
    const members = await one.members.list();
    assert.deepEqual(members.map(({ name }) => name).sort(), [one, ...others].map(({ name }) => name).sort());
    assert.ok(members.every(({ isLearner }) => !isLearner));
    for (const { name, address, endpoint } of others) {
      assert.match(name, /^server-[12]-[0-9a-f]{8}$/);
      const hosts = endpoint.servers.map(({ host }) => host);
      assert.ok(hosts[0] === address && hosts.includes(first.address), `its own first, then the others: ${hosts}`);
    }
    const [here, there] = await Promise.all([open(context, one), open(context, others[1]!)]);
    assert.ok((await here.create("/registry/a", Buffer.from("1"))).ok);
    assert.equal((await there.get("/registry/a"))?.value.toString(), "1");
  });

  test("servers that found a cluster together are its voting members at once, and nobody has to be joined", async (context) => {
    const founders = machines(context, 3);
    await giveFoundingFiles(founders);
    const founded = await Promise.all(founders.map((machine) => start(context, machine, { supervisor: nobodyToAsk })));
    const [one, , three] = founded as [EmbeddedEtcd, EmbeddedEtcd, EmbeddedEtcd];
    const members = await one.members.list();
    assert.deepEqual(members.map(({ name }) => name).sort(), founded.map(({ name }) => name).sort());
    assert.ok(members.every(({ isLearner }) => !isLearner));
    assert.ok(
      founders.every(({ directory }) => !hasFounders(join(directory, "db", "etcd"))),
      "a founder that lost its data would be another member",
    );
    const [here, there] = await Promise.all([open(context, one), open(context, three)]);
    assert.ok((await here.create("/registry/a", Buffer.from("1"))).ok);
    assert.equal((await there.get("/registry/a"))?.value.toString(), "1");
  });

  test("founders wait for most of them, and one that ended meanwhile founds with the others when it is started again", async (context) => {
    const founders = machines(context, 3);
    const [first, second] = founders as [Machine, Machine];
    await giveFoundingFiles(founders);
    const stop = new AbortController();
    const waiting = start(context, first, { supervisor: nobodyToAsk, signal: stop.signal });
    await Promise.race([
      waiting.then(() => assert.fail("one of three answers alone")),
      eventually(() => assert.ok(isInitialized(join(first.directory, "db", "etcd"))), patienceMs),
    ]);
    stop.abort(new Error("stopped by the test"));
    await assert.rejects(waiting, /stopped by the test/);
    // The third comes later.
    const two = await Promise.all(
      [first, second].map((machine) => start(context, machine, { supervisor: nobodyToAsk })),
    );
    assert.equal((await two[0]!.members.list()).length, 3);
    assert.ok(!hasFounders(join(first.directory, "db", "etcd")));
    const third = await start(context, founders[2]!, { supervisor: nobodyToAsk });
    assert.equal((await third.members.list()).filter(({ name }) => name !== "").length, 3);
  });

  test("a founder that is started elsewhere than it was made for is refused, and keeps its name", async (context) => {
    const founders = machines(context, 2);
    await giveFoundingFiles(founders);
    const [first, second] = founders as [Machine, Machine];
    const name = () => readFileSync(join(first.directory, "db", "etcd", "name"), "utf8");
    const before = name();
    await assert.rejects(
      start(context, { ...first, address: second.address }, { supervisor: nobodyToAsk }),
      (error) => error instanceof ConfigurationError && /none of the founders of its cluster/.test(error.message),
    );
    assert.equal(name(), before);
  });

  test("a removed member ends and says so; its server becomes another member when it is started again", async (context) => {
    const [first, second] = machines(context, 2) as [Machine, Machine];
    const one = await start(context, first);
    takeAuthorities(first, second);
    const two = await start(context, second, { joined: one });
    const old = (await one.members.list()).find(({ name }) => name === two.name)!;
    // etcd lets nobody go before all have been connected for a while.
    await eventually(async () => {
      try {
        await one.members.remove(old.id);
      } catch (error) {
        if (!(error instanceof GrpcError && error.code === "NOT_FOUND")) throw error;
      }
    }, patienceMs);
    assert.match((await two.removed).message, /has been removed from the cluster/);
    await two.stop();
    await assert.rejects(
      start(context, second),
      (error) => error instanceof ConfigurationError && /tombstone.*Set --server/s.test(error.message),
    );
    const again = await start(context, second, { joined: one });
    assert.notEqual(again.name, two.name);
    assert.deepEqual((await one.members.list()).map(({ name }) => name).sort(), [one.name, again.name].sort());
  });

  test("a member that was removed while it was away says so at its start, and joins again at the next one", async (context) => {
    const [first, second] = machines(context, 2) as [Machine, Machine];
    const one = await start(context, first);
    takeAuthorities(first, second);
    const two = await start(context, second, { joined: one });
    const old = (await one.members.list()).find(({ name }) => name === two.name)!;
    await eventually(async () => {
      try {
        await one.members.remove(old.id);
      } catch (error) {
        if (!(error instanceof GrpcError && error.code === "NOT_FOUND")) throw error;
      }
    }, patienceMs);
    await two.removed;
    await two.stop();
    // As if it had not been there to hear of it.
    rmSync(join(second.directory, "db", "etcd", "tombstone"));
    await assert.rejects(start(context, second, { joined: one }), MemberRemovedError);
    const again = await start(context, second, { joined: one });
    assert.notEqual(again.name, two.name);
  });

  test("a node whose name another member has is refused", async (context) => {
    const [first, second] = machines(context, 2) as [Machine, Machine];
    const one = await start(context, first);
    await assert.rejects(
      start(context, { ...second, nodeName: first.nodeName }, { joined: one }),
      (error) => error instanceof ConfigurationError && /duplicate node name found/.test(error.message),
    );
  });

  test("etcd that is killed comes back with all that was written, and the store goes on by itself", async (context) => {
    const [machine] = machines(context, 1) as [Machine];
    const store = await open(context, await start(context, machine));
    assert.ok((await store.create("/registry/a", Buffer.from("1"))).ok);
    const pid = etcdPid(machine);
    process.kill(pid, "SIGKILL");
    const entry = await eventually(() => store.get("/registry/a"), patienceMs);
    assert.equal(entry?.value.toString(), "1");
    assert.notEqual(etcdPid(machine), pid);
    assert.ok(
      (await eventually(() => store.update("/registry/a", Buffer.from("2"), entry!.modRevision), patienceMs)).ok,
    );
  });

  test("a store that was opened before others joined goes on through them while its own member hangs, and returns", async (context) => {
    const [first, second, third] = machines(context, 3) as [Machine, Machine, Machine];
    const one = await start(context, first);
    const told: string[] = [];
    const tell = (...line: unknown[]) => void told.push(String(line.at(-1)));
    const logger = { ...silentLogger, info: tell };
    const store = await openStore({ ...one, sqlitePath: "", logger, clock: new FakeClock() });
    context.after(() => store.close());
    for (const machine of [second, third]) takeAuthorities(first, machine);
    await Promise.all([second, third].map((machine) => start(context, machine, { joined: one })));
    assert.ok((await store.create("/registry/before", Buffer.from("1"))).ok);
    const pid = etcdPid(first);
    process.kill(pid, "SIGSTOP");
    try {
      const sinceMs = Date.now();
      const key = await eventually(async () => {
        const name = `/registry/during-${Date.now() - sinceMs}`;
        assert.ok((await store.create(name, Buffer.from("1"))).ok);
        return name;
      }, patienceMs);
      assert.equal((await store.get(key))?.value.toString(), "1");
      await eventually(() => assert.equal(store.problem(), undefined), patienceMs);
    } finally {
      process.kill(pid, "SIGCONT");
    }
    const home = "The preferred member of etcd answers again and is used";
    await eventually(() => assert.ok(told.includes(home)), patienceMs);
    assert.ok((await store.create("/registry/after", Buffer.from("1"))).ok);
  });

  test("a member that is started at another address tells the others, and is found there", async (context) => {
    const [machine, other] = machines(context, 2) as [Machine, Machine];
    const before = await start(context, machine);
    await before.stop();
    const moved = await start(context, { ...machine, address: other.address });
    assert.equal(moved.name, before.name);
    assert.deepEqual((await moved.members.list())[0]?.peerUrls, [`https://${other.address}:2380`]);
  });

  test("members that come back at each other's addresses find together again, whichever of them leads", async (context) => {
    const founders = machines(context, 3);
    const [first, second, third] = founders as [Machine, Machine, Machine];
    await giveFoundingFiles(founders);
    const before = await Promise.all(founders.map((machine) => start(context, machine)));
    await Promise.all(before.map((etcd) => etcd.stop()));
    // The second looks for the first where it was: at its own new place.
    const [moved, stayed] = (await Promise.all([
      start(context, { ...first, address: second.address }),
      start(context, third),
    ])) as [EmbeddedEtcd, EmbeddedEtcd];
    const { memberId } = await moved.members.status();
    await eventually(async () => {
      const { leader, memberId: own } = await stayed.members.status();
      if (leader === own) await stayed.members.moveLeader(memberId);
      assert.equal(leader, memberId);
    }, patienceMs);
    await start(context, { ...second, address: first.address });
    const urls = new Map((await moved.members.list()).map(({ name, peerUrls }) => [name, peerUrls[0]]));
    const [one, two, three] = before as [EmbeddedEtcd, EmbeddedEtcd, EmbeddedEtcd];
    assert.equal(urls.get(one.name), `https://${second.address}:2380`);
    assert.equal(urls.get(two.name), `https://${first.address}:2380`);
    assert.equal(urls.get(three.name), `https://${third.address}:2380`);
  });

  test("a member that waits for the others can be stopped, and leaves no etcd behind", async (context) => {
    const [first, second] = machines(context, 2) as [Machine, Machine];
    const one = await start(context, first);
    takeAuthorities(first, second);
    const two = await start(context, second, { joined: one });
    await Promise.all([one.stop(), two.stop()]);
    const stop = new AbortController();
    const waiting = start(context, first, { signal: stop.signal });
    await eventually(() => etcdPid(first), patienceMs);
    stop.abort(new Error("stopped by the test"));
    await assert.rejects(waiting, /stopped by the test/);
    assert.throws(() => etcdPid(first), /no etcd runs/);
  });

  test("a setting that etcd does not take ends the start with etcd's own words", async (context) => {
    const [machine] = machines(context, 1) as [Machine];
    await assert.rejects(
      start(context, machine, { args: ["heartbeat-interval=5000"] }),
      /etcd ended.*election-timeout/s,
    );
  });

  test("what was in SQLite moves to a new cluster at higher revisions; the old ones are compacted, the file is kept", async (context) => {
    const [machine] = machines(context, 1) as [Machine];
    const sqlite = await fillSqlite(machine, 1200, 250_000);
    const last = await sqlite.currentRevision();
    await sqlite.close();
    const store = await open(context, await start(context, machine));
    const { entries, revision } = await store.list("/registry/");
    assert.equal(entries.length, 1201, "all but where servers said that they live");
    assert.equal((await store.get("/registry/configmaps/c777"))?.value.toString(), "777");
    assert.ok(entries.every(({ modRevision }) => modRevision > last) && revision > last);
    await assert.rejects(store.list("/registry/", { revision: last - 1 }), CompactedError);
    assert.ok(!existsSync(sqliteOf(machine)) && existsSync(`${sqliteOf(machine)}.migrated`));
  });

  test("a move that was cut off half-way is finished by the next start", async (context) => {
    const [machine] = machines(context, 1) as [Machine];
    const etcd = await start(context, machine);
    const half = await open(context, etcd);
    const sqlite = await fillSqlite(machine, 600, 0);
    const cut = migrateStore(sqlite, half, {
      source: "sqlite",
      lifetimeOf: () => undefined,
      leaveOut: (key) => key.startsWith("/registry/masterleases/"),
      onProgress: () => {
        throw new Error("cut off");
      },
    });
    await assert.rejects(cut, /cut off/);
    await Promise.all([sqlite.close(), half.close(), etcd.stop()]);
    const store = await open(context, await start(context, machine));
    assert.equal((await store.list("/registry/")).entries.length, 601);
    assert.ok(!existsSync(sqliteOf(machine)) && existsSync(`${sqliteOf(machine)}.migrated`));
  });

  test("a database that was left when a move had finished is put aside, and changes nothing", async (context) => {
    const [machine] = machines(context, 1) as [Machine];
    await (await fillSqlite(machine, 10, 0)).close();
    const etcd = await start(context, machine);
    await (await open(context, etcd)).create("/registry/later", Buffer.from("1"));
    await etcd.stop();
    renameSync(`${sqliteOf(machine)}.migrated`, sqliteOf(machine));
    const store = await open(context, await start(context, machine));
    assert.equal((await store.list("/registry/")).entries.length, 12);
    assert.ok(!existsSync(sqliteOf(machine)));
  });
});
