import assert from "node:assert/strict";
import { run } from "../../../tools/run.ts";
import { startDatabase, type TestDatabase } from "../database.ts";
import { runSql } from "../run-sql.ts";
import type { Replication } from "./replication.ts";

/** Semi-synchronous replication gives up waiting, and goes on without a standby, after this: no test takes so long. */
const neverMs = 24 * 3600 * 1000;

/** Each server of a replication has a number of its own. */
let servers = 0;

/**
 * Semi-synchronous replication by GTID: a commit is in the primary's log, then in the standby's, and only then visible to
 * anybody. A standby begins as a dump, which is taken while writes go on.
 */
export const mariadbReplication: Replication = {
  startFirst: async (network) => {
    const primary = await start(network);
    await runSql(primary, "CREATE DATABASE kubernetes CHARACTER SET utf8mb4 COLLATE utf8mb4_bin");
    return primary;
  },

  startStandby: async (primary, network) => {
    const standby = await start(network);
    try {
      await follow(standby, primary);
      return standby;
    } catch (error) {
      await standby.remove();
      throw error;
    }
  },

  acknowledgeTogether: async (primary) => {
    const config = "[mariadbd]\\nrpl_semi_sync_master_enabled=ON\\n";
    const write = `printf '${config}' > /etc/mysql/mariadb.conf.d/99-together.cnf`;
    await run("docker", ["exec", "-u", "root", primary.container, "sh", "-c", write]);
    await runSql(primary, "SET GLOBAL rpl_semi_sync_master_enabled=ON");
  },

  assertTogether: async (primary, standby) => {
    const status = await runSql(primary, "SHOW STATUS LIKE 'Rpl_semi_sync_master_%'");
    assert.match(status, /^Rpl_semi_sync_master_status\tON$/m, `${primary.container} does not wait for its standby`);
    assert.match(status, /^Rpl_semi_sync_master_clients\t[1-9]/m, `no standby is connected to ${primary.container}`);
    await applied(standby, await runSql(primary, "SELECT @@GLOBAL.gtid_binlog_pos"));
  },

  isWaiting: async (primary) => {
    const sessions = await runSql(primary, "SHOW STATUS LIKE 'Rpl_semi_sync_master_wait_sessions'");
    return !sessions.endsWith("\t0");
  },

  promote: async (standby) => {
    await runSql(standby, "STOP SLAVE IO_THREAD");
    const status = await runSql(standby, "SHOW SLAVE STATUS\\G");
    await applied(standby, /Gtid_IO_Pos: (.*)/.exec(status)?.[1] ?? "");
    for (const statement of ["STOP SLAVE", "RESET SLAVE ALL", "SET GLOBAL read_only=OFF"])
      await runSql(standby, statement);
  },
};

function start(network: string): Promise<TestDatabase> {
  const args = [
    ...[`--server-id=${++servers}`, "--log-bin=log", "--binlog-format=ROW", "--log-slave-updates", "--sync-binlog=1"],
    ...["--rpl-semi-sync-master-wait-point=AFTER_SYNC", `--rpl-semi-sync-master-timeout=${neverMs}`],
    ...["--rpl-semi-sync-slave-enabled=ON", "--rpl-semi-sync-slave-kill-conn-timeout=1"],
  ];
  return startDatabase("mariadb", { args, network });
}

/** Fills an empty server with a copy of another one, and lets it follow that from there on. */
async function follow(standby: TestDatabase, primary: TestDatabase): Promise<void> {
  const dump =
    `mariadb-dump -h ${primary.container} -u root -ptest --skip-ssl --single-transaction --master-data=1 --gtid ` +
    "--routines --databases kubernetes";
  // Its own log begins with what it hears of the primary.
  const load = "mariadb -h 127.0.0.1 -u root -ptest --init-command='SET sql_log_bin=0'";
  await standby.exec(["bash", "-c", `set -o pipefail; ${dump} | ${load}`]);
  const source =
    `MASTER_HOST='${primary.container}', MASTER_USER='root', MASTER_PASSWORD='test', MASTER_SSL=0, ` +
    "MASTER_CONNECT_RETRY=1, MASTER_USE_GTID=slave_pos";
  for (const statement of ["SET GLOBAL read_only=ON", `CHANGE MASTER TO ${source}`, "START SLAVE"])
    await runSql(standby, statement);
}

/** Waits until a standby has made the changes up to a position of the log. */
async function applied(standby: TestDatabase, position: string): Promise<void> {
  const waited = await runSql(standby, `SELECT MASTER_GTID_WAIT('${position}', 60)`);
  assert.equal(waited, "0", `${standby.container} has not come to ${position} within 60 s`);
}
