import { createHash, X509Certificate } from "node:crypto";
import { ConfigurationError } from "../../machinery/configuration-error.ts";

/** What a join token says (k3s documentation, "token"): a password, for whom, and the hash of the CA to expect. */
export interface Token {
  /** SHA-256 of the server's CA, 64 hex digits; "" when the short form was used. */
  readonly caHash: string;
  /** "server", "node", or "" in the short form. */
  readonly user: string;
  readonly password: string;
  /** A kubeadm-style bootstrap token, sent as a bearer token. */
  readonly bootstrap: boolean;
}

const bootstrapPattern = /^[a-z0-9]{6}\.[a-z0-9]{16}$/;

/**
 * Understands `K10<hash>::user:password`, `K10<hash>::id.secret`, a bare password and a bare bootstrap token.
 * @throws when the text begins like a full token and is not one; the text itself never stands in the message
 */
export function parseToken(text: string): Token {
  if (text === "")
    throw new ConfigurationError("the token is empty; give the content of the server's file server/node-token");
  if (!text.startsWith("K10")) {
    return { caHash: "", user: "", password: text, bootstrap: bootstrapPattern.test(text) };
  }
  const separator = text.indexOf("::");
  if (separator < 0)
    throw new ConfigurationError("invalid token format: a full token reads K10<CA hash>::<user>:<password>");
  const caHash = text.slice(3, separator);
  if (caHash.length !== 0 && !/^[0-9a-f]{64}$/.test(caHash)) {
    throw new ConfigurationError(`invalid token CA hash length: ${caHash.length} characters, expected 64 hex digits`);
  }
  const credentials = text.slice(separator + 2);
  if (bootstrapPattern.test(credentials)) return { caHash, user: "", password: credentials, bootstrap: true };
  const colon = credentials.indexOf(":");
  if (colon < 0)
    throw new ConfigurationError("invalid token format: a full token reads K10<CA hash>::<user>:<password>");
  return { caHash, user: credentials.slice(0, colon), password: credentials.slice(colon + 1), bootstrap: false };
}

/** The hash part of a token: SHA-256 of the bundle as served, or of the root when there are several certificates. */
export function caHash(bundle: string): string {
  const certificates = bundle.match(/-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----/g) ?? [];
  if (certificates.length <= 1) return createHash("sha256").update(bundle).digest("hex");
  const root = new X509Certificate(certificates.at(-1)!);
  return createHash("sha256").update(root.raw).digest("hex");
}
