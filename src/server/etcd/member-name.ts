import { randomBytes } from "node:crypto";
import { existsSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { writeFileAtomic } from "../../agent/host/files.ts";

/**
 * The name that this server's member of etcd has had since its first start, kept in `<etcd>/name` (K3s' file):
 * `<node>-<8 hex>`, so that a node that comes back with an empty disk is another member.
 */
export function memberName(etcdDirectory: string, nodeName: string): string {
  const file = join(etcdDirectory, "name");
  if (existsSync(file)) return readFileSync(file, "utf8");
  const name = newMemberName(nodeName);
  writeFileAtomic(file, name, 0o600);
  return name;
}

/** A name that no member has had. */
export function newMemberName(nodeName: string): string {
  return `${nodeName}-${randomBytes(4).toString("hex")}`;
}

/** Lets the next start choose another name: for a member that never was one. */
export function forgetMemberName(etcdDirectory: string): void {
  rmSync(join(etcdDirectory, "name"), { force: true });
}

/** The node whose member's data is in this directory; undefined where there has been none. */
export function nodeOfMemberIn(etcdDirectory: string): string | undefined {
  const file = join(etcdDirectory, "name");
  return existsSync(file) ? nodeOfMember(readFileSync(file, "utf8")) : undefined;
}

/** The node that a member of this name is on. */
export function nodeOfMember(name: string): string {
  return name.replace(/-[^-]*$/, "");
}
