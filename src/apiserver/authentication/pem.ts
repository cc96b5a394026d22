import { X509Certificate } from "node:crypto";

/** All certificates of a PEM bundle, in order. Throws for a block that is no certificate. */
export function readCertificates(bundle: string | Buffer): X509Certificate[] {
  const blocks = bundle.toString().match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  return blocks.map((block) => new X509Certificate(block));
}

/** All key blocks of a PEM file, in order, whatever their kind (private keys, public keys). */
export function readKeyBlocks(pem: string | Buffer): string[] {
  return pem.toString().match(/-----BEGIN [A-Z ]*KEY-----[^-]+-----END [A-Z ]*KEY-----/g) ?? [];
}
