import assert from "node:assert/strict";
import { startDatabase } from "../database.ts";
import { eventually } from "../eventually.ts";
import { runSql } from "../run-sql.ts";
import type { Replication } from "./replication.ts";

const data = "/var/lib/postgresql/data";
const copy = "/var/lib/postgresql/copy";
/** Of the log, what a standby may lag behind: there is no slot that would keep it. */
const settings = "-c listen_addresses='*' -c wal_keep_size=256MB -c wal_retrieve_retry_interval=200ms";

/**
 * Streaming replication. A standby begins as a base backup, which is taken before the primary has to wait for it: so
 * whoever takes over does not wait for a standby that it does not have yet.
 */
export const postgresReplication: Replication = {
  startFirst: async (network) => {
    const script = `grep -q replicate ${data}/pg_hba.conf || echo 'host replication all all scram-sha-256 # replicate' >> ${data}/pg_hba.conf`;
    return startDatabase("postgres", {
      network,
      script: `${script}; exec /opt/postgresql/postgres -D ${data} ${settings}`,
    });
  },

  startStandby: (primary, network) => {
    const source = `host=${primary.container} user=postgres password=test`;
    // Once it is there it is kept: it is what the container is started again with.
    const backup = `test -d ${copy} || /opt/postgresql/pg_basebackup -D ${copy} -R -c fast -d '${source}'`;
    const script = `(${backup}) && exec /opt/postgresql/postgres -D ${copy} ${settings}`;
    return startDatabase("postgres", { network, script });
  },

  acknowledgeTogether: async (primary) => {
    await runSql(primary, "ALTER SYSTEM SET synchronous_standby_names = '*'");
    await runSql(primary, "SELECT pg_reload_conf()");
  },

  assertTogether: async (primary) => {
    const now = await runSql(primary, "SELECT pg_current_wal_lsn()");
    await eventually(async () => {
      const together = await runSql(
        primary,
        `SELECT bool_or(sync_state = 'sync' AND flush_lsn >= '${now}') FROM pg_stat_replication`,
      );
      assert.equal(together, "t", `${primary.container} has no synchronous standby that has its log up to ${now}`);
    });
  },

  isWaiting: async (primary) => {
    const waiting = await runSql(primary, "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'");
    return waiting !== "0";
  },

  promote: async (standby) => {
    assert.equal(await runSql(standby, "SELECT pg_promote(wait_seconds => 60)"), "t");
  },
};
