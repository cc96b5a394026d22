/** New pods, and the templates of pods. */
import { dns1123SubdomainWithUnderscore, rangeMessage } from "../../machinery/names.ts";
import { parseQuantity } from "../../machinery/quantity.ts";
import type { FieldError } from "../../machinery/status.ts";
import type { Pod, PodSpec, PodTemplateSpec } from "../generated/core-v1.ts";
import { containerAmounts } from "../pod/container-amounts.ts";
import { checkContainers, checkImageText, eachContainer } from "./container.ts";
import { Errors } from "./errors.ts";
import { checkIp } from "./ip.ts";
import { checkAnnotations, checkLabels } from "./labels.ts";
import { checkAffinity, checkGates, checkSpreading, checkTolerations } from "./placement.ts";
import { checkPodAnnotations, checkProfilesMatch } from "./pod-annotations.ts";
import { isHugePage } from "./resource-names.ts";
import { checkPodResourceName, checkResources } from "./resources.ts";
import { checkPodSecurity } from "./security.ts";
import { checkVolumes } from "./volume.ts";
import { checkHostProcess, checkOs } from "./windows.ts";

const maxInt32 = 2_147_483_647;

/** The violations of a new pod. */
export function validatePod(pod: Pod): FieldError[] {
  const errors = new Errors();
  checkPod(errors, pod);
  const spec = pod.spec ?? { containers: [] };
  if (spec.ephemeralContainers?.length) errors.forbidden("spec.ephemeralContainers", "cannot be set on create");
  if (spec.nodeName && spec.schedulingGates?.length) {
    errors.forbidden("spec.nodeName", "cannot be set until all schedulingGates have been cleared");
  }
  checkProfilesMatch(errors, "spec", pod.metadata.annotations ?? {}, spec);
  return errors.list;
}

/** What holds for a pod at any time. */
export function checkPod(errors: Errors, pod: Pod): void {
  const spec = pod.spec ?? { containers: [] };
  checkPodAnnotations(errors, "metadata.annotations", pod.metadata.annotations ?? {}, spec);
  checkPodSpec(errors, "spec", spec, pod.metadata);
  if (!spec.serviceAccountName) checkNoTokens(errors, spec);
  for (const field of ["containers", "initContainers"] as const) {
    for (const [index, container] of (spec[field] ?? []).entries()) {
      checkImageText(errors, `spec.${field}[${index}]`, container);
    }
  }
}

/** Without an account there is nobody to have a token. */
function checkNoTokens(errors: Errors, spec: PodSpec): void {
  for (const [index, { projected }] of (spec.volumes ?? []).entries()) {
    for (const [place, source] of (projected?.sources ?? []).entries()) {
      if (!source.serviceAccountToken) continue;
      const path = `spec.volumes[${index}].projected.sources[${place}].serviceAccountToken`;
      errors.forbidden(path, "must not be specified when serviceAccountName is not set");
    }
  }
}

export function checkPodTemplate(errors: Errors, path: string, template: PodTemplateSpec | undefined): void {
  const spec = template?.spec ?? { containers: [] };
  const annotations = template?.metadata?.annotations ?? {};
  checkLabels(errors, `${path}.labels`, template?.metadata?.labels);
  checkAnnotations(errors, `${path}.annotations`, annotations);
  checkPodAnnotations(errors, `${path}.annotations`, annotations, spec);
  checkPodSpec(errors, `${path}.spec`, spec, undefined);
  checkProfilesMatch(errors, `${path}.spec`, annotations, spec);
  if (spec.ephemeralContainers?.length) {
    errors.forbidden(`${path}.spec.ephemeralContainers`, "ephemeral containers not allowed in pod template");
  }
}

const dnsPolicies = ["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];

/** `pod`: the metadata of a pod itself; a template has none that counts. */
function checkPodSpec(
  errors: Errors,
  path: string,
  spec: PodSpec,
  pod: { readonly name?: string; readonly annotations?: Readonly<Record<string, string>> } | undefined,
): void {
  if (spec.terminationGracePeriodSeconds === undefined) errors.required(`${path}.terminationGracePeriodSeconds`);
  const volumes = checkVolumes(errors, `${path}.volumes`, spec, pod);
  checkResourceClaims(errors, `${path}.resourceClaims`, spec, pod?.annotations);
  checkContainers(errors, path, spec, volumes);
  checkPodResources(errors, `${path}.resources`, spec);
  checkHostNetwork(errors, path, spec, pod !== undefined);
  errors.oneOfInOrder(`${path}.restartPolicy`, spec.restartPolicy, ["Always", "OnFailure", "Never"]);
  errors.oneOfInOrder(`${path}.dnsPolicy`, spec.dnsPolicy, dnsPolicies);
  checkLabels(errors, `${path}.nodeSelector`, spec.nodeSelector);
  checkPodSecurity(errors, `${path}.securityContext`, spec);
  checkAffinity(errors, `${path}.affinity`, spec);
  checkDns(errors, `${path}.dnsConfig`, spec);
  for (const [index, gate] of (spec.readinessGates ?? []).entries()) {
    errors.qualified(`${path}.readinessGates[${index}].conditionType`, gate.conditionType);
  }
  checkGates(errors, `${path}.schedulingGates`, spec.schedulingGates ?? []);
  checkSpreading(errors, `${path}.topologySpreadConstraints`, spec);
  checkHostProcess(errors, path, spec);
  checkHostUsers(errors, path, spec);
  checkHostname(errors, path, spec);
  for (const field of ["serviceAccountName", "nodeName"] as const) {
    const name = spec[field];
    if (name) errors.subdomain(`${path}.${field}`, name);
  }
  const deadline = spec.activeDeadlineSeconds;
  if (deadline !== undefined && (deadline < 1 || deadline > maxInt32)) {
    errors.invalid(`${path}.activeDeadlineSeconds`, deadline, rangeMessage(1, maxInt32));
  }
  for (const field of ["hostname", "subdomain"] as const) {
    const name = spec[field];
    if (name) errors.label(`${path}.${field}`, name);
  }
  checkTolerations(errors, `${path}.tolerations`, spec.tolerations ?? []);
  for (const [index, alias] of (spec.hostAliases ?? []).entries()) {
    checkIp(errors, `${path}.hostAliases[${index}].ip`, alias.ip);
    for (const [place, name] of (alias.hostnames ?? []).entries()) {
      errors.subdomain(`${path}.hostAliases[${index}].hostnames[${place}]`, name);
    }
  }
  if (spec.priorityClassName) errors.subdomain(`${path}.priorityClassName`, spec.priorityClassName);
  if (spec.runtimeClassName !== undefined) errors.subdomain(`${path}.runtimeClassName`, spec.runtimeClassName);
  if (spec.preemptionPolicy !== undefined) {
    errors.oneOfInOrder(`${path}.preemptionPolicy`, spec.preemptionPolicy, ["PreemptLowerPriority", "Never"]);
  }
  checkOverhead(errors, `${path}.overhead`, spec.overhead);
  checkOs(errors, path, spec);
  checkFileVolumes(errors, path, spec);
}

function checkResourceClaims(
  errors: Errors,
  path: string,
  spec: PodSpec,
  annotations: Readonly<Record<string, string>> | undefined,
): void {
  const names = new Set<string>();
  for (const [index, claim] of (spec.resourceClaims ?? []).entries()) {
    const at = `${path}[${index}]`;
    if (annotations?.["kubernetes.io/config.mirror"] !== undefined) {
      errors.forbidden("", "static pods do not support resource claims");
      continue;
    }
    if (!claim.name) errors.required(`${at}.name`);
    else if (names.has(claim.name)) errors.duplicate(`${at}.name`, claim.name);
    else errors.label(`${at}.name`, claim.name);
    names.add(claim.name);
    const { resourceClaimName: name, resourceClaimTemplateName: template } = claim;
    if (name !== undefined && template !== undefined) {
      errors.invalid(at, claim, "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified");
    }
    if (name === undefined && template === undefined) {
      errors.invalid(at, claim, "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`");
    }
    if (name !== undefined) errors.subdomain(`${at}.resourceClaimName`, name);
    if (template !== undefined) errors.subdomain(`${at}.resourceClaimTemplateName`, template);
  }
}

/** Requests and limits of the pod as a whole hold those of its containers. */
function checkPodResources(errors: Errors, path: string, spec: PodSpec): void {
  const { resources } = spec;
  if (!resources) return;
  if (spec.os?.name === "windows") {
    errors.forbidden(path, "may not be set for a windows pod");
    return;
  }
  if (resources.claims) errors.forbidden(`${path}.claims`, "claims may not be set for Resources at pod-level");
  checkResources(errors, path, resources, new Set(), checkPodResourceName);
  const exceeds = (a: string, b: string | undefined) =>
    b !== undefined && parseQuantity(a).compare(parseQuantity(b)) > 0;
  for (const [name, sum] of Object.entries(containerAmounts(spec, "requests"))) {
    const whole = resources.requests?.[name];
    if (!exceeds(sum, whole)) continue;
    const text = `must be greater than or equal to aggregate container requests of ${sum}`;
    errors.invalid(`${path}.requests[${name}]`, whole, text);
  }
  for (const [name, sum] of Object.entries(containerAmounts(spec, "limits"))) {
    const whole = resources.limits?.[name];
    if (!isHugePage(name) || !exceeds(sum, whole)) continue;
    const text = `must be greater than or equal to aggregate container limits of ${sum}`;
    errors.invalid(`${path}.limits[${name}]`, whole, text);
  }
  for (const [index, container] of (spec.containers ?? []).entries()) {
    for (const [name, limit] of Object.entries(container.resources?.limits ?? {})) {
      const whole = resources.limits?.[name];
      if (!exceeds(limit, whole)) continue;
      const text = `must be less than or equal to pod limits of ${whole}`;
      errors.invalid(`${path}.containers[${index}][${name}].limits`, limit, text);
    }
  }
}

/** With the host's network, a container's port is the host's port. */
function checkHostNetwork(errors: Errors, path: string, spec: PodSpec, ofPod: boolean): void {
  if (!spec.hostNetwork) return;
  for (const [index, container] of (spec.containers ?? []).entries()) {
    for (const [place, { hostPort = 0, containerPort }] of (container.ports ?? []).entries()) {
      if (hostPort === containerPort || (hostPort === 0 && !ofPod)) continue;
      const at = `${path}.containers[${index}].ports[${place}].hostPort`;
      errors.invalid(at, hostPort, "must match `containerPort` when `hostNetwork` is true");
    }
  }
}

const maxNameservers = 3;
const maxSearches = 32;
const maxSearchChars = 2048;

function checkDns(errors: Errors, path: string, { dnsPolicy, dnsConfig }: PodSpec): void {
  if (dnsPolicy === "None") {
    if (!dnsConfig) errors.required(path, "must provide `dnsConfig` when `dnsPolicy` is None");
    else if (!dnsConfig.nameservers?.length) {
      errors.required(`${path}.nameservers`, "must provide at least one DNS nameserver when `dnsPolicy` is None");
      return;
    }
  }
  if (!dnsConfig) return;
  const { nameservers = [], searches = [], options = [] } = dnsConfig;
  if (nameservers.length > maxNameservers) {
    errors.invalid(`${path}.nameservers`, nameservers, `must not have more than ${maxNameservers} nameservers`);
  }
  for (const [index, address] of nameservers.entries()) checkIp(errors, `${path}.nameservers[${index}]`, address);
  if (searches.length > maxSearches) {
    errors.invalid(`${path}.searches`, searches, `must not have more than ${maxSearches} search paths`);
  }
  if (Buffer.byteLength(searches.join(" ")) > maxSearchChars) {
    const text = `must not have more than ${maxSearchChars} characters (including spaces) in the search list`;
    errors.invalid(`${path}.searches`, searches, text);
  }
  for (const [index, search] of searches.entries()) {
    if (search === ".") continue;
    const name = search.replace(/\.$/, "");
    errors.messages(`${path}.searches[${index}]`, name, dns1123SubdomainWithUnderscore(name));
  }
  for (const [index, option] of options.entries()) {
    errors.present(`${path}.options[${index}]`, option.name, "must not be empty");
  }
}

/** A pod with users of its own cannot share what belongs to the host's users. */
function checkHostUsers(errors: Errors, path: string, spec: PodSpec): void {
  if (spec.hostUsers !== false) return;
  const text = "when `hostUsers` is false";
  if (spec.hostNetwork) errors.forbidden(`${path}.hostNetwork`, text);
  if (spec.hostPID) errors.forbidden(`${path}.HostPID`, text);
  if (spec.hostIPC) errors.forbidden(`${path}.HostIPC`, text);
  for (const [container, at] of eachContainer(spec, path)) {
    if (container.volumeDevices?.length) errors.forbidden(`${at}.volumeDevices`, text);
  }
}

const maxHostname = 64;

function checkHostname(errors: Errors, path: string, spec: PodSpec): void {
  const name = spec.hostnameOverride;
  if (name === undefined) return;
  const at = `${path}.hostnameOverride`;
  if (spec.setHostnameAsFQDN) errors.forbidden(at, "may not be specified when setHostnameAsFQDN is true");
  if (spec.hostNetwork) errors.forbidden(at, "may not be specified when hostNetwork is true");
  if (Buffer.byteLength(name) > maxHostname) errors.tooLong(at, maxHostname);
  errors.subdomain(at, name);
}

export function checkOverhead(errors: Errors, path: string, overhead: Readonly<Record<string, string>> = {}): void {
  checkResources(errors, path, { limits: { ...overhead } }, new Set());
}

/** Files with variables lie in volumes that live as long as the pod. */
function checkFileVolumes(errors: Errors, path: string, spec: PodSpec): void {
  for (const [container, at] of eachContainer(spec, path)) {
    for (const [index, variable] of (container.env ?? []).entries()) {
      const name = variable.valueFrom?.fileKeyRef?.volumeName;
      if (name === undefined) continue;
      const field = `${at}.env[${index}].valueFrom.fileKeyRef.volumeName`;
      const volume = spec.volumes?.findLast((one) => one.name === name);
      if (!volume) errors.notFound(field, name);
      else if (!volume.emptyDir) errors.invalid(field, name, "referenced volume must be of type emptyDir");
    }
  }
}
