import type { ReplicaSetStatus } from "../api/generated/apps-v1.ts";
import { type Pod, type PodTemplateSpec, pods } from "../api/generated/core-v1.ts";
import type { Informer } from "../client/informer.ts";
import type { Selector } from "../machinery/label-selector.ts";
import { apiVersionOf, type DeepReadonly, type KubeObject, keyOf, type ResourceType } from "../machinery/object.ts";
import { StatusError } from "../machinery/status.ts";
import { type Controller, type ControllerContext, watch } from "./controller.ts";
import { replicaSetStatus, sameReplicaSetStatus } from "./replica-set-status.ts";
import { ExpectedPods } from "./shared/expected-pods.ts";
import { claim, controlledBy, indexByOwner, labelsOf, ownerOf, type View } from "./shared/owned.ts";
import { PodControl, podFromTemplate } from "./shared/pod-control.ts";
import { isActive, type PodView } from "./shared/pod-facts.ts";
import { rankForDeletion } from "./shared/pod-ranking.ts";

/** Pods that one reconcile creates or deletes at most. */
const burst = 500;

/** What ReplicaSets and ReplicationControllers have in common. */
export interface ReplicaOwner extends KubeObject {
  spec?: { replicas?: number; minReadySeconds?: number; template?: PodTemplateSpec };
  status?: ReplicaSetStatus;
}

/** How many pods to create, or which to delete. */
export interface ReplicaPlan {
  readonly create: number;
  readonly remove: readonly PodView[];
}

/** Compares what is there with what is wanted. `related` are the pods that share nodes with these (see ranking). */
export function planReplicas(
  wanted: number,
  owned: readonly PodView[],
  related: readonly PodView[],
  nowMs: number,
): ReplicaPlan {
  const active = owned.filter(isActive);
  const missing = wanted - active.length;
  if (missing >= 0) return { create: Math.min(missing, burst), remove: [] };
  return { create: 0, remove: rankForDeletion(active, related, nowMs).slice(0, Math.min(-missing, burst)) };
}

/** Keeps the number of pods of each owner of `type` at spec.replicas. */
export function replicaController<T extends ReplicaOwner>(
  context: ControllerContext,
  type: ResourceType<T>,
  selectorOf: (owner: DeepReadonly<T>) => Selector,
): Controller {
  const { client, clock, events, informers } = context;
  const owners = indexByOwner(informers.of(type));
  const podInformer = indexByOwner(informers.of(pods));
  const expected = new ExpectedPods(clock, new PodControl(client, events, type));
  const isOwner = (reference: { kind: string; apiVersion: string }) =>
    reference.kind === type.kind && reference.apiVersion === apiVersionOf(type);

  const keysOfPod = (pod: PodView): string[] => {
    const { namespace = "" } = pod.metadata;
    const reference = ownerOf(pod);
    if (reference) return isOwner(reference) ? [`${namespace}/${reference.name}`] : [];
    if (pod.metadata.deletionTimestamp) return [];
    const matching = owners.list(namespace).filter((owner) => selectorOf(owner).matches(labelsOf(pod)));
    return matching.map((owner) => keyOf(owner as KubeObject));
  };

  const ownerKey = (pod: PodView) => {
    const reference = ownerOf(pod);
    return reference && isOwner(reference) ? `${pod.metadata.namespace}/${reference.name}` : undefined;
  };

  /** Pods of all owners that share this owner's own controller: what is spread over nodes together. */
  const relatedPods = (owner: DeepReadonly<T>, own: readonly PodView[]): readonly PodView[] => {
    const parent = ownerOf(owner as View)?.uid;
    if (!parent) return own;
    const siblings = owners.byIndex("controllerUid", parent);
    return siblings.flatMap((sibling) => controlledBy(podInformer, sibling as View)).filter(isActive);
  };

  const manage = async (key: string, owner: DeepReadonly<T>, owned: readonly PodView[], signal: AbortSignal) => {
    const view = owner as View<ReplicaOwner>;
    const plan = planReplicas(view.spec?.replicas ?? 1, owned, relatedPods(owner, owned), clock.now());
    if (plan.create > 0) {
      const pod = podFromTemplate(view.spec?.template ?? {}, type, view);
      const error = await expected.create(key, view, plan.create, () => pod, signal);
      return error === undefined ? undefined : { reason: "FailedCreate", error };
    }
    if (plan.remove.length > 0) {
      const error = await expected.delete(key, view, plan.remove, signal);
      return error === undefined ? undefined : { reason: "FailedDelete", error };
    }
    return undefined;
  };

  const updateStatus = async (owner: DeepReadonly<T>, status: ReplicaSetStatus, signal: AbortSignal) => {
    const view = owner as View<ReplicaOwner>;
    if (sameReplicaSetStatus(view.status, status)) return;
    await client.update(type, { ...structuredClone(owner), status } as unknown as T, { subresource: "status", signal });
  };

  return {
    watches: [
      watch(owners as Informer<T>, (owner) => [keyOf(owner as KubeObject)]),
      expected.observe(podInformer, ownerKey),
      watch<Pod>(podInformer, keysOfPod),
    ],
    async reconcile(key, signal) {
      const owner = owners.get(key);
      if (!owner) {
        expected.forget(key);
        return undefined;
      }
      const view = owner as View<ReplicaOwner>;
      const acting = expected.satisfied(key);
      const owned = await claim({
        client,
        ownerType: type,
        owner: view,
        selector: selectorOf(owner),
        dependents: podInformer,
        adoptable: isActive,
      });
      const failed = acting && !view.metadata.deletionTimestamp ? await manage(key, owner, owned, signal) : undefined;
      signal.throwIfAborted();
      const observed = replicaSetStatus(
        {
          generation: view.metadata.generation,
          template: view.spec?.template,
          minReadySeconds: view.spec?.minReadySeconds ?? 0,
          old: view.status,
          pods: owned,
          ...(failed ? { failure: { reason: failed.reason, message: (failed.error as Error).message } } : {}),
        },
        clock,
      );
      try {
        await updateStatus(owner, observed.status, signal);
      } catch (error) {
        if (!(error instanceof StatusError && error.code === 404)) throw error;
      }
      if (failed) throw failed.error;
      return observed.availableInMs === undefined ? undefined : { requeueAfterMs: observed.availableInMs };
    },
  };
}
