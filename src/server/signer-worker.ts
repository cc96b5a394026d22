import "reflect-metadata";
import { createPrivateKey, createPublicKey, type KeyObject, webcrypto } from "node:crypto";
import { parentPort } from "node:worker_threads";
import * as x509 from "@peculiar/x509";
import type { SignOutcome, SignRequest } from "./signer.ts";

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

async function sign(request: SignRequest): Promise<string> {
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
  const certificate = await x509.X509CertificateGenerator.create({
    // A positive, random 63-bit number, as RFC 5280 wants it unique for each issuer.
    serialNumber: `1${Buffer.from(webcrypto.getRandomValues(new Uint8Array(8)))
      .toString("hex")
      .slice(1)}`,
    subject: subject.toString(),
    issuer: issuerCertificate?.subject ?? subject.toString(),
    notBefore: new Date(request.notBeforeMs),
    notAfter: new Date(request.notAfterMs),
    publicKey,
    signingKey: signerKey,
    signingAlgorithm: signerKey.algorithm as Parameters<
      typeof x509.X509CertificateGenerator.create
    >[0]["signingAlgorithm"],
    extensions,
  });
  return `${certificate.toString("pem")}\n`;
}

/** In order: a certificate may be signed by a CA that stands earlier in the batch. */
async function signBatch(requests: readonly SignRequest[]): Promise<SignOutcome[]> {
  const outcomes: SignOutcome[] = [];
  const signed = new Map<string, string>();
  for (const request of requests) {
    try {
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

parentPort?.on("message", async ({ batch, requests }: { batch: number; requests: SignRequest[] }) => {
  parentPort?.postMessage({ batch, outcomes: await signBatch(requests) });
});
