import type { Client } from "../../client/client.ts";
import type { Informer } from "../../client/informer.ts";
import { fromLabelSelector, type LabelSelector, type Selector } from "../../machinery/label-selector.ts";
import {
  apiVersionOf,
  controllerOf,
  type DeepReadonly,
  type KubeObject,
  type OwnerReference,
  type ResourceType,
} from "../../machinery/object.ts";
import { StatusError } from "../../machinery/status.ts";

export type View<T extends KubeObject = KubeObject> = DeepReadonly<T>;

/** A private copy of a shared object, which may be changed. */
export function mutable<T extends KubeObject>(view: View<T>): T {
  return structuredClone(view) as T;
}

/** The selector of a shared object. */
export function selectorOf(selector: DeepReadonly<LabelSelector> | undefined): Selector {
  return fromLabelSelector(selector as LabelSelector | undefined);
}

/** Labels in the form that selectors take. */
export function labelsOf(object: View | { readonly metadata?: View["metadata"] | undefined }): Record<string, string> {
  return (object.metadata?.labels ?? {}) as Record<string, string>;
}

/** The controller of an object, read-only. */
export function ownerOf(object: View): DeepReadonly<OwnerReference> | undefined {
  return controllerOf(object as KubeObject);
}

/** The reference by which `owner` controls its dependents. */
export function controllerReference(type: ResourceType, owner: View): OwnerReference {
  return {
    apiVersion: apiVersionOf(type),
    kind: type.kind,
    name: owner.metadata.name ?? "",
    uid: owner.metadata.uid ?? "",
    controller: true,
    blockOwnerDeletion: true,
  };
}

/** Adds the indexes that {@link claim} needs: dependents by their controller's uid, orphans by namespace. */
export function indexByOwner<T extends KubeObject>(informer: Informer<T>): Informer<T> {
  informer.addIndex("controllerUid", (object) => {
    const owner = ownerOf(object as View);
    return owner ? [owner.uid] : [];
  });
  informer.addIndex("orphans", (object) =>
    ownerOf(object as View) ? [] : [(object as View).metadata.namespace ?? ""],
  );
  return informer;
}

/** Objects that `owner` controls, without adopting any. */
export function controlledBy<T extends KubeObject>(informer: Informer<T>, owner: View): View<T>[] {
  return informer.byIndex("controllerUid", owner.metadata.uid ?? "");
}

export interface ClaimOptions<T extends KubeObject> {
  readonly client: Client;
  /** Kind of the owner. */
  readonly ownerType: ResourceType;
  readonly owner: View;
  readonly selector: Selector;
  /** Informer of the dependents, prepared by {@link indexByOwner}. */
  readonly dependents: Informer<T>;
  /** Which orphans may be adopted besides having matching labels; default all. */
  readonly adoptable?: (object: View<T>) => boolean;
  /** A finalizer that dependents carry for their owner: put on with the adoption, taken off with the release. */
  readonly finalizer?: string;
}

/**
 * The dependents of an owner: adopts orphans that its selector matches, and releases dependents that it matches no
 * longer. Both are checked by uid at the server, so stale caches do no harm.
 */
export async function claim<T extends KubeObject>(options: ClaimOptions<T>): Promise<View<T>[]> {
  const { client, ownerType, owner, selector, dependents, adoptable = () => true, finalizer } = options;
  const matches = (object: View) => selector.matches(labelsOf(object));
  const leaving = owner.metadata.deletionTimestamp !== undefined;
  const claimed: View<T>[] = [];
  for (const object of controlledBy(dependents, owner)) {
    if (matches(object as View)) claimed.push(object);
    else if (!leaving) await release(client, dependents.type, object as View, owner, finalizer);
  }
  if (leaving) return claimed;
  let allowed: boolean | undefined;
  for (const object of dependents.byIndex("orphans", owner.metadata.namespace ?? "")) {
    const orphan = object as View;
    if (orphan.metadata.deletionTimestamp || !matches(orphan) || !adoptable(object)) continue;
    allowed ??= await mayAdopt(client, ownerType, owner);
    if (!allowed) break;
    if (!(await adopt(client, dependents.type, orphan, controllerReference(ownerType, owner), finalizer))) continue;
    const { finalizers = [] } = orphan.metadata;
    const carries = !finalizer || finalizers.includes(finalizer);
    claimed.push(
      carries ? object : { ...object, metadata: { ...orphan.metadata, finalizers: [...finalizers, finalizer] } },
    );
  }
  return claimed;
}

/** Asks the server itself: an owner that is gone or being deleted must not adopt. */
async function mayAdopt(client: Client, type: ResourceType, owner: View): Promise<boolean> {
  const { name = "", namespace, uid } = owner.metadata;
  try {
    const fresh = await client.get(type, name, namespace ? { namespace } : {});
    return fresh.metadata.uid === uid && !fresh.metadata.deletionTimestamp;
  } catch (error) {
    if (error instanceof StatusError && error.code === 404) return false;
    throw error;
  }
}

async function adopt(
  client: Client,
  type: ResourceType,
  object: View,
  owner: OwnerReference,
  finalizer: string | undefined,
): Promise<boolean> {
  const { name = "", namespace, uid } = object.metadata;
  const body = { metadata: { uid, ownerReferences: [owner], ...(finalizer ? { finalizers: [finalizer] } : {}) } };
  return patched(client.patch(type, name, { type: "strategic", body }, namespace ? { namespace } : {}));
}

async function release(
  client: Client,
  type: ResourceType,
  object: View,
  owner: View,
  finalizer: string | undefined,
): Promise<void> {
  const { name = "", namespace, uid } = object.metadata;
  const off = finalizer ? { "$deleteFromPrimitiveList/finalizers": [finalizer] } : {};
  const body = { metadata: { uid, ownerReferences: [{ $patch: "delete", uid: owner.metadata.uid }], ...off } };
  await patched(client.patch(type, name, { type: "strategic", body }, namespace ? { namespace } : {}));
}

/** False when the object is gone, or another of the same name has taken its place. */
async function patched(patching: Promise<unknown>): Promise<boolean> {
  try {
    await patching;
    return true;
  } catch (error) {
    if (error instanceof StatusError && (error.code === 404 || error.code === 422 || error.code === 409)) return false;
    throw error;
  }
}
