import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { ConfigurationError } from "../../src/machinery/configuration-error.ts";
import { startDatabase, type TestDatabase } from "../support/database.ts";
import { storeSuite } from "../unit/store/suite.ts";
import { endpointOf, openSql, sqlHarness } from "./sql-harness.ts";
import { sqlScenarios } from "./sql-scenarios.ts";

let database: TestDatabase;
before(async () => {
  database = await startDatabase("mariadb");
});
after(() => database.remove());

const run = (statement: string, name = "mysql") =>
  database.exec(["mariadb", "-h", "127.0.0.1", "-u", "root", "-ptest", "-N", "-B", "-D", name, "-e", statement]);

storeSuite("MariaDB", () => sqlHarness(endpointOf(database, "suite")));

sqlScenarios("MariaDB", {
  database: () => database,
  run,
  async cut(name, options) {
    const which = options?.listening ? " AND INFO LIKE 'SELECT /* k3ts listens%'" : "";
    const ids = await run(`SELECT ID FROM information_schema.PROCESSLIST WHERE DB = '${name}'${which}`);
    // One that ended by itself meanwhile is cut already.
    for (const id of ids.split("\n").filter(Boolean)) await run(`KILL CONNECTION ${id}`).catch(() => {});
  },
  async setReadOnly(_name, readOnly) {
    await run(`SET GLOBAL read_only = ${readOnly ? 1 : 0}`);
  },
  async loseWrites(name, head) {
    await run(
      `START TRANSACTION; DELETE FROM k3ts_log WHERE revision > ${head}; UPDATE k3ts_meta SET head = ${head}; DELETE FROM k3ts_writers; COMMIT`,
      name,
    );
  },
});

test("a login that may not make the database is told what an administrator has to run", async () => {
  await run("CREATE USER poor IDENTIFIED BY 'poor-p4ss'");
  const endpoint = `mysql://poor:poor-p4ss@tcp(127.0.0.1:${database.port})/none`;
  await assert.rejects(openSql(endpoint), (error: Error) => {
    assert.ok(error instanceof ConfigurationError, `${error}`);
    assert.match(
      error.message,
      /Access denied .*; .*CREATE DATABASE IF NOT EXISTS `none`; GRANT ALL PRIVILEGES ON `none`/,
    );
    return true;
  });
  await run("CREATE DATABASE none; GRANT ALL PRIVILEGES ON `none`.* TO 'poor'@'%'");
  const store = await openSql(endpoint);
  assert.ok((await store.create("/a", Buffer.from("1"))).ok);
  await store.close();
});
