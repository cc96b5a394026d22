import type { CertificateAuthority } from "../controllers/controller.ts";
import type { Clock } from "../machinery/clock.ts";
import type { KeyPair } from "./certificates.ts";
import { inspectRequest, signCertificates } from "./signer.ts";

/** Certificates are valid a little before they are made, for clocks that are behind. */
const backdateMs = 5 * 60_000;
/** Those that live for less than this get their whole time all the same. */
const shortMs = 8 * 3_600_000;

/** The cluster's authorities as those who sign requests need them. */
export function certificateAuthority(options: {
  readonly server: KeyPair;
  readonly client: KeyPair;
  readonly clock: Clock;
}): CertificateAuthority {
  return {
    inspect: (request) => inspectRequest(derOf(request)),
    async sign(request, { authority, usages, lifetimeMs }) {
      const nowMs = options.clock.now();
      const [pem] = await signCertificates([
        {
          id: "request",
          commonName: "",
          organizations: [],
          dnsNames: [],
          ipAddresses: [],
          extendedKeyUsages: [],
          copy: { usages },
          csr: derOf(request),
          notBeforeMs: nowMs - backdateMs,
          notAfterMs: nowMs + lifetimeMs - (lifetimeMs < shortMs ? 0 : backdateMs),
          issuer: options[authority],
        },
      ]);
      return pem!;
    },
  };
}

function derOf(pem: string): Buffer {
  const body = /-----BEGIN CERTIFICATE REQUEST-----([^-]+)-----END CERTIFICATE REQUEST-----/.exec(pem)?.[1];
  if (!body) throw new Error("PEM block type must be CERTIFICATE REQUEST");
  return Buffer.from(body, "base64");
}
