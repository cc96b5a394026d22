import type { Node } from "../../api/generated/core-v1.ts";
import { parseJson, stringifyJson } from "../../machinery/json.ts";
import type { Store } from "../../store/store.ts";
import { addressAnnotation, finalizer, nameAnnotation, roleLabel } from "./member-plan.ts";
import { conditionType } from "./voter-condition.ts";

/** Where the Nodes of a cluster are in its store. */
const nodesPrefix = "/registry/minions/";

/**
 * Takes from the Nodes of a cluster that has left embedded etcd what they had as its members: nobody would take it away, and
 * a Node with the finalizer could not be deleted.
 * @param store is used by no server
 */
export async function forgetMembers(store: Store): Promise<void> {
  for (const { key, value, modRevision } of (await store.list(nodesPrefix)).entries) {
    const node = parseJson(value) as Node;
    const { metadata, status } = node;
    if (metadata.labels?.[roleLabel] === undefined && !metadata.finalizers?.includes(finalizer)) continue;
    // In place: objects are stored with their fields in an order of their own.
    delete metadata.labels?.[roleLabel];
    delete metadata.annotations?.[nameAnnotation];
    delete metadata.annotations?.[addressAnnotation];
    const finalizers = metadata.finalizers?.filter((name) => name !== finalizer) ?? [];
    if (finalizers.length > 0) metadata.finalizers = finalizers;
    else delete metadata.finalizers;
    if (status?.conditions) status.conditions = status.conditions.filter(({ type }) => type !== conditionType);
    await store.update(key, Buffer.from(stringifyJson(node)), modRevision);
  }
}
