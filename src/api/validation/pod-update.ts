/** What may change of a pod that exists. */
import { deepEqual } from "../../machinery/equality.ts";
import { rangeMessage } from "../../machinery/names.ts";
import type { FieldError } from "../../machinery/status.ts";
import type { NodeAffinity, NodeSelectorTerm, Pod, PodSpec, Toleration } from "../generated/core-v1.ts";
import { qosClass } from "../pod/qos.ts";
import { checkImageText } from "./container.ts";
import { Errors } from "./errors.ts";
import { checkAnnotationsUpdate, checkPodAnnotations, mirrorAnnotation } from "./pod-annotations.ts";
import { checkPod } from "./pod-spec.ts";
import { checkPodStatus } from "./pod-status.ts";

const maxInt32 = 2_147_483_647;

const changeable = [
  "`spec.containers[*].image`",
  "`spec.initContainers[*].image`",
  "`spec.activeDeadlineSeconds`",
  "`spec.tolerations` (only additions to existing tolerations)",
  "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)",
];

/** Checks an update of the pod itself or of one of its subresources. A binding does not come here. */
export function validatePodUpdate(pod: Pod, old: Pod, subresource?: string): FieldError[] {
  const errors = new Errors();
  const annotations = pod.metadata.annotations ?? {};
  const checkAnnotations = () => {
    checkAnnotationsUpdate(errors, "metadata.annotations", annotations, old.metadata.annotations ?? {});
    checkPodAnnotations(errors, "metadata.annotations", annotations, pod.spec ?? { containers: [] });
  };
  if (subresource === "status") {
    checkAnnotations();
    checkPodStatus(errors, pod, old);
    return errors.list;
  }
  checkPod(errors, pod);
  if (subresource === "resize") checkResize(errors, pod, old);
  else {
    checkAnnotationsUpdate(errors, "metadata.annotations", annotations, old.metadata.annotations ?? {});
    if (subresource === "ephemeralcontainers") checkEphemeral(errors, pod, old);
    else checkSpec(errors, pod.spec!, old.spec!);
  }
  return errors.list;
}

function checkSpec(errors: Errors, spec: PodSpec, before: PodSpec): void {
  for (const field of ["containers", "initContainers"] as const) {
    const containers = spec[field] ?? [];
    if (containers.length !== (before[field] ?? []).length) {
      errors.forbidden(`spec.${field}`, "pod updates may not add or remove containers");
      return;
    }
    for (const [index, container] of containers.entries()) {
      errors.present(`spec.${field}[${index}].image`, container.image);
      checkImageText(errors, `spec.${field}[${index}]`, container);
    }
  }
  if (!checkDeadline(errors, spec.activeDeadlineSeconds, before.activeDeadlineSeconds)) return;
  checkOnlyAdded(errors, spec.tolerations ?? [], before.tolerations ?? []);
  const known = new Set((before.schedulingGates ?? []).map(({ name }) => name));
  for (const [index, { name }] of (spec.schedulingGates ?? []).entries()) {
    if (known.has(name)) continue;
    const text = `only deletion is allowed, but found new scheduling gate '${name}'`;
    errors.forbidden(`spec.schedulingGates[${index}].name`, text);
  }
  if (before.schedulingGates?.length) checkNarrowed(errors, spec, before);
  if (!deepEqual(fixedPart(spec, before), fixedPart(before, before))) {
    errors.forbidden("spec", `pod updates may not change fields other than ${changeable.join(",")}`);
  }
}

/** Says whether to look further. */
function checkDeadline(errors: Errors, now: number | undefined, before: number | undefined): boolean {
  const path = "spec.activeDeadlineSeconds";
  if (now === undefined) {
    if (before !== undefined) errors.invalid(path, null, "must not update from a positive integer to nil value");
    return true;
  }
  if (now < 0 || now > maxInt32) errors.invalid(path, now, rangeMessage(0, maxInt32));
  else if (before !== undefined && before < now) {
    errors.invalid(path, now, "must be less than or equal to previous value");
  } else return true;
  return false;
}

function checkOnlyAdded(errors: Errors, now: readonly Toleration[], before: readonly Toleration[]): void {
  const timeless = ({ tolerationSeconds: _, ...rest }: Toleration) => rest;
  const all = now.map(timeless);
  if (before.every((one) => all.some((other) => deepEqual(other, timeless(one))))) return;
  errors.forbidden("spec.tolerations", "existing toleration can not be modified except its tolerationSeconds");
}

/** The place where a gated pod may run can be narrowed, not moved. */
function checkNarrowed(errors: Errors, spec: PodSpec, before: PodSpec): void {
  const selector = spec.nodeSelector ?? {};
  if (Object.entries(before.nodeSelector ?? {}).some(([key, value]) => selector[key] !== value)) {
    const text = "only additions to spec.nodeSelector are allowed (no mutations or deletions)";
    errors.invalid("spec.nodeSelector", selector, text);
  }
  const terms = (affinity: NodeAffinity | undefined) =>
    affinity?.requiredDuringSchedulingIgnoredDuringExecution?.nodeSelectorTerms ?? [];
  const now = terms(spec.affinity?.nodeAffinity);
  const old = terms(before.affinity?.nodeAffinity);
  const path = "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms";
  if (old.length > 0 && old.length !== now.length) {
    errors.invalid(path, now, "no additions/deletions to non-empty NodeSelectorTerms list are allowed");
    return;
  }
  for (const [index, term] of old.entries()) {
    if (isAddition(now[index]!, term)) continue;
    errors.invalid(`${path}[${index}]`, now[index], "only additions are allowed (no mutations or deletions)");
  }
}

function isAddition(now: NodeSelectorTerm, old: NodeSelectorTerm): boolean {
  const fields = ["matchExpressions", "matchFields"] as const;
  // An empty term matches nothing: any requirement would let it match something.
  if (fields.every((field) => !old[field]?.length)) return fields.every((field) => !now[field]?.length);
  return fields.every((field) => {
    const known = old[field] ?? [];
    return deepEqual((now[field] ?? []).slice(0, known.length), known);
  });
}

/** The spec with everything that may change taken from `before`. */
function fixedPart(spec: PodSpec, before: PodSpec): PodSpec {
  const fixed = structuredClone(spec);
  for (const field of ["containers", "initContainers"] as const) {
    for (const [index, container] of (fixed[field] ?? []).entries()) {
      const image = before[field]?.[index]?.image;
      if (image === undefined) delete container.image;
      else container.image = image;
    }
  }
  delete fixed.activeDeadlineSeconds;
  delete fixed.tolerations;
  delete fixed.schedulingGates;
  if ((before.terminationGracePeriodSeconds ?? 0) < 0 && spec.terminationGracePeriodSeconds === 1) {
    fixed.terminationGracePeriodSeconds = before.terminationGracePeriodSeconds!;
  }
  if (before.schedulingGates?.length) {
    delete fixed.nodeSelector;
    if (fixed.affinity) delete fixed.affinity.nodeAffinity;
    if (fixed.affinity && Object.keys(fixed.affinity).length === 0) delete fixed.affinity;
  }
  return fixed;
}

/** Ephemeral containers can only be added. */
function checkEphemeral(errors: Errors, pod: Pod, old: Pod): void {
  if (old.metadata.annotations?.[mirrorAnnotation] !== undefined) {
    errors.list.length = 0;
    errors.forbidden("", "static pods do not support ephemeral containers");
    return;
  }
  const path = "spec.ephemeralContainers";
  for (const before of old.spec?.ephemeralContainers ?? []) {
    const found = pod.spec?.ephemeralContainers?.findLast(({ name }) => name === before.name);
    const text = `existing ephemeral containers ${JSON.stringify(before.name)} may not be`;
    if (!found) errors.forbidden(path, `${text} removed\n`);
    else if (!deepEqual(found, before)) errors.forbidden(path, `${text} changed`);
  }
}

type Amounts = Readonly<Record<string, string>> | undefined;

function someRemoved(now: Amounts, before: Amounts): boolean {
  return Object.keys(before ?? {}).some((name) => now?.[name] === undefined);
}

interface WithResources {
  resources?: { requests?: Record<string, string>; limits?: Record<string, string> };
}

/** A copy with the cpu and memory of `before`, which is what a resize may change. */
function withoutResize<T extends WithResources>(now: T, before: WithResources): T {
  const copy = structuredClone(now);
  for (const field of ["requests", "limits"] as const) {
    const amounts = { ...copy.resources?.[field] };
    for (const name of ["cpu", "memory"]) {
      const known = before.resources?.[field]?.[name];
      if (known === undefined) delete amounts[name];
      else amounts[name] = known;
    }
    copy.resources = { ...copy.resources };
    if (Object.keys(amounts).length > 0) copy.resources[field] = amounts;
    else delete copy.resources[field];
  }
  if (before.resources === undefined && Object.keys(copy.resources ?? {}).length === 0) delete copy.resources;
  return copy;
}

function checkResize(errors: Errors, pod: Pod, old: Pod): void {
  const refuseAll = (text: string) => {
    errors.list.length = 0;
    errors.forbidden("", text);
  };
  if (old.metadata.annotations?.[mirrorAnnotation] !== undefined) {
    refuseAll("static pods cannot be resized");
    return;
  }
  if (old.spec?.os?.name === "windows") {
    refuseAll("windows pods cannot be resized");
    return;
  }
  const spec = pod.spec!;
  const before = old.spec!;
  const only = "only cpu and memory resources are mutable";
  const quality = pod.status?.qosClass ?? "";
  if ((old.status?.qosClass || qosClass(before)) !== qosClass(spec)) {
    errors.invalid("spec", quality, "Pod QOS Class may not change as a result of resizing");
  }
  const running = old.status?.containerStatuses?.find(({ state }) => state?.running);
  if (running && !running.resources) errors.forbidden("spec", "Pod running on node without support for resize");
  const podLevel = withoutResize({ resources: spec.resources ?? {} }, before);
  if (before.resources && !spec.resources) {
    errors.forbidden("spec.resources", "pod-level resources cannot be removed");
  } else if (spec.resources || before.resources) {
    for (const field of ["requests", "limits"] as const) {
      if (!someRemoved(spec.resources?.[field], before.resources?.[field])) continue;
      const text = `pod-level resource ${field} cannot be removed`;
      errors.forbidden(`spec.resources.${field}`, text);
    }
    if (!deepEqual(podLevel.resources ?? {}, before.resources ?? {})) errors.forbidden("spec", `${only} at pod-level`);
  }
  if (!checkOrder(errors, spec, before)) return;
  for (const field of ["initContainers", "containers"] as const) {
    for (const [index, container] of (before[field] ?? []).entries()) {
      for (const amounts of ["requests", "limits"] as const) {
        const now = spec[field]![index]!.resources?.[amounts];
        if (!someRemoved(now, container.resources?.[amounts])) continue;
        const text = `resource ${amounts} cannot be removed`;
        errors.forbidden(`spec.${field}[${index}].resources.${amounts}`, text);
      }
    }
  }
  for (const [index, container] of (before.containers ?? []).entries()) {
    const now = withoutResize(spec.containers[index]!, container);
    if (!deepEqual(now, { ...container, resources: container.resources ?? {} })) errors.forbidden("spec", only);
  }
  for (const [index, container] of (before.initContainers ?? []).entries()) {
    const now = spec.initContainers![index]!;
    const at = `spec.initContainers[${index}]`;
    if (!deepEqual(withoutResize(now, container), { ...container, resources: container.resources ?? {} })) {
      errors.forbidden(at, "only cpu and memory resources for init or sidecar containers are mutable");
    }
    if (now.restartPolicy === "Always" || deepEqual(now, container)) continue;
    if (now.resizePolicy?.some((policy) => policy.restartPolicy === "RestartContainer")) {
      const text = "non-sidecar init containers with a resize policy of RestartContainer cannot be resized";
      errors.forbidden(at, text);
    }
  }
  if (errors.list.length > 0) return;
  const rest = ({ containers: _, initContainers: __, resources: ___, ...others }: PodSpec) => others;
  if (!deepEqual(rest(spec), rest(before))) errors.forbidden("spec", only);
}

/** Containers stay, in their order. Says whether they do. */
function checkOrder(errors: Errors, spec: PodSpec, before: PodSpec): boolean {
  const count = errors.list.length;
  for (const field of ["containers", "initContainers"] as const) {
    const containers = spec[field] ?? [];
    const known = before[field] ?? [];
    if (containers.length !== known.length) {
      errors.forbidden(`spec.${field}`, `${field} may not be added or removed on resize`);
      continue;
    }
    for (const [index, { name }] of known.entries()) {
      if (containers[index]!.name === name) continue;
      errors.forbidden(`spec.${field}[${index}].name`, `${field} may not be renamed or reordered on resize`);
    }
  }
  return errors.list.length === count;
}
