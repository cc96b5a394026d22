import { createHash, timingSafeEqual } from "node:crypto";
import type { IncomingHttpHeaders } from "node:http";

/** Browsers cannot set headers on a WebSocket: the token travels as a sub-protocol. */
const webSocketPrefix = "base64url.bearer.authorization.k8s.io.";

/** The bearer token of a request, from its Authorization header or its WebSocket sub-protocols. */
export function bearerTokenOf(headers: IncomingHttpHeaders): string | undefined {
  const match = /^bearer +(\S+) *$/i.exec(headers.authorization ?? "");
  if (match?.[1]) return match[1];
  for (const protocol of (headers["sec-websocket-protocol"] ?? "").split(",")) {
    const name = protocol.trim();
    if (name.startsWith(webSocketPrefix)) {
      return Buffer.from(name.slice(webSocketPrefix.length), "base64url").toString() || undefined;
    }
  }
  return undefined;
}

/** Compares secrets in a time that says nothing about where they differ. */
export function equalSecrets(a: string | Buffer, b: string | Buffer): boolean {
  const digest = (value: string | Buffer) => createHash("sha256").update(value).digest();
  return timingSafeEqual(digest(a), digest(b));
}
