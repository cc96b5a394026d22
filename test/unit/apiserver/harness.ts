import { generateKeyPairSync } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type ApiServer, type ApiServerOptions, createApiServer } from "../../../src/apiserver/api-server.ts";
import { ioClock } from "../../../src/machinery/clock.ts";
import { silentLogger } from "../../../src/machinery/log.ts";
import { openSqliteStore } from "../../../src/store/sqlite/sqlite-store.ts";
import type { Store } from "../../../src/store/store.ts";
import { FakeClock } from "../../support/fake-clock.ts";

// biome-ignore lint/suspicious/noExplicitAny: replies of any kind, which each test looks into
export type Json = any;

export interface Reply {
  readonly code: number;
  readonly headers: Headers;
  readonly body: Json;
  readonly text: string;
}

export interface RequestOptions {
  readonly body?: unknown;
  readonly type?: string;
  readonly accept?: string;
  readonly user?: string;
  readonly headers?: Record<string, string>;
}

const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });

/** A whole API server on a temporary store, over plain HTTP; the header `x-user` says who asks. */
export class ApiHarness {
  readonly api: ApiServer;
  readonly store: Store;
  readonly clock: FakeClock;
  readonly url: string;
  readonly #server: Server;
  readonly #folder: string;

  private constructor(api: ApiServer, store: Store, clock: FakeClock, server: Server, folder: string) {
    this.api = api;
    this.store = store;
    this.clock = clock;
    this.#server = server;
    this.#folder = folder;
    this.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  }

  static async start(options: Partial<ApiServerOptions> = {}): Promise<ApiHarness> {
    const folder = await mkdtemp(join(tmpdir(), "k3ts-api-"));
    const clock = new FakeClock();
    const store = await openSqliteStore({ path: join(folder, "state.db"), logger: silentLogger, clock });
    const api = await createApiServer({
      store,
      clusterClock: clock,
      ioClock,
      logger: silentLogger,
      authenticators: [
        async ({ headers }) => {
          const name = headers["x-user"];
          if (typeof name !== "string") return undefined;
          return { name, groups: name === "admin" ? ["system:masters"] : [] };
        },
      ],
      serviceAccounts: {
        issuer: "https://kubernetes.default.svc.cluster.local",
        audiences: ["https://kubernetes.default.svc.cluster.local"],
        keys: privateKey.export({ type: "pkcs8", format: "pem" }),
      },
      kubeletClient: { ca: "", cert: "", key: "" },
      serviceCidr: "10.43.0.0/16",
      nodePortRange: { from: 30000, to: 32767 },
      clusterDomain: "cluster.local",
      advertise: { address: "192.0.2.1", port: 6443 },
      dialNode: async () => {
        throw new Error("no node is connected");
      },
      version: "v1.36.4+k3ts1",
      ...options,
    });
    await api.ready();
    // A connection that is closed for being idle just as a request is sent on it would fail that request.
    const server = createServer({ keepAliveTimeout: 0 }, (request, response) => api.handle(request, response));
    server.on("upgrade", (request, socket, head) => api.upgrade(request, socket, head));
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return new ApiHarness(api, store, clock, server, folder);
  }

  async stop(): Promise<void> {
    await this.api.stop();
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
    await this.store.close();
    await rm(this.#folder, { recursive: true });
  }

  fetch(method: string, path: string, options: RequestOptions = {}, signal?: AbortSignal): Promise<Response> {
    const { body, type = "application/json", accept = "application/json", user = "admin", headers } = options;
    return fetch(this.url + path, {
      method,
      headers: { accept, "x-user": user, ...(body === undefined ? {} : { "content-type": type }), ...headers },
      ...(body === undefined ? {} : { body: typeof body === "string" ? body : JSON.stringify(body) }),
      ...(signal ? { signal } : {}),
    });
  }

  async request(method: string, path: string, options: RequestOptions = {}): Promise<Reply> {
    const response = await this.fetch(method, path, options);
    const text = await response.text();
    const json = response.headers.get("content-type")?.startsWith("application/json");
    return { code: response.status, headers: response.headers, text, body: json ? JSON.parse(text) : undefined };
  }

  get = (path: string, options?: RequestOptions) => this.request("GET", path, options);
  post = (path: string, body: unknown, options?: RequestOptions) => this.request("POST", path, { body, ...options });
  put = (path: string, body: unknown, options?: RequestOptions) => this.request("PUT", path, { body, ...options });
  delete = (path: string, body?: unknown) => this.request("DELETE", path, { body });
  patch = (path: string, kind: "json" | "merge" | "strategic" | "apply", body: unknown) =>
    this.request("PATCH", path, {
      body,
      type: {
        json: "application/json-patch+json",
        merge: "application/merge-patch+json",
        strategic: "application/strategic-merge-patch+json",
        apply: "application/apply-patch+yaml",
      }[kind],
    });

  /** Opens a watch; `next` gives its events one by one. */
  async watch(path: string, options: RequestOptions = {}): Promise<WatchReader> {
    const abort = new AbortController();
    const response = await this.fetch("GET", path, options, abort.signal);
    return new WatchReader(response, abort);
  }
}

export class WatchReader {
  readonly response: Response;
  readonly #abort: AbortController;
  readonly #lines: AsyncGenerator<Json>;

  constructor(response: Response, abort: AbortController) {
    this.response = response;
    this.#abort = abort;
    this.#lines = readLines(response);
  }

  /** The next event; `undefined` when the server ended the watch. */
  async next(): Promise<Json> {
    const { value, done } = await this.#lines.next();
    return done ? undefined : value;
  }

  async take(count: number): Promise<Json[]> {
    const events: Json[] = [];
    while (events.length < count) events.push(await this.next());
    return events;
  }

  close(): void {
    this.#abort.abort();
  }
}

async function* readLines(response: Response): AsyncGenerator<Json> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const chunk of response.body!) {
    rest += decoder.decode(chunk as Uint8Array, { stream: true });
    const lines = rest.split("\n");
    rest = lines.pop()!;
    for (const line of lines) yield JSON.parse(line);
  }
}
