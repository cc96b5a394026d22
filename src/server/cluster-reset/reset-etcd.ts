import { existsSync, mkdirSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { ioClock } from "../../machinery/clock.ts";
import { snapshotRevision } from "../../store/etcd/snapshot-revision.ts";
import type { Store } from "../../store/store.ts";
import { etcdDirectoryOf, isBuried, putAside } from "../etcd/data-directory.ts";
import { memberName, nodeOfMemberIn } from "../etcd/member-name.ts";
import { restoreSnapshot } from "../etcd/restore-snapshot.ts";
import { type RunAloneOptions, runAlone } from "../etcd/run-alone.ts";
import { exchange } from "./reset-marks.ts";
import { revisionsAbove } from "./revisions-above.ts";
import { refusal } from "./snapshot-source.ts";

/** Makes this server's member the only one of its cluster, with the data that it has. May be repeated. */
export async function resetMembership(options: RunAloneOptions): Promise<void> {
  const etcdDirectory = etcdDirectoryOf(options.directory);
  await runAlone(options, etcdDirectory, { kind: "reset" }, async () => {});
  if (isBuried(etcdDirectory)) rmSync(join(etcdDirectory, "tombstone"));
}

/**
 * Makes of a snapshot of etcd the data of a cluster whose only member is this server. The old data is kept as
 * `etcd-old-<time>`; it is touched when the new one has been started once.
 * @param options.adopt is given the restored store before it takes its place
 */
export async function restoreEtcd(
  options: RunAloneOptions & { readonly snapshot: string; readonly adopt: (store: Store) => Promise<void> },
): Promise<void> {
  const { directory, nodeName, address, snapshot, adopt, logger, signal } = options;
  const etcdDirectory = etcdDirectoryOf(directory);
  const made = join(directory, "db", "etcd-restoring");
  rmSync(made, { recursive: true, force: true });
  mkdirSync(made, { recursive: true, mode: 0o700 });
  try {
    const copied = await snapshotRevision(snapshot).catch((error: Error) => {
      throw refusal(snapshot, error.message);
    });
    const own = join(etcdDirectory, "member", "snap", "db");
    const replaced = existsSync(own) ? await snapshotRevision(own).catch(() => 0) : 0;
    // Whoever runs the restore beside the node's own container has another host name than the node.
    const name = memberName(made, nodeOfMemberIn(etcdDirectory) ?? nodeName);
    const raiseBy = revisionsAbove(copied, replaced) - copied;
    await restoreSnapshot({ snapshot, copied: false, etcdDirectory: made, name, address, raiseBy, signal });
    await runAlone(options, made, { kind: "existing" }, adopt);
  } catch (error) {
    rmSync(made, { recursive: true, force: true });
    throw error;
  }
  exchange(directory, () => {
    if (existsSync(etcdDirectory)) {
      const old = putAside(etcdDirectory, ioClock, "old");
      logger.info(`Pre-restore etcd database moved to ${old}`);
    }
    renameSync(made, etcdDirectory);
  });
}
