import { customResourceDefinitions } from "../api/generated/apiextensions-v1.ts";
import type { Client, DeleteOptions } from "../client/client.ts";
import type { Informer } from "../client/informer.ts";
import { apiVersionOf, type KubeObject, parseApiVersion, type ResourceType } from "../machinery/object.ts";
import { StatusError } from "../machinery/status.ts";
import { type ControllerFactory, TerminalError, type Watch } from "./controller.ts";
import {
  type Due,
  foregroundFinalizer,
  GarbageGraph,
  type GraphNode,
  type OwnerView,
  orphanFinalizer,
} from "./garbage-graph.ts";
import { customResourceType } from "./shared/custom-resources.ts";

/** Events are many and own nothing. */
const ignored = new Set(["/events", "events.k8s.io/events"]);
const orphanPrefix = "orphan:";

type OwnerState = "solid" | "dangling" | "waiting";

/** Deletes what its owners left behind, holds owners back until their dependents are gone, and lets orphans go. */
export const garbageCollector: ControllerFactory = {
  name: "generic-garbage-collector",
  create({ client, informers, logger, events, resources }) {
    const graph = new GarbageGraph();
    const builtIn = resources.filter(({ group, resource }) => !ignored.has(`${group}/${resource}`));
    const types = new Map<string, ResourceType>();
    const kindKey = (group: string, kind: string) => `${group}/${kind}`;
    for (const type of builtIn) types.set(kindKey(type.group, type.kind), type);
    const builtInInformers = builtIn.map((type) => informers.of(type));
    const crds = informers.of(customResourceDefinitions);

    let enqueue: (key: string) => void = () => {};
    const due = ({ check, orphan }: Due) => {
      for (const uid of check) enqueue(uid);
      for (const uid of orphan) enqueue(orphanPrefix + uid);
    };
    const follow = (informer: Informer<KubeObject>): void => {
      const { type } = informer;
      const apiVersion = apiVersionOf(type);
      informer.on({
        add: (object) => due(graph.observe(type, apiVersion, object)),
        update: (object) => due(graph.observe(type, apiVersion, object)),
        delete: (object) => due(graph.remove(object.metadata.uid ?? "")),
      });
    };

    /** Follows the objects of CRDs from when they are served until they are not. */
    const customKinds: Watch = {
      attach() {
        const running = new Map<string, { readonly type: ResourceType; readonly stop: AbortController }>();
        const stop = (name: string) => {
          const known = running.get(name);
          if (!known) return;
          known.stop.abort();
          types.delete(kindKey(known.type.group, known.type.kind));
          running.delete(name);
        };
        const changed = (crd: Parameters<typeof customResourceType>[0]) => {
          const name = crd.metadata.name ?? "";
          const type = customResourceType(crd);
          const known = running.get(name)?.type;
          if (known && type && known.version === type.version && known.kind === type.kind) return;
          stop(name);
          if (!type) return;
          const controller = new AbortController();
          running.set(name, { type, stop: controller });
          types.set(kindKey(type.group, type.kind), type);
          follow(informers.startDynamic(type, controller.signal));
        };
        crds.on({ add: changed, update: changed, delete: (crd) => stop(crd.metadata.name ?? "") });
      },
    };
    const builtInKinds: Watch = {
      attach(add) {
        enqueue = add;
        for (const informer of builtInInformers) follow(informer as Informer<KubeObject>);
      },
    };

    const typeOf = (apiVersion: string, kind: string): ResourceType => {
      const { group } = parseApiVersion(apiVersion);
      const type = types.get(kindKey(group, kind));
      // May be the kind of a CRD that is on its way; so it is tried again.
      if (!type) throw new Error(`no kind ${JSON.stringify(kind)} is known in ${JSON.stringify(apiVersion)}`);
      return type;
    };
    const objects = new LiveObjects(client);

    const stateOf = async (node: GraphNode, owner: OwnerView, signal: AbortSignal): Promise<OwnerState> => {
      const type = typeOf(owner.apiVersion, owner.kind);
      if (type.namespaced && node.at.namespace === "") {
        const text = `ownerRef ${describe(owner)} does not exist in namespace ""`;
        events.event(
          node.at.type ?? type,
          { name: node.at.name, uid: node.uid },
          "Warning",
          "OwnerRefInvalidNamespace",
          text,
        );
        throw new TerminalError(`${text}: a cluster-scoped object cannot be owned by a namespaced one`);
      }
      const live = await objects.get(type, type.namespaced ? node.at.namespace : "", owner.name, signal);
      if (!live || live.metadata.uid !== owner.uid) {
        const elsewhere = graph.get(owner.uid);
        if (elsewhere && !elsewhere.virtual && type.namespaced && elsewhere.at.namespace !== node.at.namespace) {
          const text = `ownerRef ${describe(owner)} does not exist in namespace ${JSON.stringify(node.at.namespace)}`;
          const target = { namespace: node.at.namespace, name: node.at.name, uid: node.uid };
          events.event(node.at.type ?? type, target, "Warning", "OwnerRefInvalidNamespace", text);
        }
        return "dangling";
      }
      const foreground = live.metadata.deletionTimestamp && live.metadata.finalizers?.includes(foregroundFinalizer);
      return foreground ? "waiting" : "solid";
    };

    const finishForeground = async (node: GraphNode, type: ResourceType, signal: AbortSignal) => {
      const blocking = [...node.dependents].filter((dependent) =>
        dependent.owners.some(({ uid, blockOwnerDeletion }) => uid === node.uid && blockOwnerDeletion),
      );
      if (blocking.length === 0) {
        await objects.removeFinalizer(type, node, foregroundFinalizer, signal);
        return;
      }
      for (const dependent of blocking) if (!dependent.deletingDependents) enqueue(dependent.uid);
    };

    const check = async (node: GraphNode, signal: AbortSignal): Promise<void> => {
      if (node.beingDeleted && !node.deletingDependents) return;
      const type = node.at.type ?? typeOf(node.at.apiVersion, node.at.kind);
      const live = await objects.get(type, type.namespaced ? node.at.namespace : "", node.at.name, signal);
      if (!live || live.metadata.uid !== node.uid) {
        // A real one's deletion will be seen by its informer; of a virtual one nobody else tells.
        if (node.virtual) due(graph.remove(node.uid));
        return;
      }
      if (live.metadata.deletionTimestamp && live.metadata.finalizers?.includes(foregroundFinalizer)) {
        return finishForeground(node, type, signal);
      }
      if (live.metadata.deletionTimestamp) return;
      const owners = live.metadata.ownerReferences ?? [];
      if (owners.length === 0) return;
      const states = await Promise.all(owners.map((owner) => stateOf(node, owner, signal)));
      const of = (state: OwnerState) => owners.filter((_, i) => states[i] === state);
      const gone = [...of("dangling"), ...of("waiting")];
      if (of("solid").length > 0) {
        if (gone.length > 0)
          await objects.removeOwners(
            type,
            node,
            gone.map(({ uid }) => uid),
            signal,
          );
        return;
      }
      const waiting = of("waiting").length > 0 && node.dependents.size > 0;
      if (waiting) {
        // Two that wait for each other would wait for ever: dependents that are in foreground deletion themselves
        // must not block this one.
        const circular = [...node.dependents].some(({ deletingDependents }) => deletingDependents);
        if (circular) await objects.unblockOwners(type, node, live, signal);
      }
      const finalizers = live.metadata.finalizers ?? [];
      const propagationPolicy: DeleteOptions["propagationPolicy"] = waiting
        ? "Foreground"
        : finalizers.includes(orphanFinalizer)
          ? "Orphan"
          : finalizers.includes(foregroundFinalizer)
            ? "Foreground"
            : "Background";
      logger.debug({ kind: type.kind, namespace: node.at.namespace, name: node.at.name }, "Deleting a dependent");
      await objects.delete(type, node, propagationPolicy, signal);
    };

    const letGo = async (node: GraphNode, signal: AbortSignal): Promise<void> => {
      const type = node.at.type ?? typeOf(node.at.apiVersion, node.at.kind);
      for (const dependent of node.dependents) {
        const dependentType = dependent.at.type ?? typeOf(dependent.at.apiVersion, dependent.at.kind);
        await objects.removeOwners(dependentType, dependent, [node.uid], signal);
      }
      await objects.removeFinalizer(type, node, orphanFinalizer, signal);
    };

    return {
      workers: 20,
      watches: [builtInKinds, customKinds],
      async reconcile(key, signal) {
        const orphaning = key.startsWith(orphanPrefix);
        const node = graph.get(orphaning ? key.slice(orphanPrefix.length) : key);
        if (node) await (orphaning ? letGo(node, signal) : check(node, signal));
        return undefined;
      },
    };
  },
};

function describe({ apiVersion, kind, name, uid }: OwnerView): string {
  return `[${apiVersion}/${kind}, name: ${name}, uid: ${uid}]`;
}

/** The few things that the collector does to objects, each harmless when the object is gone or another by now. */
class LiveObjects {
  readonly #client: Client;

  constructor(client: Client) {
    this.#client = client;
  }

  async get(type: ResourceType, namespace: string, name: string, signal: AbortSignal): Promise<KubeObject | undefined> {
    try {
      return await this.#client.get(type, name, { ...(namespace ? { namespace } : {}), signal });
    } catch (error) {
      if (error instanceof StatusError && error.code === 404) return undefined;
      throw error;
    }
  }

  async delete(
    type: ResourceType,
    node: GraphNode,
    propagationPolicy: DeleteOptions["propagationPolicy"],
    signal: AbortSignal,
  ): Promise<void> {
    const call = this.#at(type, node);
    await ignoreGone(
      this.#client.delete(type, node.at.name, {
        ...call,
        preconditions: { uid: node.uid },
        ...(propagationPolicy ? { propagationPolicy } : {}),
        signal,
      }),
    );
  }

  async removeOwners(
    type: ResourceType,
    node: GraphNode,
    owners: readonly string[],
    signal: AbortSignal,
  ): Promise<void> {
    await this.#change(type, node, signal, (live) => {
      const kept = (live.metadata.ownerReferences ?? []).filter(({ uid }) => !owners.includes(uid));
      return kept.length === (live.metadata.ownerReferences ?? []).length ? undefined : { ownerReferences: kept };
    });
  }

  async unblockOwners(type: ResourceType, node: GraphNode, live: KubeObject, signal: AbortSignal): Promise<void> {
    if (!live.metadata.ownerReferences?.some(({ blockOwnerDeletion }) => blockOwnerDeletion)) return;
    await this.#change(type, node, signal, (object) => ({
      ownerReferences: (object.metadata.ownerReferences ?? []).map((owner) => ({
        ...owner,
        blockOwnerDeletion: false,
      })),
    }));
  }

  async removeFinalizer(type: ResourceType, node: GraphNode, finalizer: string, signal: AbortSignal): Promise<void> {
    await this.#change(type, node, signal, (live) => {
      const finalizers = live.metadata.finalizers ?? [];
      return finalizers.includes(finalizer)
        ? { finalizers: finalizers.filter((other) => other !== finalizer) }
        : undefined;
    });
  }

  /** Reads, then writes by a patch that holds for this version only; kinds without patch schemas take it too. */
  async #change(
    type: ResourceType,
    node: GraphNode,
    signal: AbortSignal,
    change: (live: KubeObject) => object | undefined,
  ): Promise<void> {
    const live = await this.get(type, type.namespaced ? node.at.namespace : "", node.at.name, signal);
    if (!live || live.metadata.uid !== node.uid) return;
    const metadata = change(live);
    if (!metadata) return;
    const { uid, resourceVersion } = live.metadata;
    const body = { metadata: { uid, resourceVersion, ...metadata } };
    try {
      await this.#client.patch(type, node.at.name, { type: "merge", body }, { ...this.#at(type, node), signal });
    } catch (error) {
      if (!(error instanceof StatusError && error.code === 404)) throw error;
    }
  }

  #at(type: ResourceType, node: GraphNode) {
    return type.namespaced ? { namespace: node.at.namespace } : {};
  }
}

/** 404: gone already; 409: another object of that name by now (its uid differs). */
async function ignoreGone(call: Promise<unknown>): Promise<void> {
  try {
    await call;
  } catch (error) {
    if (!(error instanceof StatusError && (error.code === 404 || error.code === 409))) throw error;
  }
}
