import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { EtcdBeginning } from "./etcd-config.ts";
import type { EtcdProcess } from "./etcd-process.ts";
import { restoreSnapshot } from "./restore-snapshot.ts";

/**
 * Makes the data of a new, empty cluster whose revisions begin above `revision`, with all up to there compacted: what
 * clients remember from before is too old for it, and never another object's. Only a restored snapshot can have that, so
 * an etcd is started for a moment to have an empty one.
 */
export async function seedRevision(options: {
  readonly etcdDirectory: string;
  readonly self: { readonly name: string; readonly address: string };
  readonly revision: number;
  readonly start: (dataDirectory: string, beginning: EtcdBeginning) => Promise<EtcdProcess>;
  readonly signal: AbortSignal;
}): Promise<void> {
  const { etcdDirectory, self, signal } = options;
  const seed = join(etcdDirectory, "seed");
  rmSync(seed, { recursive: true, force: true });
  mkdirSync(seed, { mode: 0o700 });
  const etcd = await options.start(seed, { kind: "new" });
  await etcd.stop();
  const snapshot = join(seed, "member", "snap", "db");
  await restoreSnapshot({ ...self, snapshot, copied: true, etcdDirectory, raiseBy: options.revision, signal });
  rmSync(seed, { recursive: true });
}
