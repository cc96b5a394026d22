import type { DeepReadonly, KubeObject } from "../machinery/object.ts";

/** The values under which an index finds an object. */
export type IndexFunction<T extends KubeObject> = (object: DeepReadonly<T>) => readonly string[];

class Index<T extends KubeObject> {
  readonly #of: IndexFunction<T>;
  readonly #keys = new Map<string, Set<string>>();

  constructor(of: IndexFunction<T>) {
    this.#of = of;
  }

  add(key: string, object: DeepReadonly<T>): void {
    for (const value of this.#of(object)) {
      const keys = this.#keys.get(value);
      if (keys) keys.add(key);
      else this.#keys.set(value, new Set([key]));
    }
  }

  remove(key: string, object: DeepReadonly<T>): void {
    for (const value of this.#of(object)) {
      const keys = this.#keys.get(value);
      keys?.delete(key);
      if (keys?.size === 0) this.#keys.delete(value);
    }
  }

  get(value: string): ReadonlySet<string> | undefined {
    return this.#keys.get(value);
  }
}

/** The objects of an informer, by key and by indexes. The index by namespace is made when first asked for. */
export class InformerCache<T extends KubeObject> {
  readonly #objects = new Map<string, DeepReadonly<T>>();
  readonly #indexes = new Map<string, Index<T>>();

  constructor(indexers: Readonly<Record<string, IndexFunction<T>>> = {}) {
    for (const [name, of] of Object.entries(indexers)) this.#indexes.set(name, new Index(of));
  }

  get(key: string): DeepReadonly<T> | undefined {
    return this.#objects.get(key);
  }

  list(namespace?: string): DeepReadonly<T>[] {
    if (namespace === undefined) return [...this.#objects.values()];
    this.addIndex("namespace", (object) => [(object as KubeObject).metadata.namespace ?? ""]);
    return this.byIndex("namespace", namespace);
  }

  byIndex(name: string, value: string): DeepReadonly<T>[] {
    const index = this.#indexes.get(name);
    if (!index) throw new Error(`informer has no index ${JSON.stringify(name)}`);
    const found: DeepReadonly<T>[] = [];
    for (const key of index.get(value) ?? []) {
      const object = this.#objects.get(key);
      if (object) found.push(object);
    }
    return found;
  }

  addIndex(name: string, of: IndexFunction<T>): void {
    if (this.#indexes.has(name)) return;
    const index = new Index<T>(of);
    for (const [key, object] of this.#objects) index.add(key, object);
    this.#indexes.set(name, index);
  }

  /** Puts an object in the place of the one of the same key, which is returned. */
  set(key: string, object: T): DeepReadonly<T> | undefined {
    const old = this.#objects.get(key);
    const view = object as DeepReadonly<T>;
    for (const index of this.#indexes.values()) {
      if (old) index.remove(key, old);
      index.add(key, view);
    }
    this.#objects.set(key, view);
    return old;
  }

  /** Removes and returns the object of a key. */
  delete(key: string): DeepReadonly<T> | undefined {
    const old = this.#objects.get(key);
    if (!old) return undefined;
    for (const index of this.#indexes.values()) index.remove(key, old);
    this.#objects.delete(key);
    return old;
  }
}
