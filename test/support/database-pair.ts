import { spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { run, tryRun } from "../../tools/run.ts";
import type { TestDatabase } from "./database.ts";
import { eventually } from "./eventually.ts";
import { mariadbReplication } from "./replication/mariadb-replication.ts";
import { postgresReplication } from "./replication/postgres-replication.ts";
import type { Replication } from "./replication/replication.ts";

/** A database that can have a standby. */
export type PairKind = "postgres" | "mariadb";

const replications: Record<PairKind, Replication> = { postgres: postgresReplication, mariadb: mariadbReplication };

/**
 * A database and a standby, which has everything that was acknowledged: when {@link failOver} kills the one, the other
 * takes its place with nothing lost. From then until {@link renew} has made a new standby the database acknowledges alone,
 * as those that manage replicated databases set them up unless they are told to prefer an outage. Nothing can be lost by
 * that here: without a standby there is no fail-over.
 */
export interface DatabasePair extends AsyncDisposable {
  readonly kind: PairKind;
  /** The one that takes writes: another one after a fail-over. */
  readonly primary: TestDatabase;
  readonly standby: TestDatabase | undefined;
  /** Waits until the standby is connected, has everything, and the primary acknowledges nothing without it. */
  together(): Promise<void>;
  /** Whether a commit waits for the standby. */
  isWaiting(): Promise<boolean>;
  /**
   * Kills the primary as a power failure would, and makes the standby the primary. Throws when there is no standby that
   * has everything.
   * @param lead called in between, to lead clients to the one that will take over; for a moment it refuses to write
   */
  failOver(lead: (to: TestDatabase) => void): Promise<void>;
  /** Gives the primary a new standby in the place of the one that took over, as soon as it has everything. */
  renew(): Promise<void>;
}

/** Starts a database and its standby. Needs the images of the test stage `store` and a Docker Engine. */
export async function startDatabasePair(kind: PairKind): Promise<DatabasePair> {
  const replication = replications[kind];
  const network = `test-${kind}-${randomBytes(4).toString("hex")}`;
  const removeNow = () => spawnSync("docker", ["network", "rm", "-f", network]);
  await using starting = new AsyncDisposableStack();
  await run("docker", ["network", "create", network]);
  process.once("exit", removeNow);
  starting.defer(async () => {
    await tryRun("docker", ["network", "rm", "-f", network]);
    process.off("exit", removeNow);
  });

  let standby: TestDatabase | undefined;
  let primary = await replication.startFirst(network);
  starting.defer(async () => {
    await standby?.remove();
    await primary.remove();
  });
  const together = async () => {
    if (!standby) throw new Error(`${primary.container} has no standby`);
    const present = standby;
    await eventually(() => replication.assertTogether(primary, present), 120_000);
  };
  const renew = async () => {
    if (standby) return;
    standby = await replication.startStandby(primary, network);
    await replication.acknowledgeTogether(primary);
    await together();
  };
  await renew();
  const all = starting.move();
  return {
    kind,
    get primary() {
      return primary;
    },
    get standby() {
      return standby;
    },
    together,
    isWaiting: () => replication.isWaiting(primary),
    async failOver(lead) {
      await together();
      const [dead, next] = [primary, standby!];
      await dead.kill();
      try {
        [primary, standby] = [next, undefined];
        lead(next);
        await replication.promote(next);
      } finally {
        await dead.remove();
      }
    },
    renew,
    [Symbol.asyncDispose]: () => all.disposeAsync(),
  };
}
