import { deepEqual } from "../../machinery/equality.ts";
import type { FieldError } from "../../machinery/status.ts";
import type {
  ControllerRevision,
  DaemonSet,
  Deployment,
  ReplicaSet,
  StatefulSet,
  StatefulSetSpec,
} from "../generated/apps-v1.ts";
import type { PodTemplate, PodTemplateSpec, ReplicationController, Volume } from "../generated/core-v1.ts";
import type { LabelSelector } from "../generated/meta-v1.ts";
import { sameJson } from "../strategy.ts";
import { checkClaimTemplate } from "./claim.ts";
import { Errors } from "./errors.ts";
import {
  checkAtMost100Percent,
  checkIntOrPercent,
  checkLabelSelector,
  isEmptySelector,
  isZero,
  trySelector,
} from "./labels.ts";
import { checkPodTemplate } from "./pod-spec.ts";
import { checkCounts } from "./replica-counts.ts";

/** The selector and the template that it must match. `owner` is the word that Kubernetes' texts use for the kind. */
function checkTemplate(
  errors: Errors,
  selector: LabelSelector | undefined,
  template: PodTemplateSpec | undefined,
  owner: { name: string; title: string },
): void {
  const labels = template?.metadata?.labels;
  const mismatch = () =>
    errors.invalid("spec.template.metadata.labels", labels ?? null, "`selector` does not match template `labels`");
  if (!selector) {
    if (owner.name !== "daemonset") errors.required("spec.selector");
    mismatch();
  } else {
    checkLabelSelector(errors, "spec.selector", selector);
    if (isEmptySelector(selector)) {
      errors.invalid("spec.selector", selector, `empty selector is invalid for ${owner.name}`);
    }
    const parsed = trySelector(selector);
    const text = owner.name === "statefulset" ? "" : "invalid label selector";
    if (!parsed && owner.name !== "daemonset") {
      errors.invalid("spec.selector", selector, text);
      // What the template must match is not known.
      if (owner.name !== "statefulset") return;
    }
    if (!isEmptySelector(selector) && parsed?.matches(labels ?? {}) === false) mismatch();
    if (!parsed && owner.name === "statefulset") {
      checkRunning(errors, template, owner);
      return;
    }
  }
  checkPodTemplate(errors, "spec.template", template);
  checkRunning(errors, template, owner);
}

/** Such pods run for good. */
function checkRunning(errors: Errors, template: PodTemplateSpec | undefined, owner: { title: string }): void {
  const restartPolicy = template?.spec?.restartPolicy ?? "";
  errors.setOneOf("spec.template.spec.restartPolicy", restartPolicy, ["Always"]);
  if (template?.spec?.activeDeadlineSeconds !== undefined) {
    const text = `activeDeadlineSeconds in ${owner.title} is not Supported`;
    errors.forbidden("spec.template.spec.activeDeadlineSeconds", text);
  }
}

export function validateDeployment({ spec }: Deployment): FieldError[] {
  const errors = new Errors();
  if (!spec) return errors.list;
  errors.nonNegative("spec.replicas", spec.replicas);
  // Kubernetes checks the template with the rules, and the words, of the ReplicaSet.
  checkTemplate(errors, spec.selector, spec.template, { name: "deployment", title: "ReplicaSet" });
  checkDeploymentStrategy(errors, spec.strategy ?? {});
  errors.nonNegative("spec.minReadySeconds", spec.minReadySeconds);
  errors.nonNegative("spec.revisionHistoryLimit", spec.revisionHistoryLimit);
  const deadline = spec.progressDeadlineSeconds;
  errors.nonNegative("spec.progressDeadlineSeconds", deadline);
  if (deadline !== undefined && deadline <= (spec.minReadySeconds ?? 0)) {
    errors.invalid("spec.progressDeadlineSeconds", deadline, "must be greater than minReadySeconds");
  }
  return errors.list;
}

function checkDeploymentStrategy(
  errors: Errors,
  strategy: NonNullable<NonNullable<Deployment["spec"]>["strategy"]>,
): void {
  const path = "spec.strategy.rollingUpdate";
  const rolling = strategy.rollingUpdate;
  if (strategy.type === "Recreate") {
    if (rolling) errors.forbidden(path, "may not be specified when strategy `type` is 'Recreate'");
  } else if (strategy.type === "RollingUpdate") {
    checkRolling(errors, path, rolling ?? {});
  } else {
    errors.notSupported("spec.strategy", strategy, ["Recreate", "RollingUpdate"]);
  }
}

function checkRolling(
  errors: Errors,
  path: string,
  rolling: { maxUnavailable?: number | string; maxSurge?: number | string },
): void {
  checkIntOrPercent(errors, `${path}.maxUnavailable`, rolling.maxUnavailable);
  checkIntOrPercent(errors, `${path}.maxSurge`, rolling.maxSurge);
  if (isZero(rolling.maxUnavailable) && isZero(rolling.maxSurge)) {
    errors.invalid(`${path}.maxUnavailable`, rolling.maxUnavailable ?? 0, "may not be 0 when `maxSurge` is 0");
  }
  checkAtMost100Percent(errors, `${path}.maxUnavailable`, rolling.maxUnavailable);
}

export function validateReplicaSet({ spec }: ReplicaSet): FieldError[] {
  const errors = new Errors();
  if (!spec) return errors.list;
  errors.nonNegative("spec.replicas", spec.replicas);
  errors.nonNegative("spec.minReadySeconds", spec.minReadySeconds);
  checkTemplate(errors, spec.selector, spec.template, { name: "deployment", title: "ReplicaSet" });
  return errors.list;
}

export function validateDaemonSet({ spec }: DaemonSet): FieldError[] {
  const errors = new Errors();
  if (!spec) return errors.list;
  checkTemplate(errors, spec.selector, spec.template, { name: "daemonset", title: "DaemonSet" });
  errors.nonNegative("spec.minReadySeconds", spec.minReadySeconds);
  errors.nonNegative("spec.revisionHistoryLimit", spec.revisionHistoryLimit);
  const strategy = spec.updateStrategy ?? {};
  if (strategy.type === "RollingUpdate") {
    const rolling = strategy.rollingUpdate ?? {};
    const path = "spec.updateStrategy.rollingUpdate";
    checkIntOrPercent(errors, `${path}.maxUnavailable`, rolling.maxUnavailable);
    checkIntOrPercent(errors, `${path}.maxSurge`, rolling.maxSurge);
    checkAtMost100Percent(errors, `${path}.maxUnavailable`, rolling.maxUnavailable);
    checkAtMost100Percent(errors, `${path}.maxSurge`, rolling.maxSurge);
    if (isZero(rolling.maxUnavailable) && isZero(rolling.maxSurge)) {
      errors.required(`${path}.maxUnavailable`, "cannot be 0 when maxSurge is 0");
    }
    if (!isZero(rolling.maxUnavailable) && !isZero(rolling.maxSurge)) {
      errors.invalid(`${path}.maxSurge`, rolling.maxSurge, "may not be set when maxUnavailable is non-zero");
    }
  } else if (strategy.type !== "OnDelete") {
    errors.notSupportedInOrder("spec.updateStrategy", strategy, ["RollingUpdate", "OnDelete"]);
  }
  return errors.list;
}

export function validateStatefulSet({ spec }: StatefulSet): FieldError[] {
  const errors = new Errors();
  if (spec) checkStatefulSet(errors, spec, true);
  return errors.list;
}

/** `isNew`: also what cannot change afterwards. */
function checkStatefulSet(errors: Errors, spec: StatefulSetSpec, isNew: boolean): void {
  const management = spec.podManagementPolicy ?? "";
  if (management === "") errors.required("spec.podManagementPolicy");
  else if (management !== "OrderedReady" && management !== "Parallel") {
    errors.invalid("spec.podManagementPolicy", management, "must be 'OrderedReady' or 'Parallel'");
  }
  checkStatefulUpdates(errors, spec);
  const retention = spec.persistentVolumeClaimRetentionPolicy;
  for (const field of ["whenDeleted", "whenScaled"] as const) {
    const path = `spec.persistentVolumeClaimRetentionPolicy.${field}`;
    const policy = retention?.[field] ?? "";
    if (policy !== "Retain" && policy !== "Delete") errors.notSupportedInOrder(path, policy, ["Retain", "Delete"]);
  }
  if (isNew) {
    for (const [index, claim] of (spec.volumeClaimTemplates ?? []).entries()) {
      checkClaimTemplate(errors, `spec.volumeClaimTemplates[${index}]`, { spec: claim.spec ?? {} });
    }
  }
  errors.nonNegative("spec.replicas", spec.replicas);
  errors.nonNegative("spec.minReadySeconds", spec.minReadySeconds);
  errors.nonNegative("spec.ordinals.start", spec.ordinals?.start);
  if (isNew && spec.serviceName) errors.label("spec.serviceName", spec.serviceName);
  checkTemplate(errors, spec.selector, withClaims(spec), { name: "statefulset", title: "StatefulSet" });
}

function checkStatefulUpdates(errors: Errors, spec: StatefulSetSpec): void {
  const path = "spec.updateStrategy";
  const { type, rollingUpdate } = spec.updateStrategy ?? {};
  if (!type) errors.required(path);
  else if (type === "OnDelete") {
    if (rollingUpdate) {
      errors.invalid(`${path}.rollingUpdate`, rollingUpdate, "only allowed for updateStrategy 'RollingUpdate'");
    }
  } else if (type !== "RollingUpdate") {
    errors.invalid(path, spec.updateStrategy, "must be 'RollingUpdate' or 'OnDelete'");
  } else errors.nonNegative(`${path}.rollingUpdate.partition`, rollingUpdate?.partition);
}

/** The template as its pods will be: each claim template stands in for a volume. */
function withClaims(spec: StatefulSetSpec): PodTemplateSpec {
  if (!spec.template?.spec) return spec.template;
  const claims = spec.volumeClaimTemplates ?? [];
  const { hostname: _, subdomain: __, ...pod } = spec.template.spec;
  const names = new Set(claims.map(({ metadata }) => metadata?.name ?? ""));
  const volumes: Volume[] = [...names].map((name) => ({ name, persistentVolumeClaim: { claimName: name } }));
  const others = (pod.volumes ?? []).filter(({ name }) => !names.has(name));
  return { ...spec.template, spec: { ...pod, volumes: [...volumes, ...others] } };
}

interface WithSelector {
  spec?: { selector?: LabelSelector };
  status?: object;
}

/** What selects the pods can never change; the counts of the status fit together. */
function validateSelected(
  most: string,
): (object: WithSelector, old: WithSelector, subresource?: string) => FieldError[] {
  return (object, old, subresource) => {
    const errors = new Errors();
    if (subresource === "status") checkCounts(errors, object.status ?? {}, old.status ?? {}, most);
    else if (subresource === undefined) {
      const { selector } = object.spec ?? {};
      errors.immutable("spec.selector", selector, sameJson(selector ?? null, old.spec?.selector ?? null));
    }
    return errors.list;
  };
}

export const validateDeploymentUpdate = validateSelected("readyReplicas");
export const validateReplicaSetUpdate = validateSelected("readyReplicas");
export const validateDaemonSetUpdate = validateSelected("");

const statefulSetFields = new Set([
  "replicas",
  "ordinals",
  "template",
  "updateStrategy",
  "revisionHistoryLimit",
  "persistentVolumeClaimRetentionPolicy",
  "minReadySeconds",
]);

export function validateStatefulSetUpdate(set: StatefulSet, old: StatefulSet, subresource?: string): FieldError[] {
  const errors = new Errors();
  if (subresource === "status") checkCounts(errors, set.status ?? {}, old.status ?? {}, "status.readyReplicas");
  if (subresource !== undefined) return errors.list;
  if (set.spec) checkStatefulSet(errors, set.spec, false);
  const fixed = (value: StatefulSetSpec | undefined) =>
    Object.fromEntries(Object.entries(value ?? {}).filter(([field]) => !statefulSetFields.has(field)));
  if (!deepEqual(fixed(set.spec), fixed(old.spec))) {
    const names = [...statefulSetFields].map((field) => `'${field}'`);
    const list = `${names.slice(0, -1).join(", ")} and ${names.at(-1)}`;
    errors.forbidden("spec", `updates to statefulset spec for fields other than ${list} are forbidden`);
  }
  return errors.list;
}

export function validateController({ spec }: ReplicationController): FieldError[] {
  const errors = new Errors();
  errors.nonNegative("spec.minReadySeconds", spec?.minReadySeconds);
  const selector = spec?.selector ?? {};
  if (Object.keys(selector).length === 0) errors.required("spec.selector");
  errors.nonNegative("spec.replicas", spec?.replicas);
  const template = spec?.template;
  if (!template) {
    errors.required("spec.template");
    return errors.list;
  }
  const labels = template.metadata?.labels;
  if (Object.entries(selector).some(([key, value]) => labels?.[key] !== value)) {
    errors.invalid("spec.template.metadata.labels", labels ?? null, "`selector` does not match template `labels`");
  }
  checkPodTemplate(errors, "spec.template", template);
  checkRunning(errors, template, { title: "ReplicationController" });
  return errors.list;
}

export function validateControllerUpdate(
  controller: ReplicationController,
  old: ReplicationController,
  subresource?: string,
): FieldError[] {
  const errors = new Errors();
  if (subresource === "status") checkCounts(errors, controller.status ?? {}, old.status ?? {}, "readyReplicas");
  return errors.list;
}

export function validatePodTemplate({ template }: PodTemplate): FieldError[] {
  const errors = new Errors();
  checkPodTemplate(errors, "template", template);
  return errors.list;
}

export function validateRevision({ data, revision }: ControllerRevision): FieldError[] {
  const errors = new Errors();
  errors.nonNegative("revision", revision);
  if (data === undefined || data === null) errors.required("data", "data is mandatory");
  else if (typeof data !== "object" || Array.isArray(data)) {
    errors.required("data", "data must be a valid JSON object");
  }
  return errors.list;
}

export function validateRevisionUpdate(revision: ControllerRevision, old: ControllerRevision): FieldError[] {
  const errors = new Errors();
  errors.nonNegative("revision", revision.revision);
  errors.immutable("data", revision.data ?? null, sameJson(revision.data ?? null, old.data ?? null));
  return errors.list;
}
