import { randomUUID } from "node:crypto";
import type { Client, ListOptions, WatchEvent, WatchOptions } from "../../../src/client/client.ts";
import { type KubeObject, keyOf, type ResourceType } from "../../../src/machinery/object.ts";
import { alreadyExists, conflict, notBuilt, notFound, optimisticLockMessage } from "../../../src/machinery/status.ts";

type Listener = (event: WatchEvent) => void;

/** Objects in a map behind the client interface: what authorizers and admission plugins need, without a server. */
export class MemoryClient implements Client {
  readonly #objects = new Map<string, Map<string, KubeObject>>();
  readonly #listeners = new Map<string, Set<Listener>>();
  #revision = 1;

  #of(type: ResourceType): Map<string, KubeObject> {
    const key = `${type.group}/${type.resource}`;
    const found = this.#objects.get(key) ?? new Map<string, KubeObject>();
    this.#objects.set(key, found);
    return found;
  }

  #tell(type: ResourceType, event: WatchEvent): void {
    for (const listener of this.#listeners.get(`${type.group}/${type.resource}`) ?? []) listener(event);
  }

  /** Puts an object there as it is, with a uid and a resourceVersion. */
  put<T extends KubeObject>(type: ResourceType<T>, object: T): T {
    const known = this.#of(type).get(keyOf(object));
    const stored = {
      ...structuredClone(object),
      metadata: {
        uid: known?.metadata.uid ?? randomUUID(),
        ...structuredClone(object.metadata),
        resourceVersion: String(++this.#revision),
      },
    };
    this.#of(type).set(keyOf(stored), stored);
    this.#tell(type, { type: known ? "MODIFIED" : "ADDED", object: stored });
    return stored;
  }

  async get<T extends KubeObject>(
    type: ResourceType<T>,
    name: string,
    options: { namespace?: string } = {},
  ): Promise<T> {
    const found = this.#of(type).get(options.namespace ? `${options.namespace}/${name}` : name);
    if (!found) throw notFound(type, name);
    return found as T;
  }

  async list<T extends KubeObject>(type: ResourceType<T>, options: ListOptions = {}) {
    if (options.labelSelector || options.fieldSelector) throw notBuilt("A selector in this test client");
    const items = [...this.#of(type).values()].filter(
      (object) => !options.namespace || object.metadata.namespace === options.namespace,
    );
    return { metadata: { resourceVersion: String(this.#revision) }, items: items as T[] };
  }

  async *watch<T extends KubeObject>(type: ResourceType<T>, options: WatchOptions): AsyncIterable<WatchEvent<T>> {
    const queue: WatchEvent[] = [];
    let wake = () => {};
    if (options.sendInitialEvents) {
      for (const object of this.#of(type).values()) queue.push({ type: "ADDED", object });
      const annotations = { "k8s.io/initial-events-end": "true" };
      queue.push({ type: "BOOKMARK", object: { metadata: { resourceVersion: String(this.#revision), annotations } } });
    }
    const key = `${type.group}/${type.resource}`;
    const listener: Listener = (event) => {
      queue.push(event);
      wake();
    };
    const listeners = this.#listeners.get(key) ?? new Set();
    this.#listeners.set(key, listeners.add(listener));
    options.signal?.addEventListener("abort", () => wake());
    try {
      for (;;) {
        while (queue.length > 0) yield queue.shift() as WatchEvent<T>;
        if (options.signal?.aborted) return;
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    } finally {
      listeners.delete(listener);
    }
  }

  async create<T extends KubeObject>(
    type: ResourceType<T>,
    object: T,
    options: { namespace?: string } = {},
  ): Promise<T> {
    const namespace = object.metadata.namespace ?? options.namespace;
    const whole = { ...object, metadata: { ...object.metadata, ...(namespace ? { namespace } : {}) } };
    if (this.#of(type).has(keyOf(whole))) throw alreadyExists(type, object.metadata.name ?? "");
    return this.put(type, whole);
  }

  async update<T extends KubeObject>(type: ResourceType<T>, object: T): Promise<T> {
    const known = this.#of(type).get(keyOf(object));
    if (!known) throw notFound(type, object.metadata.name ?? "");
    const wanted = object.metadata.resourceVersion;
    if (wanted && wanted !== known.metadata.resourceVersion) {
      throw conflict(type, object.metadata.name ?? "", optimisticLockMessage);
    }
    return this.put(type, object);
  }

  async delete<T extends KubeObject>(
    type: ResourceType<T>,
    name: string,
    options: { namespace?: string } = {},
  ): Promise<void> {
    const key = options.namespace ? `${options.namespace}/${name}` : name;
    const known = this.#of(type).get(key);
    if (!known) throw notFound(type, name);
    this.#of(type).delete(key);
    this.#tell(type, { type: "DELETED", object: known });
  }

  patch(): Promise<never> {
    return Promise.reject(notBuilt("patch in this test client"));
  }

  deleteCollection(): Promise<never> {
    return Promise.reject(notBuilt("deleteCollection in this test client"));
  }

  createSubresource(): Promise<never> {
    return Promise.reject(notBuilt("createSubresource in this test client"));
  }
}
