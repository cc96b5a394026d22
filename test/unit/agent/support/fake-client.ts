import type { Client, Patch, WatchEvent, WatchOptions } from "../../../../src/client/client.ts";
import { type KubeObject, keyOf, type ResourceType } from "../../../../src/machinery/object.ts";

/**
 * Feeds informers: holds objects, sends them as initial events, and then what a test puts or removes. It is no API
 * server: no selectors, no validation; only merge patches of annotations.
 */
export class FakeClient {
  readonly #objects = new Map<string, Map<string, KubeObject>>();
  readonly #watchers = new Set<{ resource: string; push(event: WatchEvent): void }>();
  #version = 0;
  /** Called for each patch, after it has been applied. */
  onPatch: ((resource: string, name: string, body: object) => void) | undefined;

  get client(): Client {
    return this as unknown as Client;
  }

  put<T extends KubeObject>(type: ResourceType<T>, object: T): void {
    const key = keyOf(object);
    const objects = this.#of(type.resource);
    const known = objects.has(key);
    const metadata = { uid: key, ...object.metadata, resourceVersion: `${++this.#version}` };
    objects.set(key, { ...object, metadata });
    this.#send(type.resource, { type: known ? "MODIFIED" : "ADDED", object: objects.get(key)! });
  }

  remove(type: ResourceType, key: string): void {
    const object = this.#of(type.resource).get(key);
    if (!object) throw new Error(`there is no ${type.resource} ${key}`);
    this.#of(type.resource).delete(key);
    const metadata = { ...object.metadata, resourceVersion: `${++this.#version}` };
    this.#send(type.resource, { type: "DELETED", object: { ...object, metadata } });
  }

  async *watch(type: ResourceType, { signal }: WatchOptions): AsyncGenerator<WatchEvent> {
    const queue: WatchEvent[] = [...this.#of(type.resource).values()].map((object) => ({ type: "ADDED", object }));
    const annotations = { "k8s.io/initial-events-end": "true" };
    queue.push({ type: "BOOKMARK", object: { metadata: { resourceVersion: `${this.#version}`, annotations } } });
    let wake = () => {};
    const watcher = {
      resource: type.resource,
      push: (event: WatchEvent) => {
        queue.push(event);
        wake();
      },
    };
    this.#watchers.add(watcher);
    signal?.addEventListener("abort", () => wake(), { once: true });
    try {
      while (!signal?.aborted) {
        const event = queue.shift();
        if (event) yield event;
        else await new Promise<void>((resolve) => (wake = resolve));
      }
    } finally {
      this.#watchers.delete(watcher);
    }
  }

  async patch(type: ResourceType, name: string, patch: Patch): Promise<KubeObject> {
    const object = this.#of(type.resource).get(name);
    if (!object) throw new Error(`there is no ${type.resource} ${name}`);
    const body = patch.body as { metadata?: { annotations?: Record<string, string> } };
    const annotations = { ...object.metadata.annotations, ...body.metadata?.annotations };
    this.put(type, { ...object, metadata: { ...object.metadata, annotations } });
    this.onPatch?.(type.resource, name, body);
    return this.#of(type.resource).get(name)!;
  }

  #of(resource: string): Map<string, KubeObject> {
    const objects = this.#objects.get(resource) ?? new Map<string, KubeObject>();
    this.#objects.set(resource, objects);
    return objects;
  }

  #send(resource: string, event: WatchEvent): void {
    for (const watcher of this.#watchers) if (watcher.resource === resource) watcher.push(event);
  }
}
