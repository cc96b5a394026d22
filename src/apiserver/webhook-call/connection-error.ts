/** Why a connection to a backend failed, in the words of Kubernetes' own client, which people search for. */
import { StatusError } from "../../machinery/status.ts";

const unknownAuthority = new Set([
  "DEPTH_ZERO_SELF_SIGNED_CERT",
  "SELF_SIGNED_CERT_IN_CHAIN",
  "UNABLE_TO_GET_ISSUER_CERT",
  "UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
  "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
]);

/** The text of an error that dialling, TLS or HTTP ended with. `address` is the host and port that were dialled. */
export function connectionErrorText(error: unknown, address: string): string {
  const { code, message, cert } = error as NodeJS.ErrnoException & { cert?: { subjectaltname?: string } };
  if (error instanceof StatusError) {
    const service = /^services ("[^"]*") not found$/.exec(message);
    return service ? `service ${service[1]} not found` : message;
  }
  const verify = "tls: failed to verify certificate: x509: ";
  const host = address.replace(/:\d+$/, "").replace(/^\[(.*)\]$/, "$1");
  if (code && unknownAuthority.has(code)) return `${verify}certificate signed by unknown authority`;
  switch (code) {
    case "CERT_HAS_EXPIRED":
    case "CERT_NOT_YET_VALID":
      return `${verify}certificate has expired or is not yet valid`;
    case "ERR_TLS_CERT_ALTNAME_INVALID": {
      const names = (cert?.subjectaltname ?? "").split(", ").map((name) => name.replace(/^(DNS|IP Address):/, ""));
      const valid = names.filter((name) => name !== "").join(", ");
      return valid
        ? `${verify}certificate is valid for ${valid}, not ${host}`
        : `${verify}certificate is not valid for any names, but wanted to match ${host}`;
    }
    case "ECONNREFUSED":
      return `dial tcp ${address}: connect: connection refused`;
    case "EHOSTUNREACH":
      return `dial tcp ${address}: connect: no route to host`;
    case "ENETUNREACH":
      return `dial tcp ${address}: connect: network is unreachable`;
    case "ETIMEDOUT":
      return `dial tcp ${address}: i/o timeout`;
    case "ENOTFOUND":
      return `dial tcp: lookup ${host}: no such host`;
    case "ECONNRESET":
      return message === "socket hang up" ? "EOF" : "read: connection reset by peer";
    case "ERR_SSL_WRONG_VERSION_NUMBER":
    case "ERR_SSL_PACKET_LENGTH_TOO_LONG":
      return "http: server gave HTTP response to HTTPS client";
    default:
      return message;
  }
}
