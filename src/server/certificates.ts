import { generateKeyPairSync, X509Certificate } from "node:crypto";
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { isIP } from "node:net";
import { join } from "node:path";
import { replaceFile } from "../agent/host/files.ts";
import { type Clock, ioClock } from "../machinery/clock.ts";
import { type SignRequest, signCertificates } from "./signer.ts";

/**
 * The certificates of a server, in K3s' files below `<data>/server/tls` (k3s documentation, "certificate"; table of
 * subjects as K3s has it). CAs live 10 years and are never renewed; leaves live 365 days and are renewed at start when
 * fewer than 120 are left, or when their names or their CA changed, with their key kept.
 */

const dayMs = 24 * 60 * 60 * 1000;
export const leafLifetimeMs = 365 * dayMs;
const renewBeforeMs = 120 * dayMs;
const caLifetimeMs = 3650 * dayMs;

/** A key pair with its certificate. `certificate` holds the leaf and its CA for leaves. */
export interface KeyPair {
  readonly certificate: string;
  readonly key: string;
}

export interface ServerCertificates {
  readonly serverCa: KeyPair;
  readonly clientCa: KeyPair;
  readonly requestHeaderCa: KeyPair;
  /** What clients trust: the bytes that /cacerts serves. */
  readonly serverCaBundle: string;
  readonly serving: KeyPair;
  readonly admin: KeyPair;
  /** The API server's identity towards kubelets. */
  readonly apiserver: KeyPair;
  readonly authProxy: KeyPair;
  /** PEM private key that signs service account tokens. */
  readonly serviceAccountKey: string;
}

/** A certificate authority of the cluster. */
export interface AuthoritySpec {
  /** Its files' name in the directory, without ".crt" and ".key". */
  readonly file: string;
  /** Its common name up to the "@" and the time of its making. */
  readonly commonName: string;
}

/** A certificate that one of the authorities signs. */
export interface LeafSpec {
  readonly file: string;
  /** The authority's file. */
  readonly ca: string;
  readonly commonName: string;
  readonly organizations?: readonly string[];
  readonly names?: readonly string[];
  readonly usages: SignRequest["extendedKeyUsages"];
}

/** A new ECDSA P-256 private key, PEM. */
export function generateKey(): string {
  return generateKeyPairSync("ec", { namedCurve: "prime256v1" }).privateKey.export({
    type: "pkcs8",
    format: "pem",
  }) as string;
}

/** The authorities that all servers of a cluster have in common; embedded etcd has its own. */
export const clusterAuthorities: readonly AuthoritySpec[] = ["server-ca", "client-ca", "request-header-ca"].map(
  (file) => ({
    file,
    commonName: `k3s-${file}`,
  }),
);

/** The file of the key that signs the tokens of service accounts, which all servers have in common, too. */
export const serviceAccountKey = "service";

const clientLeaves: readonly LeafSpec[] = [
  {
    file: "client-admin",
    ca: "client-ca",
    commonName: "system:admin",
    organizations: ["system:masters"],
    usages: ["clientAuth"],
  },
  {
    file: "client-supervisor",
    ca: "client-ca",
    commonName: "system:k3s-supervisor",
    organizations: ["system:masters"],
    usages: ["clientAuth"],
  },
  { file: "client-controller", ca: "client-ca", commonName: "system:kube-controller-manager", usages: ["clientAuth"] },
  { file: "client-scheduler", ca: "client-ca", commonName: "system:kube-scheduler", usages: ["clientAuth"] },
  {
    file: "client-kube-apiserver",
    ca: "client-ca",
    commonName: "system:apiserver",
    organizations: ["system:masters"],
    usages: ["clientAuth"],
  },
  { file: "client-auth-proxy", ca: "request-header-ca", commonName: "system:auth-proxy", usages: ["clientAuth"] },
];

/** Names that a certificate is valid for, as K3s sorts them into DNS and IP entries. */
function splitNames(names: readonly string[]): { dnsNames: string[]; ipAddresses: string[] } {
  const unique = [...new Set(names.filter((name) => name !== ""))];
  return {
    dnsNames: unique.filter((name) => isIP(name) === 0),
    ipAddresses: unique.filter((name) => isIP(name) !== 0),
  };
}

/** Does this certificate still serve: right CA, subject and names, and more than 120 days to live? */
export function isCurrent(
  pem: string,
  caPem: string,
  spec: { commonName: string; organizations?: readonly string[]; names?: readonly string[] },
  nowMs: number,
): boolean {
  const certificate = new X509Certificate(pem);
  if (Date.parse(certificate.validTo) - nowMs < renewBeforeMs) return false;
  if (!certificate.verify(new X509Certificate(caPem).publicKey)) return false;
  const subject = certificate.subject.split("\n").sort().join("\n");
  const wanted = [`CN=${spec.commonName}`, ...(spec.organizations ?? []).map((o) => `O=${o}`)].sort().join("\n");
  if (subject !== wanted) return false;
  const covered = new Set(
    (certificate.subjectAltName ?? "")
      .split(", ")
      .map((name) => normalizedName(name.replace(/^(DNS|IP Address):/, ""))),
  );
  return (spec.names ?? []).every((name) => covered.has(normalizedName(name)));
}

/** IPv6 addresses are written in more than one way. */
function normalizedName(name: string): string {
  return isIP(name) === 6 ? new URL(`http://[${name}]`).hostname : name;
}

/**
 * Loads what stands in `directory`, makes what is missing or due, and writes it (0600).
 * Files that were placed there before the first start (a custom CA) are used as they are.
 */
export async function prepareCertificates(
  directory: string,
  servingNames: readonly string[],
  clock: Clock = ioClock,
): Promise<ServerCertificates> {
  mkdirSync(join(directory, "temporary-certs"), { recursive: true, mode: 0o700 });
  const serving: LeafSpec = {
    file: "serving-kube-apiserver",
    ca: "server-ca",
    commonName: "kube-apiserver",
    names: servingNames,
    usages: ["serverAuth"],
  };
  const pair = await ensureCertificates(directory, clusterAuthorities, [...clientLeaves, serving], {
    keys: [serviceAccountKey],
    clock,
  });
  return {
    serverCa: pair("server-ca"),
    clientCa: pair("client-ca"),
    requestHeaderCa: pair("request-header-ca"),
    serverCaBundle: pair("server-ca").certificate,
    serving: pair("serving-kube-apiserver"),
    admin: pair("client-admin"),
    apiserver: pair("client-kube-apiserver"),
    authProxy: pair("client-auth-proxy"),
    serviceAccountKey: readFileSync(join(directory, `${serviceAccountKey}.key`), "utf8"),
  };
}

/**
 * Makes the authorities that are missing in `directory`, and the leaves that are missing or due, and writes them (0600).
 * @param options.keys private keys without a certificate
 * @returns what stands there then, by file name
 */
export async function ensureCertificates(
  directory: string,
  authorities: readonly AuthoritySpec[],
  leaves: readonly LeafSpec[],
  options: { readonly keys?: readonly string[]; readonly clock: Clock },
): Promise<(file: string) => KeyPair> {
  const nowMs = options.clock.now();
  const batch: SignRequest[] = [];
  const writes: { path: string; ca?: string }[] = [];
  const keys: Promise<void>[] = [];
  const read = (file: string) => {
    const path = join(directory, file);
    return existsSync(path) ? readFileSync(path, "utf8") : undefined;
  };
  const keyOf = (file: string): string => {
    const existing = read(`${file}.key`);
    if (existing !== undefined) return existing;
    const key = generateKey();
    keys.push(replaceFile(join(directory, `${file}.key`), key, 0o600));
    return key;
  };

  const cas = new Map<string, { certificate: string; key: string; fresh: boolean }>();
  for (const { file: name, commonName } of authorities) {
    const existing = read(`${name}.crt`);
    const key = keyOf(name);
    cas.set(name, { certificate: existing ?? "", key, fresh: existing === undefined });
    if (existing !== undefined) continue;
    batch.push(authorityRequest({ file: name, commonName }, key, nowMs));
    writes.push({ path: join(directory, `${name}.crt`) });
  }

  for (const spec of leaves) {
    const ca = cas.get(spec.ca)!;
    const existing = read(`${spec.file}.crt`);
    if (existing !== undefined && !ca.fresh && isCurrent(existing, ca.certificate, spec, nowMs)) continue;
    batch.push({
      id: spec.file,
      commonName: spec.commonName,
      organizations: spec.organizations ?? [],
      ...splitNames(spec.names ?? []),
      extendedKeyUsages: spec.usages,
      notBeforeMs: nowMs - 60_000,
      notAfterMs: nowMs + leafLifetimeMs,
      key: keyOf(spec.file),
      issuer: { certificate: ca.fresh ? `batch:${spec.ca}` : ca.certificate, key: ca.key },
    });
    writes.push({ path: join(directory, `${spec.file}.crt`), ca: spec.ca });
  }
  options.keys?.forEach(keyOf);
  // A key without its certificate gets a new one; a certificate without its key would be lost: keys are kept first.
  const [pems] = await Promise.all([batch.length > 0 ? signCertificates(batch) : [], ...keys]);
  const made = new Map(batch.map(({ id }, index) => [id, pems[index]!]));
  await Promise.all(
    writes.map(({ path, ca }, index) => {
      const chain = ca === undefined ? "" : (made.get(ca) ?? cas.get(ca)!.certificate);
      return replaceFile(path, pems[index]! + chain, 0o600);
    }),
  );

  return (file) => ({ certificate: read(`${file}.crt`)!, key: read(`${file}.key`)! });
}

/** New authorities, in the order of their specifications. */
export async function makeAuthorities(specs: readonly AuthoritySpec[], clock: Clock): Promise<KeyPair[]> {
  const keys = specs.map(generateKey);
  const pems = await signCertificates(specs.map((spec, index) => authorityRequest(spec, keys[index]!, clock.now())));
  return pems.map((certificate, index) => ({ certificate, key: keys[index]! }));
}

function authorityRequest({ file, commonName }: AuthoritySpec, key: string, nowMs: number): SignRequest {
  return {
    id: file,
    commonName: `${commonName}@${Math.floor(nowMs / 1000)}`,
    organizations: [],
    dnsNames: [],
    ipAddresses: [],
    extendedKeyUsages: [],
    ca: true,
    notBeforeMs: nowMs - 60_000,
    notAfterMs: nowMs + caLifetimeMs,
    key,
  };
}

/** Signs the public key of a DER certificate request for a node. The reply is the leaf followed by its CA. */
export async function signNodeCertificate(
  ca: KeyPair,
  subject: {
    commonName: string;
    organizations: readonly string[];
    names: readonly string[];
    usage: "serverAuth" | "clientAuth";
  },
  csr: Buffer,
): Promise<string> {
  const nowMs = ioClock.now();
  const [pem] = await signCertificates([
    {
      id: subject.commonName,
      commonName: subject.commonName,
      organizations: subject.organizations,
      ...splitNames(subject.names),
      extendedKeyUsages: [subject.usage],
      notBeforeMs: nowMs - 60_000,
      notAfterMs: nowMs + leafLifetimeMs,
      csr,
      issuer: ca,
    },
  ]);
  return pem! + ca.certificate;
}
