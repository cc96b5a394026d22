import type { Http2ServerRequest } from "node:http2";
import type { TLSSocket } from "node:tls";
import type { Incoming } from "../apiserver/http/messages.ts";

/** The certificate that a client showed, in the shape that authenticators take. */
export function peerCertificate(request: Incoming): { clientCertificate?: Buffer } {
  const socket = (request as Http2ServerRequest).stream?.session?.socket ?? request.socket;
  const certificate = (socket as TLSSocket).getPeerCertificate?.();
  return certificate?.raw ? { clientCertificate: certificate.raw } : {};
}
