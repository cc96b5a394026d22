import "reflect-metadata";
import { createPrivateKey, createPublicKey, type KeyObject, webcrypto } from "node:crypto";
import { parentPort } from "node:worker_threads";
import * as x509 from "@peculiar/x509";
import type { CertificateRequestFacts } from "../controllers/controller.ts";
import type { InspectRequest, SignOutcome, SignRequest } from "./signer.ts";

/**
 * Signs batches of certificates. It runs as a worker because the X.509 library takes 17 MB and 80 ms, which the server
 * would otherwise carry for its whole life.
 */

x509.cryptoProvider.set(webcrypto as unknown as Parameters<typeof x509.cryptoProvider.set>[0]);

const ecdsaP256 = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };

/** The algorithm under which webcrypto takes a key: ours are ECDSA P-256, those of a custom CA may be RSA. */
function algorithmOf(key: KeyObject) {
  if (key.asymmetricKeyType === "rsa") return { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256" };
  const namedCurve = { prime256v1: "P-256", secp384r1: "P-384", secp521r1: "P-521" }[
    key.asymmetricKeyDetails?.namedCurve ?? ""
  ];
  if (!namedCurve) throw new Error(`cannot sign with a key of type "${key.asymmetricKeyType}"; use RSA or ECDSA`);
  return { ...ecdsaP256, namedCurve };
}

async function importPrivate(pem: string) {
  const key = createPrivateKey(pem);
  const der = key.export({ type: "pkcs8", format: "der" });
  return webcrypto.subtle.importKey("pkcs8", der, algorithmOf(key), true, ["sign"]);
}

async function importPublic(spki: Buffer) {
  const key = createPublicKey({ key: spki, format: "der", type: "spki" });
  return webcrypto.subtle.importKey("spki", spki, algorithmOf(key), true, ["verify"]);
}

/** The subject public key: from the request's own key, or from a CSR whose self-signature holds. */
async function publicKeyOf(request: SignRequest): Promise<Buffer> {
  if (request.csr) {
    const csr = new x509.Pkcs10CertificateRequest(request.csr);
    if (!(await csr.verify())) throw new Error("the certificate request is not signed by its own key");
    return Buffer.from(csr.publicKey.rawData);
  }
  return createPublicKey(request.key!).export({ type: "spki", format: "der" });
}

/** Kubernetes' names of key usages. */
const keyUsages: Readonly<Record<string, number>> = {
  signing: x509.KeyUsageFlags.digitalSignature,
  "digital signature": x509.KeyUsageFlags.digitalSignature,
  "content commitment": x509.KeyUsageFlags.nonRepudiation,
  "key encipherment": x509.KeyUsageFlags.keyEncipherment,
  "key agreement": x509.KeyUsageFlags.keyAgreement,
  "data encipherment": x509.KeyUsageFlags.dataEncipherment,
  "cert sign": x509.KeyUsageFlags.keyCertSign,
  "crl sign": x509.KeyUsageFlags.cRLSign,
  "encipher only": x509.KeyUsageFlags.encipherOnly,
  "decipher only": x509.KeyUsageFlags.decipherOnly,
};
const extendedUsages: Readonly<Record<string, string>> = {
  any: "2.5.29.37.0",
  "server auth": x509.ExtendedKeyUsage.serverAuth,
  "client auth": x509.ExtendedKeyUsage.clientAuth,
  "code signing": x509.ExtendedKeyUsage.codeSigning,
  "email protection": x509.ExtendedKeyUsage.emailProtection,
  "s/mime": x509.ExtendedKeyUsage.emailProtection,
  "ipsec end system": "1.3.6.1.5.5.7.3.5",
  "ipsec tunnel": "1.3.6.1.5.5.7.3.6",
  "ipsec user": "1.3.6.1.5.5.7.3.7",
  timestamping: x509.ExtendedKeyUsage.timeStamping,
  "ocsp signing": x509.ExtendedKeyUsage.ocspSigning,
  "microsoft sgc": "1.3.6.1.4.1.311.10.3.3",
  "netscape sgc": "2.16.840.1.113730.4.1",
};

function namesOf(request: x509.Pkcs10CertificateRequest) {
  return request.extensions.find((one) => one instanceof x509.SubjectAlternativeNameExtension);
}

async function inspect({ inspect: der }: InspectRequest): Promise<CertificateRequestFacts> {
  const request = new x509.Pkcs10CertificateRequest(der);
  if (!(await request.verify())) throw new Error("the certificate request is not signed by its own key");
  const names = namesOf(request)?.names.items ?? [];
  const of = (type: string) => names.filter((one) => one.type === type).map(({ value }) => value);
  return {
    commonName: request.subjectName.getField("CN")[0] ?? "",
    organizations: request.subjectName.getField("O"),
    dnsNames: of("dns"),
    ipAddresses: of("ip"),
    emailAddresses: of("email"),
    uris: of("url"),
  };
}

/** A certificate for what a request asks for, word for word. */
async function signCopy(request: SignRequest, usages: readonly string[]): Promise<string> {
  const asked = new x509.Pkcs10CertificateRequest(request.csr!);
  const publicKey = await importPublic(await publicKeyOf(request));
  const issuer = new x509.X509Certificate(request.issuer!.certificate);
  const signerKey = await importPrivate(request.issuer!.key);
  const flags = usages.reduce((sum, usage) => sum | (keyUsages[usage] ?? 0), 0);
  const extended = usages.map((usage) => extendedUsages[usage]).filter((oid): oid is string => oid !== undefined);
  const extensions: x509.Extension[] = [
    ...(flags ? [new x509.KeyUsagesExtension(flags, true)] : []),
    ...(extended.length > 0 ? [new x509.ExtendedKeyUsageExtension(extended)] : []),
    new x509.BasicConstraintsExtension(false, undefined, true),
    await x509.AuthorityKeyIdentifierExtension.create(issuer.publicKey),
  ];
  const names = namesOf(asked);
  if (names) extensions.push(names);
  return generate(request, {
    subject: asked.subject,
    issuer: issuer.subject,
    publicKey,
    signerKey,
    extensions,
    // No certificate outlives the authority that made it.
    notAfterMs: Math.min(request.notAfterMs, issuer.notAfter.getTime()),
  });
}

async function generate(
  request: SignRequest,
  parts: {
    readonly subject: string;
    readonly issuer: string;
    readonly publicKey: webcrypto.CryptoKey;
    readonly signerKey: webcrypto.CryptoKey;
    readonly extensions: x509.Extension[];
    readonly notAfterMs: number;
  },
): Promise<string> {
  const certificate = await x509.X509CertificateGenerator.create({
    // A positive, random 63-bit number, as RFC 5280 wants it unique for each issuer.
    serialNumber: `1${Buffer.from(webcrypto.getRandomValues(new Uint8Array(8)))
      .toString("hex")
      .slice(1)}`,
    subject: parts.subject,
    issuer: parts.issuer,
    notBefore: new Date(request.notBeforeMs),
    notAfter: new Date(parts.notAfterMs),
    publicKey: parts.publicKey,
    signingKey: parts.signerKey,
    signingAlgorithm: parts.signerKey.algorithm as Parameters<
      typeof x509.X509CertificateGenerator.create
    >[0]["signingAlgorithm"],
    extensions: parts.extensions,
  });
  return `${certificate.toString("pem")}\n`;
}

async function sign(request: SignRequest): Promise<string> {
  if (request.copy) return signCopy(request, request.copy.usages);
  const subject = new x509.Name([{ CN: [request.commonName] }, ...request.organizations.map((o) => ({ O: [o] }))]);
  const publicKey = await importPublic(await publicKeyOf(request));
  const signerKey = await importPrivate(request.issuer?.key ?? request.key!);
  const issuerCertificate = request.issuer ? new x509.X509Certificate(request.issuer.certificate) : undefined;
  const usages = request.ca
    ? x509.KeyUsageFlags.digitalSignature | x509.KeyUsageFlags.keyEncipherment | x509.KeyUsageFlags.keyCertSign
    : x509.KeyUsageFlags.digitalSignature | x509.KeyUsageFlags.keyEncipherment;
  const extensions: x509.Extension[] = [
    new x509.KeyUsagesExtension(usages, true),
    new x509.BasicConstraintsExtension(request.ca === true, undefined, true),
    await x509.SubjectKeyIdentifierExtension.create(publicKey),
  ];
  if (issuerCertificate)
    extensions.push(await x509.AuthorityKeyIdentifierExtension.create(issuerCertificate.publicKey));
  if (request.extendedKeyUsages.length > 0) {
    extensions.push(
      new x509.ExtendedKeyUsageExtension(request.extendedKeyUsages.map((use) => x509.ExtendedKeyUsage[use])),
    );
  }
  const names = [
    ...request.dnsNames.map((value) => ({ type: "dns" as const, value })),
    ...request.ipAddresses.map((value) => ({ type: "ip" as const, value })),
  ];
  if (names.length > 0) extensions.push(new x509.SubjectAlternativeNameExtension(names));
  return generate(request, {
    subject: subject.toString(),
    issuer: issuerCertificate?.subject ?? subject.toString(),
    publicKey,
    signerKey,
    extensions,
    notAfterMs: request.notAfterMs,
  });
}

/** In order: a certificate may be signed by a CA that stands earlier in the batch. */
async function signBatch(requests: readonly (SignRequest | InspectRequest)[]): Promise<SignOutcome[]> {
  const outcomes: SignOutcome[] = [];
  const signed = new Map<string, string>();
  for (const request of requests) {
    try {
      if ("inspect" in request) {
        outcomes.push({ facts: await inspect(request) });
        continue;
      }
      const issuer = request.issuer && { ...request.issuer };
      if (issuer?.certificate.startsWith("batch:")) issuer.certificate = signed.get(issuer.certificate.slice(6)) ?? "";
      const pem = await sign({ ...request, ...(issuer ? { issuer } : {}) });
      signed.set(request.id, pem);
      outcomes.push({ pem });
    } catch (error) {
      outcomes.push({ error: error instanceof Error ? error.message : String(error) });
    }
  }
  return outcomes;
}

parentPort?.on(
  "message",
  async ({ batch, requests }: { batch: number; requests: (SignRequest | InspectRequest)[] }) => {
    parentPort?.postMessage({ batch, outcomes: await signBatch(requests) });
  },
);
