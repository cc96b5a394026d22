import type { Pod } from "../generated/core-v1.ts";
import type { KindStrategy } from "../kind-facts.ts";
import { validatePod, validatePodUpdate } from "../validation/pod-spec.ts";
import { defaultPod } from "./defaults.ts";
import { qosClass } from "./qos.ts";

const defaultGraceSeconds = 30;

export const podStrategy: KindStrategy<Pod> = {
  generation: true,
  validate: validatePod,
  validateUpdate: validatePodUpdate,
  applyDefaults: defaultPod,
  prepareForCreate(pod) {
    pod.status = { phase: "Pending", qosClass: qosClass(pod.spec ?? { containers: [] }) };
    if (pod.spec?.schedulingGates?.length) {
      pod.status.conditions = [
        {
          type: "PodScheduled",
          status: "False",
          reason: "SchedulingGated",
          message: "Scheduling is blocked due to non-empty scheduling gates",
        },
      ];
    }
  },
  prepareForStatusUpdate(pod, old) {
    const { ownerReferences } = old.metadata;
    if (ownerReferences) pod.metadata.ownerReferences = structuredClone(ownerReferences);
    else delete pod.metadata.ownerReferences;
    if (pod.status && !pod.status.qosClass && old.status?.qosClass) pod.status.qosClass = old.status.qosClass;
  },
  /** Pods that no kubelet runs, or that have ended, need no time to stop. */
  gracePeriodSeconds(pod, requested) {
    const phase = pod.status?.phase;
    if (!pod.spec?.nodeName || phase === "Failed" || phase === "Succeeded") return 0;
    const period = requested ?? pod.spec.terminationGracePeriodSeconds ?? defaultGraceSeconds;
    // A negative period is Kubernetes' old way to say "as short as possible".
    return period < 0 ? 1 : period;
  },
};
