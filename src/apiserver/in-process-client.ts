import type { ResourceFacts } from "../api/resource.ts";
import type {
  Client,
  DeleteOptions,
  ListOptions,
  NamespacedOptions,
  Patch,
  WatchEvent,
  WatchOptions,
  WriteOptions,
} from "../client/client.ts";
import { parseJson, stringifyJson } from "../machinery/json.ts";
import { apiVersionOf, type KubeList, type KubeObject, type ResourceType } from "../machinery/object.ts";
import { methodNotSupported, notBuilt, type StatusError } from "../machinery/status.ts";
import type { RemoteReader } from "./aggregation/read-remote.ts";
import { forbiddenError } from "./authorization/forbidden-error.ts";
import { type Call, type Core, groupResource, toStatusError } from "./core.ts";
import type { SpecialHandlers } from "./handler.ts";
import { checkVerb, createObject, patchObject, readObject, updateObject } from "./operations.ts";
import type { Authorizer, RequestInfo, ServerContext, UserInfo } from "./request.ts";
import { pathNotFound } from "./request-path.ts";
import type { ResourceTable } from "./resource-table.ts";
import { deleteObject } from "./verbs/delete.ts";
import { deleteCollection } from "./verbs/delete-collection.ts";
import { list } from "./verbs/list.ts";
import { type WatchChange, watch } from "./verbs/watch.ts";

export interface InProcessClientOptions {
  readonly core: Core;
  readonly resources: ResourceTable;
  readonly user: UserInfo;
  readonly authorize: Authorizer;
  /** The server's own client skips admission. */
  readonly admission: boolean;
  /** Handlers of token, binding, eviction; functions, since they need a client themselves. */
  readonly special: () => SpecialHandlers;
  readonly context: () => ServerContext;
  /** Reads what other servers serve; they are asked for what stands in no table here. */
  readonly remote?: (group: string, version: string) => RemoteReader | undefined;
  /** Ends watches when the server stops. */
  readonly signal: AbortSignal;
}

/** A watcher that lets more events than this pile up is cut off, as over HTTP. */
const maxQueued = 100_000;

/**
 * The API without HTTP: enters after authentication, as its own user. Objects are the cache's own; callers must not
 * change them.
 */
export function createInProcessClient(options: InProcessClientOptions): Client {
  return new InProcessClient(options);
}

/** The body of every scale subresource, whatever it is about. */
const scaleType = { group: "autoscaling", version: "v1", kind: "Scale" };

class InProcessClient implements Client {
  readonly #options: InProcessClientOptions;

  constructor(options: InProcessClientOptions) {
    this.#options = options;
  }

  async get<T extends KubeObject>(type: ResourceType<T>, name: string, options: NamespacedOptions = {}): Promise<T> {
    const remote = this.#remote(type);
    if (remote) return this.#read<T>(remote, type, "get", options, name);
    return this.#run(type, "get", name, options, async (call) => {
      return (await readObject(this.#options.core, call)).object as T;
    });
  }

  async list<T extends KubeObject>(type: ResourceType<T>, options: ListOptions = {}): Promise<KubeList<T>> {
    const remote = this.#remote(type);
    if (remote) return this.#read<KubeList<T>>(remote, type, "list", options);
    return this.#run(type, "list", "", options, async (call) => {
      const page = await list(this.#options.core, call, options);
      return {
        apiVersion: apiVersionOf(call.facts),
        kind: call.facts.listKind,
        metadata: {
          resourceVersion: String(page.revision),
          ...(page.continue ? { continue: page.continue } : {}),
          ...(page.remaining ? { remainingItemCount: page.remaining } : {}),
        },
        items: page.items.map((item) => item.object as T),
      };
    });
  }

  async *watch<T extends KubeObject>(type: ResourceType<T>, options: WatchOptions): AsyncGenerator<WatchEvent<T>> {
    const call = await this.#call(type, "watch", "", options);
    const queue: WatchEvent<T>[] = [];
    let ended = false;
    let failure: StatusError | undefined;
    let wake: (() => void) | undefined;
    const push = (event: WatchEvent<T>) => {
      queue.push(event);
      if (queue.length > maxQueued) stop?.();
      wake?.();
    };
    let stop: (() => void) | undefined;
    const signals = [this.#options.signal, ...(options.signal ? [options.signal] : [])];
    const onAbort = () => {
      ended = true;
      stop?.();
      wake?.();
    };
    for (const signal of signals) {
      if (signal.aborted) return;
      signal.addEventListener("abort", onAbort, { once: true });
    }
    try {
      stop = await watch(this.#options.core, call, options, {
        open: () => {},
        changes: (changes: readonly WatchChange[]) => {
          for (const { type, item } of changes) push({ type, object: item.object as T });
        },
        bookmark: (revision, initial) =>
          push({ type: "BOOKMARK", object: bookmark(call.facts, revision, initial) as T }),
        end: (error) => {
          ended = true;
          failure = error;
          wake?.();
        },
      });
      if (ended) stop();
      for (;;) {
        let taken = 0;
        // A long queue is handed over piece by piece, so that one watcher does not hold the loop.
        while (taken < queue.length && !signals.some((signal) => signal.aborted)) yield queue[taken++]!;
        queue.splice(0, taken);
        if (options.signal?.aborted) return;
        if (queue.length > 0) continue;
        if (failure) throw failure;
        if (ended) return;
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
        wake = undefined;
      }
    } finally {
      for (const signal of signals) signal.removeEventListener("abort", onAbort);
      stop?.();
    }
  }

  async create<T extends KubeObject>(type: ResourceType<T>, object: T, options: WriteOptions = {}): Promise<T> {
    const namespace = options.namespace ?? object.metadata.namespace;
    const target = { ...options, ...(namespace ? { namespace } : {}) };
    return this.#run(type, "create", "", target, async (call) => {
      return (await createObject(this.#options.core, call, this.#body(type, object))).object as T;
    });
  }

  async update<T extends KubeObject>(type: ResourceType<T>, object: T, options: WriteOptions = {}): Promise<T> {
    const namespace = options.namespace ?? object.metadata.namespace;
    const target = { ...options, ...(namespace ? { namespace } : {}) };
    const body = this.#body(options.subresource === "scale" ? scaleType : type, object);
    return this.#run(type, "update", object.metadata.name ?? "", target, async (call) => {
      return (await updateObject(this.#options.core, call, body)).item.object as T;
    });
  }

  async patch<T extends KubeObject>(
    type: ResourceType<T>,
    name: string,
    patch: Patch,
    options: WriteOptions = {},
  ): Promise<T> {
    return this.#run(type, "patch", name, options, async (call) => {
      const body = parseJson(stringifyJson(patch.body));
      const { item } = await patchObject(this.#options.core, call, {
        type: patch.type,
        body,
        force: options.force ?? false,
        fieldValidation: "Ignore",
        findings: [],
      });
      return item.object as T;
    });
  }

  async delete<T extends KubeObject>(type: ResourceType<T>, name: string, options: DeleteOptions = {}): Promise<void> {
    await this.#run(type, "delete", name, options, (call) => deleteObject(this.#options.core, call, options));
  }

  async deleteCollection<T extends KubeObject>(
    type: ResourceType<T>,
    options: DeleteOptions & { labelSelector?: string; fieldSelector?: string } = {},
  ): Promise<void> {
    const { labelSelector, fieldSelector } = options;
    await this.#run(type, "deletecollection", "", options, (call) =>
      deleteCollection(this.#options.core, call, { labelSelector, fieldSelector }, options),
    );
  }

  async createSubresource<R>(
    type: ResourceType,
    name: string,
    subresource: string,
    body: object,
    options: NamespacedOptions = {},
  ): Promise<R> {
    return this.#run(type, "create", name, { ...options, subresource }, async (call) => {
      const key = name === "" && subresource === "" ? "" : `/${subresource}`;
      const run = this.#options.special().bodies[`${call.facts.group}/${call.facts.resource}${key}`];
      if (!run) throw notBuilt(`${call.facts.resource}/${subresource}`);
      const { namespace } = call;
      const info: RequestInfo = {
        isResource: true,
        path: "",
        verb: "create",
        group: type.group,
        version: type.version,
        resource: type.resource,
        subresource,
        name,
        ...(namespace ? { namespace } : {}),
      };
      const object = { metadata: {}, ...(parseJson(stringifyJson(body)) as object) };
      const reply = await run(this.#options.context(), { info, user: this.#options.user, body: object, dryRun: false });
      return reply.body as R;
    });
  }

  #remote({ group, version, resource }: ResourceType): RemoteReader | undefined {
    const { resources, remote } = this.#options;
    return resources.find(group, version, resource) ? undefined : remote?.(group, version);
  }

  async #read<R>(
    remote: RemoteReader,
    type: ResourceType,
    verb: string,
    options: ListOptions & NamespacedOptions,
    name?: string,
  ): Promise<R> {
    const { user, authorize } = this.#options;
    const { group, version, resource } = type;
    const { namespace, subresource } = options;
    const attributes = {
      user,
      verb,
      group,
      version,
      resource,
      ...(subresource ? { subresource } : {}),
      ...(namespace ? { namespace } : {}),
      ...(name ? { name } : {}),
    };
    const decision = await authorize(attributes);
    if (!decision.allowed) throw forbiddenError(attributes, decision.reason);
    return (await remote({ type, options, user, ...(name ? { name } : {}) })) as R;
  }

  #body(type: Pick<ResourceType, "group" | "version" | "kind">, object: KubeObject) {
    // Private to this call and without `undefined`, as if it had come over the wire.
    const value = parseJson(
      stringifyJson({ ...object, apiVersion: apiVersionOf(type), kind: object.kind || type.kind }),
    );
    return { value, findings: [], fieldValidation: "Ignore" } as const;
  }

  async #call(
    type: ResourceType,
    verb: string,
    name: string,
    options: NamespacedOptions & { dryRun?: boolean; fieldManager?: string },
  ): Promise<Call> {
    const { resources, user, authorize, admission } = this.#options;
    const facts = resources.find(type.group, type.version, type.resource);
    if (!facts) throw pathNotFound();
    const { subresource } = options;
    const namespace = facts.namespaced ? options.namespace : undefined;
    const attributes = {
      user,
      verb,
      group: facts.group,
      version: facts.version,
      resource: facts.resource,
      ...(subresource ? { subresource } : {}),
      ...(namespace ? { namespace } : {}),
      ...(name ? { name } : {}),
    };
    const decision = await authorize(attributes);
    if (!decision.allowed) throw forbiddenError(attributes, decision.reason);
    checkVerb(facts, subresource, verb);
    const collection = verb === "list" || verb === "watch";
    if (facts.namespaced && !namespace && !collection) throw methodNotSupported(groupResource(facts), verb);
    return {
      facts,
      namespace,
      name,
      subresource,
      user,
      admission,
      dryRun: options.dryRun ?? false,
      fieldManager: options.fieldManager ?? managerNameOf(user),
      ...(options.signal ? { signal: options.signal } : {}),
      warn: () => {},
    };
  }

  async #run<R>(
    type: ResourceType,
    verb: string,
    name: string,
    options: NamespacedOptions & { dryRun?: boolean; fieldManager?: string },
    run: (call: Call) => Promise<R>,
  ): Promise<R> {
    try {
      options.signal?.throwIfAborted();
      return await run(await this.#call(type, verb, name, options));
    } catch (error) {
      if (options.signal?.aborted) throw options.signal.reason;
      throw toStatusError(error);
    }
  }
}

/** "kube-scheduler" of "system:kube-scheduler", "kube-controller-manager" of its controllers' accounts. */
function managerNameOf({ name }: UserInfo): string {
  if (name.startsWith("system:serviceaccount:kube-system:")) return "kube-controller-manager";
  return name.replace(/^system:/, "") || "unknown";
}

function bookmark(facts: ResourceFacts, revision: number, initial: boolean): KubeObject {
  return {
    apiVersion: apiVersionOf(facts),
    kind: facts.kind,
    metadata: {
      resourceVersion: String(revision),
      ...(initial ? { annotations: { "k8s.io/initial-events-end": "true" } } : {}),
    },
  };
}
