import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import type { IncomingMessage, ServerResponse } from "node:http";
import { join, normalize } from "node:path";
import { type FastifyError, type FastifyInstance, type FastifyReply, type FastifyRequest, fastify } from "fastify";
import type { Incoming, Outgoing } from "../apiserver/http/messages.ts";
import type { Authenticator, UserInfo } from "../apiserver/request.ts";
import type { Client } from "../client/client.ts";
import type { Logger } from "../machinery/log.ts";
import { badRequest, forbidden, internalError, notFound, StatusError, unauthorized } from "../machinery/status.ts";
import type { BootstrapData } from "./bootstrap-data.ts";
import { type KeyPair, signNodeCertificate } from "./certificates.ts";
import { ensureNodePassword } from "./node-passwords.ts";
import { peerCertificate } from "./peer-certificate.ts";
import type { Tokens } from "./tokens.ts";

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
  /** What a server that joins takes over; absent where none can. */
  readonly bootstrapData?: () => BootstrapData;
  /** The body of `/db/info`, which tells the members of embedded etcd; absent where there is none. */
  readonly databaseInfo?: () => Promise<string>;
  /** Makes, lists and removes snapshots of the store as a body of `/db/snapshot` says; gives the reply's. */
  readonly snapshot?: (body: Buffer) => Promise<object>;
  readonly ready: () => boolean;
  /** Directory whose files /static/ serves. */
  readonly staticDirectory: string;
  readonly logger: Logger;
}

const agentGroups = ["k3s:agent", "system:nodes", "system:bootstrappers"];
const maxRequestBytes = 64 * 1024;

/**
 * The routes that agents join through (K3s' supervisor), on the API's port: trust, certificates and settings. fastify
 * routes them; the port is the API's listener, so it opens none.
 * @returns a handler that answers true when the path was one of its own
 */
export function createSupervisor(options: SupervisorOptions): (request: Incoming, response: Outgoing) => boolean {
  const { tokens, serverCa, clientCa } = options;
  const app = createApp(options.logger);

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

  app.get("/ping", async () => "pong");
  app.get("/cacerts", async () => serverCa.certificate);
  app.get("/static/*", (request, reply) => sendFile(options.staticDirectory, request, reply));

  const route = (path: string, answer: (request: Incoming, body: Buffer) => unknown) =>
    app.route({
      method: ["GET", "POST"],
      url: `/v1-k3s/${path}`,
      handler: async (request, reply) => {
        const body = await answer(request.raw, request.body as Buffer);
        if (typeof body === "string") return body;
        return reply.type("application/json").send(JSON.stringify(body));
      },
    });
  route("serving-kubelet.crt", async (request, body) => {
    const node = await nodeOf(request, await agentOf(request));
    const names = [node.name, "localhost", "127.0.0.1", ...node.ips];
    return signNodeCertificate(
      serverCa,
      { commonName: node.name, organizations: [], names, usage: "serverAuth" },
      certificateRequest(body),
    );
  });
  route("client-kubelet.crt", async (request, body) => {
    const node = await nodeOf(request, await agentOf(request));
    return clientCertificate(`system:node:${node.name}`, ["system:nodes"], body);
  });
  route("client-kube-proxy.crt", async (request, body) => {
    await agentOf(request);
    return clientCertificate("system:kube-proxy", [], body);
  });
  route("client-k3s-controller.crt", async (request, body) => {
    await agentOf(request);
    return clientCertificate("system:k3s-controller", [], body);
  });
  route("client-ca.crt", async (request) => {
    await agentOf(request);
    return clientCa.certificate;
  });
  route("server-ca.crt", async (request) => {
    await agentOf(request);
    return serverCa.certificate;
  });
  route("config", async (request) => {
    await agentOf(request);
    return options.config;
  });
  route("apiservers", async (request) => {
    await agentOf(request);
    return options.apiServers();
  });
  route("readyz", async (request) => {
    await agentOf(request);
    if (!options.ready()) throw new StatusError(503, "ServiceUnavailable", "runtime core not ready");
    return "ok";
  });

  async function serverOf(request: Incoming): Promise<void> {
    const user = await userOf(request);
    if (user.groups.includes("k3s:server")) return;
    throw forbidden({ group: "", resource: "" }, "", `user "${user.name}" is not a server`);
  }

  route("server-bootstrap", async (request) => {
    await serverOf(request);
    if (!options.bootstrapData)
      throw badRequest(
        "this cluster has no embedded etcd that a server could join; servers share its datastore instead",
      );
    return options.bootstrapData();
  });

  const { databaseInfo } = options;
  if (databaseInfo) {
    app.get("/db/info", async (request, reply) => {
      await serverOf(request.raw);
      return reply.type("application/json").send(await databaseInfo());
    });
  }

  const { snapshot } = options;
  if (snapshot) {
    app.post("/db/snapshot", async (request, reply) => {
      await serverOf(request.raw);
      const answer = await snapshot((request.body as Buffer | undefined) ?? Buffer.alloc(0));
      return reply.type("application/json").send(JSON.stringify(answer));
    });
  }

  function clientCertificate(commonName: string, organizations: string[], body: Buffer): Promise<string> {
    const subject = { commonName, organizations, names: [], usage: "clientAuth" as const };
    return signNodeCertificate(clientCa, subject, certificateRequest(body));
  }

  const started = app.ready();
  return (request, response) => {
    if (!/^\/(ping|cacerts|static\/.*|v1-k3s\/.*|db\/(info|snapshot))$/.test(request.url?.replace(/\?.*$/s, "") ?? ""))
      return false;
    const handle = () => app.routing(request as IncomingMessage, response as ServerResponse);
    started.then(handle, (error: unknown) => options.logger.error({ err: error }, "The supervisor did not start"));
    return true;
  };
}

/** fastify with Kubernetes' errors, taking any body as bytes. Without schemas it needs none of its compilers, which are heavy. */
function createApp(logger: Logger): FastifyInstance {
  const compiler = () => {
    throw new Error("the supervisor's routes have no schemas");
  };
  const app: FastifyInstance = fastify({
    bodyLimit: maxRequestBytes,
    schemaController: { compilersFactory: { buildValidator: compiler, buildSerializer: compiler } },
  });
  app.removeAllContentTypeParsers();
  app.addContentTypeParser("*", { parseAs: "buffer" }, (_request, body, done) => done(null, body));
  app.setErrorHandler((error: FastifyError | StatusError | Error, request, reply) => {
    const status = statusOf(error);
    if (status.code >= 500)
      logger.warn({ path: request.url, error: status.message }, "Sending supervisor error response");
    return sendStatus(reply, status);
  });
  app.setNotFoundHandler((request, reply) =>
    sendStatus(reply, notFound({ group: "", resource: "routes" }, pathOf(request))),
  );
  return app;
}

/** fastify's own errors are about the request: a body that is too large, an address that cannot be read. */
function statusOf(error: FastifyError | StatusError | Error): StatusError {
  if (error instanceof StatusError) return error;
  const code = "statusCode" in error ? (error.statusCode ?? 500) : 500;
  if (code === 413) return badRequest(`a certificate request of more than ${maxRequestBytes} bytes`);
  return code < 500 ? badRequest(error.message) : internalError(error);
}

function sendStatus(reply: FastifyReply, status: StatusError): FastifyReply {
  return reply.code(status.code).type("application/json").send(JSON.stringify(status.toStatus()));
}

function pathOf(request: FastifyRequest): string {
  return request.url.replace(/\?.*$/s, "");
}

function header(request: Incoming, name: string): string {
  const value = request.headers[name];
  return Array.isArray(value) ? value.join(",") : (value ?? "");
}

/** @throws BadRequest when there is none */
function certificateRequest(body: Buffer | undefined): Buffer {
  if (!body?.length) throw badRequest("a certificate request (PKCS#10, DER) is required as the body");
  return body;
}

async function sendFile(directory: string, request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
  // Normalized below the root, so that no ".." leads out of the directory.
  const file = join(directory, normalize(`/${(request.params as { "*": string })["*"]}`));
  const found = await stat(file).catch(() => undefined);
  if (!found?.isFile()) throw notFound({ group: "", resource: "files" }, pathOf(request));
  return reply.type("application/octet-stream").header("content-length", found.size).send(createReadStream(file));
}
