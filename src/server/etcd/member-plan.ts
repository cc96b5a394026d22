import type { Node } from "../../api/generated/core-v1.ts";
import type { DeepReadonly } from "../../machinery/object.ts";

/** K3s' names on the Nodes of servers with embedded etcd. */
export const roleLabel = "node-role.kubernetes.io/etcd";
export const nameAnnotation = "etcd.k3s.cattle.io/node-name";
export const addressAnnotation = "etcd.k3s.cattle.io/node-address";
/** Users, and programs that take machines away, set it to "true" to have the member removed while the Node stays. */
const removeAnnotation = "etcd.k3s.cattle.io/remove";
const removedAnnotation = "etcd.k3s.cattle.io/removed-node-name";
/** Keeps a Node that is deleted until its member is removed: no event is needed to hear of it. */
export const finalizer = "wrangler.cattle.io/managed-etcd-controller";

/** What has to be done for the member of a Node. `patch` is a merge patch of the Node. */
export type MemberPlan =
  | { readonly kind: "nothing" }
  | { readonly kind: "patch"; readonly patch: object }
  /** The patch follows when the member is gone. */
  | { readonly kind: "remove"; readonly name: string; readonly address: string; readonly patch: object };

const nothing: MemberPlan = { kind: "nothing" };

/** Decides by a Node alone (K3s' rules). */
export function planMember({ metadata }: DeepReadonly<Node>): MemberPlan {
  const { annotations = {}, labels = {}, finalizers = [], resourceVersion = "" } = metadata;
  const name = annotations[nameAnnotation];
  const address = annotations[addressAnnotation];
  const guarded = finalizers.includes(finalizer);
  // With the version, so that a list that was read meanwhile is not put back.
  const withFinalizers = (list: readonly string[]) => ({ metadata: { resourceVersion, finalizers: list } });
  if (metadata.deletionTimestamp) {
    if (!guarded) return nothing;
    const patch = withFinalizers(finalizers.filter((each) => each !== finalizer));
    return name && address ? { kind: "remove", name, address, patch } : { kind: "patch", patch };
  }
  if (labels[roleLabel] === undefined) return nothing;
  if (!guarded) return { kind: "patch", patch: withFinalizers([...finalizers, finalizer]) };
  const removed = annotations[removedAnnotation];
  if (removed !== undefined) {
    // The server came back as another member: what was asked of the old one is done.
    if (name === undefined || name === removed) return nothing;
    return { kind: "patch", patch: annotate({ [removeAnnotation]: "false", [removedAnnotation]: null }) };
  }
  if (annotations[removeAnnotation]?.toLowerCase() !== "true" || !name || !address) return nothing;
  const patch = annotate({ [removedAnnotation]: name, [nameAnnotation]: null, [addressAnnotation]: null });
  return { kind: "remove", name, address, patch };
}

function annotate(annotations: Record<string, string | null>): object {
  return { metadata: { annotations } };
}
