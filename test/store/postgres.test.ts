import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, test } from "node:test";
import { ConfigurationError } from "../../src/machinery/configuration-error.ts";
import type { DatastoreFiles } from "../../src/store/datastore-endpoint.ts";
import { startDatabase, type TestDatabase } from "../support/database.ts";
import { eventually } from "../support/eventually.ts";
import { storeSuite } from "../unit/store/suite.ts";
import { bringCertificates } from "./sql-certificates.ts";
import { endpointOf, openSql, sqlHarness } from "./sql-harness.ts";
import { sqlScenarios } from "./sql-scenarios.ts";

let database: TestDatabase;
before(async () => {
  database = await startDatabase("postgres");
});
after(() => database.remove());

const run = (statement: string, name = "postgres") =>
  database.exec([
    ...["env", "PGPASSWORD=test", "/opt/postgresql/psql", "-qtA", "-v", "ON_ERROR_STOP=1"],
    ...["-h", "127.0.0.1", "-U", "postgres", "-d", name, "-c", statement],
  ]);

storeSuite("PostgreSQL", () => sqlHarness(endpointOf(database, "suite")));

sqlScenarios("PostgreSQL", {
  database: () => database,
  run,
  async cut(name, options) {
    const which = options?.listening ? " AND query LIKE 'LISTEN%'" : "";
    await run(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '${name}'${which}`);
  },
  async setReadOnly(name, readOnly) {
    await run(`ALTER DATABASE ${name} SET default_transaction_read_only = ${readOnly ? "on" : "off"}`);
  },
  async loseWrites(name, head) {
    await run(
      `BEGIN; DELETE FROM k3ts_log WHERE revision > ${head}; UPDATE k3ts_meta SET head = ${head}; DELETE FROM k3ts_writers; COMMIT`,
      name,
    );
  },
});

test("a login that may not make the database, or tables in it, is told what an administrator has to run", async () => {
  await run("CREATE ROLE poor LOGIN PASSWORD 'poor-p4ss'");
  const endpoint = (name: string) => `postgres://poor:poor-p4ss@127.0.0.1:${database.port}/${name}`;
  await assert.rejects(openSql(endpoint("none")), (error: Error) => {
    assert.ok(error instanceof ConfigurationError, `${error}`);
    assert.match(error.message, /permission denied to create database; .*CREATE DATABASE "none" OWNER "poor"/);
    return true;
  });
  await run("CREATE DATABASE bare");
  await assert.rejects(openSql(endpoint("bare")), (error: Error) => {
    assert.ok(error instanceof ConfigurationError, `${error}`);
    assert.match(error.message, /permission denied for schema public; .*GRANT ALL ON SCHEMA public TO "poor"/);
    return true;
  });
  await run("GRANT ALL ON SCHEMA public TO poor", "bare");
  const store = await openSql(endpoint("bare"));
  assert.ok((await store.create("/a", Buffer.from("1"))).ok);
  await store.close();
});

test("a connection is encrypted and verified as sslmode and the files ask", async () => {
  const endpoint = (query: string, host = "127.0.0.1") =>
    `postgres://postgres:test@${host}:${database.port}/tls${query}`;
  const encrypted = "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE datname = 'tls'";
  const opens = async (query: string, files: DatastoreFiles, wanted: string, host?: string) => {
    const store = await openSql(endpoint(query, host), { files });
    try {
      assert.ok((await store.create(`/${randomUUID()}`, Buffer.from("1"))).ok);
      assert.equal((await run(encrypted)).trim(), wanted);
    } finally {
      await store.close();
    }
    // Of the store that follows.
    await eventually(async () => assert.equal((await run(encrypted)).trim(), ""), 60_000);
  };
  const refuses = (query: string, files: DatastoreFiles, text: RegExp, host?: string) =>
    assert.rejects(openSql(endpoint(query, host), { files }), text);

  await opens("", {}, "f");
  await refuses("?sslmode=require", {}, /does not support SSL/);
  await using certificates = await bringCertificates(database, "postgres");
  const { ca, cert, key, strangersCa } = certificates;
  for (const [name, file] of [
    ["ssl_cert_file", "server.crt"],
    ["ssl_key_file", "server.key"],
    ["ssl_ca_file", "ca.crt"],
  ])
    await run(`ALTER SYSTEM SET ${name} = '/tls/${file}'`);
  await run("ALTER SYSTEM SET ssl = on");
  await run("SELECT pg_reload_conf()");
  await eventually(() => openSql(endpoint("?sslmode=require")).then((store) => store.close()), 60_000);

  await opens("", {}, "t");
  await opens("?sslmode=disable", {}, "f");
  await opens("", { ca, cert, key }, "t");
  await opens("?sslmode=verify-ca", { ca }, "t", "localhost");
  await refuses("", { ca: strangersCa }, /certificate|self.signed/);
  await refuses("", { ca }, /localhost/, "localhost");
});
