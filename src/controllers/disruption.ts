import { deployments, replicaSets, statefulSets } from "../api/generated/apps-v1.ts";
import { pods, replicationControllers } from "../api/generated/core-v1.ts";
import { type PodDisruptionBudget, podDisruptionBudgets } from "../api/generated/policy-v1.ts";
import { deepEqual } from "../machinery/equality.ts";
import { type KubeObject, keyOf } from "../machinery/object.ts";
import { type ControllerFactory, watch } from "./controller.ts";
import { type BudgetView, budgetStatus, type Expected } from "./disruption-plan.ts";
import { labelsOf, mutable, ownerOf, selectorOf } from "./shared/owned.ts";
import { isReady, isTerminated, isTerminating, type PodView } from "./shared/pod-facts.ts";

/** Keeps the status of PodDisruptionBudgets, by which evictions are allowed or refused. */
export const disruptionController: ControllerFactory = {
  name: "disruption-controller",
  create({ client, clock, informers, events }) {
    const budgets = informers.of(podDisruptionBudgets);
    const podInformer = informers.of(pods);
    const sets = informers.of(replicaSets);
    const owners = {
      Deployment: informers.of(deployments),
      StatefulSet: informers.of(statefulSets),
      ReplicationController: informers.of(replicationControllers),
    };
    const selects = (budget: BudgetView, pod: PodView) => selectorOf(budget.spec?.selector).matches(labelsOf(pod));

    /** The size that the pod's owner is meant to have, with a key that tells owners apart. */
    const sizeOf = (pod: PodView): { readonly key: string; readonly size: number } | undefined => {
      const { namespace = "" } = pod.metadata;
      let owner = ownerOf(pod);
      if (owner?.kind === "ReplicaSet") {
        const set = sets.get(`${namespace}/${owner.name}`);
        const above = set && ownerOf(set);
        if (set && !above) return { key: `ReplicaSet/${owner.name}`, size: set.spec?.replicas ?? 1 };
        owner = above;
      }
      if (!owner || !(owner.kind in owners)) return undefined;
      const found = owners[owner.kind as keyof typeof owners].get(`${namespace}/${owner.name}`);
      return found && { key: `${owner.kind}/${owner.name}`, size: found.spec?.replicas ?? 1 };
    };
    const expectedOf = (budget: BudgetView): Expected => {
      const selected = podInformer
        .list(budget.metadata.namespace)
        .filter((pod) => selects(budget, pod) && !isTerminated(pod));
      const sizes = new Map<string, number>();
      for (const pod of selected) {
        const size = sizeOf(pod);
        if (!size) return { pods: selected, scale: undefined };
        sizes.set(size.key, size.size);
      }
      return { pods: selected, scale: [...sizes.values()].reduce((sum, size) => sum + size, 0) };
    };
    const inNamespace = (object: { readonly metadata: { readonly namespace?: string } }) =>
      budgets.list(object.metadata.namespace).map((budget) => keyOf(budget as KubeObject));
    const sizeChanged = (
      object: { readonly spec?: { readonly replicas?: number } },
      old: { readonly spec?: { readonly replicas?: number } } | undefined,
    ) => !old || object.spec?.replicas !== old.spec?.replicas;
    const facts = (pod: PodView) =>
      JSON.stringify([isReady(pod), isTerminated(pod), isTerminating(pod), pod.metadata.labels]);

    return {
      watches: [
        watch(budgets, (budget) => [keyOf(budget as KubeObject)]),
        watch(
          podInformer,
          (pod) =>
            budgets
              .list(pod.metadata.namespace)
              .filter((budget) => selects(budget, pod))
              .map((budget) => keyOf(budget as KubeObject)),
          (pod, old) => !old || facts(pod) !== facts(old),
        ),
        watch(owners.Deployment, inNamespace, sizeChanged),
        watch(owners.StatefulSet, inNamespace, sizeChanged),
        watch(owners.ReplicationController, inNamespace, sizeChanged),
        watch(sets, inNamespace, sizeChanged),
      ],
      async reconcile(key, signal) {
        const budget = budgets.get(key);
        if (!budget || budget.metadata.deletionTimestamp) return undefined;
        const { status, againInMs, problem } = budgetStatus(budget, expectedOf(budget), clock.now());
        if (problem) events.event(podDisruptionBudgets, budget, "Warning", "CalculateExpectedPodCountFailed", problem);
        if (!deepEqual(withoutTimes(budget.status), withoutTimes(status))) {
          const next = { ...mutable<PodDisruptionBudget>(budget), status };
          await client.update(podDisruptionBudgets, next, { subresource: "status", signal });
        }
        return againInMs === undefined ? undefined : { requeueAfterMs: againInMs };
      },
    };
  },
};

function withoutTimes(status: BudgetView["status"]): object {
  return { ...status, conditions: status?.conditions?.map(({ lastTransitionTime: _, ...rest }) => rest) ?? [] };
}
