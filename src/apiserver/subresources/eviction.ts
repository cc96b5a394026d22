import { type Pod, pods } from "../../api/generated/core-v1.ts";
import { type Eviction, type PodDisruptionBudget, podDisruptionBudgets } from "../../api/generated/policy-v1.ts";
import { formatTime } from "../../machinery/clock.ts";
import { fromLabelSelector } from "../../machinery/label-selector.ts";
import { badRequest, forbidden, internalError, StatusError } from "../../machinery/status.ts";
import { nodeNameOf } from "../authorization/node.ts";
import type { BodySubresource, ServerContext } from "../request.ts";

/** How long a client is told to wait before it asks again, seconds. */
const retryAfterSeconds = 10;

/** More pods than this in a budget's disruptedPods mean that its controller does not keep up. */
const maxDisrupted = 2000;

/** POST …/pods/{name}/eviction: deletes the pod if its disruption budget allows one more disruption, otherwise 429. */
export const evictionSubresource: BodySubresource = async (context, { info, user, body, dryRun }) => {
  const eviction = body as Eviction;
  const name = info.name ?? "";
  const namespace = info.namespace ?? "";
  if (eviction.metadata?.name && eviction.metadata.name !== name) {
    throw badRequest("name in URL does not match name in Eviction object");
  }
  const pod = await context.client.get(pods, name, { namespace });
  const node = nodeNameOf(user);
  if (node !== undefined && pod.spec?.nodeName !== node) {
    const why = `node ${node} can only evict pods with spec.nodeName set to itself`;
    throw forbidden({ group: "", resource: "pods" }, name, why);
  }
  if (!isFree(pod)) await takeDisruption(context, pod, dryRun || Boolean(eviction.deleteOptions?.dryRun?.length));
  const { gracePeriodSeconds, preconditions, dryRun: wish } = eviction.deleteOptions ?? {};
  const dry = dryRun || Boolean(wish?.length);
  if (!dry) await markEvicted(context, pod);
  await context.client.delete(pods, name, {
    namespace,
    dryRun: dry,
    ...(gracePeriodSeconds === undefined ? {} : { gracePeriodSeconds }),
    preconditions: { uid: preconditions?.uid ?? pod.metadata.uid!, ...preconditions },
  });
  return { code: 201, body: { kind: "Status", apiVersion: "v1", metadata: {}, status: "Success", code: 201 } };
};

/** Pods that are over, not started or going anyway disrupt nobody. */
function isFree(pod: Pod): boolean {
  const phase = pod.status?.phase;
  return phase === "Succeeded" || phase === "Failed" || phase === "Pending" || !!pod.metadata.deletionTimestamp;
}

async function takeDisruption(context: ServerContext, pod: Pod, dryRun: boolean): Promise<void> {
  const { namespace = "", name = "" } = pod.metadata;
  const all = await context.client.list(podDisruptionBudgets, { namespace });
  const matching = all.items.filter(
    ({ spec }) => spec?.selector && fromLabelSelector(spec.selector).matches(pod.metadata.labels ?? {}),
  );
  if (matching.length > 1) {
    throw internalError(
      "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
    );
  }
  const budget = matching[0];
  if (!budget || mayGoUnhealthy(budget, pod)) return;
  await context.rewrite(podDisruptionBudgets, { namespace, name: budget.metadata.name!, dryRun }, (current) =>
    disrupt(current, name, formatTime(context.clusterClock.now())),
  );
}

/** A pod that is not ready counts for nothing: with AlwaysAllow, or while enough others are healthy, it may go. */
function mayGoUnhealthy({ spec, status }: PodDisruptionBudget, pod: Pod): boolean {
  const ready = pod.status?.conditions?.some(({ type, status }) => type === "Ready" && status === "True");
  if (ready) return false;
  if (spec?.unhealthyPodEvictionPolicy === "AlwaysAllow") return true;
  const { currentHealthy = 0, desiredHealthy = 0 } = status ?? {};
  return currentHealthy >= desiredHealthy && desiredHealthy > 0;
}

/** Takes one disruption from the budget. Throws 429 when there is none left or the budget is not computed yet. */
export function disrupt(budget: PodDisruptionBudget, pod: string, now: string): void {
  const { name = "", generation = 0 } = budget.metadata;
  const status = budget.status;
  if (!status || (status.observedGeneration ?? 0) < generation) {
    throw tooMany(`The disruption budget ${name} is still being processed by the server.`);
  }
  const of = { group: "policy", resource: "poddisruptionbudgets" };
  const allowed = status.disruptionsAllowed ?? 0;
  if (allowed < 0) throw forbidden(of, name, "pdb disruptions allowed is negative");
  if (Object.keys(status.disruptedPods ?? {}).length > maxDisrupted) {
    throw forbidden(of, name, "DisruptedPods map too big - too many evictions not confirmed by PDB controller");
  }
  if (allowed === 0) {
    throw tooMany(
      `The disruption budget ${name} needs ${status.desiredHealthy} healthy pods and has ${status.currentHealthy} currently`,
    );
  }
  status.disruptionsAllowed = allowed - 1;
  status.disruptedPods = { ...status.disruptedPods, [pod]: now };
}

function tooMany(cause: string): StatusError {
  return new StatusError(429, "TooManyRequests", "Cannot evict pod as it would violate the pod's disruption budget.", {
    retryAfterSeconds,
    causes: [{ reason: "DisruptionBudget", message: cause }],
  });
}

/** Says in the pod's status why it goes; controllers of jobs look at it. */
async function markEvicted(context: ServerContext, pod: Pod): Promise<void> {
  const { namespace = "", name = "", uid } = pod.metadata;
  await context.rewrite(pods, { namespace, name }, (current) => {
    if (current.metadata.uid !== uid) return;
    const others = (current.status?.conditions ?? []).filter(({ type }) => type !== "DisruptionTarget");
    const target = {
      type: "DisruptionTarget",
      status: "True",
      reason: "EvictionByEvictionAPI",
      message: "Eviction API: evicting",
      lastTransitionTime: formatTime(context.clusterClock.now()),
    };
    current.status = { ...current.status, conditions: [...others, target] };
  });
}
