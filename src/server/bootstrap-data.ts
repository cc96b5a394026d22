import { createCipheriv, createDecipheriv, createHash, pbkdf2 as pbkdf2Callback, randomBytes } from "node:crypto";
import { existsSync, readFileSync, statSync, utimesSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { writeFileAtomic } from "../agent/host/files.ts";
import { ConfigurationError } from "../machinery/configuration-error.ts";

/**
 * What every server of a cluster must have the same of: authorities, their keys, the key of service account tokens. In
 * K3s' form: a map of file ids, which is sealed with the cluster's password where it lies in a database.
 */
export type BootstrapData = Readonly<Record<string, BootstrapFile>>;

export interface BootstrapFile {
  /** When the file was last changed, RFC 3339. */
  readonly Timestamp: string;
  /** The file's bytes, base64. */
  readonly Content: string;
}

/** Where each file stands below `<data>/server`, by K3s' ids. */
const files: Readonly<Record<string, string>> = {
  ServerCA: "tls/server-ca.crt",
  ServerCAKey: "tls/server-ca.key",
  ClientCA: "tls/client-ca.crt",
  ClientCAKey: "tls/client-ca.key",
  RequestHeaderCA: "tls/request-header-ca.crt",
  RequestHeaderCAKey: "tls/request-header-ca.key",
  ServiceKey: "tls/service.key",
  ETCDServerCA: "tls/etcd/server-ca.crt",
  ETCDServerCAKey: "tls/etcd/server-ca.key",
  ETCDPeerCA: "tls/etcd/peer-ca.crt",
  ETCDPeerCAKey: "tls/etcd/peer-ca.key",
  PasswdFile: "cred/passwd",
};

/** Written by every server from its own tokens, so it is told to others but never taken from them. */
const ownFiles = new Set(["PasswdFile"]);

/** Clocks of two servers may differ by this much, milliseconds (K3s' three seconds). */
const clockSkewMs = 3000;

/** The files that are there. */
export function readBootstrapData(serverDirectory: string): BootstrapData {
  const found: Record<string, BootstrapFile> = {};
  for (const [id, path] of Object.entries(files)) {
    const file = join(serverDirectory, path);
    if (!existsSync(file)) continue;
    found[id] = {
      Timestamp: statSync(file).mtime.toISOString(),
      Content: readFileSync(file).toString("base64"),
    };
  }
  return found;
}

/** What taking the cluster's files over would change here. */
export interface BootstrapDifference {
  /** Files that are missing here, or older than the cluster's. */
  readonly outdated: readonly string[];
  /** Files that differ and were changed here later than in the cluster. */
  readonly newerHere: readonly string[];
}

/** Compares the cluster's files with those of a server, by paths below `<data>/server` (K3s' rule of timestamps). */
export function compareBootstrapData(cluster: BootstrapData, here: BootstrapData): BootstrapDifference {
  const outdated: string[] = [];
  const newerHere: string[] = [];
  for (const [id, { Content, Timestamp }] of Object.entries(cluster)) {
    const path = files[id];
    if (!path || ownFiles.has(id)) continue;
    const own = here[id];
    if (own?.Content === Content) continue;
    const later = own !== undefined && Date.parse(own.Timestamp) - Date.parse(Timestamp) >= clockSkewMs;
    (later ? newerHere : outdated).push(path);
  }
  return { outdated, newerHere };
}

/**
 * Brings the files here up to the cluster's.
 * @returns the paths of those that were written
 * @throws ConfigurationError with K3s' text when files here are newer: one of the two is not the cluster that was meant
 */
export function adoptBootstrapData(serverDirectory: string, cluster: BootstrapData): readonly string[] {
  const { outdated, newerHere } = compareBootstrapData(cluster, readBootstrapData(serverDirectory));
  if (newerHere.length > 0) {
    throw new ConfigurationError(
      `${newerHere.map((path) => join(serverDirectory, path)).join(", ")} newer than datastore and could cause a cluster outage. ` +
        "Remove the file(s) from disk and restart to be recreated from datastore.",
    );
  }
  if (outdated.length > 0) writeBootstrapData(serverDirectory, cluster);
  return outdated;
}

/** Writes the cluster's files (0600), with the times at which they were made, whatever stands there. */
export function writeBootstrapData(serverDirectory: string, cluster: BootstrapData): void {
  for (const [id, { Content, Timestamp }] of Object.entries(cluster)) {
    const path = files[id];
    if (!path || ownFiles.has(id)) continue;
    const file = join(serverDirectory, path);
    writeFileAtomic(file, Buffer.from(Content, "base64"), 0o600);
    const madeAt = new Date(Timestamp);
    utimesSync(file, madeAt, madeAt);
  }
}

/** Everything of K3s' data lies below this. */
export const bootstrapPrefix = "/bootstrap/";

/** Where the data that a password opens lies. */
export function bootstrapKey(password: string): string {
  return bootstrapPrefix + createHash("sha256").update(password).digest("hex").slice(0, 12);
}

const pbkdf2 = promisify(pbkdf2Callback);
const keyOf = (password: string, salt: string) => pbkdf2(password, salt, 4096, 32, "sha1");
const nonceBytes = 12;
const tagBytes = 16;

/** K3s' form: `<salt>:<base64 of nonce, AES-256-GCM ciphertext and tag>`. */
export async function sealBootstrapData(password: string, data: BootstrapData): Promise<Buffer> {
  const salt = randomBytes(8).toString("hex");
  const nonce = randomBytes(nonceBytes);
  const cipher = createCipheriv("aes-256-gcm", await keyOf(password, salt), nonce);
  const text = Buffer.concat([cipher.update(JSON.stringify(data), "utf8"), cipher.final()]);
  return Buffer.from(`${salt}:${Buffer.concat([nonce, text, cipher.getAuthTag()]).toString("base64")}`);
}

/** @throws when the password is another one or the data is damaged */
export async function openBootstrapData(password: string, sealed: Buffer): Promise<BootstrapData> {
  const text = sealed.toString("latin1");
  const colon = text.indexOf(":");
  if (colon < 0) throw new Error("the bootstrap data of the cluster is damaged: it has no salt");
  const bytes = Buffer.from(text.slice(colon + 1), "base64");
  const decipher = createDecipheriv(
    "aes-256-gcm",
    await keyOf(password, text.slice(0, colon)),
    bytes.subarray(0, nonceBytes),
  );
  decipher.setAuthTag(bytes.subarray(-tagBytes));
  try {
    const opened = Buffer.concat([decipher.update(bytes.subarray(nonceBytes, -tagBytes)), decipher.final()]);
    return JSON.parse(opened.toString("utf8")) as BootstrapData;
  } catch {
    throw new Error("the bootstrap data of the cluster does not open with this token, or is damaged");
  }
}
