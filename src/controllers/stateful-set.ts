import { controllerRevisions, type StatefulSet, statefulSets } from "../api/generated/apps-v1.ts";
import { type PodTemplateSpec, persistentVolumeClaims, pods } from "../api/generated/core-v1.ts";
import { deepEqual } from "../machinery/equality.ts";
import { apiVersionOf, type DeepReadonly, type KubeObject, keyOf } from "../machinery/object.ts";
import { StatusError } from "../machinery/status.ts";
import { type ControllerFactory, watch } from "./controller.ts";
import { claim, indexByOwner, labelsOf, mutable, ownerOf, selectorOf } from "./shared/owned.ts";
import { isNamespaceTerminating, PodControl } from "./shared/pod-control.ts";
import type { PodView } from "./shared/pod-facts.ts";
import {
  ensureRevision,
  pruneRevisions,
  RevisionCollision,
  type RevisionView,
  revisionHashLabel,
} from "./shared/revisions.ts";
import {
  claimsOf,
  ordinalOf,
  planStatefulSet,
  type Revision,
  type StatefulSetView,
  statefulPod,
  statefulSetStatus,
} from "./stateful-set-plan.ts";

/** Keeps pods that have an identity: by ordinal, one after the other. */
export const statefulSetController: ControllerFactory = {
  name: "statefulset-controller",
  create({ client, clock, informers, events }) {
    const sets = informers.of(statefulSets);
    const podInformer = indexByOwner(informers.of(pods));
    const revisions = indexByOwner(informers.of(controllerRevisions));
    const claims = informers.of(persistentVolumeClaims);
    const control = new PodControl(client, events, statefulSets);

    const keysOfPod = (pod: PodView): string[] => {
      const owner = ownerOf(pod);
      const { namespace = "" } = pod.metadata;
      if (owner) {
        const isSet = owner.kind === statefulSets.kind && owner.apiVersion === apiVersionOf(statefulSets);
        return isSet ? [`${namespace}/${owner.name}`] : [];
      }
      if (pod.metadata.deletionTimestamp) return [];
      return sets
        .list(namespace)
        .filter((set) => selectorOf(set.spec?.selector).matches(labelsOf(pod)))
        .map((set) => keyOf(set as KubeObject));
    };

    const ensureClaims = async (set: StatefulSetView, ordinal: number, signal: AbortSignal) => {
      for (const wanted of claimsOf(set, ordinal)) {
        if (claims.get(keyOf(wanted))) continue;
        try {
          await client.create(persistentVolumeClaims, wanted, { namespace: wanted.metadata.namespace ?? "", signal });
          const text = `create Claim ${wanted.metadata.name} Pod ${set.metadata.name}-${ordinal} in StatefulSet ${set.metadata.name} success`;
          events.event(statefulSets, set, "Normal", "SuccessfulCreate", text);
        } catch (error) {
          if (!(error instanceof StatusError && error.reason === "AlreadyExists")) throw error;
        }
      }
    };

    return {
      watches: [watch(sets, (set) => [keyOf(set as KubeObject)]), watch(podInformer, keysOfPod)],
      async reconcile(key, signal) {
        const set = sets.get(key);
        if (!set) return undefined;
        const selector = selectorOf(set.spec?.selector);
        const common = { client, ownerType: statefulSets, owner: set, selector };
        const adoptable = (pod: PodView) => ordinalOf(set, pod) !== undefined;
        const owned = await claim({ ...common, dependents: podInformer, adoptable });
        const history = await claim({ ...common, dependents: revisions });
        if (set.metadata.deletionTimestamp) return undefined;
        let updateRevision: RevisionView;
        try {
          updateRevision = await ensureRevision(
            client,
            {
              type: statefulSets,
              object: set,
              template: set.spec?.template ?? {},
              collisionCount: set.status?.collisionCount,
            },
            history,
            signal,
          );
        } catch (error) {
          if (!(error instanceof RevisionCollision)) throw error;
          const next = mutable<StatefulSet>(set);
          next.status = { replicas: 0, ...next.status, collisionCount: (next.status?.collisionCount ?? 0) + 1 };
          await client.update(statefulSets, next, { subresource: "status", signal });
          throw error;
        }
        const update = revisionFrom(updateRevision);
        const named = history.find(({ metadata }) => metadata.name === set.status?.currentRevision);
        const current = named ? revisionFrom(named) : update;

        const plan = planStatefulSet(set, owned, current, update, clock.now());
        for (const { ordinal, revision } of plan.create) {
          try {
            await ensureClaims(set, ordinal, signal);
            await control.create(statefulPod(set, ordinal, revision), set, signal);
          } catch (error) {
            // Names are fixed, so a pod that the cache does not show yet cannot be made twice.
            const there = error instanceof StatusError && error.reason === "AlreadyExists";
            if (!there && !isNamespaceTerminating(error)) throw error;
          }
        }
        for (const pod of plan.remove) await control.delete(pod, set, signal);

        const observed = statefulSetStatus(set, owned, current, update, clock.now());
        if (!deepEqual(withoutZeros(set.status), withoutZeros(observed.status))) {
          const next = { ...mutable<StatefulSet>(set), status: observed.status };
          await client.update(statefulSets, next, { subresource: "status", signal });
        }
        const live = new Set(owned.map((pod) => pod.metadata.labels?.[revisionHashLabel] ?? ""));
        const kept = new Set([update.name, current.name, observed.status.currentRevision]);
        const old = history.filter(({ metadata }) => !kept.has(metadata.name ?? "") && !live.has(metadata.name ?? ""));
        await pruneRevisions(client, old, live, set.spec?.revisionHistoryLimit ?? 10, signal);
        return observed.availableInMs === undefined ? undefined : { requeueAfterMs: observed.availableInMs };
      },
    };
  },
};

/** The template that a revision keeps. Pods of StatefulSets carry the revision's whole name as their label. */
function revisionFrom(revision: RevisionView): Revision {
  const data = revision.data as { readonly spec?: { readonly template?: Record<string, unknown> } } | undefined;
  const { $patch: _, ...template } = data?.spec?.template ?? {};
  return { name: revision.metadata.name ?? "", template: template as DeepReadonly<PodTemplateSpec> };
}

function withoutZeros(status: object | undefined): object {
  return Object.fromEntries(Object.entries(status ?? {}).filter(([, value]) => value !== 0));
}
