import { mkdirSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { run } from "../../agent/host/command.ts";
import { peerUrl } from "./etcd-config.ts";

export interface RestoreOptions {
  /** A snapshot, or the `member/snap/db` of an etcd that has ended. */
  readonly snapshot: string;
  /** A copied database has no hash to compare. */
  readonly copied: boolean;
  readonly etcdDirectory: string;
  readonly name: string;
  readonly address: string;
  /** Revisions go on this much above the snapshot's, and those up to there are compacted; 0: where they were. */
  readonly raiseBy: number;
  readonly signal: AbortSignal;
}

/** A large snapshot is copied and synced. */
const timeoutMs = 10 * 60_000;

/**
 * Makes of a snapshot the data of a cluster's only member. The data appears in one step, so that a restore that was cut
 * off is made again.
 * @throws CommandError with what etcdutl said
 */
export async function restoreSnapshot(options: RestoreOptions): Promise<void> {
  const { etcdDirectory, name, address } = options;
  const made = join(etcdDirectory, "restored");
  rmSync(made, { recursive: true, force: true });
  mkdirSync(etcdDirectory, { recursive: true, mode: 0o700 });
  const raising = options.raiseBy > 0 ? ["--bump-revision", String(options.raiseBy), "--mark-compacted"] : [];
  await run(
    "etcdutl",
    [
      ...["snapshot", "restore", options.snapshot, "--data-dir", made, "--name", name],
      ...["--initial-advertise-peer-urls", peerUrl(address), "--initial-cluster", `${name}=${peerUrl(address)}`],
      ...(options.copied ? ["--skip-hash-check"] : []),
      ...raising,
    ],
    { timeoutMs, signal: options.signal },
  );
  renameSync(join(made, "member"), join(etcdDirectory, "member"));
  rmSync(made, { recursive: true });
}
