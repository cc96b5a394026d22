import assert from "node:assert/strict";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, type TestContext, test } from "node:test";
import { freePort } from "../../src/cluster/free-port.ts";
import { type RunResult, tryRun } from "../../tools/run.ts";
import { loopbackNetwork, provideEtcd } from "../support/etcd-programs.ts";
import { eventually } from "../support/eventually.ts";
import { rawRequest } from "../support/raw-request.ts";
import { type ServerProcess, startServerProcess } from "../support/server-process.ts";

const program = join(import.meta.dirname, "../../src/main.ts");
const token = "a-token-of-a-test";
const configMaps = "/api/v1/namespaces/default/configmaps";

/** A machine on which servers come and go. */
class Machine {
  readonly directory = mkdtempSync(join(tmpdir(), "k3ts-backup-"));
  readonly database = join(this.directory, "data/server/db");
  readonly #args: readonly string[];
  #server: ServerProcess | undefined;
  #port: number | undefined;

  constructor(t: TestContext, args: readonly string[]) {
    this.#args = ["--token", token, ...args];
    t.after(async () => {
      await this.#server?.kill();
      rmSync(this.directory, { recursive: true, force: true, maxRetries: 20, retryDelay: 50 });
    });
  }

  async start(): Promise<ServerProcess> {
    this.#port ??= await freePort("127.0.0.1");
    this.#server = await startServerProcess({ directory: this.directory, port: this.#port, args: this.#args });
    return this.#server;
  }

  /** `k3ts etcd-snapshot` on this machine. */
  snapshot(...args: string[]): Promise<RunResult> {
    const place = ["--data-dir", join(this.directory, "data"), "--etcd-server", this.#server!.url];
    return tryRun(process.execPath, [program, "etcd-snapshot", ...args, ...place]);
  }

  /** A server that is expected to end by itself. */
  serve(...args: string[]): Promise<RunResult> {
    const place = ["--data-dir", join(this.directory, "data"), "--disable-agent"];
    return tryRun(process.execPath, [program, "server", ...place, ...this.#args, ...args]);
  }

  restore(path: string): Promise<RunResult> {
    return this.serve("--cluster-reset", "--cluster-reset-restore-path", path);
  }
}

async function create(server: ServerProcess, name: string): Promise<void> {
  const body = { metadata: { name }, data: { a: "1" } };
  const reply = await rawRequest(server, configMaps, { method: "POST", body });
  assert.equal(reply.code, 201, reply.text);
}

/** Names and resourceVersion of the ConfigMaps of a server. */
async function list(server: ServerProcess): Promise<{ names: string[]; revision: number }> {
  const { items, metadata } = (await rawRequest(server, configMaps)).json<{
    metadata: { resourceVersion: string };
    items: { metadata: { name: string } }[];
  }>();
  return { names: items.map((item) => item.metadata.name), revision: Number(metadata.resourceVersion) };
}

/** The controllers have to see what is new for that. */
async function deploys(server: ServerProcess, name: string): Promise<void> {
  await server.kubectl(["create", "deployment", name, "--image=none.invalid/none"]);
  await eventually(async () => {
    const pods = await server.kubectl(["get", "pods", "-l", `app=${name}`, "-o", "name"]);
    assert.match(pods, /^pod\//);
  });
}

function snapshotsOf(machine: Machine): string[] {
  return readdirSync(join(machine.database, "snapshots")).filter((name) => !name.startsWith("."));
}

/** Saves a snapshot of a server that is written to all the time. @returns its path */
async function saveWhileWriting(machine: Machine, server: ServerProcess): Promise<string> {
  let writing = true;
  const writer = (async () => {
    for (let index = 0; writing; index++) await create(server, `written-${String(index).padStart(5, "0")}`);
  })();
  const saved = await machine.snapshot("save", "--name", "before").finally(() => {
    writing = false;
  });
  await writer;
  assert.equal(saved.code, 0, saved.stderr);
  const name = /Snapshot (before-\S+-\d+) saved\./.exec(saved.stderr + saved.stdout)?.[1];
  assert.ok(name, saved.stderr);
  const listed = await machine.snapshot("ls");
  assert.match(listed.stdout, /^Name +Location +Size +Created\n/);
  assert.ok(listed.stdout.includes(` file://${machine.database}/snapshots/${name} `), listed.stdout);
  return join(machine.database, "snapshots", name);
}

async function restoresItself(t: TestContext, args: readonly string[], otherArgs: readonly string[], old: RegExp) {
  const machine = new Machine(t, args);
  let server = await machine.start();
  await create(server, "kept");
  await deploys(server, "first");
  const path = await saveWhileWriting(machine, server);
  const { revision: remembered } = await list(server);
  await create(server, "later");
  await server.kubectl(["delete", "configmap", "kept"]);
  const { revision: highest, names: all } = await list(server);
  assert.ok(!all.includes("kept") && all.includes("later"));
  const trusted = server.credentials.ca;
  await server.kill();

  const damaged = `${path}-damaged`;
  const bytes = readFileSync(path);
  bytes[Math.floor(bytes.length / 2)]! ^= 0xff;
  bytes.fill(0x5a, 4096, 8192);
  writeFileSync(damaged, bytes);
  const untouched = readdirSync(machine.database);
  const refused = await machine.restore(damaged);
  assert.equal(refused.code, 78, refused.stderr);
  assert.match(refused.stderr + refused.stdout, /cannot be restored: .*nothing was changed/);
  assert.deepEqual(
    readdirSync(machine.database).filter((name) => !/-wal$|-shm$/.test(name)),
    untouched.filter((name) => !/-wal$|-shm$/.test(name)),
  );

  // Cut off between taking the old away and bringing the new: no start begins an empty cluster.
  writeFileSync(join(machine.database, "restore-unfinished"), "");
  const begun = await machine.serve();
  assert.equal(begun.code, 78);
  assert.match(begun.stderr + begun.stdout, /was cut off .* run it once more/);
  const restored = await machine.restore(path);
  assert.equal(restored.code, 0, restored.stderr + restored.stdout);
  const closing = "has been reset, restart without --cluster-reset flag now. Backup and delete";
  assert.ok((restored.stderr + restored.stdout).includes(closing));
  assert.ok(existsSync(join(machine.database, "reset-flag")));
  assert.equal(readdirSync(machine.database).filter((name) => old.test(name)).length, 1);

  server = await machine.start();
  const { revision, names } = await list(server);
  assert.ok(names.includes("kept") && !names.includes("later"), "the state is that of the snapshot");
  const written = names.filter((name) => name.startsWith("written-"));
  assert.deepEqual(
    written,
    written.map((_, index) => `written-${String(index).padStart(5, "0")}`),
  );
  assert.ok(revision > highest, `${revision} is above all that was handed out, ${highest}`);
  const watch = await rawRequest(server, `${configMaps}?watch=1&resourceVersion=${remembered}&timeoutSeconds=20`);
  assert.match(watch.text, /"code":410/);
  await deploys(server, "second");
  assert.ok(!existsSync(join(machine.database, "reset-flag")));

  const other = new Machine(t, otherArgs);
  const carried = join(other.directory, "snapshot");
  copyFileSync(path, carried);
  const moved = await other.restore(carried);
  assert.equal(moved.code, 0, moved.stderr + moved.stdout);
  const elsewhere = await other.start();
  assert.equal(elsewhere.credentials.ca, trusted, "another machine goes on as the same cluster");
  assert.ok((await list(elsewhere)).names.includes("kept"));
  return machine;
}

describe("a server in SQLite", () => {
  test("is restored from a snapshot that was made while writes went on, here and elsewhere", async (t) => {
    await restoresItself(t, [], [], /^sqlite-old-\d+$/);
  });

  test("is not restored under a server that runs", async (t) => {
    const machine = new Machine(t, []);
    const server = await machine.start();
    assert.equal((await machine.snapshot("save")).code, 0);
    const [name] = readdirSync(join(machine.database, "snapshots"));
    const busy = await machine.restore(join(machine.database, "snapshots", name!));
    assert.equal(busy.code, 78, busy.stderr);
    assert.match(busy.stderr + busy.stdout, /is in use; stop the server before a restore/);
    await create(server, "after");
    const alone = await machine.serve("--cluster-reset");
    assert.equal(alone.code, 78, alone.stderr);
    assert.match(alone.stderr + alone.stdout, /found no data of embedded etcd/);
  });

  test("takes snapshots on schedule and keeps the newest", async (t) => {
    const machine = new Machine(t, ["--etcd-snapshot-schedule-cron", "@every 1s", "--etcd-snapshot-retention", "2"]);
    await machine.start();
    const names = () => snapshotsOf(machine);
    await eventually(() =>
      assert.ok(names().length === 2 && names().every((name) => name.startsWith("etcd-snapshot-"))),
    );
    const first = names()[0]!;
    await eventually(() => assert.ok(!names().includes(first), "the oldest one goes"));
  });

  test("saves, prunes and deletes snapshots for servers only", async (t) => {
    const machine = new Machine(t, []);
    const server = await machine.start();
    for (let round = 0; round < 3; round++) {
      const { code, stderr } = await machine.snapshot("save", "--name", "mine", "--snapshot-compress");
      assert.equal(code, 0, stderr);
    }
    const mine = () => snapshotsOf(machine);
    assert.equal(mine().length, 3);
    assert.ok(mine().every((name) => /^mine-.*\.zip$/.test(name)));
    assert.equal((await machine.snapshot("prune", "--name", "mine", "--snapshot-retention", "2")).code, 0);
    const [older, newer] = mine();
    assert.equal(mine().length, 2);
    const deleted = await machine.snapshot("delete", older!);
    assert.match(deleted.stderr + deleted.stdout, new RegExp(`Snapshot ${older} deleted\\.`));
    assert.deepEqual(mine(), [newer]);

    const asNode = { authorization: `Basic ${Buffer.from(`node:${token}`).toString("base64")}` };
    const request = { method: "POST", body: { operation: "list" }, as: "nobody" as const };
    assert.equal((await rawRequest(server, "/db/snapshot", { ...request, headers: asNode })).code, 403);
    assert.equal((await rawRequest(server, "/db/snapshot", request)).code, 401);
    await server.kill();
    const inTheWay = join(machine.database, "state.db.restoring");
    mkdirSync(inTheWay);
    const failed = await machine.restore(newer!);
    assert.equal(failed.code, 78, `not to be tried again by itself: ${failed.stderr}`);
    rmdirSync(inTheWay);
    const packed = await machine.restore(join(machine.database, "snapshots", newer!));
    assert.equal(packed.code, 0, packed.stderr + packed.stdout);
  });
});

describe("a server in embedded etcd", () => {
  let remove: () => void;
  before(async () => {
    remove = await provideEtcd();
  });
  after(() => remove());

  const embedded = () => ["--cluster-init", "--node-ip", `${loopbackNetwork()}.1`, "--advertise-address", "192.0.2.1"];

  test("is restored from a snapshot that was made while writes went on, here and elsewhere", async (t) => {
    const machine = await restoresItself(t, embedded(), embedded(), /^etcd-old-\d+$/);
    const sqlite = new Machine(t, []);
    const server = await sqlite.start();
    await sqlite.snapshot("save");
    await server.kill();
    const [name] = readdirSync(join(sqlite.database, "snapshots"));
    const foreign = await machine.restore(join(sqlite.database, "snapshots", name!));
    assert.equal(foreign.code, 78);
    assert.match(foreign.stderr + foreign.stdout, /snapshot of sqlite, and this server keeps its cluster in etcd/);
  });

  test("is neither restored nor reset under a server that runs", async (t) => {
    const machine = new Machine(t, embedded());
    const server = await machine.start();
    assert.equal((await machine.snapshot("save")).code, 0);
    const untouched = readdirSync(machine.database);
    const [name] = readdirSync(join(machine.database, "snapshots"));
    for (const busy of [await machine.restore(name!), await machine.serve("--cluster-reset")]) {
      assert.equal(busy.code, 78, busy.stderr + busy.stdout);
      assert.match(busy.stderr + busy.stdout, /this server's etcd runs, on the data in .*\/db; stop the server first/);
    }
    assert.deepEqual(readdirSync(machine.database), untouched);
    await create(server, "after");
  });

  test("becomes the only member of its cluster and keeps the data, once a start", async (t) => {
    const network = loopbackNetwork();
    const place = (index: number) => ["--node-ip", `${network}.${index}`, "--advertise-address", `192.0.2.${index}`];
    const machine = new Machine(t, ["--node-name", "first", "--cluster-init", ...place(1)]);
    let server = await machine.start();
    const fellow = new Machine(t, ["--node-name", "second", "--server", server.url, ...place(2)]);
    const second = await fellow.start();
    await create(second, "kept");
    await second.kill();
    await server.kill();

    const joined = await machine.serve("--cluster-reset", "--server", "https://192.0.2.2:6443");
    assert.match(joined.stderr + joined.stdout, /cannot perform cluster-reset while server URL is set/);
    const reset = await machine.serve("--cluster-reset");
    assert.equal(reset.code, 0, reset.stderr + reset.stdout);
    assert.match(reset.stderr + reset.stdout, /restart without --cluster-reset flag now/);
    const again = await machine.serve("--cluster-reset");
    assert.equal(again.code, 78);
    assert.match(
      again.stderr + again.stdout,
      /was previously reset.*you must first manually delete the .*reset-flag file/,
    );

    // Of two members one alone would not answer.
    server = await machine.start();
    assert.ok((await list(server)).names.includes("kept"));
    await create(server, "later");
    assert.ok(!existsSync(join(machine.database, "reset-flag")));
  });
});
