import { createHash, X509Certificate } from "node:crypto";
import { readCertificates } from "./pem.ts";

/** What a trusted client certificate says of its bearer. */
export interface CertificateIdentity {
  readonly commonName: string;
  readonly organizations: readonly string[];
  /** SHA-256 of the DER, lower-case hex. */
  readonly fingerprint: string;
}

type Outcome = { identity: CertificateIdentity; fromMs: number; toMs: number } | { why: string };

const clientAuthUsage = "1.3.6.1.5.5.7.3.2";

/** How many checked certificates are remembered: as many as a large cluster has kubelets and people. */
const remembered = 2_000;

/**
 * Checks client certificates against a bundle of authorities (PEM), remembering the outcome of the signature: a
 * signature costs more than the request that it comes with. Validity is compared every time.
 */
export class CertificateCheck {
  readonly #authorities: readonly X509Certificate[];
  readonly #seen = new Map<string, Outcome>();
  /** By the bytes themselves, which stay the same for a connection: hashing them for each request would be dear. */
  readonly #seenBytes = new WeakMap<Buffer, Outcome>();

  constructor(authorityBundle: string | Buffer) {
    this.#authorities = readCertificates(authorityBundle);
    if (this.#authorities.length === 0) throw new Error("Reading the client authorities: no certificate in the bundle");
  }

  /** The certificate's identity, or why it is not trusted. `nowMs` is io time. */
  check(der: Buffer, nowMs: number): { identity: CertificateIdentity } | { why: string } {
    let outcome = this.#seenBytes.get(der);
    if (!outcome) {
      outcome = this.#outcomeOf(der);
      this.#seenBytes.set(der, outcome);
    }
    if ("why" in outcome) return outcome;
    if (nowMs < outcome.fromMs || nowMs > outcome.toMs) {
      return { why: "x509: certificate has expired or is not yet valid" };
    }
    return { identity: outcome.identity };
  }

  #outcomeOf(der: Buffer): Outcome {
    const fingerprint = createHash("sha256").update(der).digest("hex");
    let outcome = this.#seen.get(fingerprint);
    if (!outcome) {
      outcome = this.#verify(der, fingerprint);
      if (this.#seen.size >= remembered) this.#seen.delete(this.#seen.keys().next().value!);
      this.#seen.set(fingerprint, outcome);
    }
    return outcome;
  }

  #verify(der: Buffer, fingerprint: string): Outcome {
    let certificate: X509Certificate;
    try {
      certificate = new X509Certificate(der);
    } catch {
      return { why: "x509: malformed certificate" };
    }
    const signed = this.#authorities.some(
      (authority) => certificate.checkIssued(authority) && certificate.verify(authority.publicKey),
    );
    if (!signed) return { why: "x509: certificate signed by unknown authority" };
    if (certificate.keyUsage && !certificate.keyUsage.includes(clientAuthUsage)) {
      return { why: "x509: certificate specifies an incompatible key usage" };
    }
    const subject = certificate.toLegacyObject().subject as unknown as Record<string, string | string[] | undefined>;
    const list = (value: string | string[] | undefined) => (value === undefined ? [] : [value].flat());
    return {
      identity: {
        commonName: list(subject?.["CN"]).at(-1) ?? "",
        organizations: list(subject?.["O"]),
        fingerprint,
      },
      fromMs: Date.parse(certificate.validFrom),
      toMs: Date.parse(certificate.validTo),
    };
  }
}
