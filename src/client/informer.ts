import type { Clock } from "../machinery/clock.ts";
import { jittered } from "../machinery/jitter.ts";
import type { Logger } from "../machinery/log.ts";
import { type DeepReadonly, type KubeObject, keyOf, type ResourceType } from "../machinery/object.ts";
import { StatusError } from "../machinery/status.ts";
import { Backoff } from "./backoff.ts";
import type { Client, WatchEvent } from "./client.ts";
import { type IndexFunction, InformerCache } from "./informer-cache.ts";

export interface InformerOptions<T extends KubeObject> {
  readonly namespace?: string;
  readonly labelSelector?: string;
  readonly fieldSelector?: string;
  /** Named indexes; each gives the values under which an object is found by `byIndex`. */
  readonly indexers?: Readonly<Record<string, IndexFunction<T>>>;
  /** What is kept of an object that arrives; must not change it. For saving memory. */
  readonly transform?: (object: T) => T;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Called in the order of the server's events, with the cache already at the new state. Errors are logged. */
export interface InformerHandlers<T extends KubeObject> {
  add?(object: DeepReadonly<T>): void;
  update?(object: DeepReadonly<T>, old: DeepReadonly<T>): void;
  delete?(object: DeepReadonly<T>): void;
}

/** A local copy of a resource that follows the server. */
export interface Informer<T extends KubeObject> {
  readonly type: ResourceType<T>;
  readonly hasSynced: boolean;
  /** Handlers added late hear of what is there already through `add`. Returns how to remove them. */
  on(handlers: InformerHandlers<T>): () => void;
  get(key: string): DeepReadonly<T> | undefined;
  list(namespace?: string): DeepReadonly<T>[];
  byIndex(name: string, value: string): DeepReadonly<T>[];
  /** Adds an index; it is built from what is there already. Does nothing if an index of that name exists. */
  addIndex(name: string, of: IndexFunction<T>): void;
  /** Resolves when the cache holds a whole state of the server once; rejects with the signal's reason. */
  synced(signal?: AbortSignal): Promise<void>;
  /** Follows the server until the signal aborts; the promise resolves then and never rejects. */
  start(signal: AbortSignal): Promise<void>;
}

/** Makes an informer; nothing happens before `start`. */
export function createInformer<T extends KubeObject>(
  client: Client,
  type: ResourceType<T>,
  options: InformerOptions<T>,
): Informer<T> {
  return new WatchInformer(client, type, options);
}

const listPageSize = 500;
const initialEventsEnd = "k8s.io/initial-events-end";

class WatchInformer<T extends KubeObject> implements Informer<T> {
  readonly type: ResourceType<T>;
  readonly #client: Client;
  readonly #options: InformerOptions<T>;
  readonly #cache: InformerCache<T>;
  readonly #handlers = new Set<InformerHandlers<T>>();
  readonly #waiters = new Set<() => void>();
  readonly #logger: Logger;
  #synced = false;
  /** From where a watch can go on; undefined: the state has to be fetched. */
  #resourceVersion: string | undefined;
  /** False once the server refused `sendInitialEvents`. */
  #watchList = true;

  constructor(client: Client, type: ResourceType<T>, options: InformerOptions<T>) {
    this.type = type;
    this.#client = client;
    this.#options = options;
    this.#logger = options.logger.child({ resource: type.group ? `${type.resource}.${type.group}` : type.resource });
    this.#cache = new InformerCache(options.indexers);
  }

  get hasSynced(): boolean {
    return this.#synced;
  }

  on(handlers: InformerHandlers<T>): () => void {
    this.#handlers.add(handlers);
    if (handlers.add) for (const object of this.#cache.list()) this.#guard(() => handlers.add?.(object));
    return () => this.#handlers.delete(handlers);
  }

  get(key: string): DeepReadonly<T> | undefined {
    return this.#cache.get(key);
  }

  list(namespace?: string): DeepReadonly<T>[] {
    return this.#cache.list(namespace);
  }

  byIndex(name: string, value: string): DeepReadonly<T>[] {
    return this.#cache.byIndex(name, value);
  }

  addIndex(name: string, of: IndexFunction<T>): void {
    this.#cache.addIndex(name, of);
  }

  synced(signal?: AbortSignal): Promise<void> {
    if (this.#synced) return Promise.resolve();
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason);
      const done = () => {
        signal?.removeEventListener("abort", onAbort);
        resolve();
      };
      const onAbort = () => {
        this.#waiters.delete(done);
        reject(signal?.reason);
      };
      this.#waiters.add(done);
      signal?.addEventListener("abort", onAbort, { once: true });
    });
  }

  async start(signal: AbortSignal): Promise<void> {
    const backoff = new Backoff({ clock: this.#options.clock, firstMs: 100, maxMs: 30_000 });
    while (!signal.aborted) {
      const startedMs = this.#options.clock.now();
      try {
        if (this.#resourceVersion === undefined && !this.#watchList) await this.#list(signal);
        await this.#watch(signal);
        // The server ends watches now and then. One that ends at once is an error in disguise.
        if (this.#options.clock.now() - startedMs >= 1000) {
          backoff.reset();
          continue;
        }
      } catch (error) {
        if (signal.aborted) break;
        this.#onError(error);
        if (this.#options.clock.now() - startedMs >= 60_000) backoff.reset();
      }
      await backoff.wait(signal).catch(() => {});
    }
  }

  #onError(error: unknown): void {
    const fields = { error: error instanceof Error ? error.message : String(error) };
    if (error instanceof StatusError && error.code === 410) {
      this.#resourceVersion = undefined;
      this.#logger.debug(fields, "Watch is too old; the state is fetched anew");
    } else if (
      error instanceof StatusError &&
      this.#resourceVersion === undefined &&
      this.#watchList &&
      isRefusal(error)
    ) {
      this.#watchList = false;
      this.#logger.debug(fields, "Server knows no initial events; the state is listed instead");
    } else {
      this.#logger.warn(fields, "Watch failed");
    }
  }

  async #list(signal: AbortSignal): Promise<void> {
    const { namespace, labelSelector, fieldSelector } = this.#options;
    const state = new Map<string, T>();
    let token: string | undefined;
    let resourceVersion = "";
    do {
      const page = await this.#client.list(this.type, {
        ...selection(namespace, labelSelector, fieldSelector),
        limit: listPageSize,
        ...(token ? { continue: token } : {}),
        signal,
      });
      for (const object of page.items) this.#put(state, object);
      token = page.metadata.continue;
      resourceVersion = page.metadata.resourceVersion ?? "";
    } while (token);
    this.#replace(state, resourceVersion);
  }

  async #watch(signal: AbortSignal): Promise<void> {
    const { namespace, labelSelector, fieldSelector } = this.#options;
    // Filled with the initial events until their end is announced; then the cache becomes this state.
    let initial = this.#resourceVersion === undefined ? new Map<string, T>() : undefined;
    const events = this.#client.watch(this.type, {
      ...selection(namespace, labelSelector, fieldSelector),
      allowWatchBookmarks: true,
      ...(initial
        ? { sendInitialEvents: true, resourceVersionMatch: "NotOlderThan" as const }
        : { resourceVersion: this.#resourceVersion ?? "" }),
      // As client-go: watches end after 5 to 10 minutes, not all at the same moment.
      timeoutSeconds: Math.floor(jittered(300, 1)),
      signal,
    });
    for await (const event of events) {
      if (signal.aborted) return;
      const version = event.object.metadata.resourceVersion;
      if (!initial) {
        this.#apply(event);
        if (version) this.#resourceVersion = version;
      } else if (event.type === "BOOKMARK") {
        if (event.object.metadata.annotations?.[initialEventsEnd] !== "true") continue;
        this.#replace(initial, version ?? "");
        initial = undefined;
      } else if (event.type === "DELETED") {
        initial.delete(keyOf(event.object));
      } else {
        this.#put(initial, event.object);
      }
    }
  }

  #put(state: Map<string, T>, object: T): void {
    const kept = this.#options.transform ? this.#options.transform(object) : object;
    state.set(keyOf(kept), kept);
  }

  #replace(state: Map<string, T>, resourceVersion: string): void {
    this.#resourceVersion = resourceVersion || undefined;
    for (const old of this.#cache.list()) {
      const key = keyOf(old as T);
      const next = state.get(key);
      // Deleted and made again while nobody watched: two objects, so two events.
      if (!next || next.metadata.uid !== old.metadata.uid) this.#remove(key);
    }
    for (const object of state.values()) this.#set(object);
    if (this.#synced) return;
    this.#synced = true;
    for (const waiter of this.#waiters) waiter();
    this.#waiters.clear();
  }

  #apply(event: WatchEvent<T>): void {
    if (event.type === "BOOKMARK") return;
    const object = this.#options.transform ? this.#options.transform(event.object) : event.object;
    if (event.type === "DELETED") this.#remove(keyOf(object), object);
    else this.#set(object);
  }

  #set(object: T): void {
    const old = this.#cache.set(keyOf(object), object);
    const view = object as DeepReadonly<T>;
    if (!old) {
      for (const handlers of this.#handlers) if (handlers.add) this.#guard(() => handlers.add?.(view));
    } else if (old.metadata.resourceVersion !== object.metadata.resourceVersion) {
      for (const handlers of this.#handlers) if (handlers.update) this.#guard(() => handlers.update?.(view, old));
    }
  }

  #remove(key: string, last?: T): void {
    const old = this.#cache.delete(key);
    if (!old) return;
    const view = (last as DeepReadonly<T> | undefined) ?? old;
    for (const handlers of this.#handlers) if (handlers.delete) this.#guard(() => handlers.delete?.(view));
  }

  #guard(call: () => void): void {
    try {
      call();
    } catch (error) {
      this.#logger.error({ error: error instanceof Error ? error.stack : String(error) }, "Event handler failed");
    }
  }
}

/** Does the error say that the request itself is not understood? */
function isRefusal(error: StatusError): boolean {
  return error.code === 400 || error.code === 405 || error.code === 422;
}

function selection(namespace?: string, labelSelector?: string, fieldSelector?: string) {
  return {
    ...(namespace ? { namespace } : {}),
    ...(labelSelector ? { labelSelector } : {}),
    ...(fieldSelector ? { fieldSelector } : {}),
  };
}
