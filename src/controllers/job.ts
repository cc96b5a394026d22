import { type Job, type JobStatus, jobs } from "../api/generated/batch-v1.ts";
import { type Pod, pods } from "../api/generated/core-v1.ts";
import { deepEqual } from "../machinery/equality.ts";
import { apiVersionOf, type KubeObject, keyOf, splitKey } from "../machinery/object.ts";
import { StatusError } from "../machinery/status.ts";
import { type ControllerFactory, type Watch, watch } from "./controller.ts";
import {
  completionIndexKey,
  failureVerdict,
  hasTracking,
  indexFailureCountKey,
  indexFailures,
  indexIgnoredFailureCountKey,
  isIndexed,
  isManagedElsewhere,
  type JobView,
  trackingFinalizer,
} from "./job-facts.ts";
import { type JobPlan, planJob } from "./job-plan.ts";
import { ExpectedPods } from "./shared/expected-pods.ts";
import { claim, indexByOwner, labelsOf, ownerOf, selectorOf, type View } from "./shared/owned.ts";
import { PodControl, podFromTemplate } from "./shared/pod-control.ts";
import { isTerminated, type PodView } from "./shared/pod-facts.ts";

/** Longest prefix of a name that the server completes: with its five letters it fits a label. */
const maxPrefix = 58;

/** Keys of pods whose job is gone: all that is left is to take our finalizer off. */
const strayPrefix = "pod:";

/** Runs Jobs to completion. */
export const jobController: ControllerFactory = {
  name: "job-controller",
  create({ client, clock, informers, events }) {
    const jobInformer = informers.of(jobs);
    const podInformer = indexByOwner(informers.of(pods));
    const expected = new ExpectedPods(clock, new PodControl(client, events, jobs));
    const ownerKey = (pod: PodView): string | undefined => {
      const owner = ownerOf(pod);
      const isJob = owner?.kind === jobs.kind && owner.apiVersion === apiVersionOf(jobs);
      return isJob ? `${pod.metadata.namespace}/${owner.name}` : undefined;
    };
    const keysOfPod = (pod: PodView): string[] => {
      const key = ownerKey(pod);
      const owned = key !== undefined && jobInformer.get(key)?.metadata.uid === ownerOf(pod)?.uid;
      if (key && owned) return [key];
      if (!ownerOf(pod)) {
        // An orphan: the job that it fits adopts it.
        const adopters = jobInformer
          .list(pod.metadata.namespace)
          .filter((job) => selectorOf(job.spec?.selector).matches(labelsOf(pod)))
          .map((job) => keyOf(job as KubeObject));
        if (adopters.length > 0 && !pod.metadata.deletionTimestamp) return adopters;
      }
      return hasTracking(pod) ? [...(key ? [key] : []), strayPrefix + keyOf(pod as KubeObject)] : [];
    };
    const jobGone: Watch = {
      attach(enqueue) {
        jobInformer.on({
          delete: ({ metadata }) => {
            for (const pod of podInformer.byIndex("controllerUid", metadata.uid ?? "")) {
              if (hasTracking(pod)) enqueue(strayPrefix + keyOf(pod as KubeObject));
            }
          },
        });
      },
    };

    const liveJob = async (key: string, signal: AbortSignal): Promise<JobView | undefined> => {
      const { namespace = "", name } = splitKey(key);
      try {
        return await client.get(jobs, name, { namespace, signal });
      } catch (error) {
        if (error instanceof StatusError && error.code === 404) return undefined;
        throw error;
      }
    };
    const release = async (pod: PodView, signal: AbortSignal) => {
      const { name = "", namespace = "", uid } = pod.metadata;
      const body = { metadata: { uid, "$deleteFromPrimitiveList/finalizers": [trackingFinalizer] } };
      try {
        await client.patch(pods, name, { type: "strategic", body }, { namespace, signal });
      } catch (error) {
        if (!(error instanceof StatusError && (error.code === 404 || error.code === 409 || error.code === 422)))
          throw error;
      }
    };
    const createPods = async (key: string, job: JobView, { create, replacing }: JobPlan, signal: AbortSignal) => {
      const podAt = (at: number) => jobPod(job, create[at], replacing.get(create[at] ?? -1));
      const error = await expected.create(key, job, create.length, podAt, signal);
      if (error) throw error;
    };
    const deletePods = async (key: string, job: JobView, which: readonly PodView[], signal: AbortSignal) => {
      const error = await expected.delete(key, job, which, signal);
      if (error) throw error;
    };

    return {
      watches: [
        watch(jobInformer, (job) => [keyOf(job as KubeObject)]),
        expected.observe(
          podInformer,
          ownerKey,
          (pod) => pod.metadata.deletionTimestamp !== undefined || isTerminated(pod),
        ),
        watch(podInformer, keysOfPod),
        jobGone,
      ],
      async reconcile(key, signal) {
        if (key.startsWith(strayPrefix)) {
          const pod = podInformer.get(key.slice(strayPrefix.length));
          const owner = pod && ownerKey(pod);
          if (!pod || !hasTracking(pod)) return undefined;
          const job = owner ? await liveJob(owner, signal) : undefined;
          if (!job || job.metadata.uid !== ownerOf(pod)?.uid) await release(pod, signal);
          return undefined;
        }
        // Asked of the server: counts that are based on an older status would be wrong for ever.
        const acting = expected.satisfied(key);
        const job = await liveJob(key, signal);
        if (!job) {
          expected.forget(key);
          return undefined;
        }
        if (isManagedElsewhere(job)) return undefined;
        const owned = await claim({
          client,
          ownerType: jobs,
          owner: job as View,
          selector: selectorOf(job.spec?.selector),
          dependents: podInformer,
          finalizer: trackingFinalizer,
        });
        const plan = planJob(job, owned, acting, clock.now());
        if (!sameStatus(job.status, plan.status)) {
          const next = { ...(structuredClone(job) as Job), status: plan.status };
          await client.update(jobs, next, { subresource: "status", signal });
        }
        for (const { severity, reason, message } of plan.events)
          events.event(jobs, job as View, severity, reason, message);
        await Promise.all(plan.release.filter(hasTracking).map((pod) => release(pod, signal)));
        if (plan.remove.length > 0) await deletePods(key, job, plan.remove, signal);
        if (plan.create.length > 0) await createPods(key, job, plan, signal);
        return plan.requeueAfterMs === undefined ? undefined : { requeueAfterMs: plan.requeueAfterMs };
      },
    };
  },
};

/**
 * The pod of a job: held by the tracking finalizer until it is counted, and told its index if it has one.
 * @param replaced the failed pod whose place it takes, where failures are counted for each index
 */
export function jobPod(job: JobView, index: number | undefined, replaced?: PodView): Pod {
  const pod = podFromTemplate(job.spec?.template ?? {}, jobs, job as View);
  pod.metadata.finalizers = [...(pod.metadata.finalizers ?? []), trackingFinalizer];
  if (index === undefined || !isIndexed(job)) return pod;
  const text = String(index);
  const name = job.metadata.name ?? "";
  // The index stays whole, whatever has to be cut.
  pod.metadata.generateName = `${name.slice(0, maxPrefix - text.length - 2)}-${text}-`;
  pod.metadata.labels = { ...pod.metadata.labels, [completionIndexKey]: text };
  pod.metadata.annotations = {
    ...pod.metadata.annotations,
    [completionIndexKey]: text,
    ...(job.spec?.backoffLimitPerIndex === undefined ? {} : failuresBefore(job, replaced)),
  };
  if (!pod.spec) return pod;
  pod.spec.hostname = `${name}-${text}`;
  const fieldRef = { fieldPath: `metadata.labels['${completionIndexKey}']` };
  for (const container of [...pod.spec.containers, ...(pod.spec.initContainers ?? [])]) {
    if (container.env?.some((variable) => variable.name === "JOB_COMPLETION_INDEX")) continue;
    container.env = [...(container.env ?? []), { name: "JOB_COMPLETION_INDEX", valueFrom: { fieldRef } }];
  }
  return pod;
}

/** Annotations that say how often the index of a new pod has failed so far. */
function failuresBefore(job: JobView, replaced: PodView | undefined): Record<string, string> {
  if (!replaced) return { [indexFailureCountKey]: "0" };
  const ignored = failureVerdict(job, replaced).action === "Ignore";
  const { counted, all } = indexFailures(replaced);
  const ignoredCount = all - counted + (ignored ? 1 : 0);
  return {
    [indexFailureCountKey]: String(counted + (ignored ? 0 : 1)),
    ...(ignoredCount > 0 ? { [indexIgnoredFailureCountKey]: String(ignoredCount) } : {}),
  };
}

function sameStatus(a: JobView["status"], b: JobStatus): boolean {
  const plain = (status: JobView["status"]) => ({
    ...Object.fromEntries(Object.entries(status ?? {}).filter(([, value]) => value !== 0)),
    uncountedTerminatedPods: {
      succeeded: status?.uncountedTerminatedPods?.succeeded ?? [],
      failed: status?.uncountedTerminatedPods?.failed ?? [],
    },
  });
  return deepEqual(plain(a), plain(b));
}
