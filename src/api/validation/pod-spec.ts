import { dns1123Label, dns1123Subdomain, inRange, labelValue, qualifiedName, userId } from "../../machinery/names.ts";
import type { FieldError } from "../../machinery/status.ts";
import type { Pod, PodSpec, PodTemplateSpec, Toleration } from "../generated/core-v1.ts";
import { sameJson } from "../strategy.ts";
import { checkContainers, checkProfile } from "./container.ts";
import { Errors } from "./errors.ts";
import { checkLabelSelector, checkLabels } from "./labels.ts";
import { checkVolumes } from "./volume.ts";

const maxInt32 = 2_147_483_647;

/** The violations of a new pod. */
export function validatePod(pod: Pod): FieldError[] {
  const errors = new Errors();
  checkPodSpec(errors, "spec", pod.spec ?? { containers: [] });
  return errors.list;
}

export function checkPodTemplate(errors: Errors, path: string, template: PodTemplateSpec | undefined): void {
  checkLabels(errors, `${path}.metadata.labels`, template?.metadata?.labels);
  for (const key of Object.keys(template?.metadata?.annotations ?? {})) {
    errors.messages(`${path}.metadata.annotations`, key, qualifiedName(key.toLowerCase()));
  }
  checkPodSpec(errors, `${path}.spec`, template?.spec ?? { containers: [] });
  if (template?.spec?.ephemeralContainers?.length) {
    errors.forbidden(`${path}.spec.ephemeralContainers`, "ephemeral containers not allowed in pod template");
  }
}

function checkPodSpec(errors: Errors, path: string, spec: PodSpec): void {
  checkVolumes(errors, `${path}.volumes`, spec);
  checkContainers(errors, path, spec);
  checkHostNetwork(errors, path, spec);
  errors.oneOf(`${path}.restartPolicy`, spec.restartPolicy, ["Always", "Never", "OnFailure"]);
  errors.oneOf(`${path}.dnsPolicy`, spec.dnsPolicy, ["ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"]);
  checkLabels(errors, `${path}.nodeSelector`, spec.nodeSelector);
  checkPodSecurity(errors, `${path}.securityContext`, spec);
  checkDns(errors, `${path}.dnsConfig`, spec);
  checkAffinity(errors, `${path}.affinity`, spec);
  checkSpreading(errors, `${path}.topologySpreadConstraints`, spec);
  checkTolerations(errors, `${path}.tolerations`, spec.tolerations ?? []);
  checkGates(errors, `${path}.schedulingGates`, spec);
  for (const field of ["serviceAccountName", "nodeName", "priorityClassName", "runtimeClassName"] as const) {
    const name = spec[field];
    if (name) errors.messages(`${path}.${field}`, name, dns1123Subdomain(name));
  }
  for (const field of ["hostname", "subdomain"] as const) {
    const name = spec[field];
    if (name) errors.messages(`${path}.${field}`, name, dns1123Label(name));
  }
  if (spec.activeDeadlineSeconds !== undefined) {
    errors.messages(
      `${path}.activeDeadlineSeconds`,
      spec.activeDeadlineSeconds,
      inRange(spec.activeDeadlineSeconds, 1, maxInt32),
    );
  }
  errors.optionalOneOf(`${path}.preemptionPolicy`, spec.preemptionPolicy, ["Never", "PreemptLowerPriority"]);
  for (const [index, alias] of (spec.hostAliases ?? []).entries()) {
    for (const [place, name] of (alias.hostnames ?? []).entries()) {
      errors.messages(`${path}.hostAliases[${index}].hostnames[${place}]`, name, dns1123Subdomain(name));
    }
  }
}

/** With the host's network, a container's port is the host's port. */
function checkHostNetwork(errors: Errors, path: string, spec: PodSpec): void {
  if (!spec.hostNetwork) return;
  for (const [index, container] of (spec.containers ?? []).entries()) {
    for (const [place, port] of (container.ports ?? []).entries()) {
      if (port.hostPort !== port.containerPort) {
        const at = `${path}.containers[${index}].ports[${place}].hostPort`;
        errors.invalid(at, port.hostPort ?? 0, "must match `containerPort` when `hostNetwork` is true");
      }
    }
  }
}

function checkPodSecurity(errors: Errors, path: string, spec: PodSpec): void {
  const security = spec.securityContext ?? {};
  for (const field of ["fsGroup", "runAsUser", "runAsGroup"] as const) {
    const id = security[field];
    if (id !== undefined) errors.messages(`${path}.${field}`, id, userId(id));
  }
  for (const [index, id] of (security.supplementalGroups ?? []).entries()) {
    errors.messages(`${path}.supplementalGroups[${index}]`, id, userId(id));
  }
  if (spec.shareProcessNamespace && spec.hostPID) {
    const text = "ShareProcessNamespace and HostPID cannot both be enabled";
    errors.invalid(`${path}.shareProcessNamespace`, true, text);
  }
  errors.optionalOneOf(`${path}.fsGroupChangePolicy`, security.fsGroupChangePolicy, ["Always", "OnRootMismatch"]);
  checkProfile(errors, `${path}.seccompProfile`, security.seccompProfile);
  checkProfile(errors, `${path}.appArmorProfile`, security.appArmorProfile);
}

function checkDns(errors: Errors, path: string, spec: PodSpec): void {
  if (spec.dnsPolicy !== "None") return;
  if (!spec.dnsConfig) errors.required(path, "must provide `dnsConfig` when `dnsPolicy` is None");
  else if (!spec.dnsConfig.nameservers?.length) {
    errors.required(`${path}.nameservers`, "must provide at least one DNS nameserver when `dnsPolicy` is None");
  }
}

const nodeOperators = ["DoesNotExist", "Exists", "Gt", "In", "Lt", "NotIn"];

function checkAffinity(errors: Errors, path: string, { affinity }: PodSpec): void {
  const node = affinity?.nodeAffinity;
  const required = node?.requiredDuringSchedulingIgnoredDuringExecution;
  if (required) {
    const at = `${path}.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms`;
    if (!required.nodeSelectorTerms?.length) errors.required(at, "must have at least one node selector term");
    for (const [index, term] of (required.nodeSelectorTerms ?? []).entries()) {
      for (const [place, { key, operator, values }] of (term.matchExpressions ?? []).entries()) {
        const expression = `${at}[${index}].matchExpressions[${place}]`;
        errors.messages(`${expression}.key`, key, qualifiedName(key));
        if (!nodeOperators.includes(operator)) {
          errors.invalid(`${expression}.operator`, operator, "not a valid selector operator");
        } else if ((operator === "In" || operator === "NotIn") && !values?.length) {
          errors.required(`${expression}.values`, "must be specified when `operator` is 'In' or 'NotIn'");
        }
      }
    }
  }
  for (const field of ["podAffinity", "podAntiAffinity"] as const) {
    const terms = affinity?.[field];
    for (const [index, term] of (terms?.requiredDuringSchedulingIgnoredDuringExecution ?? []).entries()) {
      const at = `${path}.${field}.requiredDuringSchedulingIgnoredDuringExecution[${index}]`;
      checkPodTerm(errors, at, term);
    }
    for (const [index, weighted] of (terms?.preferredDuringSchedulingIgnoredDuringExecution ?? []).entries()) {
      const at = `${path}.${field}.preferredDuringSchedulingIgnoredDuringExecution[${index}]`;
      if (weighted.weight < 1 || weighted.weight > 100) {
        errors.invalid(`${at}.weight`, weighted.weight, "must be in the range 1-100");
      }
      checkPodTerm(errors, `${at}.podAffinityTerm`, weighted.podAffinityTerm);
    }
  }
}

function checkPodTerm(errors: Errors, at: string, term: { topologyKey: string; labelSelector?: object }): void {
  checkLabelSelector(errors, `${at}.labelSelector`, term.labelSelector);
  if (!term.topologyKey) errors.required(`${at}.topologyKey`, "can not be empty");
  else errors.messages(`${at}.topologyKey`, term.topologyKey, qualifiedName(term.topologyKey));
}

function checkSpreading(errors: Errors, path: string, spec: PodSpec): void {
  const seen = new Set<string>();
  for (const [index, constraint] of (spec.topologySpreadConstraints ?? []).entries()) {
    const at = `${path}[${index}]`;
    if (constraint.maxSkew <= 0) errors.invalid(`${at}.maxSkew`, constraint.maxSkew, "must be greater than zero");
    if (!constraint.topologyKey) errors.required(`${at}.topologyKey`, "can not be empty");
    if (!["DoNotSchedule", "ScheduleAnyway"].includes(constraint.whenUnsatisfiable)) {
      const supported = ["DoNotSchedule", "ScheduleAnyway"];
      errors.notSupported(`${at}.whenUnsatisfiable`, constraint.whenUnsatisfiable, supported);
    }
    const key = `{${constraint.topologyKey}, ${constraint.whenUnsatisfiable}}`;
    if (seen.has(key)) errors.duplicate(`${at}.{topologyKey, whenUnsatisfiable}`, key);
    seen.add(key);
    checkLabelSelector(errors, `${at}.labelSelector`, constraint.labelSelector);
  }
}

const taintEffects = ["NoExecute", "NoSchedule", "PreferNoSchedule"];

function checkTolerations(errors: Errors, path: string, tolerations: readonly Toleration[]): void {
  for (const [index, toleration] of tolerations.entries()) {
    const at = `${path}[${index}]`;
    const { key, operator, value, effect, tolerationSeconds } = toleration;
    if (key) errors.messages(`${at}.key`, key, qualifiedName(key));
    if (!key && operator !== "Exists") {
      const text = 'operator must be Exists when `key` is empty, which means "match all values and all keys"';
      errors.invalid(`${at}.operator`, operator ?? "", text);
    }
    if (tolerationSeconds !== undefined && effect !== "NoExecute") {
      errors.invalid(`${at}.effect`, effect ?? "", "effect must be 'NoExecute' when `tolerationSeconds` is set");
    }
    if (!operator || operator === "Equal") {
      const messages = labelValue(value ?? "");
      if (messages.length > 0) errors.invalid(`${at}.operator`, value, messages.join(";"));
    } else if (operator === "Exists") {
      if (value) errors.invalid(`${at}.operator`, value, "value must be empty when `operator` is 'Exists'");
    } else {
      errors.notSupported(`${at}.operator`, operator, ["Equal", "Exists"]);
    }
    errors.optionalOneOf(`${at}.effect`, effect, taintEffects);
  }
}

function checkGates(errors: Errors, path: string, spec: PodSpec): void {
  const seen = new Set<string>();
  for (const [index, { name }] of (spec.schedulingGates ?? []).entries()) {
    errors.messages(`${path}[${index}]`, name, qualifiedName(name));
    if (seen.has(name)) errors.duplicate(`${path}[${index}]`, name);
    seen.add(name);
  }
}

const changeable = [
  "`spec.containers[*].image`",
  "`spec.initContainers[*].image`",
  "`spec.activeDeadlineSeconds`",
  "`spec.tolerations` (only additions to existing tolerations)",
  "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)",
];

/** What an update may not change. A binding, which sets the node, does not come here. */
export function validatePodUpdate(pod: Pod, old: Pod, subresource?: string): FieldError[] {
  if (subresource === "status") return [];
  if (subresource === "ephemeralcontainers") return validateEphemeralContainersUpdate(pod, old);
  const errors = new Errors();
  const spec = pod.spec!;
  const before = old.spec!;
  for (const field of ["containers", "initContainers"] as const) {
    if ((spec[field] ?? []).length !== (before[field] ?? []).length) {
      errors.forbidden(`spec.${field}`, "pod updates may not add or remove containers");
      return errors.list;
    }
  }
  const deadline = spec.activeDeadlineSeconds;
  const deadlineBefore = before.activeDeadlineSeconds;
  if (deadlineBefore !== undefined) {
    const path = "spec.activeDeadlineSeconds";
    if (deadline === undefined) errors.invalid(path, null, "must not update from a positive integer to nil value");
    else if (deadline > deadlineBefore) errors.invalid(path, deadline, "must be less than or equal to previous value");
  }
  const timeless = ({ tolerationSeconds: _, ...rest }: Toleration) => rest;
  const present = (spec.tolerations ?? []).map(timeless);
  if (!(before.tolerations ?? []).every((entry) => present.some((other) => sameJson(other, timeless(entry))))) {
    errors.forbidden("spec.tolerations", "existing toleration can not be modified except its tolerationSeconds");
  }
  if (!sameJson(fixedPart(spec, before), fixedPart(before, before))) {
    errors.forbidden("spec", `pod updates may not change fields other than ${changeable.join(",")}`);
  }
  return errors.list;
}

/** Ephemeral containers can only be added. */
function validateEphemeralContainersUpdate(pod: Pod, old: Pod): FieldError[] {
  const errors = new Errors();
  const path = "spec.ephemeralContainers";
  for (const before of old.spec?.ephemeralContainers ?? []) {
    const quoted = JSON.stringify(before.name);
    const found = pod.spec?.ephemeralContainers?.find(({ name }) => name === before.name);
    if (!found) errors.forbidden(path, `existing ephemeral containers ${quoted} may not be removed`);
    else if (!sameJson(found, before)) {
      errors.forbidden(path, `existing ephemeral containers ${quoted} may not be changed`);
    }
  }
  return errors.list;
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
  if ((before.terminationGracePeriodSeconds ?? 0) < 0 && spec.terminationGracePeriodSeconds === 1) {
    fixed.terminationGracePeriodSeconds = before.terminationGracePeriodSeconds!;
  }
  // Gated pods: gates go, and the place to run may be narrowed.
  if (before.schedulingGates?.length) {
    delete fixed.schedulingGates;
    delete fixed.nodeSelector;
    if (fixed.affinity) delete fixed.affinity.nodeAffinity;
    if (fixed.affinity && Object.keys(fixed.affinity).length === 0) delete fixed.affinity;
  }
  return fixed;
}
