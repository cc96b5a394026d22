import { customResourceDefinitions } from "../api/generated/apiextensions-v1.ts";
import { type Namespace, namespaces, pods } from "../api/generated/core-v1.ts";
import type { Client } from "../client/client.ts";
import type { KubeObject, ResourceType } from "../machinery/object.ts";
import { StatusError } from "../machinery/status.ts";
import { type ControllerFactory, watch } from "./controller.ts";
import { type DeletionOutcome, namespaceConditions, type Remains } from "./namespace-plan.ts";
import { customResourceType } from "./shared/custom-resources.ts";
import { mutable, type View } from "./shared/owned.ts";

const finalizer = "kubernetes";
/** Nothing tells when objects with finalizers of others are gone, so they are looked for again. */
const lookAgainMs = 2000;

/** Empties namespaces that are being deleted and lets them go. */
export const namespaceController: ControllerFactory = {
  name: "namespace-controller",
  create({ client, clock, informers, resources }) {
    const namespaceInformer = informers.of(namespaces);
    const podInformer = informers.of(pods);
    const crds = informers.of(customResourceDefinitions);
    const builtIn = resources.filter(
      ({ namespaced, group, resource }) => namespaced && !(group === "" && resource === "pods"),
    );

    const isLeaving = (name: string) => namespaceInformer.get(name)?.metadata.deletionTimestamp !== undefined;

    return {
      watches: [
        watch(
          namespaceInformer,
          (namespace) => [namespace.metadata.name ?? ""],
          (namespace) => namespace.metadata.deletionTimestamp !== undefined,
        ),
        // A pod that goes may be the last that a namespace waits for.
        {
          attach(enqueue) {
            podInformer.on({
              delete: ({ metadata }) => {
                if (isLeaving(metadata.namespace ?? "")) enqueue(metadata.namespace ?? "");
              },
            });
          },
        },
      ],
      async reconcile(name, signal) {
        const seen = namespaceInformer.get(name);
        if (!seen?.metadata.deletionTimestamp) return undefined;
        let namespace: Namespace;
        try {
          namespace = await client.get(namespaces, name, { signal });
        } catch (error) {
          if (error instanceof StatusError && error.code === 404) return undefined;
          throw error;
        }
        if (!namespace.metadata.deletionTimestamp || namespace.metadata.uid !== seen.metadata.uid) return undefined;
        if (!namespace.spec?.finalizers?.includes(finalizer)) return undefined;
        if (namespace.status?.phase !== "Terminating") {
          const next = mutable<Namespace>(namespace as View<Namespace>);
          next.status = { ...next.status, phase: "Terminating" };
          namespace = await client.update(namespaces, next, { subresource: "status", signal });
        }
        const custom = crds
          .list()
          .map(customResourceType)
          .filter((type) => type?.namespaced) as ResourceType[];
        const outcome = await empty(client, name, [...builtIn, ...custom], signal);
        const conditions = namespaceConditions(namespace.status?.conditions, outcome, clock);
        if (conditions !== namespace.status?.conditions) {
          const next = mutable<Namespace>(namespace as View<Namespace>);
          next.status = { ...next.status, phase: "Terminating", conditions: [...conditions] };
          namespace = await client.update(namespaces, next, { subresource: "status", signal });
        }
        if (outcome.errors.length > 0)
          throw new Error(`cannot empty namespace ${JSON.stringify(name)}: ${outcome.errors[0]}`);
        if (outcome.remains.length > 0) return { requeueAfterMs: lookAgainMs };
        const next = mutable<Namespace>(namespace as View<Namespace>);
        next.spec = { ...next.spec, finalizers: next.spec?.finalizers?.filter((other) => other !== finalizer) ?? [] };
        await client.update(namespaces, next, { subresource: "finalize", signal });
        return undefined;
      },
    };
  },
};

/** Deletes the pods of a namespace and, once they are gone, everything else: pods may need what is there to end well. */
async function empty(
  client: Client,
  namespace: string,
  types: readonly ResourceType[],
  signal: AbortSignal,
): Promise<DeletionOutcome> {
  const first = await emptyKinds(client, namespace, [pods as ResourceType], signal);
  if (first.remains.length > 0 || first.errors.length > 0) return first;
  return emptyKinds(client, namespace, types, signal);
}

async function emptyKinds(
  client: Client,
  namespace: string,
  types: readonly ResourceType[],
  signal: AbortSignal,
): Promise<DeletionOutcome> {
  const remains: Remains[] = [];
  const errors: string[] = [];
  for (const type of types) {
    const resource = type.group ? `${type.resource}.${type.group}` : type.resource;
    try {
      let { items } = await client.list(type, { namespace, signal });
      if (items.length === 0) continue;
      if (items.some(({ metadata }) => !metadata.deletionTimestamp)) {
        await client.deleteCollection(type, { namespace, propagationPolicy: "Background", signal });
        ({ items } = await client.list(type, { namespace, signal }));
      }
      if (items.length > 0) remains.push({ resource, count: items.length, finalizers: countFinalizers(items) });
    } catch (error) {
      signal.throwIfAborted();
      // A kind that is gone (its CRD was deleted) holds nothing back.
      if (error instanceof StatusError && error.code === 404) continue;
      errors.push(`${resource}: ${(error as Error).message}`);
    }
  }
  return { remains, errors };
}

function countFinalizers(items: readonly KubeObject[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { metadata } of items)
    for (const name of metadata.finalizers ?? []) counts[name] = (counts[name] ?? 0) + 1;
  return counts;
}
