import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { type PairKind, startDatabasePair } from "../support/database-pair.ts";
import { eventually } from "../support/eventually.ts";
import { runSql } from "../support/run-sql.ts";

const tables: Record<PairKind, string> = { postgres: "notes", mariadb: "kubernetes.notes" };

// What the checker's fail-overs rest on: they would prove nothing if a standby lacked what was acknowledged, or if all
// that was ever asked of it was acknowledged late.
suite("a database and its standby", { concurrency: true }, () => {
  for (const kind of ["postgres", "mariadb"] as const) {
    test(`${kind} shows and acknowledges a write when its standby has it, which takes over with it`, async () => {
      const table = tables[kind];
      await using pair = await startDatabasePair(kind);
      const written = () => runSql(pair.primary, `SELECT note FROM ${table} ORDER BY note`);
      await runSql(pair.primary, `CREATE TABLE ${table} (note VARCHAR(20) PRIMARY KEY)`);

      await pair.standby!.pause();
      let acknowledged = false;
      const writing = runSql(pair.primary, `INSERT INTO ${table} VALUES ('together')`).then(() => {
        acknowledged = true;
      });
      await eventually(async () => assert.ok(await pair.isWaiting(), "no commit waits for the standby"));
      assert.equal(await written(), "");
      assert.equal(acknowledged, false);
      await pair.standby!.unpause();
      await writing;

      const { container } = pair.primary;
      await pair.failOver(() => {});
      assert.notEqual(pair.primary.container, container);
      assert.equal(await written(), "together");
      await runSql(pair.primary, `INSERT INTO ${table} VALUES ('alone')`);
      await pair.renew();

      await pair.failOver(() => {});
      assert.equal(await written(), "alone\ntogether");
    });
  }
});
