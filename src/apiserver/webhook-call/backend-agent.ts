import { Agent } from "node:http";
import { connect as connectTcp } from "node:net";
import type { Duplex } from "node:stream";
import { connect as connectTls, type TLSSocket } from "node:tls";
import type { ServerContext } from "../request.ts";
import { serviceTarget } from "../subresources/service-target.ts";

/** What connecting needs of the server. */
export type DialContext = Pick<ServerContext, "client" | "dialNode" | "ioClock">;

/** Where a backend is, and what its certificate is checked by. */
export interface Backend {
  /** "name.namespace.svc:443", or the host and port of a URL: what error texts and the Host header say. */
  readonly address: string;
  /** PEM; absent: the authorities that this machine trusts. */
  readonly ca: string | undefined;
  /** A Service of the cluster, one of whose endpoints is dialled; absent: `address` itself is. */
  readonly service?: { readonly namespace: string; readonly name: string; readonly port: number };
}

/** How long a connection may take to open, milliseconds; a call has a deadline of its own besides. */
const connectTimeoutMs = 30_000;
/**
 * How long each address of a host but the last may take, milliseconds. Node's 250 pass while this process is busy, and
 * then the address is given up that would have answered.
 */
const attemptMs = 2000;
const idleConnections = 16;

/** The name that a backend's certificate has to carry. */
export function serverNameOf({ address }: Backend): string {
  return address.replace(/:\d+$/, "").replace(/^\[(.*)\]$/, "$1");
}

/** Opens a TLS connection to a backend; rejects with whatever kept it from opening. */
export async function connectBackend(context: DialContext, backend: Backend, signal: AbortSignal): Promise<TLSSocket> {
  const abort = new AbortController();
  const onAbort = () => abort.abort(signal.reason);
  if (signal.aborted) onAbort();
  signal.addEventListener("abort", onAbort, { once: true });
  const timer = context.ioClock.after(connectTimeoutMs, () =>
    abort.abort(new Error("net/http: TLS handshake timeout")),
  );
  try {
    const raw = await dial(context, backend, abort.signal);
    return await handshake(raw, backend, abort.signal);
  } finally {
    timer.cancel();
    signal.removeEventListener("abort", onAbort);
  }
}

async function dial(context: DialContext, backend: Backend, signal: AbortSignal): Promise<Duplex> {
  signal.throwIfAborted();
  if (backend.service) {
    const { namespace, name, port } = backend.service;
    const target = await serviceTarget(context as ServerContext, namespace, name, String(port));
    return context.dialNode(target.node, target.address, signal);
  }
  const port = Number(/:(\d+)$/.exec(backend.address)![1]);
  const address = { host: serverNameOf(backend), port, autoSelectFamilyAttemptTimeout: attemptMs };
  return opened(connectTcp(address), "connect", signal);
}

function handshake(raw: Duplex, backend: Backend, signal: AbortSignal): Promise<TLSSocket> {
  const host = serverNameOf(backend);
  const isIp = host.includes(":") || /^[\d.]+$/.test(host);
  const socket = connectTls({
    socket: raw,
    // A literal address is checked against the certificate too, but is no server name.
    ...(isIp ? { host } : { servername: host, host }),
    // Go trusts whatever the bundle holds: an authority in between, or the server's own certificate.
    ...(backend.ca === undefined ? {} : { ca: backend.ca, allowPartialTrustChain: true }),
    ALPNProtocols: ["http/1.1"],
  });
  return opened(socket, "secureConnect", signal).catch((error) => {
    raw.destroy();
    throw error;
  });
}

/** Waits for a socket to be open. */
function opened<T extends Duplex>(socket: T, event: string, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const done = () => {
      signal.removeEventListener("abort", onAbort);
      socket.off("error", fail);
    };
    const fail = (error: Error) => {
      done();
      socket.on("error", () => {});
      socket.destroy();
      reject(error);
    };
    const onAbort = () => fail(signal.reason);
    socket.once("error", fail);
    socket.once(event, () => {
      done();
      resolve(socket);
    });
    signal.addEventListener("abort", onAbort, { once: true });
    if (signal.aborted) onAbort();
  });
}

/** Keeps TLS connections to one backend for the calls that follow. */
export class BackendAgent extends Agent {
  readonly #connect: () => Promise<TLSSocket>;

  constructor(connect: () => Promise<TLSSocket>) {
    super({ keepAlive: true, maxFreeSockets: idleConnections });
    this.#connect = connect;
  }

  override createConnection(_options: object, callback?: (error: Error | null, stream: Duplex) => void): undefined {
    this.#connect().then(
      (socket) => callback?.(null, socket),
      (error) => callback?.(error, undefined as never),
    );
    return undefined;
  }
}
