import { createReadStream, statSync } from "node:fs";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Http2ServerRequest, Http2ServerResponse } from "node:http2";
import { join, normalize } from "node:path";
import type { Authenticator, UserInfo } from "../apiserver/request.ts";
import type { Client } from "../client/client.ts";
import type { Logger } from "../machinery/log.ts";
import { badRequest, forbidden, internalError, notFound, StatusError, unauthorized } from "../machinery/status.ts";
import { type KeyPair, signNodeCertificate } from "./certificates.ts";
import { ensureNodePassword } from "./node-passwords.ts";
import type { Tokens } from "./tokens.ts";

export type Incoming = IncomingMessage | Http2ServerRequest;
export type Outgoing = ServerResponse | Http2ServerResponse;

export interface SupervisorOptions {
  readonly serverCa: KeyPair;
  readonly clientCa: KeyPair;
  readonly tokens: Tokens;
  /** Recognises client certificates and bootstrap tokens. */
  readonly authenticate: Authenticator;
  readonly client: Client;
  /** What `/v1-k3s/config` tells agents (K3s' field names). */
  readonly config: Readonly<Record<string, unknown>>;
  /** "host:port" of every API server. */
  readonly apiServers: () => Promise<readonly string[]>;
  readonly ready: () => boolean;
  /** Directory whose files /static/ serves. */
  readonly staticDirectory: string;
  readonly logger: Logger;
}

const agentGroups = ["k3s:agent", "system:nodes", "system:bootstrappers"];
const maxRequestBytes = 64 * 1024;

/**
 * The routes that agents join through (K3s' supervisor), on the API's port: trust, certificates and settings.
 * @returns a handler that answers true when the path was one of its own
 */
export function createSupervisor(options: SupervisorOptions): (request: Incoming, response: Outgoing) => boolean {
  const { tokens, serverCa, clientCa } = options;

  async function userOf(request: Incoming): Promise<UserInfo> {
    const header = request.headers.authorization ?? "";
    if (header.startsWith("Basic ")) {
      const [user = "", ...rest] = Buffer.from(header.slice(6), "base64").toString("utf8").split(":");
      const known = tokens.authenticate(user, rest.join(":"));
      if (!known) throw unauthorized();
      return known;
    }
    const user = await options.authenticate({ headers: request.headers, ...peerCertificate(request) });
    if (!user) throw unauthorized();
    return user;
  }

  async function agentOf(request: Incoming): Promise<UserInfo> {
    const user = await userOf(request);
    if (user.groups.some((group) => agentGroups.includes(group))) return user;
    throw forbidden({ group: "", resource: "" }, "", `user "${user.name}" is not an agent`);
  }

  /** The node that asks, recognised by its password, and by its certificate when it shows one. */
  async function nodeOf(request: Incoming, user: UserInfo): Promise<{ name: string; ips: string[] }> {
    const name = header(request, "k3s-node-name");
    const password = header(request, "k3s-node-password");
    if (!name || !password) throw badRequest("the headers k3s-Node-Name and k3s-Node-Password are required");
    if (user.groups.includes("system:nodes") && user.name !== `system:node:${name}`) {
      throw forbidden({ group: "", resource: "nodes" }, name, `certificate of ${user.name} used for another node`);
    }
    await ensureNodePassword(options.client, name, password);
    return { name, ips: header(request, "k3s-node-ip").split(",").filter(Boolean) };
  }

  const routes: Record<string, (request: Incoming) => Promise<string | Buffer | object>> = {
    "/v1-k3s/serving-kubelet.crt": async (request) => {
      const node = await nodeOf(request, await agentOf(request));
      const names = [node.name, "localhost", "127.0.0.1", ...node.ips];
      return signNodeCertificate(
        serverCa,
        { commonName: node.name, organizations: [], names, usage: "serverAuth" },
        await bodyOf(request),
      );
    },
    "/v1-k3s/client-kubelet.crt": async (request) => {
      const node = await nodeOf(request, await agentOf(request));
      return clientCertificate(`system:node:${node.name}`, ["system:nodes"], request);
    },
    "/v1-k3s/client-kube-proxy.crt": async (request) => {
      await agentOf(request);
      return clientCertificate("system:kube-proxy", [], request);
    },
    "/v1-k3s/client-k3s-controller.crt": async (request) => {
      await agentOf(request);
      return clientCertificate("system:k3s-controller", [], request);
    },
    "/v1-k3s/client-ca.crt": async (request) => {
      await agentOf(request);
      return clientCa.certificate;
    },
    "/v1-k3s/server-ca.crt": async (request) => {
      await agentOf(request);
      return serverCa.certificate;
    },
    "/v1-k3s/config": async (request) => {
      await agentOf(request);
      return options.config;
    },
    "/v1-k3s/apiservers": async (request) => {
      await agentOf(request);
      return options.apiServers();
    },
    "/v1-k3s/readyz": async (request) => {
      await agentOf(request);
      if (!options.ready()) throw new StatusError(503, "ServiceUnavailable", "runtime core not ready");
      return "ok";
    },
  };

  async function clientCertificate(commonName: string, organizations: string[], request: Incoming): Promise<string> {
    return signNodeCertificate(
      clientCa,
      { commonName, organizations, names: [], usage: "clientAuth" },
      await bodyOf(request),
    );
  }

  function answer(response: Outgoing, code: number, type: string, body: string | Buffer): void {
    (response as ServerResponse).writeHead(code, { "content-type": type, "content-length": Buffer.byteLength(body) });
    (response as ServerResponse).end(body);
  }

  function fail(request: Incoming, response: Outgoing, error: unknown): void {
    const status = error instanceof StatusError ? error : internalError(error);
    if (status.code >= 500)
      options.logger.warn({ path: request.url, error: status.message }, "Sending supervisor error response");
    if (!response.headersSent) answer(response, status.code, "application/json", JSON.stringify(status.toStatus()));
  }

  return (request, response) => {
    const path = new URL(request.url ?? "/", "https://server").pathname;
    if (path === "/ping") answer(response, 200, "text/plain", "pong");
    else if (path === "/cacerts") answer(response, 200, "text/plain", serverCa.certificate);
    else if (path.startsWith("/static/")) serveStatic(options.staticDirectory, path, request, response, fail);
    else if (path.startsWith("/v1-k3s/")) {
      const route = routes[path];
      const reply = route ? route(request) : Promise.reject(notFound({ group: "", resource: "routes" }, path));
      reply.then(
        (body) =>
          typeof body === "string" || Buffer.isBuffer(body)
            ? answer(response, 200, "text/plain", body)
            : answer(response, 200, "application/json", JSON.stringify(body)),
        (error) => fail(request, response, error),
      );
    } else return false;
    return true;
  };
}

function header(request: Incoming, name: string): string {
  const value = request.headers[name];
  return Array.isArray(value) ? value.join(",") : (value ?? "");
}

/** The certificate that a client showed, in the shape that authenticators take. */
export function peerCertificate(request: Incoming): { clientCertificate?: Buffer } {
  const socket = (request as Http2ServerRequest).stream?.session?.socket ?? request.socket;
  const certificate = (socket as import("node:tls").TLSSocket).getPeerCertificate?.();
  return certificate?.raw ? { clientCertificate: certificate.raw } : {};
}

async function bodyOf(request: Incoming): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > maxRequestBytes) throw badRequest(`a certificate request of more than ${maxRequestBytes} bytes`);
    chunks.push(chunk);
  }
  if (bytes === 0) throw badRequest("a certificate request (PKCS#10, DER) is required as the body");
  return Buffer.concat(chunks);
}

function serveStatic(
  directory: string,
  path: string,
  request: Incoming,
  response: Outgoing,
  fail: (request: Incoming, response: Outgoing, error: unknown) => void,
): void {
  const file = join(directory, normalize(`/${decodeURIComponent(path.slice("/static/".length))}`));
  const found = statSync(file, { throwIfNoEntry: false });
  if (!found?.isFile()) {
    fail(request, response, notFound({ group: "", resource: "files" }, path));
    return;
  }
  (response as ServerResponse).writeHead(200, {
    "content-length": found.size,
    "content-type": "application/octet-stream",
  });
  createReadStream(file).pipe(response as NodeJS.WritableStream);
}
