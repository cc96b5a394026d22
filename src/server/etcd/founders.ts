import { existsSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { ConfigurationError } from "../../machinery/configuration-error.ts";

/**
 * The members that found a cluster of etcd together, as "name=peer URL" each. Whoever makes several servers at once writes
 * the same list into the directory of each one's member, before its first start: then none has to wait until the others
 * let it join, and none of them answers before most are there. etcd lets members join one after the other only, and each
 * of them seconds after the one before. A list that is there says nothing any more once there is a member's data.
 */
const fileName = "founders";

/** The list as it lies in the directory. */
export function foundersFile(members: readonly string[]): { readonly name: string; readonly text: string } {
  return { name: fileName, text: `${members.join("\n")}\n` };
}

/**
 * Reads the list.
 * @param self what this server's member is called, and where it is, as "name=peer URL"
 * @returns undefined where there is none
 * @throws ConfigurationError when this server is not in the list, or elsewhere than it says
 */
export function readFounders(etcdDirectory: string, self: string): readonly string[] | undefined {
  if (!hasFounders(etcdDirectory)) return undefined;
  const file = join(etcdDirectory, fileName);
  const members = readFileSync(file, "utf8").split("\n").filter(Boolean);
  if (members.includes(self)) return members;
  throw new ConfigurationError(
    `this server is "${self}", which is none of the founders of its cluster in ${file} (${members.join(", ")}); ` +
      "start it under the name and the address that it was made for, or delete the file to have it join or begin a cluster",
  );
}

export function hasFounders(etcdDirectory: string): boolean {
  return existsSync(join(etcdDirectory, fileName));
}

/** For a member that there is: if its data were lost, it would have to join again. */
export function forgetFounders(etcdDirectory: string): void {
  rmSync(join(etcdDirectory, fileName), { force: true });
}
