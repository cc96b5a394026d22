import type { OwnerReference, ResourceType } from "../machinery/object.ts";
import type { View } from "./shared/owned.ts";

export const orphanFinalizer = "orphan";
export const foregroundFinalizer = "foregroundDeletion";

export type OwnerView = Readonly<OwnerReference>;

/** Where an object is to be found. */
export interface Coordinates {
  readonly apiVersion: string;
  readonly kind: string;
  /** Known once the object itself was seen; before, it follows from apiVersion and kind. */
  readonly type?: ResourceType;
  readonly namespace: string;
  readonly name: string;
}

/** An object in the graph of owners. */
export interface GraphNode {
  readonly uid: string;
  at: Coordinates;
  owners: readonly OwnerView[];
  readonly dependents: Set<GraphNode>;
  /** Known only from the references of its dependents; whether it exists has to be asked. */
  virtual: boolean;
  beingDeleted: boolean;
  /** Waits in foreground deletion for its dependents to go. */
  deletingDependents: boolean;
}

/** What has to be looked at after a change. */
export interface Due {
  /** Uids whose owners, or whose waiting for dependents, have to be checked. */
  readonly check: readonly string[];
  /** Uids of objects whose dependents have to be let go. */
  readonly orphan: readonly string[];
}

const waitsForDependents = (object: View) =>
  object.metadata.deletionTimestamp !== undefined &&
  (object.metadata.finalizers?.includes(foregroundFinalizer) ?? false);
const waitsForOrphaning = (object: View) =>
  object.metadata.deletionTimestamp !== undefined && (object.metadata.finalizers?.includes(orphanFinalizer) ?? false);

/** Who owns whom, by uid, as all informers together show it. Pure: says what is due, does nothing. */
export class GarbageGraph {
  readonly #nodes = new Map<string, GraphNode>();

  get(uid: string): GraphNode | undefined {
    return this.#nodes.get(uid);
  }

  get size(): number {
    return this.#nodes.size;
  }

  /** Takes in the present state of an object. */
  observe(type: ResourceType, apiVersion: string, object: View): Due {
    const { uid = "", name = "", namespace = "" } = object.metadata;
    const owners = object.metadata.ownerReferences ?? [];
    const check = new Set<string>();
    const at: Coordinates = { apiVersion, kind: type.kind, type, namespace, name };
    let node = this.#nodes.get(uid);
    const wasOrphaning = node !== undefined && !node.virtual && this.#orphaning.has(uid);
    if (!node) {
      node = makeNode(uid, at, false);
      this.#nodes.set(uid, node);
    } else if (node.virtual) {
      // References that told a wrong kind or namespace for this uid point at nothing: let them be checked.
      for (const dependent of node.dependents) if (!pointsAt(dependent, uid, at)) check.add(dependent.uid);
      node.virtual = false;
      node.at = at;
    }
    this.#setOwners(node, owners, check);
    if (object.metadata.deletionTimestamp) node.beingDeleted = true;
    if (waitsForDependents(object) && !node.deletingDependents) {
      node.deletingDependents = true;
      for (const dependent of node.dependents) check.add(dependent.uid);
      check.add(uid);
    }
    const orphan: string[] = [];
    if (waitsForOrphaning(object)) {
      this.#orphaning.add(uid);
      if (!wasOrphaning) orphan.push(uid);
    }
    return { check: [...check], orphan };
  }

  readonly #orphaning = new Set<string>();

  /** Takes out an object that is gone. */
  remove(uid: string): Due {
    const node = this.#nodes.get(uid);
    if (!node) return { check: [], orphan: [] };
    const check = new Set<string>();
    this.#nodes.delete(uid);
    this.#orphaning.delete(uid);
    for (const owner of node.owners) {
      const ownerNode = this.#nodes.get(owner.uid);
      ownerNode?.dependents.delete(node);
      if (ownerNode?.deletingDependents) check.add(owner.uid);
      if (ownerNode?.virtual && ownerNode.dependents.size === 0) this.#nodes.delete(owner.uid);
    }
    for (const dependent of node.dependents) check.add(dependent.uid);
    return { check: [...check], orphan: [] };
  }

  #setOwners(node: GraphNode, owners: readonly OwnerView[], check: Set<string>): void {
    const before = new Map(node.owners.map((owner) => [owner.uid, owner]));
    const after = new Map(owners.map((owner) => [owner.uid, owner]));
    for (const [uid, old] of before) {
      const next = after.get(uid);
      const ownerNode = this.#nodes.get(uid);
      if (!next) ownerNode?.dependents.delete(node);
      // One that blocked its owner's deletion and does no longer may be the last that it waited for.
      if (old.blockOwnerDeletion && !next?.blockOwnerDeletion && ownerNode?.deletingDependents) check.add(uid);
    }
    node.owners = owners;
    for (const [uid, owner] of after) {
      if (before.has(uid)) continue;
      let ownerNode = this.#nodes.get(uid);
      if (!ownerNode) {
        const { apiVersion, kind, name } = owner;
        ownerNode = makeNode(uid, { apiVersion, kind, name, namespace: node.at.namespace }, true);
        this.#nodes.set(uid, ownerNode);
        check.add(uid);
      } else if (!ownerNode.virtual && !pointsAt(node, uid, ownerNode.at)) {
        check.add(node.uid);
      } else if (ownerNode.deletingDependents) {
        check.add(node.uid);
      }
      ownerNode.dependents.add(node);
    }
  }
}

function makeNode(uid: string, at: Coordinates, virtual: boolean): GraphNode {
  return { uid, at, owners: [], dependents: new Set(), virtual, beingDeleted: false, deletingDependents: false };
}

/** Does the node's reference to `uid` name the object that really has it, in a namespace where it may be an owner? */
function pointsAt(node: GraphNode, uid: string, at: Coordinates): boolean {
  const owner = node.owners.find((reference) => reference.uid === uid);
  if (!owner) return true;
  const group = (apiVersion: string) => apiVersion.slice(0, Math.max(0, apiVersion.indexOf("/")));
  return (
    owner.kind === at.kind &&
    owner.name === at.name &&
    group(owner.apiVersion) === group(at.apiVersion) &&
    (at.namespace === "" || at.namespace === node.at.namespace)
  );
}
