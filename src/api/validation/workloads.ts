import { dns1123Label } from "../../machinery/names.ts";
import type { FieldError } from "../../machinery/status.ts";
import type { DaemonSet, Deployment, ReplicaSet, StatefulSet, StatefulSetSpec } from "../generated/apps-v1.ts";
import type { PodTemplateSpec, Volume } from "../generated/core-v1.ts";
import type { LabelSelector } from "../generated/meta-v1.ts";
import { sameJson } from "../strategy.ts";
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

/** The selector and the template that it must match. `owner` is the word that Kubernetes' texts use for the kind. */
function checkTemplate(
  errors: Errors,
  selector: LabelSelector | undefined,
  template: PodTemplateSpec | undefined,
  owner: { name: string; title: string },
): void {
  if (!selector) errors.required("spec.selector");
  else {
    checkLabelSelector(errors, "spec.selector", selector);
    if (isEmptySelector(selector)) {
      errors.invalid("spec.selector", selector, `empty selector is invalid for ${owner.name}`);
    }
    const labels = template?.metadata?.labels ?? {};
    if (!isEmptySelector(selector) && trySelector(selector)?.matches(labels) === false) {
      errors.invalid("spec.template.metadata.labels", labels, "`selector` does not match template `labels`");
    }
  }
  checkPodTemplate(errors, "spec.template", template);
  const restartPolicy = template?.spec?.restartPolicy;
  if (restartPolicy && restartPolicy !== "Always") {
    errors.notSupported("spec.template.spec.restartPolicy", restartPolicy, ["Always"]);
  }
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
    if (isZero(rolling.maxUnavailable) && isZero(rolling.maxSurge)) {
      errors.required(`${path}.maxUnavailable`, "cannot be 0 when maxSurge is 0");
    }
    if (!isZero(rolling.maxUnavailable) && !isZero(rolling.maxSurge)) {
      errors.invalid(`${path}.maxSurge`, rolling.maxSurge, "may not be set when maxUnavailable is non-zero");
    }
  } else if (strategy.type !== "OnDelete") {
    errors.notSupported("spec.updateStrategy.type", strategy.type, ["OnDelete", "RollingUpdate"]);
  }
  return errors.list;
}

export function validateStatefulSet({ spec }: StatefulSet): FieldError[] {
  const errors = new Errors();
  if (!spec) return errors.list;
  if (!["OrderedReady", "Parallel"].includes(spec.podManagementPolicy ?? "")) {
    errors.invalid("spec.podManagementPolicy", spec.podManagementPolicy, "must be 'OrderedReady' or 'Parallel'");
  }
  const { type, rollingUpdate } = spec.updateStrategy ?? {};
  if (type === "OnDelete") {
    if (rollingUpdate) {
      errors.invalid(
        "spec.updateStrategy.rollingUpdate",
        rollingUpdate,
        "only allowed for updateStrategy 'RollingUpdate'",
      );
    }
  } else if (type === "RollingUpdate") {
    errors.nonNegative("spec.updateStrategy.rollingUpdate.partition", rollingUpdate?.partition);
  } else {
    errors.invalid("spec.updateStrategy", spec.updateStrategy, "must be 'RollingUpdate' or 'OnDelete'");
  }
  const retention = spec.persistentVolumeClaimRetentionPolicy ?? {};
  const policies = ["Delete", "Retain"];
  const path = "spec.persistentVolumeClaimRetentionPolicy";
  if (!policies.includes(retention.whenScaled ?? "")) {
    errors.notSupported(`${path}.whenScaled`, retention.whenScaled, policies);
  }
  if (!policies.includes(retention.whenDeleted ?? "")) {
    errors.notSupported(`${path}.whenDeleted`, retention.whenDeleted, policies);
  }
  errors.nonNegative("spec.replicas", spec.replicas);
  errors.nonNegative("spec.minReadySeconds", spec.minReadySeconds);
  errors.nonNegative("spec.ordinals.start", spec.ordinals?.start);
  if (spec.serviceName) errors.messages("spec.serviceName", spec.serviceName, dns1123Label(spec.serviceName));
  checkTemplate(errors, spec.selector, withClaims(spec), { name: "statefulset", title: "StatefulSet" });
  return errors.list;
}

/** The template as its pods will be: each claim template stands in for a volume. */
function withClaims(spec: StatefulSetSpec): PodTemplateSpec {
  const claims = spec.volumeClaimTemplates ?? [];
  if (claims.length === 0 || !spec.template?.spec) return spec.template;
  const names = new Set(claims.map(({ metadata }) => metadata?.name ?? ""));
  const volumes: Volume[] = [...names].map((name) => ({ name, persistentVolumeClaim: { claimName: `${name}-0` } }));
  const others = (spec.template.spec.volumes ?? []).filter(({ name }) => !names.has(name));
  return { ...spec.template, spec: { ...spec.template.spec, volumes: [...volumes, ...others] } };
}

interface WithSelector {
  spec?: { selector?: LabelSelector };
}

/** What selects the pods can never change. */
export function validateSelectorUpdate(object: WithSelector, old: WithSelector): FieldError[] {
  const errors = new Errors();
  const { selector } = object.spec ?? {};
  errors.immutable("spec.selector", selector, sameJson(selector ?? null, old.spec?.selector ?? null));
  return errors.list;
}

const statefulSetFields = new Set([
  "replicas",
  "ordinals",
  "template",
  "updateStrategy",
  "revisionHistoryLimit",
  "persistentVolumeClaimRetentionPolicy",
  "minReadySeconds",
]);

export function validateStatefulSetUpdate({ spec }: StatefulSet, old: StatefulSet): FieldError[] {
  const errors = new Errors();
  const fixed = (value: StatefulSetSpec | undefined) =>
    Object.fromEntries(Object.entries(value ?? {}).filter(([field]) => !statefulSetFields.has(field)));
  if (!sameJson(fixed(spec), fixed(old.spec))) {
    const names = [...statefulSetFields].map((field) => `'${field}'`);
    const list = `${names.slice(0, -1).join(", ")} and ${names.at(-1)}`;
    errors.forbidden("spec", `updates to statefulset spec for fields other than ${list} are forbidden`);
  }
  return errors.list;
}
