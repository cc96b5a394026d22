import { randomBytes, scrypt as scryptCallback, timingSafeEqual } from "node:crypto";
import { promisify } from "node:util";
import { type Secret, secrets } from "../api/generated/core-v1.ts";
import type { Client } from "../client/client.ts";
import { forbidden, StatusError } from "../machinery/status.ts";

const scrypt = promisify(scryptCallback) as (
  password: string,
  salt: Buffer,
  length: number,
  options: { N: number; r: number; p: number; maxmem: number },
) => Promise<Buffer>;

const logN = 15;
const keyBytes = 64;
const cost = { N: 2 ** logN, r: 8, p: 1, maxmem: 64 * 1024 * 1024 };
const namespace = "kube-system";

/** K3s' names. */
const suffix = ".node-password.k3s";
const secretType = "k3s.cattle.io/node-password";

/** The Secret in which a node's password is kept. */
export function nodePasswordSecretName(node: string): string {
  return node + suffix;
}

/** The node whose password a Secret keeps, if it does, as the only one of a list. */
export function nodeOfPasswordSecret(metadata: { readonly name?: string; readonly namespace?: string }): string[] {
  const { name = "" } = metadata;
  return metadata.namespace === namespace && name.endsWith(suffix) ? [name.slice(0, -suffix.length)] : [];
}

/** K3s' format: `$1:<salt, hex>:15:8:1:<key, base64>`. */
export async function hashNodePassword(password: string, salt = randomBytes(8)): Promise<string> {
  const key = await scrypt(password, salt, keyBytes, cost);
  return `$1:${salt.toString("hex")}:${logN}:8:1:${key.toString("base64")}`;
}

/** Does the password match a hash of {@link hashNodePassword}? */
export async function verifyNodePassword(password: string, hash: string): Promise<boolean> {
  const parts = hash.split(":");
  if (parts.length !== 6 || parts[0] !== "$1") return false;
  const expected = Buffer.from(parts[5]!, "base64");
  const key = await scrypt(password, Buffer.from(parts[1]!, "hex"), keyBytes, cost);
  return expected.length === key.length && timingSafeEqual(expected, key);
}

/**
 * Recognises a node by its password: the first one that a name is used with is kept, later ones must equal it.
 * @throws 403 when the password is another one
 */
export async function ensureNodePassword(client: Client, node: string, password: string): Promise<void> {
  const name = nodePasswordSecretName(node);
  for (;;) {
    const existing = await client.get(secrets, name, { namespace }).catch(nothingFor(404));
    if (existing) {
      const hash = Buffer.from(existing.data?.["hash"] ?? "", "base64").toString("utf8");
      if (await verifyNodePassword(password, hash)) return;
      throw forbidden({ group: "", resource: "nodes" }, node, "unable to verify hash for node: hash does not match");
    }
    const secret: Secret = {
      metadata: { name, namespace },
      type: secretType,
      immutable: true,
      data: { hash: Buffer.from(await hashNodePassword(password)).toString("base64") },
    };
    const created = await client.create(secrets, secret).catch(nothingFor(409));
    if (created) return;
  }
}

/** Turns one kind of refusal into `undefined`. */
export function nothingFor(code: number): (error: unknown) => undefined {
  return (error) => {
    if (error instanceof StatusError && error.code === code) return undefined;
    throw error;
  };
}
