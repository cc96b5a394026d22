import { createServer, type Server } from "node:https";
import type { TLSSocket } from "node:tls";
import { ConfigurationError } from "../machinery/configuration-error.ts";
import type { Logger } from "../machinery/log.ts";
import type { NodeCertificates } from "./bootstrap/node-certificates.ts";
import type { Kubelet } from "./kubelet/kubelet.ts";

export const kubeletAddressPort = 10250;

/** Who may speak to a kubelet: the API server, and cluster administrators (holders of such a client certificate). */
function isAllowed(socket: TLSSocket): boolean {
  if (!socket.authorized) return false;
  const { subject } = socket.getPeerCertificate();
  const organizations = ([] as string[]).concat(subject?.O ?? []);
  return subject?.CN === "system:apiserver" || organizations.includes("system:masters");
}

/** Opens the kubelet's https port, with client certificates of the cluster required. */
export function listenKubelet(
  kubelet: Kubelet,
  certificates: NodeCertificates,
  logger: Logger,
  port = kubeletAddressPort,
): Promise<Server> {
  const server = createServer({
    cert: certificates.serving.certificate,
    key: certificates.serving.key,
    ca: certificates.clientCa,
    requestCert: true,
    rejectUnauthorized: false,
  });
  server.on("request", (request, response) => {
    if (isAllowed(request.socket as TLSSocket)) return void kubelet.handle(request, response);
    response.writeHead(401, { "content-type": "text/plain" }).end("Unauthorized");
  });
  server.on("upgrade", (request, socket, head) => {
    if (isAllowed(request.socket as TLSSocket)) return void kubelet.upgrade(request, socket, head);
    socket.end("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
  });
  return new Promise((resolve, reject) => {
    server.once("error", (error: NodeJS.ErrnoException) => {
      reject(
        error.code === "EADDRINUSE"
          ? new ConfigurationError(`port ${port} is in use; stop what listens there (is another kubelet running?)`)
          : error,
      );
    });
    server.listen(port, () => {
      server.on("error", (error) => logger.error({ err: error }, "Kubelet listener failed"));
      resolve(server);
    });
  });
}
