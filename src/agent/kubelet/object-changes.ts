import type { Client } from "../../client/client.ts";
import { createInformer } from "../../client/informer.ts";
import type { Clock } from "../../machinery/clock.ts";
import { silentLogger } from "../../machinery/log.ts";
import type { KubeObject, ResourceType } from "../../machinery/object.ts";

/** Called with the version of the object that is there now; `undefined`: it is gone. */
export type ChangeListener = (resourceVersion: string | undefined) => void;

interface Followed {
  readonly listeners: Set<ChangeListener>;
  readonly stop: AbortController;
  version: string | undefined;
}

/** What is kept of a followed object. */
type Trace = KubeObject & { readonly immutable?: boolean };

/**
 * Hears of changes of single objects that pods mount. Each object is watched once, by its name, however many pods mount
 * it: that costs nothing while it does not change. Only its version is kept; one that is immutable is watched no more.
 */
export class ObjectChanges {
  readonly #client: Client;
  readonly #clock: Clock;
  readonly #followed = new Map<string, Followed>();

  constructor(client: Client, clock: Clock) {
    this.#client = client;
    this.#clock = clock;
  }

  /** Calls back with the object's version now, and whenever it changes or goes. Returns how to end that. */
  follow(type: ResourceType, namespace: string, name: string, listener: ChangeListener): () => void {
    const key = `${type.resource}/${namespace}/${name}`;
    let entry = this.#followed.get(key);
    if (!entry) {
      entry = { listeners: new Set(), stop: new AbortController(), version: undefined };
      this.#followed.set(key, entry);
      this.#watch(type as ResourceType<Trace>, namespace, name, entry);
    } else if (entry.version !== undefined) listener(entry.version);
    const followed = entry;
    followed.listeners.add(listener);
    return () => {
      followed.listeners.delete(listener);
      if (followed.listeners.size > 0 || this.#followed.get(key) !== followed) return;
      followed.stop.abort();
      this.#followed.delete(key);
    };
  }

  #watch(type: ResourceType<Trace>, namespace: string, name: string, entry: Followed): void {
    const informer = createInformer<Trace>(this.#client, type, {
      namespace,
      fieldSelector: `metadata.name=${name}`,
      transform: ({ metadata, immutable }) => ({
        metadata: { name, namespace, uid: metadata.uid, resourceVersion: metadata.resourceVersion },
        ...(immutable ? { immutable } : {}),
      }),
      clock: this.#clock,
      // The pods' own watch says when the API is away; what a node may not read, the GET of it says.
      logger: silentLogger,
    });
    const see = ({ metadata, immutable }: { metadata: { resourceVersion?: string }; immutable?: boolean }) => {
      entry.version = metadata.resourceVersion ?? "";
      for (const listener of [...entry.listeners]) listener(entry.version);
      if (immutable) entry.stop.abort();
    };
    const forget = () => {
      entry.version = undefined;
      for (const listener of [...entry.listeners]) listener(undefined);
    };
    informer.on({
      add: (object) => see(object as Trace),
      update: (object) => see(object as Trace),
      delete: forget,
    });
    void informer.start(entry.stop.signal);
  }
}
