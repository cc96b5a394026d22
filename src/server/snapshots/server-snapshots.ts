import type { CronSchedule } from "../../controllers/cron-schedule.ts";
import { clusterClock } from "../../machinery/clock.ts";
import type { Logger } from "../../machinery/log.ts";
import { badRequest } from "../../machinery/status.ts";
import type { DatastoreEndpoint } from "../../store/datastore-endpoint.ts";
import type { Store } from "../../store/store.ts";
import { saveBootstrapData } from "../shared-bootstrap.ts";
import { answerSnapshotRequest, parseSnapshotRequest } from "./snapshot-request.ts";
import { runSnapshotSchedule } from "./snapshot-schedule.ts";
import { type SnapshotSettings, Snapshots } from "./snapshots.ts";

export interface SnapshotOptions extends SnapshotSettings {
  /** When snapshots are taken; absent with --etcd-disable-snapshots. */
  readonly schedule: CronSchedule | undefined;
}

/** The snapshots of a running server. */
export interface ServerSnapshots {
  /** The body of the reply to `POST /db/snapshot`. @throws 400 where the database has backups of its own */
  answer(body: Buffer): Promise<object>;
  /** Takes snapshots on schedule, until the signal. */
  run(signal: AbortSignal): Promise<void>;
}

/** How the databases that are not this server's own are backed up. */
const ownBackup: Readonly<Record<DatastoreEndpoint["kind"], string>> = {
  sqlite: "",
  etcd: "an etcd that is not k3ts' own; back it up with its own tool (etcdctl snapshot save)",
  postgres: "PostgreSQL; back it up with its own tools (pg_dump, pg_basebackup)",
  mysql: "MySQL; back it up with its own tools (mysqldump, mariadb-dump)",
};

/** @param options.embedded does the cluster live in embedded etcd, whatever the endpoint says? */
export function serverSnapshots(options: {
  /** `<data>/server` */
  readonly directory: string;
  readonly nodeName: string;
  readonly store: Store;
  readonly endpoint: DatastoreEndpoint;
  readonly embedded: boolean;
  /** The token's, which seals what another machine needs to go on with a snapshot. */
  readonly password: string;
  readonly snapshots: SnapshotOptions;
  readonly logger: Logger;
}): ServerSnapshots {
  const { directory, store, endpoint, embedded, password, snapshots: settings, logger } = options;
  const foreign = embedded ? "" : ownBackup[endpoint.kind];
  const snapshots = new Snapshots({
    ...options,
    // In etcd it is from the beginning.
    prepare: embedded ? async () => {} : () => saveBootstrapData({ store, directory, password }),
    clock: clusterClock,
  });
  return {
    answer: async (body) => {
      if (foreign) throw badRequest(`the datastore of this cluster is ${foreign}`);
      return answerSnapshotRequest(snapshots, settings, options.nodeName, parseSnapshotRequest(body));
    },
    run: async (signal) => {
      const { schedule } = settings;
      if (foreign || !schedule) return;
      await runSnapshotSchedule({
        schedule,
        timeZone: new Intl.DateTimeFormat().resolvedOptions().timeZone,
        save: () => snapshots.save(settings),
        clock: clusterClock,
        logger,
        signal,
      });
    },
  };
}
