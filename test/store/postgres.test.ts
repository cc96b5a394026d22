import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { ConfigurationError } from "../../src/machinery/configuration-error.ts";
import { startDatabase, type TestDatabase } from "../support/database.ts";
import { storeSuite } from "../unit/store/suite.ts";
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
