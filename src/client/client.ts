import type { KubeList, KubeObject, ResourceType } from "../machinery/object.ts";

/**
 * The one interface through which everything speaks to the API. Two transports implement it: in-process (enters the
 * API server after authentication, as its own named user; RBAC, admission and audit apply) and https.
 *
 * Every method rejects with a `StatusError` (machinery/status.ts) when the server answers a Status. Objects that come
 * from the in-process transport are shared with the server's cache: treat them as immutable and clone before changing.
 */
export interface Client {
  get<T extends KubeObject>(type: ResourceType<T>, name: string, options?: NamespacedOptions): Promise<T>;
  list<T extends KubeObject>(type: ResourceType<T>, options?: ListOptions): Promise<KubeList<T>>;
  /** Events from `resourceVersion` on. Ends when the server ends it; throws `StatusError` for an ERROR event. */
  watch<T extends KubeObject>(type: ResourceType<T>, options: WatchOptions): AsyncIterable<WatchEvent<T>>;
  create<T extends KubeObject>(type: ResourceType<T>, object: T, options?: WriteOptions): Promise<T>;
  /** Replaces the object; conflicts unless `metadata.resourceVersion` is current or empty. */
  update<T extends KubeObject>(type: ResourceType<T>, object: T, options?: WriteOptions): Promise<T>;
  patch<T extends KubeObject>(type: ResourceType<T>, name: string, patch: Patch, options?: WriteOptions): Promise<T>;
  delete<T extends KubeObject>(type: ResourceType<T>, name: string, options?: DeleteOptions): Promise<void>;
  deleteCollection<T extends KubeObject>(
    type: ResourceType<T>,
    options?: DeleteOptions & { labelSelector?: string; fieldSelector?: string },
  ): Promise<void>;
  /** Posts a body to a subresource that is not the object itself: "binding", "eviction", "token". */
  createSubresource<R>(
    type: ResourceType,
    name: string,
    subresource: string,
    body: object,
    options?: NamespacedOptions,
  ): Promise<R>;
}

export interface NamespacedOptions {
  /** For namespaced resources; for `list` and `watch` absent means all namespaces. */
  readonly namespace?: string;
  readonly signal?: AbortSignal;
  /** "status", "scale", … for get, update and patch. */
  readonly subresource?: string;
}

export interface ListOptions extends NamespacedOptions {
  readonly labelSelector?: string;
  readonly fieldSelector?: string;
  readonly limit?: number;
  readonly continue?: string;
  /** "0": any version, from the cache; absent: most recent. */
  readonly resourceVersion?: string;
  readonly resourceVersionMatch?: "NotOlderThan" | "Exact";
}

export interface WatchOptions extends ListOptions {
  readonly allowWatchBookmarks?: boolean;
  /** Start with synthetic ADDED events of the state, closed by a bookmark annotated `k8s.io/initial-events-end`. */
  readonly sendInitialEvents?: boolean;
  readonly timeoutSeconds?: number;
}

export interface WatchEvent<T extends KubeObject = KubeObject> {
  readonly type: "ADDED" | "MODIFIED" | "DELETED" | "BOOKMARK";
  readonly object: T;
}

export interface WriteOptions extends NamespacedOptions {
  readonly dryRun?: boolean;
  readonly fieldManager?: string;
  /** Only for apply patches: take over fields that others own. */
  readonly force?: boolean;
}

/** A patch with its media type's short name. */
export type Patch =
  | { readonly type: "json"; readonly body: readonly object[] }
  | { readonly type: "merge" | "strategic" | "apply"; readonly body: object };

export interface DeleteOptions extends NamespacedOptions {
  readonly gracePeriodSeconds?: number;
  readonly propagationPolicy?: "Orphan" | "Background" | "Foreground";
  readonly preconditions?: { readonly uid?: string; readonly resourceVersion?: string };
  readonly dryRun?: boolean;
}
