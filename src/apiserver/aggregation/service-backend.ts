import { Agent, request as httpRequest, type OutgoingHttpHeaders } from "node:http";
import type { Duplex, Readable } from "node:stream";
import type { ServerContext } from "../request.ts";
import type { BackendReply } from "../subresources/http-relay.ts";
import { secure } from "../subresources/kubelet.ts";
import { serviceTarget, type Target } from "../subresources/service-target.ts";
import type { RemoteApi } from "./remote-api.ts";

/** How this server shows itself to the servers that it passes requests on to (PEM). */
export interface ProxyClient {
  readonly cert: string | Buffer;
  readonly key: string | Buffer;
}

/** Connections that wait for the next request: how many an endpoint, and how long, milliseconds. */
const maxIdle = 8;
const idleMs = 60_000;

export interface ServiceRequest {
  readonly method: string;
  /** With its query. */
  readonly path: string;
  readonly headers: OutgoingHttpHeaders;
  readonly body?: Readable;
  readonly signal: AbortSignal;
}

/** What a request for a connection carries besides Node's own options. */
interface Wanted {
  readonly endpoint: Target;
  readonly until: AbortSignal;
}

type Connect = (wanted: Wanted) => Promise<Duplex>;
type Connected = (error: Error | null, socket: Duplex) => void;

function dialler(connect: Connect): (options: object, done?: Connected) => undefined {
  return (options, done) => {
    connect(options as Wanted).then(
      (socket) => done?.(null, socket),
      (error: Error) => done?.(error, undefined as unknown as Duplex),
    );
    return undefined;
  };
}

class PoolingAgent extends Agent {
  override readonly createConnection: Agent["createConnection"];

  constructor(connect: Connect) {
    super({ keepAlive: true, maxFreeSockets: maxIdle, timeout: idleMs, scheduling: "lifo" });
    this.createConnection = dialler(connect) as Agent["createConnection"];
  }
}

/** Opens connections to one service, each to one of its endpoints, and keeps them for further requests. */
export class ServiceBackend {
  /** As its APIService says now; what connections depend on stays. */
  api: RemoteApi;
  readonly #context: ServerContext;
  readonly #proxyClient: ProxyClient | undefined;
  readonly #connect: Connect = (wanted) => this.#dial(wanted);
  readonly #agent = new PoolingAgent(this.#connect);

  constructor(api: RemoteApi, context: ServerContext, proxyClient: ProxyClient | undefined) {
    this.api = api;
    this.#context = context;
    this.#proxyClient = proxyClient;
  }

  /** One of the service's ready endpoints. Throws StatusErrors. */
  target(): Promise<Target> {
    const { namespace, name, port } = this.api.service;
    return serviceTarget(this.#context, namespace, name, String(port));
  }

  /** Sends a request to an endpoint. Rejects with what keeps it from being answered. */
  async send(request: ServiceRequest, target?: Target): Promise<BackendReply> {
    const endpoint = target ?? (await this.target());
    if (request.body || request.headers["upgrade"] !== undefined) return this.#send(request, endpoint);
    try {
      return await this.#send(request, endpoint, this.#agent);
    } catch (error) {
      // An idle connection may be closed by the other side just as it is taken; what has no body can be asked again.
      if (!(error as { reused?: boolean }).reused || request.signal.aborted) throw error;
      return this.#send(request, endpoint);
    }
  }

  /** Drops the idle connections; those in use go on to their end. */
  close(): void {
    this.#agent.maxFreeSockets = 0;
    for (const sockets of Object.values(this.#agent.freeSockets)) for (const socket of sockets ?? []) socket.destroy();
  }

  /** Without an agent, the connection is for this request alone. */
  #send({ method, path, headers, body, signal }: ServiceRequest, endpoint: Target, agent?: Agent) {
    return new Promise<BackendReply>((resolve, reject) => {
      signal.throwIfAborted();
      const separator = endpoint.address.lastIndexOf(":");
      const wanted: Wanted = { endpoint, until: signal };
      const own = agent || headers["upgrade"] !== undefined ? {} : { connection: "close" };
      const outgoing = httpRequest({
        ...wanted,
        method,
        path,
        // What the agent tells endpoints apart by.
        host: endpoint.address.slice(0, separator),
        port: Number(endpoint.address.slice(separator + 1)),
        headers: { host: endpoint.address, ...headers, ...own },
        setDefaultHeaders: false,
        ...(agent ? { agent } : { createConnection: dialler(this.#connect) as never }),
      });
      const onAbort = () => outgoing.destroy(signal.reason instanceof Error ? signal.reason : new Error("aborted"));
      const over = () => signal.removeEventListener("abort", onAbort);
      signal.addEventListener("abort", onAbort, { once: true });
      outgoing.once("close", over);
      outgoing.on("error", (error) => reject(Object.assign(error, { reused: outgoing.reusedSocket })));
      outgoing.on("response", (response) => resolve({ response }));
      outgoing.on("upgrade", (response, socket, head) => {
        over();
        resolve({ response, upgraded: { socket, head } });
      });
      if (body) body.pipe(outgoing);
      else outgoing.end();
    });
  }

  async #dial({ endpoint, until }: Wanted): Promise<Duplex> {
    const { service, ca, insecure } = this.api;
    const raw = await this.#context.dialNode(endpoint.node, endpoint.address, until);
    return secure(raw, until, {
      servername: `${service.name}.${service.namespace}.svc`,
      rejectUnauthorized: !insecure,
      ...(ca ? { ca } : {}),
      ...(this.#proxyClient ? { cert: this.#proxyClient.cert, key: this.#proxyClient.key } : {}),
    });
  }
}
