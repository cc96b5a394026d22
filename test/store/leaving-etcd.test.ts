import assert from "node:assert/strict";
import { mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { datastore } from "../../src/commands/datastore.ts";
import { clusterClock, ioClock } from "../../src/machinery/clock.ts";
import { silentLogger } from "../../src/machinery/log.ts";
import { startEmbeddedEtcd } from "../../src/server/etcd/embedded-etcd.ts";
import { openStore } from "../../src/store/open-store.ts";
import { openSqliteStore } from "../../src/store/sqlite/sqlite-store.ts";
import type { Store } from "../../src/store/store.ts";
import { loopbackNetwork, provideEtcd } from "../support/etcd-programs.ts";
import { temporaryDirectory } from "../support/temporary-directory.ts";

/** Clusters that leave embedded etcd for another store: the way back from `--cluster-init`. */

let forgetEtcd: () => void;
before(async () => {
  forgetEtcd = await provideEtcd();
});
after(() => forgetEtcd?.());

test("datastore migrate moves what a stopped server has in embedded etcd, and puts its member's data aside", async (t) => {
  const dataDirectory = temporaryDirectory(t);
  const directory = join(dataDirectory, "server");
  mkdirSync(join(directory, "db"), { recursive: true });
  const etcd = await startEmbeddedEtcd({
    directory,
    nodeName: "server",
    address: `${loopbackNetwork()}.1`,
    supervisor: undefined,
    exposeMetrics: false,
    extraArguments: [],
    clock: ioClock,
    logger: silentLogger,
    signal: t.signal,
  });
  const sqlitePath = join(directory, "db", "state.db");
  const common = { sqlitePath, logger: silentLogger, clock: clusterClock };
  const args = ["migrate", "--data-dir", dataDirectory, "--to", "sqlite"];
  let revision = 0;
  try {
    await using store = closing(await openStore({ endpoint: etcd.endpoint, files: etcd.files, ...common }));
    await store.create("/registry/configmaps/default/a", Buffer.from("1"));
    await store.create("/registry/masterleases/10.0.0.1", Buffer.from("here"));
    await store.create("/registry/minions/server", Buffer.from(JSON.stringify(member)));
    revision = await store.currentRevision();
    await assert.rejects(datastore(args), /this server's etcd runs, at .*; stop the server first/);
  } finally {
    await etcd.stop();
  }
  await assert.rejects(datastore(args), /servers use the present store: 10\.0\.0\.1; stop them/);
  assert.deepEqual(readdirSync(join(directory, "db")), ["etcd"]);
  assert.equal(await datastore([...args, "--force"]), 0);
  const left = readdirSync(join(directory, "db", "etcd"));
  assert.deepEqual(left, []);
  assert.equal(readdirSync(join(directory, "db")).filter((name) => /^etcd-old-\d+$/.test(name)).length, 1);
  await using moved = closing(await openSqliteStore({ path: sqlitePath, logger: silentLogger, clock: clusterClock }));
  const { entries } = await moved.list("/");
  assert.deepEqual(
    entries.map(({ key, value }) => [key, value.toString()]),
    [
      ["/registry/configmaps/default/a", "1"],
      ["/registry/minions/server", JSON.stringify(noMember)],
    ],
  );
  assert.ok((await moved.currentRevision()) >= revision, "revisions go on");
});

const ready = { type: "Ready", status: "True" };
const member = {
  kind: "Node",
  apiVersion: "v1",
  metadata: {
    name: "server",
    labels: { "kubernetes.io/os": "linux", "node-role.kubernetes.io/etcd": "true" },
    annotations: { "etcd.k3s.cattle.io/node-name": "server-1", "etcd.k3s.cattle.io/node-address": "10.0.0.1", own: "" },
    finalizers: ["wrangler.cattle.io/managed-etcd-controller"],
  },
  status: { conditions: [ready, { type: "EtcdIsVoter", status: "True" }] },
};
/** A Node that can be deleted without etcd. */
const noMember = {
  kind: "Node",
  apiVersion: "v1",
  metadata: { name: "server", labels: { "kubernetes.io/os": "linux" }, annotations: { own: "" } },
  status: { conditions: [ready] },
};

function closing(store: Store): Store & AsyncDisposable {
  return Object.assign(store, { [Symbol.asyncDispose]: () => store.close() });
}
