import { type DatabaseKind, startDatabase } from "../support/database.ts";
import { startServerProcess } from "../support/server-process.ts";
import { type LoadProcess, startLoadProcess } from "./api/load-process.ts";
import { changeText, configMapText } from "./api/objects.ts";
import { bundle, type OwnServer, serverFlags, startOwnServer } from "./api/servers.ts";
import {
  collection,
  newestRevision,
  overHttp1,
  overOneConnection,
  roundSeconds,
  warmUpSeconds,
} from "./api/setting.ts";
import type { Figure, Measured, Measurement } from "./measurement.ts";
import { nearEndpoint } from "./near-endpoint.ts";

const rounds = 5;
const changesPerSecond = 50;
const changeSeconds = 10;
const changedObjects = 100;

interface StoreBudget {
  readonly kind: DatabaseKind;
  readonly name: string;
  /** What its creates may be of SQLite's. */
  readonly atLeast: number;
  /** How late a watcher on another server may see a change, p99. */
  readonly seenMs: number;
}

const budgets: readonly StoreBudget[] = [
  { kind: "etcd", name: "etcd", atLeast: 0.5, seenMs: 50 },
  { kind: "postgres", name: "PostgreSQL", atLeast: 0.5, seenMs: 50 },
  { kind: "mariadb", name: "MariaDB", atLeast: 0.4, seenMs: 150 },
];

/** A server on a database of its own, loaded and left alone in turns. */
interface Lane {
  readonly server: OwnServer;
  readonly perSecond: number[];
  created: number;
}

/** What the API writes on each store, beside what it writes on SQLite; and how soon another server's watchers see it. */
export const stores: Measurement = {
  name: "stores",
  needs: ["bundle", "databases"],
  async run(say) {
    using load = startLoadProcess();
    using writer = startLoadProcess();
    await using running = new AsyncDisposableStack();
    say("starting SQLite's server");
    const sqlite: Lane = { server: running.use(await startOwnServer()), perSecond: [], created: 0 };
    const others: (Lane & { readonly store: StoreBudget; readonly env: Record<string, string> })[] = [];
    for (const store of budgets) {
      say(`starting ${store.name} and its server`);
      const database = running.use(await startDatabase(store.kind));
      const env = { K3S_DATASTORE_ENDPOINT: await nearEndpoint(database), K3S_TOKEN: "bench" };
      const server = running.use(await startOwnServer({ env }));
      others.push({ store, env, server, perSecond: [], created: 0 });
    }
    const lanes = [sqlite, ...others];
    for (const lane of lanes) await create(load, lane, warmUpSeconds);
    for (let round = 1; round <= rounds; round++) {
      say(`creates on every store, ${round} of ${rounds}`);
      for (const lane of lanes) lane.perSecond.push(await create(load, lane, roundSeconds));
    }
    const yardstick = { what: "on SQLite", samples: sqlite.perSecond };
    const creates = others.map(
      ({ store, perSecond }): Figure => ({
        what: `creates on ${store.name}, 32 connections`,
        unit: "/s",
        samples: perSecond,
        yardstick,
        ratio: { atLeast: store.atLeast },
      }),
    );
    const seen: Measured[] = [];
    for (const { store, env, server } of others) {
      say(`changes on ${store.name}, watched through another server`);
      seen.push(await measureSeen(load, writer, store, env, server));
    }
    return {
      figures: [...creates, ...seen.flatMap(({ figures }) => figures)],
      notes: [
        "Creates go over HTTP/1.1 and TLS with a client certificate and RBAC; each is answered when the store has it on its disk.",
        ...seen.flatMap(({ notes = [] }) => notes),
      ],
    };
  },
};

async function create(load: LoadProcess, lane: Lane, seconds: number): Promise<number> {
  const pattern = {
    method: "POST",
    path: collection("configmaps", "bench"),
    body: configMapText("bench", "load-%"),
  } as const;
  const { target } = lane.server;
  const reply = await load.run({ do: "load", target, lanes: overHttp1, pattern, from: lane.created, seconds });
  lane.created += reply.done;
  return reply.perSecond;
}

/** From the sending of a change to one server until a watcher has it from another. */
async function measureSeen(
  load: LoadProcess,
  writer: LoadProcess,
  store: StoreBudget,
  env: Record<string, string>,
  own: OwnServer,
): Promise<Measured> {
  const objects = collection("configmaps", "watched");
  const body = configMapText("watched", "changed-%");
  await writer.run({
    do: "load",
    target: own.target,
    lanes: overOneConnection,
    pattern: { method: "POST", path: objects, body },
    from: 0,
    count: changedObjects,
  });
  await using stack = new AsyncDisposableStack();
  const other = await startServerProcess({
    program: [...serverFlags(), bundle],
    args: ["--node-name", "another", "--advertise-address", "192.0.2.2"],
    env,
  });
  stack.defer(() => other.stop());
  const path = `${objects}?watch=1&allowWatchBookmarks=true&resourceVersion=${await newestRevision(own, "watched")}`;
  // The authorities are the same: whom one server knows, the other knows, too.
  const target = { ...own.target, port: Number(new URL(other.url).port) };
  await load.run({ do: "watch", target, connections: 1, streams: 1, paths: [path] });
  const change = {
    do: "change",
    target: own.target,
    path: `${objects}/changed-%`,
    body: changeText("watched", "changed-%"),
    objects: changedObjects,
    perSecond: changesPerSecond,
  } as const;
  const first = await writer.run({ ...change, seconds: 3 });
  await load.run({ do: "delivered", expected: first.sent });
  const { sent, answerP99Ms } = await writer.run({ ...change, seconds: changeSeconds });
  const seen = await load.run({ do: "delivered", expected: sent });
  await load.run({ do: "close" });
  return {
    figures: [
      {
        what: `a change to a watcher on another server, ${store.name}, p50`,
        unit: "ms",
        samples: [seen.p50Ms],
      },
      {
        what: `a change to a watcher on another server, ${store.name}, p99`,
        unit: "ms",
        samples: [seen.p99Ms],
        budget: store.seenMs,
      },
    ],
    notes: [
      `${store.name}: all ${sent} changes seen on another server once, at most ${seen.maxMs} ms after they were sent; the writes themselves were answered within ${answerP99Ms} ms (p99).`,
    ],
  };
}
