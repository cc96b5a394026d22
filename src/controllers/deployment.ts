import {
  type Deployment,
  type DeploymentStatus,
  deployments,
  type ReplicaSet,
  replicaSets,
} from "../api/generated/apps-v1.ts";
import { pods } from "../api/generated/core-v1.ts";
import { deepEqual } from "../machinery/equality.ts";
import { apiVersionOf, type KubeObject, keyOf } from "../machinery/object.ts";
import { StatusError } from "../machinery/status.ts";
import { type ControllerContext, type ControllerFactory, type Result, watch } from "./controller.ts";
import {
  activeSets,
  type DeploymentView,
  findNewReplicaSet,
  hasProgressDeadline,
  isComplete,
  isRollingUpdate,
  newestRevision,
  newSetAnnotations,
  type ReplicaSetView,
  revisionAnnotation,
  sizeAnnotations,
  specReplicas,
} from "./deployment-facts.ts";
import {
  isScalingEvent,
  newSetReplicas,
  planCleanup,
  planRollout,
  planScale,
  type Scaling,
} from "./deployment-plan.ts";
import {
  type ConditionChange,
  conditionOf,
  countReplicas,
  deadlineInMs,
  rolloutStatus,
  setDeploymentCondition,
} from "./deployment-status.ts";
import {
  claim,
  controlledBy,
  controllerReference,
  indexByOwner,
  labelsOf,
  mutable,
  ownerOf,
  selectorOf,
  type View,
} from "./shared/owned.ts";
import { isTerminated, type PodView } from "./shared/pod-facts.ts";
import { equalTemplates, templateHash, templateHashLabel } from "./shared/template-hash.ts";

/** The sets of a deployment: the one of its present template, and the others. */
interface Sets {
  readonly newSet: ReplicaSetView | undefined;
  readonly oldSets: readonly ReplicaSetView[];
}

const all = ({ newSet, oldSets }: Sets): ReplicaSetView[] => (newSet ? [...oldSets, newSet] : [...oldSets]);

/** Rolls Deployments out through ReplicaSets. */
export const deploymentController: ControllerFactory = {
  name: "deployment-controller",
  create(context) {
    const deploymentInformer = context.informers.of(deployments);
    const sets = indexByOwner(context.informers.of(replicaSets));
    const podInformer = indexByOwner(context.informers.of(pods));

    const keysOfSet = (set: View): string[] => {
      const owner = ownerOf(set);
      const { namespace = "" } = set.metadata;
      if (owner) return isDeployment(owner) ? [`${namespace}/${owner.name}`] : [];
      const matching = deploymentInformer
        .list(namespace)
        .filter((deployment) => selectorOf(deployment.spec?.selector).matches(labelsOf(set)));
      return matching.map((deployment) => keyOf(deployment as KubeObject));
    };
    /** Recreate waits until the old pods are gone, which no ReplicaSet tells. */
    const keysOfPod = (pod: PodView): string[] => {
      const owner = ownerOf(pod);
      if (owner?.kind !== "ReplicaSet") return [];
      const set = sets.get(`${pod.metadata.namespace}/${owner.name}`);
      const keys = set ? keysOfSet(set) : [];
      return keys.filter((key) => {
        const deployment = deploymentInformer.get(key);
        return deployment !== undefined && !isRollingUpdate(deployment);
      });
    };

    return {
      watches: [
        watch(deploymentInformer, (deployment) => [keyOf(deployment as KubeObject)]),
        watch(sets, keysOfSet),
        watch(podInformer, keysOfPod, (pod) => isTerminated(pod)),
      ],
      async reconcile(key, signal) {
        const deployment = deploymentInformer.get(key);
        if (!deployment) return undefined;
        const selector = selectorOf(deployment.spec?.selector);
        if (selector.empty) {
          const text = "This deployment is selecting all pods. A non-empty selector is required.";
          context.events.event(deployments, deployment, "Warning", "SelectingAll", text);
          return undefined;
        }
        const { client } = context;
        const owned = await claim({ client, ownerType: deployments, owner: deployment, selector, dependents: sets });
        signal.throwIfAborted();
        const podsOf = (set: ReplicaSetView) => controlledBy(podInformer, set);
        return new Rollout(context, deployment).sync(owned, podsOf);
      },
    };
  },
};

function isDeployment(reference: { readonly kind: string; readonly apiVersion: string }): boolean {
  return reference.kind === deployments.kind && reference.apiVersion === apiVersionOf(deployments);
}

/** One reconcile of one deployment. */
class Rollout {
  readonly #context: ControllerContext;
  /** As of this reconcile's last write to it. */
  #deployment: DeploymentView;

  constructor(context: ControllerContext, deployment: DeploymentView) {
    this.#context = context;
    this.#deployment = deployment;
  }

  async sync(
    owned: readonly ReplicaSetView[],
    podsOf: (set: ReplicaSetView) => readonly PodView[],
  ): Promise<Result | undefined> {
    if (this.#deployment.metadata.deletionTimestamp) {
      return this.#writeStatus(await this.#sets(owned, false), "counts");
    }
    await this.#notePause();
    if (this.#deployment.spec?.paused || isScalingEvent(this.#deployment, owned)) return this.#scale(owned);
    return isRollingUpdate(this.#deployment)
      ? this.#roll(await this.#sets(owned, true))
      : this.#recreate(owned, podsOf);
  }

  async #roll(sets: Sets): Promise<Result | undefined> {
    if (!sets.newSet) return undefined;
    const steps = planRollout(this.#deployment, sets.newSet, sets.oldSets);
    if (steps.length > 0) return this.#writeStatus(await this.#apply(sets, steps), "rollout");
    if (isComplete(this.#deployment, countReplicas(this.#deployment, sets.newSet, all(sets), this.#context.clock))) {
      await this.#cleanUp(sets);
    }
    return this.#writeStatus(sets, "rollout");
  }

  async #recreate(
    owned: readonly ReplicaSetView[],
    podsOf: (set: ReplicaSetView) => readonly PodView[],
  ): Promise<Result | undefined> {
    const before = await this.#sets(owned, false);
    const shrink = activeSets(before.oldSets).map((set) => ({ set, replicas: 0 }));
    if (shrink.length > 0) {
      return this.#writeStatus(await this.#apply(before, shrink), "rollout");
    }
    // Either cache may be ahead of the other: old pods are gone when both say so, and the status counts them no more.
    const stillRuns = before.oldSets.some(
      (set) => (set.status?.replicas ?? 0) > 0 || podsOf(set).some((pod) => !isTerminated(pod)),
    );
    if (stillRuns) return this.#writeStatus(before, "rollout");
    let sets = await this.#sets(owned, true);
    const { newSet } = sets;
    if (newSet && specReplicas(newSet) !== specReplicas(this.#deployment)) {
      sets = await this.#apply(sets, [{ set: newSet, replicas: specReplicas(this.#deployment) }]);
    }
    if (isComplete(this.#deployment, countReplicas(this.#deployment, sets.newSet, all(sets), this.#context.clock))) {
      await this.#cleanUp(sets);
    }
    return this.#writeStatus(sets, "rollout");
  }

  async #scale(owned: readonly ReplicaSetView[]): Promise<Result | undefined> {
    let sets = await this.#sets(owned, false);
    sets = await this.#apply(sets, planScale(this.#deployment, sets.newSet, sets.oldSets));
    if (this.#deployment.spec?.paused) await this.#cleanUp(sets);
    return this.#writeStatus(sets, "counts");
  }

  /** A pause must not let the deadline pass, so it is noted in the Progressing condition. */
  async #notePause(): Promise<void> {
    if (!hasProgressDeadline(this.#deployment)) return;
    const reason = conditionOf(this.#deployment.status, "Progressing")?.reason;
    if (reason === "ProgressDeadlineExceeded") return;
    const paused = this.#deployment.spec?.paused === true;
    if (paused === (reason === "DeploymentPaused")) return;
    await this.#setCondition({
      type: "Progressing",
      status: "Unknown",
      reason: paused ? "DeploymentPaused" : "DeploymentResumed",
      message: paused ? "Deployment is paused" : "Deployment is resumed",
    });
  }

  /** Tells the sets apart, and brings the newest into being or up to date if `create`. */
  async #sets(owned: readonly ReplicaSetView[], create: boolean): Promise<Sets> {
    const found = findNewReplicaSet(this.#deployment, owned);
    const oldSets = owned.filter((set) => set.metadata.uid !== found?.metadata.uid);
    const revision = newestRevision(oldSets) + 1n;
    if (found) {
      const newSet = await this.#refresh(found, revision);
      await this.#noteRevision(newSet);
      return { newSet, oldSets };
    }
    if (!create) return { newSet: undefined, oldSets };
    const newSet = await this.#create(oldSets, revision);
    await this.#noteRevision(newSet);
    return { newSet, oldSets };
  }

  async #refresh(set: ReplicaSetView, revision: bigint): Promise<ReplicaSetView> {
    const annotations = newSetAnnotations(this.#deployment, set.metadata.annotations, revision);
    const minReadySeconds = this.#deployment.spec?.minReadySeconds ?? 0;
    const same =
      deepEqual(annotations, set.metadata.annotations) && minReadySeconds === (set.spec?.minReadySeconds ?? 0);
    if (same) return set;
    const next = mutable<ReplicaSet>(set);
    next.metadata.annotations = annotations;
    if (next.spec) next.spec.minReadySeconds = minReadySeconds;
    return this.#context.client.update(replicaSets, next);
  }

  async #create(oldSets: readonly ReplicaSetView[], revision: bigint): Promise<ReplicaSetView> {
    const { client, events } = this.#context;
    const set = newReplicaSet(this.#deployment, oldSets, revision);
    try {
      const created = await client.create(replicaSets, set);
      const text = `Scaled up replica set ${set.metadata.name} from 0 to ${specReplicas(set)}`;
      if (specReplicas(set) > 0) events.event(deployments, this.#deployment, "Normal", "ScalingReplicaSet", text);
      if (hasProgressDeadline(this.#deployment)) {
        await this.#setCondition({
          type: "Progressing",
          status: "True",
          reason: "NewReplicaSetCreated",
          message: `Created new replica set "${created.metadata.name}"`,
        });
      }
      return created;
    } catch (error) {
      if (!(error instanceof StatusError)) throw error;
      if (error.code === 409 && error.reason === "AlreadyExists") return this.#collided(set);
      if (hasProgressDeadline(this.#deployment)) {
        const message = `Failed to create new replica set "${set.metadata.name}": ${error.message}`;
        events.event(deployments, this.#deployment, "Warning", "ReplicaSetCreateError", message);
        await this.#setCondition({
          type: "Progressing",
          status: "False",
          reason: "ReplicaSetCreateError",
          message,
        });
      }
      throw error;
    }
  }

  /** The name is taken: by our own set that the cache does not show yet, or by another one with the same hash. */
  async #collided(wanted: ReplicaSet): Promise<ReplicaSetView> {
    const { client } = this.#context;
    const { name = "", namespace = "" } = wanted.metadata;
    const existing = await client.get(replicaSets, name, { namespace });
    const ours = ownerOf(existing as View)?.uid === this.#deployment.metadata.uid;
    if (ours && equalTemplates(existing.spec?.template ?? {}, this.#deployment.spec?.template ?? {})) return existing;
    const next = mutable<Deployment>(this.#deployment);
    next.status = { ...next.status, collisionCount: (next.status?.collisionCount ?? 0) + 1 };
    await client.update(deployments, next, { subresource: "status" });
    throw new Error(`replica set "${name}" belongs to another template; its name is made anew`);
  }

  /** The this.#deployment tells its present revision; it is metadata, so it is no part of the status. */
  async #noteRevision(newSet: ReplicaSetView): Promise<void> {
    const revision = newSet.metadata.annotations?.[revisionAnnotation];
    if (!revision || this.#deployment.metadata.annotations?.[revisionAnnotation] === revision) return;
    const next = mutable<Deployment>(this.#deployment);
    next.metadata.annotations = { ...next.metadata.annotations, [revisionAnnotation]: revision };
    this.#deployment = await this.#context.client.update(deployments, next);
  }

  async #apply(sets: Sets, steps: readonly Scaling[]): Promise<Sets> {
    const { client, events } = this.#context;
    const scaled = new Map<string, ReplicaSetView>();
    for (const { set, replicas } of steps) {
      const next = mutable<ReplicaSet>(set);
      const before = specReplicas(set);
      if (next.spec) next.spec.replicas = replicas;
      next.metadata.annotations = { ...next.metadata.annotations, ...sizeAnnotations(this.#deployment) };
      scaled.set(set.metadata.uid ?? "", await client.update(replicaSets, next));
      if (before === replicas) continue;
      const text = `Scaled ${before < replicas ? "up" : "down"} replica set ${set.metadata.name} from ${before} to ${replicas}`;
      events.event(deployments, this.#deployment, "Normal", "ScalingReplicaSet", text);
    }
    const newer = (set: ReplicaSetView) => scaled.get(set.metadata.uid ?? "") ?? set;
    return { newSet: sets.newSet && newer(sets.newSet), oldSets: sets.oldSets.map(newer) };
  }

  async #cleanUp(sets: Sets): Promise<void> {
    for (const { metadata } of planCleanup(this.#deployment, sets.oldSets)) {
      const { name = "", namespace = "", uid } = metadata;
      try {
        await this.#context.client.delete(replicaSets, name, { namespace, ...(uid ? { preconditions: { uid } } : {}) });
      } catch (error) {
        if (!(error instanceof StatusError && (error.code === 404 || error.code === 409))) throw error;
      }
    }
  }

  async #setCondition(change: ConditionChange): Promise<void> {
    const { client, clock } = this.#context;
    const next = mutable<Deployment>(this.#deployment);
    next.status = { ...next.status, conditions: setDeploymentCondition(next.status?.conditions ?? [], change, clock) };
    this.#deployment = await client.update(deployments, next, { subresource: "status" });
  }

  async #writeStatus(sets: Sets, how: "counts" | "rollout"): Promise<Result | undefined> {
    const { client, clock } = this.#context;
    const make = how === "counts" ? countReplicas : rolloutStatus;
    const status = make(this.#deployment, sets.newSet, all(sets), clock);
    if (!sameStatus(this.#deployment.status, status)) {
      const next = { ...mutable(this.#deployment), status };
      await client.update(deployments, next, { subresource: "status" });
    }
    const leftMs = deadlineInMs(this.#deployment, status, clock);
    return leftMs === undefined || leftMs < 0 ? undefined : { requeueAfterMs: leftMs + 1000 };
  }
}

/** The ReplicaSet that a deployment's present template asks for. */
export function newReplicaSet(
  deployment: DeploymentView,
  oldSets: readonly ReplicaSetView[],
  revision: bigint,
): ReplicaSet {
  const template = structuredClone(deployment.spec?.template ?? {}) as NonNullable<ReplicaSet["spec"]>["template"] &
    object;
  const hash = templateHash(template, deployment.status?.collisionCount);
  const selector = structuredClone(deployment.spec?.selector ?? {}) as NonNullable<ReplicaSet["spec"]>["selector"];
  const { name = "", namespace } = deployment.metadata;
  template.metadata = { ...template.metadata, labels: { ...template.metadata?.labels, [templateHashLabel]: hash } };
  selector.matchLabels = { ...selector.matchLabels, [templateHashLabel]: hash };
  return {
    metadata: {
      name: `${name}-${hash}`,
      ...(namespace ? { namespace } : {}),
      labels: { ...template.metadata.labels },
      annotations: newSetAnnotations(deployment, undefined, revision),
      ownerReferences: [controllerReference(deployments, deployment)],
    },
    spec: {
      replicas: newSetReplicas(deployment, oldSets, 0),
      minReadySeconds: deployment.spec?.minReadySeconds ?? 0,
      selector,
      template,
    },
  };
}

function sameStatus(a: DeploymentView["status"], b: DeploymentStatus): boolean {
  const sorted = (status: DeploymentView["status"]) => ({
    ...Object.fromEntries(Object.entries(status ?? {}).filter(([, value]) => value !== 0)),
    conditions: [...(status?.conditions ?? [])].sort((x, y) => (x.type < y.type ? -1 : 1)),
  });
  return deepEqual(sorted(a), sorted(b));
}
