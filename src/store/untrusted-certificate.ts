const untrusted = new Set([
  "CERT_HAS_EXPIRED",
  "CERT_NOT_YET_VALID",
  "CERT_SIGNATURE_FAILURE",
  "CERT_UNTRUSTED",
  "DEPTH_ZERO_SELF_SIGNED_CERT",
  "ERR_TLS_CERT_ALTNAME_INVALID",
  "SELF_SIGNED_CERT_IN_CHAIN",
  "UNABLE_TO_GET_ISSUER_CERT",
  "UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
  "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
]);

/** Why the certificate that a database showed is not accepted; undefined when an error is not of that. */
export function untrustedReason(error: unknown): string | undefined {
  for (let one = error; one instanceof Error; one = one.cause) {
    // Node's own advice behind the semicolon is for programs that one starts by `node`.
    if (untrusted.has((one as NodeJS.ErrnoException).code ?? "")) return one.message.replace(/; if the root CA.*/s, "");
  }
  return undefined;
}

/** What to do about it. */
export const untrustedRemedy =
  "give its authority with --datastore-cafile, and the database's address as its certificate has it";
