import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, test } from "node:test";
import { ConfigurationError } from "../../src/machinery/configuration-error.ts";
import type { DatastoreFiles } from "../../src/store/datastore-endpoint.ts";
import { run as docker } from "../../tools/run.ts";
import { startDatabase, type TestDatabase } from "../support/database.ts";
import { storeSuite } from "../unit/store/suite.ts";
import { bringCertificates } from "./sql-certificates.ts";
import { endpointOf, openSql, sqlHarness } from "./sql-harness.ts";
import { sqlScenarios } from "./sql-scenarios.ts";

let database: TestDatabase;
before(async () => {
  database = await startDatabase("mariadb");
});
after(() => database.remove());

const run = (statement: string, name = "mysql", options: readonly string[] = []) =>
  database.exec([
    ...["mariadb", "-h", "127.0.0.1", "-u", "root", "-ptest", "-N", "-B", ...options, "-D", name],
    ...["-e", statement],
  ]);

storeSuite("MariaDB", () => sqlHarness(endpointOf(database, "suite")));

sqlScenarios("MariaDB", {
  database: () => database,
  run,
  async cut(name, options) {
    const which = options?.listening ? " AND INFO LIKE 'SELECT /* k3ts listens%'" : "";
    const ids = await run(`SELECT ID FROM information_schema.PROCESSLIST WHERE DB = '${name}'${which}`);
    const kills = ids
      .split("\n")
      .filter(Boolean)
      .map((id) => `KILL CONNECTION ${id};`);
    // One that ended by itself meanwhile is cut already.
    await run(kills.join(" "), "mysql", ["--force"]).catch(() => {});
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

test("a connection is encrypted and verified as tls and the files ask", async () => {
  await using certificates = await bringCertificates(database, "mysql");
  const { ca, cert, key, strangersCa } = certificates;
  // The server reads where its certificates are when it starts.
  const settings = ["[mysqld]", "ssl-ca=/tls/ca.crt", "ssl-cert=/tls/server.crt", "ssl-key=/tls/server.key", ""].join(
    "\n",
  );
  const file = "/etc/mysql/mariadb.conf.d/99-tls.cnf";
  await docker("docker", ["exec", "-i", "-u", "root", database.container, "tee", file], { input: settings });
  await database.kill();
  await database.start();
  const endpoint = (query: string, host = "127.0.0.1") => `mysql://root:test@tcp(${host}:${database.port})/tls${query}`;
  await run("CREATE USER secured IDENTIFIED BY 'test' REQUIRE X509; GRANT ALL PRIVILEGES ON tls.* TO secured");
  await run("CREATE USER encrypted IDENTIFIED BY 'test' REQUIRE SSL; GRANT ALL PRIVILEGES ON tls.* TO encrypted");
  const opens = async (user: string, query: string, files: DatastoreFiles) => {
    const store = await openSql(endpoint(query).replace("root:", `${user}:`), { files });
    try {
      assert.ok((await store.create(`/${randomUUID()}`, Buffer.from("1"))).ok);
    } finally {
      await store.close();
    }
  };
  const refuses = (user: string, query: string, files: DatastoreFiles, text: RegExp, host?: string) =>
    assert.rejects(openSql(endpoint(query, host).replace("root:", `${user}:`), { files }), text);

  await opens("root", "", {});
  await refuses("encrypted", "", {}, /Access denied/);
  await opens("encrypted", "?tls=skip-verify", {});
  await opens("encrypted", "?tls=preferred", {});
  await refuses("encrypted", "?tls=true", {}, /certificate|self.signed/);
  await opens("encrypted", "", { ca });
  await refuses("secured", "", { ca }, /Access denied/);
  await opens("secured", "", { ca, cert, key });
  await refuses("encrypted", "", { ca: strangersCa }, /certificate|self.signed/);
  await refuses("encrypted", "", { ca }, /localhost/, "localhost");
});
