import { randomBytes } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { writeFileAtomic } from "../host/files.ts";

/** Who this node is: its name, and the password by which the server knows it again (K3s: /etc/rancher/node). */
export interface NodeIdentity {
  readonly name: string;
  readonly password: string;
}

/** Where a machine keeps its password and its id (K3s' directory). */
export const identityDirectory = "/etc/rancher/node";

/**
 * @param directory where the password and the id stand; they must live as long as the node's data
 * @param given `--node-name`; default: the host name in lower case
 * @param withNodeId append 8 hex digits that are made once
 */
export function loadNodeIdentity(directory: string, given: string | undefined, withNodeId: boolean): NodeIdentity {
  const keep = (file: string, make: () => string): string => {
    const path = join(directory, file);
    if (existsSync(path)) return readFileSync(path, "utf8").trim();
    const value = make();
    writeFileAtomic(path, `${value}\n`, 0o600);
    return value;
  };
  const password = keep("password", () => randomBytes(16).toString("hex"));
  const base = (given ?? hostname()).toLowerCase();
  const name = withNodeId ? `${base}-${keep("id", () => randomBytes(4).toString("hex"))}` : base;
  return { name, password };
}
