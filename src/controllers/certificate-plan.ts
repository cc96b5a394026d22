import { X509Certificate } from "node:crypto";
import type { CertificateSigningRequest } from "../api/generated/certificates-v1.ts";
import type { DeepReadonly } from "../machinery/object.ts";
import type { CertificateRequestFacts } from "./controller.ts";

export type RequestView = DeepReadonly<CertificateSigningRequest>;

const hourMs = 3_600_000;
const minLifetimeMs = 600_000;
const maxLifetimeMs = 365 * 24 * hourMs;

export const kubeletClientSigner = "kubernetes.io/kube-apiserver-client-kubelet";
const kubeletServingSigner = "kubernetes.io/kubelet-serving";
const clientSigner = "kubernetes.io/kube-apiserver-client";
const legacySigner = "kubernetes.io/legacy-unknown";

/** Which of the cluster's authorities signs for a signer; undefined: somebody else's signer. */
export function authorityOf(signerName: string | undefined): "server" | "client" | undefined {
  if (signerName === clientSigner || signerName === kubeletClientSigner) return "client";
  return signerName === kubeletServingSigner || signerName === legacySigner ? "server" : undefined;
}

export function hasCondition(request: RequestView, type: string): boolean {
  return request.status?.conditions?.some((one) => one.type === type && one.status === "True") ?? false;
}

/** How long a certificate lives, in milliseconds. */
export function lifetimeMs({ spec }: RequestView): number {
  if (spec?.expirationSeconds === undefined) return maxLifetimeMs;
  return Math.min(maxLifetimeMs, Math.max(minLifetimeMs, spec.expirationSeconds * 1000));
}

const kubeletUsages = (auth: string) => ["digital signature", auth, "key encipherment"].sort();

function hasUsages(usages: readonly string[], auth: string): boolean {
  const given = [...new Set(usages)].sort().join();
  const wanted = kubeletUsages(auth);
  return given === wanted.join() || given === wanted.filter((one) => one !== "key encipherment").join();
}

/** Why a request is not one for a kubelet's client certificate; undefined: it is. */
export function whyNoKubeletClient(facts: CertificateRequestFacts, usages: readonly string[]): string | undefined {
  if (facts.organizations.join() !== "system:nodes") return "subject organization is not system:nodes";
  if (facts.dnsNames.length > 0) return "DNS subjectAltNames are not allowed";
  if (facts.emailAddresses.length > 0) return "Email subjectAltNames are not allowed";
  if (facts.ipAddresses.length > 0) return "IP subjectAltNames are not allowed";
  if (facts.uris.length > 0) return "URI subjectAltNames are not allowed";
  if (!facts.commonName.startsWith("system:node:")) return "subject common name does not begin with system:node:";
  if (!hasUsages(usages, "client auth")) return `usages did not match [${kubeletUsages("client auth").join(" ")}]`;
  return undefined;
}

/** Why a request must not be signed by the signer that it names; undefined: it may. */
export function whyNotSigned(
  signerName: string,
  facts: CertificateRequestFacts,
  usages: readonly string[],
): string | undefined {
  switch (signerName) {
    case kubeletClientSigner:
      return whyNoKubeletClient(facts, usages);
    case kubeletServingSigner:
      return whyNoKubeletServing(facts, usages);
    case clientSigner: {
      const allowed = ["digital signature", "key encipherment", "client auth"];
      const other = usages.find((usage) => !allowed.includes(usage));
      if (other !== undefined) return `invalid usage for client certificate: ${other}`;
      return usages.includes("client auth") ? undefined : "missing required usage for client certificate: client auth";
    }
    default:
      return undefined;
  }
}

function whyNoKubeletServing(facts: CertificateRequestFacts, usages: readonly string[]): string | undefined {
  if (facts.organizations.join() !== "system:nodes") return "subject organization is not system:nodes";
  if (facts.dnsNames.length === 0 && facts.ipAddresses.length === 0) return "DNS or IP subjectAltName is required";
  if (facts.emailAddresses.length > 0) return "Email subjectAltNames are not allowed";
  if (facts.uris.length > 0) return "URI subjectAltNames are not allowed";
  if (!hasUsages(usages, "server auth")) return `usages did not match [${kubeletUsages("server auth").join(" ")}]`;
  if (!facts.commonName.startsWith("system:node:")) return "subject common name does not begin with system:node:";
  return undefined;
}

/** When a request is to be removed, in milliseconds since the epoch. */
export function removalMs({ metadata, status }: RequestView): number {
  const times: number[] = [];
  const after = (time: string | undefined, ms: number) => {
    if (time) times.push(Date.parse(time) + ms);
  };
  const issued = Boolean(status?.certificate);
  if (!status?.conditions?.length) after(metadata.creationTimestamp, 24 * hourMs);
  for (const { type, lastUpdateTime } of status?.conditions ?? []) {
    if (type === "Denied" || type === "Failed") after(lastUpdateTime, hourMs);
    if (type === "Approved") after(lastUpdateTime, issued ? hourMs : 24 * hourMs);
    if (type === "Approved" && issued) times.push(expiryMs(status?.certificate ?? ""));
  }
  return Math.min(...times, Number.POSITIVE_INFINITY);
}

function expiryMs(certificate: string): number {
  try {
    return Date.parse(new X509Certificate(Buffer.from(certificate, "base64")).validTo);
  } catch {
    return Number.POSITIVE_INFINITY;
  }
}
