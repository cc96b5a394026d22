import assert from "node:assert/strict";
import { test } from "node:test";
import {
  type DatastoreEndpoint,
  describeDatastore,
  parseDatastoreEndpoint,
} from "../../../src/store/datastore-endpoint.ts";

const none = new Map<string, string>();
const at = (host: string, port: number) => ({ host, port });

const cases: [string, DatastoreEndpoint, string][] = [
  ["", { kind: "sqlite" }, "sqlite"],
  ["sqlite://", { kind: "sqlite" }, "sqlite"],
  ["sqlite:///data/state.db?_journal=WAL", { kind: "sqlite", path: "/data/state.db" }, "sqlite:///data/state.db"],
  [
    "https://one:2379,https://[fd00::2]:2380",
    {
      kind: "etcd",
      servers: [
        { ...at("one", 2379), tls: true },
        { ...at("fd00::2", 2380), tls: true },
      ],
    },
    "https://one:2379,https://[fd00::2]:2380",
  ],
  ["http://one", { kind: "etcd", servers: [{ ...at("one", 2379), tls: false }] }, "http://one:2379"],
  [
    "postgres://",
    {
      kind: "postgres",
      address: at("localhost", 5432),
      user: "postgres",
      password: "postgres",
      database: "kubernetes",
      parameters: none,
    },
    "postgres://postgres@localhost:5432/kubernetes",
  ],
  [
    "postgresql://k3s:p%40ss%2Fword@db:5433/cluster?sslmode=verify-full",
    {
      kind: "postgres",
      address: at("db", 5433),
      user: "k3s",
      password: "p@ss/word",
      database: "cluster",
      parameters: new Map([["sslmode", "verify-full"]]),
    },
    "postgres://k3s@db:5433/cluster",
  ],
  [
    "postgres://k3s:x@db",
    { kind: "postgres", address: at("db", 5432), user: "k3s", password: "x", database: "kubernetes", parameters: none },
    "postgres://k3s@db:5432/kubernetes",
  ],
  [
    "mysql://",
    {
      kind: "mysql",
      address: { socketPath: "/var/run/mysqld/mysqld.sock" },
      user: "root",
      password: "",
      database: "kubernetes",
      parameters: none,
    },
    "mysql://root@unix(/var/run/mysqld/mysqld.sock)/kubernetes",
  ],
  [
    "mysql://k3s:p@ss:/w?rd@tcp(db.example:3307)/cluster?tls=true",
    {
      kind: "mysql",
      address: at("db.example", 3307),
      user: "k3s",
      password: "p@ss:/w?rd",
      database: "cluster",
      parameters: new Map([["tls", "true"]]),
    },
    "mysql://k3s@db.example:3307/cluster",
  ],
  [
    "mysql://k3s:x@tcp([fd00::1]:3306)/",
    {
      kind: "mysql",
      address: at("fd00::1", 3306),
      user: "k3s",
      password: "x",
      database: "kubernetes",
      parameters: none,
    },
    "mysql://k3s@[fd00::1]:3306/kubernetes",
  ],
  [
    "mysql://root@unix(/run/my.sock)/k",
    {
      kind: "mysql",
      address: { socketPath: "/run/my.sock" },
      user: "root",
      password: "",
      database: "k",
      parameters: none,
    },
    "mysql://root@unix(/run/my.sock)/k",
  ],
];

for (const [text, expected, described] of cases) {
  test(`the datastore endpoint "${text.replace(/:[^:]*@/, ":…@")}" is read as K3s reads it, and described without its secret`, () => {
    const endpoint = parseDatastoreEndpoint(text);
    assert.deepEqual(endpoint, expected);
    assert.equal(describeDatastore(endpoint), described);
  });
}

test("what cannot be read is refused with a remedy, and no part of it is repeated", () => {
  for (const text of [
    "nats://u:secret@host",
    "secret",
    "https://u:secret@host:2379",
    "postgres://a:secret@ho st/",
    "mysql://a:secret@udp(x)/y",
  ]) {
    assert.throws(
      () => parseDatastoreEndpoint(text),
      (error: Error) =>
        /the datastore endpoint cannot be read: .*; use "sqlite/.test(error.message) &&
        !error.message.includes("secret"),
      text,
    );
  }
});
