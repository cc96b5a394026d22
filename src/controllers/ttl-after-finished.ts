import { jobs } from "../api/generated/batch-v1.ts";
import { type KubeObject, keyOf, splitKey } from "../machinery/object.ts";
import { StatusError } from "../machinery/status.ts";
import { type ControllerFactory, watch } from "./controller.ts";
import { type JobView, jobCondition } from "./job-facts.ts";

/** When a job is to be deleted, in milliseconds since the epoch; undefined: never, or not finished yet. */
export function expiryMs(job: JobView): number | undefined {
  const ttl = job.spec?.ttlSecondsAfterFinished;
  const finished = jobCondition(job, "Complete") ?? jobCondition(job, "Failed");
  if (ttl === undefined || !finished?.lastTransitionTime) return undefined;
  return Date.parse(finished.lastTransitionTime) + ttl * 1000;
}

/** Deletes finished Jobs after spec.ttlSecondsAfterFinished. */
export const ttlAfterFinishedController: ControllerFactory = {
  name: "ttl-after-finished-controller",
  create({ client, clock, informers }) {
    const informer = informers.of(jobs);
    return {
      watches: [watch(informer, (job) => (expiryMs(job) === undefined ? [] : [keyOf(job as KubeObject)]))],
      async reconcile(key, signal) {
        const seen = informer.get(key);
        const seenAtMs = seen && expiryMs(seen);
        if (!seen || seenAtMs === undefined || seen.metadata.deletionTimestamp) return undefined;
        if (seenAtMs > clock.now()) return { requeueAfterMs: seenAtMs - clock.now() };
        const { namespace = "", name } = splitKey(key);
        try {
          // The ttl may have been raised since.
          const job = await client.get(jobs, name, { namespace, signal });
          const atMs = expiryMs(job);
          if (atMs === undefined) return undefined;
          if (atMs > clock.now()) return { requeueAfterMs: atMs - clock.now() };
          const { uid, resourceVersion } = job.metadata;
          const preconditions = { ...(uid ? { uid } : {}), ...(resourceVersion ? { resourceVersion } : {}) };
          await client.delete(jobs, name, { namespace, propagationPolicy: "Foreground", preconditions, signal });
        } catch (error) {
          if (!(error instanceof StatusError && error.code === 404)) throw error;
        }
        return undefined;
      },
    };
  },
};
