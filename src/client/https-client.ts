import type * as http2 from "node:http2";
import { type Clock, ioClock } from "../machinery/clock.ts";
import { parseJson, stringifyJson } from "../machinery/json.ts";
import type { Logger } from "../machinery/log.ts";
import { apiVersionOf, type KubeList, type KubeObject, type ResourceType } from "../machinery/object.ts";
import { type Status, StatusError } from "../machinery/status.ts";
import type {
  Client,
  DeleteOptions,
  ListOptions,
  NamespacedOptions,
  Patch,
  WatchEvent,
  WatchOptions,
  WriteOptions,
} from "./client.ts";
import { ConnectionError } from "./connection-error.ts";
import { Http2Connection, resolveSource, type Source } from "./http2-connection.ts";
import { parseJsonLines } from "./json-lines.ts";
import { type Query, queryString, resourcePath } from "./resource-path.ts";

export interface HttpsClientOptions {
  /** "https://host:port". */
  readonly server: string;
  /** PEM of the only authorities that are trusted; absent: the system's. */
  readonly ca?: Source<string | Buffer | undefined>;
  /** Client certificate and key, PEM; asked for again at each new connection. */
  readonly cert?: Source<string | Buffer | undefined>;
  readonly key?: Source<string | Buffer | undefined>;
  /** Bearer token; asked for again at each request. */
  readonly token?: Source<string | undefined>;
  readonly serverName?: string;
  readonly insecureSkipTlsVerify?: boolean;
  readonly userAgent: string;
  readonly logger: Logger;
  readonly clock?: Clock;
  /** Deadline of everything but watches. Default 65 s: a little more than the server's own. */
  readonly timeoutMs?: number;
}

export interface HttpsClient extends Client {
  /** Connects anew, with the present credentials, from the next request on. */
  renew(): void;
  /** Ends the connection and every request on it. */
  close(): void;
}

interface Call {
  readonly method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  readonly path: string;
  readonly body?: string;
  readonly contentType?: string;
  readonly signal?: AbortSignal | undefined;
}

const patchMediaTypes = {
  json: "application/json-patch+json",
  merge: "application/merge-patch+json",
  strategic: "application/strategic-merge-patch+json",
  apply: "application/apply-patch+yaml",
} as const;

/** Attempts of a read whose connection breaks, and of anything that the server asks to try later. */
const maxAttempts = 6;

/** A client over one HTTP/2 connection. Nothing connects before the first request. */
export function createHttpsClient(options: HttpsClientOptions): HttpsClient {
  return new Http2Client(options);
}

class Http2Client implements HttpsClient {
  readonly #options: HttpsClientOptions;
  readonly #clock: Clock;
  readonly #connection: Http2Connection;

  constructor(options: HttpsClientOptions) {
    this.#options = options;
    this.#clock = options.clock ?? ioClock;
    this.#connection = new Http2Connection({ ...options, clock: this.#clock });
  }

  renew(): void {
    this.#connection.renew();
  }

  close(): void {
    this.#connection.close();
  }

  get<T extends KubeObject>(type: ResourceType<T>, name: string, options: NamespacedOptions = {}): Promise<T> {
    return this.#call<T>({ method: "GET", path: resourcePath(type, { ...options, name }), signal: options.signal });
  }

  list<T extends KubeObject>(type: ResourceType<T>, options: ListOptions = {}): Promise<KubeList<T>> {
    const path = resourcePath(type, options) + queryString(listQuery(options));
    return this.#call<KubeList<T>>({ method: "GET", path, signal: options.signal });
  }

  async *watch<T extends KubeObject>(type: ResourceType<T>, options: WatchOptions): AsyncGenerator<WatchEvent<T>> {
    const query = {
      ...listQuery(options),
      watch: true,
      allowWatchBookmarks: options.allowWatchBookmarks,
      sendInitialEvents: options.sendInitialEvents,
      timeoutSeconds: options.timeoutSeconds,
    };
    const path = resourcePath(type, options) + queryString(query);
    const stream = await this.#retrying({ method: "GET", path, signal: options.signal }, async (call) => {
      const opened = await this.#open(call);
      const giveUp = () => opened.close();
      call.signal?.addEventListener("abort", giveUp, { once: true });
      try {
        const status = await headersOf(opened);
        if (status.code === 200) return opened;
        throw errorOf(await readAll(opened), status);
      } finally {
        call.signal?.removeEventListener("abort", giveUp);
      }
    });
    const onAbort = () => stream.close();
    options.signal?.addEventListener("abort", onAbort, { once: true });
    try {
      for await (const line of parseJsonLines(stream)) {
        const event = line as { type: string; object: unknown };
        if (event.type === "ERROR") throw StatusError.fromStatus(event.object as Status);
        yield event as WatchEvent<T>;
      }
    } catch (error) {
      if (options.signal?.aborted) return;
      if (error instanceof StatusError) throw error;
      throw new ConnectionError(`watch ${path}: ${(error as Error).message}`, { cause: error });
    } finally {
      options.signal?.removeEventListener("abort", onAbort);
      stream.close();
    }
  }

  create<T extends KubeObject>(type: ResourceType<T>, object: T, options: WriteOptions = {}): Promise<T> {
    const namespace = options.namespace ?? object.metadata.namespace;
    return this.#write<T>("POST", type, { ...(namespace ? { namespace } : {}) }, withType(type, object), options);
  }

  update<T extends KubeObject>(type: ResourceType<T>, object: T, options: WriteOptions = {}): Promise<T> {
    const namespace = options.namespace ?? object.metadata.namespace;
    const at = {
      ...(namespace ? { namespace } : {}),
      ...(object.metadata.name ? { name: object.metadata.name } : {}),
      ...(options.subresource ? { subresource: options.subresource } : {}),
    };
    return this.#write<T>("PUT", type, at, withType(type, object), options);
  }

  patch<T extends KubeObject>(
    type: ResourceType<T>,
    name: string,
    patch: Patch,
    options: WriteOptions = {},
  ): Promise<T> {
    return this.#call<T>({
      method: "PATCH",
      path: resourcePath(type, { ...options, name }) + queryString(writeQuery(options)),
      body: stringifyJson(patch.body),
      contentType: patchMediaTypes[patch.type],
      signal: options.signal,
    });
  }

  async delete<T extends KubeObject>(type: ResourceType<T>, name: string, options: DeleteOptions = {}): Promise<void> {
    await this.#delete(resourcePath(type, { ...options, name }), options);
  }

  async deleteCollection<T extends KubeObject>(
    type: ResourceType<T>,
    options: DeleteOptions & { labelSelector?: string; fieldSelector?: string } = {},
  ): Promise<void> {
    const { labelSelector, fieldSelector } = options;
    await this.#delete(resourcePath(type, options) + queryString({ labelSelector, fieldSelector }), options);
  }

  createSubresource<R>(
    type: ResourceType,
    name: string,
    subresource: string,
    body: object,
    options: NamespacedOptions = {},
  ): Promise<R> {
    return this.#call<R>({
      method: "POST",
      path: resourcePath(type, { ...options, name, subresource }),
      body: stringifyJson(body),
      contentType: "application/json",
      signal: options.signal,
    });
  }

  #write<T>(
    method: "POST" | "PUT",
    type: ResourceType,
    at: { namespace?: string; name?: string; subresource?: string },
    body: object,
    options: WriteOptions,
  ): Promise<T> {
    return this.#call<T>({
      method,
      path: resourcePath(type, at) + queryString(writeQuery(options)),
      body: stringifyJson(body),
      contentType: "application/json",
      signal: options.signal,
    });
  }

  async #delete(path: string, options: DeleteOptions): Promise<void> {
    const { gracePeriodSeconds, propagationPolicy, preconditions, dryRun } = options;
    const body = {
      apiVersion: "v1",
      kind: "DeleteOptions",
      ...(gracePeriodSeconds === undefined ? {} : { gracePeriodSeconds }),
      ...(propagationPolicy ? { propagationPolicy } : {}),
      ...(preconditions ? { preconditions } : {}),
      ...(dryRun ? { dryRun: ["All"] } : {}),
    };
    await this.#call<unknown>({
      method: "DELETE",
      path,
      body: stringifyJson(body),
      contentType: "application/json",
      signal: options.signal,
    });
  }

  #call<R>(call: Call): Promise<R> {
    return this.#retrying(call, async (attempt) => {
      const stream = await this.#open(attempt);
      let timedOut = false;
      const timer = this.#clock.after(this.#options.timeoutMs ?? 65_000, () => {
        timedOut = true;
        stream.close();
      });
      const onAbort = () => stream.close();
      call.signal?.addEventListener("abort", onAbort, { once: true });
      try {
        const status = await headersOf(stream);
        const body = await readAll(stream);
        // A stream that we closed ourselves ends like a whole one.
        if (timedOut || call.signal?.aborted) throw new Error("the request was ended");
        if (status.code >= 200 && status.code < 300) return parseJson(body) as R;
        throw errorOf(body, status);
      } catch (error) {
        call.signal?.throwIfAborted();
        if (error instanceof StatusError || (error instanceof ConnectionError && !timedOut)) throw error;
        const why = timedOut ? "the server did not answer in time" : (error as Error).message;
        throw new ConnectionError(`${call.method} ${call.path}: ${why}`, { cause: error });
      } finally {
        timer.cancel();
        call.signal?.removeEventListener("abort", onAbort);
      }
    });
  }

  async #open(call: Call): Promise<http2.ClientHttp2Stream> {
    const token = await resolveSource(this.#options.token);
    const headers: http2.OutgoingHttpHeaders = {
      ":method": call.method,
      ":path": call.path,
      accept: "application/json",
      "user-agent": this.#options.userAgent,
      ...(token ? { authorization: `Bearer ${token}` } : {}),
      ...(call.body === undefined
        ? {}
        : { "content-type": call.contentType, "content-length": Buffer.byteLength(call.body) }),
    };
    const stream = await this.#connection.request(headers, call.body !== undefined);
    // Whoever waits on the stream hears of errors; between two waits nobody listens, and Node would end the process.
    stream.on("error", () => {});
    // Aborted while it connected: nobody who listens from now on would hear of it.
    if (call.signal?.aborted) {
      stream.close();
      call.signal.throwIfAborted();
    }
    if (call.body !== undefined) stream.end(call.body);
    return stream;
  }

  /**
   * Runs a call again when the server asks for it (429, or 503 with Retry-After) and, for reads, when the connection
   * breaks. A write whose connection broke may have happened: that is for the caller to decide.
   */
  async #retrying<R>(call: Call, run: (call: Call) => Promise<R>): Promise<R> {
    for (let attempt = 1; ; attempt++) {
      call.signal?.throwIfAborted();
      try {
        return await run(call);
      } catch (error) {
        const delayMs = attempt < maxAttempts ? retryDelayMs(error, call.method === "GET", attempt) : undefined;
        if (delayMs === undefined) throw error;
        await this.#clock.sleep(delayMs, call.signal);
      }
    }
  }
}

/** How long to wait before the next attempt; `undefined` when the error is final. */
export function retryDelayMs(error: unknown, idempotent: boolean, attempt: number): number | undefined {
  if (error instanceof StatusError) {
    const seconds = error.details?.retryAfterSeconds;
    const again = error.code === 429 || (seconds !== undefined && (error.code === 503 || error.code === 500));
    // An eviction that a disruption budget refuses is a 429 that means "not now"; its callers decide when.
    if (!again || seconds === undefined || error.details?.causes?.length) return undefined;
    return Math.min(seconds, 30) * 1000;
  }
  if (error instanceof ConnectionError && idempotent && !error.notSent) return Math.min(2000, 50 * 2 ** attempt);
  return undefined;
}

function listQuery(options: ListOptions): Query {
  const { labelSelector, fieldSelector, limit, resourceVersion, resourceVersionMatch } = options;
  return { labelSelector, fieldSelector, limit, continue: options.continue, resourceVersion, resourceVersionMatch };
}

function writeQuery({ dryRun, fieldManager, force }: WriteOptions): Query {
  return { dryRun: dryRun ? "All" : undefined, fieldManager, force };
}

function withType(type: ResourceType, object: KubeObject): KubeObject {
  return object.kind && object.apiVersion ? object : { ...object, apiVersion: apiVersionOf(type), kind: type.kind };
}

interface ResponseStatus {
  readonly code: number;
  readonly retryAfterSeconds: number | undefined;
}

function headersOf(stream: http2.ClientHttp2Stream): Promise<ResponseStatus> {
  return new Promise((resolve, reject) => {
    stream.once("response", (headers) => {
      const retryAfter = Number(headers["retry-after"]);
      resolve({
        code: headers[":status"] ?? 0,
        retryAfterSeconds: Number.isFinite(retryAfter) && retryAfter > 0 ? retryAfter : undefined,
      });
    });
    const fail = (cause?: unknown) =>
      reject(new ConnectionError(cause instanceof Error ? cause.message : "the connection was closed", { cause }));
    stream.once("error", fail);
    stream.once("close", fail);
  });
}

function readAll(stream: http2.ClientHttp2Stream): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let ended = false;
    stream.on("data", (chunk: Buffer) => chunks.push(chunk));
    stream.once("end", () => {
      ended = true;
    });
    stream.once("error", reject);
    // Resolve at close, not at end: a reset in the middle of a body also ends the readable side.
    stream.once("close", () => {
      if (ended && !stream.aborted && !stream.rstCode)
        resolve(chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks));
      else reject(new ConnectionError("the connection broke in the middle of the answer"));
    });
    if (stream.destroyed) reject(new ConnectionError("the connection was closed"));
  });
}

/** The error that an answer stands for: its Status, or one made from its code when the body is something else. */
function errorOf(body: Buffer, { code, retryAfterSeconds }: ResponseStatus): StatusError {
  let status: Partial<Status> | undefined;
  try {
    const parsed = parseJson(body) as Partial<Status>;
    if (parsed?.kind === "Status") status = parsed;
  } catch {
    // Proxies and load balancers answer with text.
  }
  const details = { ...status?.details, ...(retryAfterSeconds === undefined ? {} : { retryAfterSeconds }) };
  const message = status?.message ?? (body.toString("utf8").trim().slice(0, 500) || `the server answered ${code}`);
  return new StatusError(code, status?.reason ?? "", message, Object.keys(details).length > 0 ? details : undefined);
}
