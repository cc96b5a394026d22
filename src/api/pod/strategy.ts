import { deepEqual } from "../../machinery/equality.ts";
import type { Pod } from "../generated/core-v1.ts";
import type { KindStrategy } from "../kind-facts.ts";
import { validatePod } from "../validation/pod-spec.ts";
import { validatePodUpdate } from "../validation/pod-update.ts";
import { takeOverAppArmor } from "./app-armor.ts";
import { defaultPod } from "./defaults.ts";
import { dropDisabled } from "./disabled-fields.ts";
import { mergeLabelKeys } from "./label-keys.ts";
import { qosClass } from "./qos.ts";
import { podWarnings } from "./warnings.ts";

const defaultGraceSeconds = 30;

export const podStrategy: KindStrategy<Pod> = {
  generation: true,
  ratchets: true,
  validate: validatePod,
  validateUpdate: validatePodUpdate,
  // Whom to tell when a pod changes? Updates come from controllers.
  warnings: (pod, old) => (old ? [] : podWarnings(pod)),
  applyDefaults: defaultPod,
  prepareForCreate(pod) {
    pod.status = { phase: "Pending", qosClass: qosClass(pod.spec ?? { containers: [] }) };
    if (!pod.spec) return;
    dropDisabled(pod.spec);
    mergeLabelKeys(pod);
    takeOverAppArmor(pod);
    if (pod.spec.schedulingGates?.length) {
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
  prepareForUpdate(pod, old) {
    if (pod.spec && !deepEqual(pod.spec, old.spec)) dropDisabled(pod.spec);
  },
  prepareForStatusUpdate(pod, old) {
    const { ownerReferences } = old.metadata;
    if (ownerReferences) pod.metadata.ownerReferences = structuredClone(ownerReferences);
    else delete pod.metadata.ownerReferences;
    if (pod.status && !pod.status.qosClass && old.status?.qosClass) pod.status.qosClass = old.status.qosClass;
    keepObservedGenerations(pod, old);
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

/** Writers that do not know of generations leave those of others alone. */
function keepObservedGenerations(pod: Pod, old: Pod): void {
  const { status } = pod;
  if (!status) return;
  if (!status.observedGeneration && old.status?.observedGeneration) {
    status.observedGeneration = old.status.observedGeneration;
  }
  const known = [...(old.status?.conditions ?? [])];
  for (const condition of status.conditions ?? []) {
    const index = known.findIndex(({ type }) => type === condition.type);
    const [before] = index < 0 ? [] : known.splice(index, 1);
    if (!condition.observedGeneration && before?.observedGeneration) {
      condition.observedGeneration = before.observedGeneration;
    }
  }
}
