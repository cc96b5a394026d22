import { createHash } from "node:crypto";
import { WorkQueue } from "../../client/work-queue.ts";
import type { Clock } from "../../machinery/clock.ts";
import { isRecord } from "../../machinery/json.ts";
import type { Logger } from "../../machinery/log.ts";
import { aggregatorHeaders } from "./availability.ts";
import { openApiV3From } from "./convert-openapi.ts";
import type { RemoteVersion } from "./merge-discovery.ts";
import { mergeOpenApiV2 } from "./merge-openapi.ts";
import { pathOf, type RemoteApi } from "./remote-api.ts";
import { fromResourceList, isAggregated, readAggregated, type VersionDiscovery } from "./remote-discovery.ts";
import type { ServiceBackend } from "./service-backend.ts";

/** How long what was fetched is good, how soon a failure is tried again at first, and how long a server may take. */
const freshMs = 60_000;
const firstRetryMs = 500;
const timeoutMs = 5000;
/** A document larger than this is no document. */
const maxBytes = 32 * 1024 * 1024;

const acceptAggregated = ["v2", "v2beta1"]
  .map((version) => `application/json;g=apidiscovery.k8s.io;v=${version};as=APIGroupDiscoveryList`)
  .join(",");

interface Fetched {
  readonly code: number;
  readonly contentType: string;
  readonly etag: string | undefined;
  readonly value: unknown;
}

interface Entry {
  discovery: VersionDiscovery;
  current: boolean;
  /** Of the last whole document, so that a server need not send it again. */
  etag?: string | undefined;
  /** "apis/<group>/<version>" → where its OpenAPI v3 document is. */
  v3: Readonly<Record<string, unknown>>;
  /** That document itself, where the server has none and it was made here. */
  made?: Record<string, unknown> | undefined;
  v2?: { readonly etag: string | undefined; readonly document: Record<string, unknown> };
}

/** What the servers behind APIServices say of themselves, fetched once a minute while there are any. */
export class RemoteDocuments {
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #signal: AbortSignal;
  readonly #backendOf: (name: string) => ServiceBackend | undefined;
  readonly #queue: WorkQueue;
  readonly #entries = new Map<string, Entry>();
  #generation = 0;

  constructor(options: {
    readonly clock: Clock;
    readonly logger: Logger;
    readonly signal: AbortSignal;
    readonly backendOf: (name: string) => ServiceBackend | undefined;
  }) {
    this.#clock = options.clock;
    this.#logger = options.logger;
    this.#signal = options.signal;
    this.#backendOf = options.backendOf;
    this.#queue = new WorkQueue({ clock: options.clock, baseDelayMs: firstRetryMs, maxDelayMs: freshMs });
    options.signal.addEventListener("abort", () => this.#queue.close(), { once: true });
    void this.#run();
  }

  /** Rises with every change of what the documents say. */
  get generation(): number {
    return this.#generation;
  }

  changed(name: string, api: RemoteApi): void {
    if (!this.#entries.has(name)) {
      this.#entries.set(name, { discovery: { version: api.version }, current: false, v3: {} });
    }
    // Its priorities may have changed, too.
    this.#generation++;
    this.#queue.add(name);
  }

  removed(name: string): void {
    if (this.#entries.delete(name)) this.#generation++;
    this.#queue.forget(name);
  }

  versions(): RemoteVersion[] {
    return [...this.#entries].flatMap(([name, { discovery, current }]) => {
      const api = this.#backendOf(name)?.api;
      return api ? [{ api, discovery, current }] : [];
    });
  }

  /** Where the OpenAPI v3 documents of remote group-versions are, by their names in the index. */
  openApiV3Paths(): Record<string, unknown> {
    return Object.assign({}, ...[...this.#entries.values()].map(({ v3 }) => v3));
  }

  /** The document of a group-version whose server has none of this version. */
  openApiV3(group: string, version: string): Record<string, unknown> | undefined {
    return this.#entries.get(`${version}.${group}`)?.made;
  }

  /** `own` with what the servers that can be reached say. */
  async addOpenApiV2(own: Record<string, unknown>): Promise<Record<string, unknown>> {
    const backends = [...this.#entries.keys()].flatMap((name) => this.#backendOf(name) ?? []);
    const documents = await Promise.all(backends.map((backend) => this.#openApiV2(backend)));
    return documents.reduce<Record<string, unknown>>((merged, document, index) => {
      return document ? mergeOpenApiV2(merged, document, `${pathOf(backends[index]!.api)}/`) : merged;
    }, own);
  }

  async #openApiV2(backend: ServiceBackend): Promise<Record<string, unknown> | undefined> {
    const entry = this.#entries.get(backend.api.name);
    if (!entry || !backend.api.available) return entry?.v2?.document;
    try {
      const { code, etag, value } = await this.#fetch(backend, "/openapi/v2", "application/json", entry.v2?.etag);
      if (code === 200 && isRecord(value)) entry.v2 = { etag, document: value };
    } catch (error) {
      this.#logger.info({ err: error, apiService: backend.api.name }, "An API server gave no OpenAPI document");
    }
    return entry.v2?.document;
  }

  async #run(): Promise<void> {
    for (;;) {
      const name = await this.#queue.take();
      if (name === undefined) return;
      this.#refresh(name)
        .then(() => {
          this.#queue.forget(name);
          if (this.#entries.has(name)) this.#queue.addAfter(name, freshMs);
        })
        .catch((error) => {
          if (this.#signal.aborted || !this.#entries.has(name)) return;
          this.#logger.debug({ err: error, apiService: name }, "An API server gave no discovery document");
          this.#queue.addRateLimited(name);
        })
        .finally(() => this.#queue.done(name));
    }
  }

  async #refresh(name: string): Promise<void> {
    const backend = this.#backendOf(name);
    const entry = this.#entries.get(name);
    if (!backend || !entry) return;
    const before = JSON.stringify([entry.discovery, entry.current, entry.v3]);
    try {
      if (!backend.api.available) {
        Object.assign(entry, { discovery: { version: backend.api.version }, current: false, etag: undefined });
        // It is looked at again when its condition changes.
        return;
      }
      await this.#refreshDiscovery(backend, entry);
      await this.#refreshOpenApiV3(backend, entry);
    } catch (error) {
      entry.current = false;
      throw error;
    } finally {
      if (JSON.stringify([entry.discovery, entry.current, entry.v3]) !== before) this.#generation++;
    }
  }

  async #refreshDiscovery(backend: ServiceBackend, entry: Entry): Promise<void> {
    const { group, version } = backend.api;
    const whole = await this.#fetch(backend, "/apis", acceptAggregated, entry.etag);
    if (whole.code === 503) throw new Error(`the server answered ${whole.code}`);
    if (whole.code !== 304) {
      if (whole.code === 200 && isAggregated(whole.contentType)) {
        entry.discovery = readAggregated(whole.value).get(`${group}/${version}`) ?? { version };
        entry.etag = whole.etag;
      } else {
        const path = pathOf(backend.api);
        const list = await this.#fetch(backend, path, "application/json");
        if (list.code !== 200) throw new Error(`failed to download legacy discovery for ${path}: ${list.code}`);
        entry.discovery = fromResourceList(list.value, group, version);
      }
    }
    entry.current = true;
  }

  async #refreshOpenApiV3(backend: ServiceBackend, entry: Entry): Promise<void> {
    const { code, value } = await this.#fetch(backend, "/openapi/v3", "application/json");
    const paths = code === 200 && isRecord(value) && isRecord(value["paths"]) ? value["paths"] : {};
    const own = pathOf(backend.api).slice(1);
    const v2 = code === 404 ? await this.#openApiV2(backend) : undefined;
    // Set at once, so that the old document stands until there is the new one.
    entry.made = v2 && openApiV3From(v2, pathOf(backend.api));
    if (entry.made) {
      const hash = createHash("sha256").update(JSON.stringify(entry.made)).digest("hex").toUpperCase();
      entry.v3 = { [own]: { serverRelativeURL: `/openapi/v3/${own}?hash=${hash}` } };
    } else entry.v3 = Object.hasOwn(paths, own) ? { [own]: paths[own] } : {};
  }

  async #fetch(backend: ServiceBackend, path: string, accept: string, etag?: string): Promise<Fetched> {
    const late = new AbortController();
    const timer = this.#clock.after(timeoutMs, () => late.abort(new Error("request timed out")));
    try {
      const { response } = await backend.send({
        method: "GET",
        path,
        headers: { ...aggregatorHeaders, accept, ...(etag ? { "if-none-match": etag } : {}) },
        signal: AbortSignal.any([this.#signal, late.signal]),
      });
      const chunks: Buffer[] = [];
      let length = 0;
      for await (const chunk of response) {
        length += (chunk as Buffer).length;
        if (length > maxBytes) throw new Error("the document is too large");
        chunks.push(chunk as Buffer);
      }
      const contentType = response.headers["content-type"] ?? "";
      const readable = response.statusCode === 200 && contentType.includes("json");
      return {
        code: response.statusCode ?? 0,
        contentType,
        etag: response.headers.etag,
        value: readable ? JSON.parse(Buffer.concat(chunks).toString()) : undefined,
      };
    } finally {
      timer.cancel();
    }
  }
}
