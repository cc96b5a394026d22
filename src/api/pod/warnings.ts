/** What a client should know of a pod, or of a template, that is taken all the same. */
import { deepEqual } from "../../machinery/equality.ts";
import { dns1123Label, labelValue } from "../../machinery/names.ts";
import type { KubeObject } from "../../machinery/object.ts";
import { parseQuantity } from "../../machinery/quantity.ts";
import type {
  Container,
  ContainerPort,
  EphemeralContainer,
  NodeSelectorTerm,
  PersistentVolumeClaimSpec,
  Pod,
  PodSpec,
  PodTemplateSpec,
} from "../generated/core-v1.ts";
import { eachContainer } from "../validation/container.ts";
import { ipWarnings } from "../validation/ip.ts";
import { appArmorContainer, seccompContainer, seccompPod } from "../validation/pod-annotations.ts";
import { appArmorOf } from "./app-armor.ts";
import { overlapWarnings } from "./path-overlaps.ts";

type Annotations = Readonly<Record<string, string>>;

/** Warnings of a new pod. */
export function podWarnings(pod: Pod): string[] {
  return [
    ...nameWarnings(pod, "the Pod's hostname"),
    ...specWarnings("", pod.spec ?? { containers: [] }, pod.metadata.annotations ?? {}, false),
  ];
}

/** Warnings of a template at `path` ("spec.template"). */
export function templateWarnings(path: string, template: PodTemplateSpec | undefined): string[] {
  return specWarnings(`${path}.`, template?.spec ?? { containers: [] }, template?.metadata?.annotations ?? {}, true);
}

/** `use`: where the name will appear. */
export function nameWarnings({ metadata }: KubeObject, use = "Pod names and hostnames"): string[] {
  const messages = dns1123Label(metadata.name ?? "");
  if (messages.length === 0) return [];
  const text = "which can result in surprising behavior; a DNS label is recommended";
  return [`metadata.name: this is used in ${use}, ${text}: [${messages.join(" ")}]`];
}

const deprecatedLabels: Readonly<Record<string, string>> = {
  "beta.kubernetes.io/arch": 'deprecated since v1.14; use "kubernetes.io/arch" instead',
  "beta.kubernetes.io/os": 'deprecated since v1.14; use "kubernetes.io/os" instead',
  "failure-domain.beta.kubernetes.io/region": 'deprecated since v1.17; use "topology.kubernetes.io/region" instead',
  "failure-domain.beta.kubernetes.io/zone": 'deprecated since v1.17; use "topology.kubernetes.io/zone" instead',
  "beta.kubernetes.io/instance-type": 'deprecated since v1.17; use "node.kubernetes.io/instance-type" instead',
  "app.kubernetes.io/created-by": "deprecated since v1.9",
  "scheduler.alpha.kubernetes.io/preferAvoidPods": "deprecated since v1.22; use Taints and Tolerations instead",
  "node-role.kubernetes.io/master": 'use "node-role.kubernetes.io/control-plane" instead',
};

/** Why a label of nodes should not be used any more; undefined when it may. */
export function deprecatedLabel(key: string): string | undefined {
  return Object.hasOwn(deprecatedLabels, key) ? deprecatedLabels[key] : undefined;
}

/** `checkValues`: values that no label can have are worth a word, where they are not refused. */
export function nodeTermWarnings(at: string, term: NodeSelectorTerm, checkValues: boolean): string[] {
  return (term.matchExpressions ?? []).flatMap(({ key, values }, index) => {
    const path = `${at}.matchExpressions[${index}]`;
    const reason = deprecatedLabel(key);
    const warnings = reason ? [`${path}.key: ${key} is ${reason}`] : [];
    if (!checkValues) return warnings;
    for (const [place, value] of (values ?? []).entries()) {
      warnings.push(...labelValue(value).map((text) => `${path}.values[${place}]: ${value} is invalid, ${text}`));
    }
    return warnings;
  });
}

const deadAnnotations: Readonly<Record<string, string>> = {
  "scheduler.alpha.kubernetes.io/critical-pod": 'non-functional in v1.16+; use the "priorityClassName" field instead',
  "security.alpha.kubernetes.io/sysctls": 'non-functional in v1.11+; use the "sysctls" field instead',
  "security.alpha.kubernetes.io/unsafe-sysctls": 'non-functional in v1.11+; use the "sysctls" field instead',
};

const deadVolumes: Readonly<Record<string, string>> = {
  photonPersistentDisk: "photonPersistentDisk: deprecated in v1.11, non-functional in v1.16+",
  gitRepo: "gitRepo: deprecated in v1.11, and disabled by default in v1.33+",
  scaleIO: "scaleIO: deprecated in v1.16, non-functional in v1.22+",
  flocker: "flocker: deprecated in v1.22, non-functional in v1.25+",
  storageos: "storageOS: deprecated in v1.22, non-functional in v1.25+",
  quobyte: "quobyte: deprecated in v1.22, non-functional in v1.25+",
  glusterfs: "glusterfs: deprecated in v1.25, non-functional in v1.26+",
  cephfs: "cephfs: deprecated in v1.28, non-functional in v1.31+",
  rbd: "rbd: deprecated in v1.28, non-functional in v1.31+",
};

function specWarnings(path: string, spec: PodSpec, annotations: Annotations, ofTemplate: boolean): string[] {
  const at = `${path}spec`;
  return [
    ...placementWarnings(at, spec),
    ...annotationWarnings(path, spec, annotations),
    ...volumeWarnings(at, spec),
    ...repeatedWarnings(at, spec),
    ...fractionWarnings(`${at}.overhead`, spec.overhead),
    ...containerWarnings(path, at, spec, annotations, ofTemplate),
    ...portWarnings(at, spec),
    ...((spec.terminationGracePeriodSeconds ?? 0) < 0
      ? [`${at}.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1`]
      : []),
    ...selectorWarnings(`${at}.affinity`, spec),
    ...(spec.dnsConfig?.nameservers ?? []).flatMap((ip, index) =>
      ipWarnings(`${at}.dnsConfig.nameservers[${index}]`, ip),
    ),
    ...(spec.hostAliases ?? []).flatMap(({ ip }, index) => ipWarnings(`${at}.hostAliases[${index}].ip`, ip)),
  ];
}

function placementWarnings(at: string, spec: PodSpec): string[] {
  const warnings: string[] = [];
  for (const key of Object.keys(spec.nodeSelector ?? {})) {
    const reason = deprecatedLabel(key);
    if (reason) warnings.push(`${at}.nodeSelector[${key}]: ${reason}`);
  }
  const affinity = spec.affinity?.nodeAffinity;
  const required = "requiredDuringSchedulingIgnoredDuringExecution";
  const preferred = "preferredDuringSchedulingIgnoredDuringExecution";
  for (const [index, term] of (affinity?.[required]?.nodeSelectorTerms ?? []).entries()) {
    const path = `${at}.affinity.nodeAffinity.${required}.nodeSelectorTerms[${index}]`;
    warnings.push(...nodeTermWarnings(path, term, false));
  }
  for (const [index, term] of (affinity?.[preferred] ?? []).entries()) {
    const path = `${at}.affinity.nodeAffinity.${preferred}[${index}].preference`;
    warnings.push(...nodeTermWarnings(path, term.preference, true));
  }
  for (const [index, { topologyKey, labelSelector }] of (spec.topologySpreadConstraints ?? []).entries()) {
    const path = `${at}.topologySpreadConstraints[${index}]`;
    const reason = deprecatedLabel(topologyKey);
    if (reason) warnings.push(`${path}.topologyKey: ${topologyKey} is ${reason}`);
    if (!labelSelector) warnings.push(`${path}.labelSelector: ${matchesNothing}`);
  }
  return warnings;
}

const matchesNothing = "a null labelSelector results in matching no pod";

function selectorWarnings(at: string, { affinity }: PodSpec): string[] {
  const warnings: string[] = [];
  for (const field of ["podAffinity", "podAntiAffinity"] as const) {
    const terms = affinity?.[field];
    for (const [index, term] of (terms?.requiredDuringSchedulingIgnoredDuringExecution ?? []).entries()) {
      const path = `${at}.${field}.requiredDuringSchedulingIgnoredDuringExecution[${index}].labelSelector`;
      if (!term.labelSelector) warnings.push(`${path}: ${matchesNothing}`);
    }
    for (const [index, term] of (terms?.preferredDuringSchedulingIgnoredDuringExecution ?? []).entries()) {
      const path = `${at}.${field}.preferredDuringSchedulingIgnoredDuringExecution[${index}].podAffinityTerm`;
      if (!term.podAffinityTerm.labelSelector) warnings.push(`${path}.labelSelector: ${matchesNothing}`);
    }
  }
  return warnings;
}

const useSeccompField = 'non-functional in v1.27+; use the "seccompProfile" field instead';

function annotationWarnings(path: string, spec: PodSpec, annotations: Annotations): string[] {
  const warnings = Object.entries(deadAnnotations)
    .filter(([key]) => annotations[key] !== undefined)
    .map(([key, text]) => `${path}metadata.annotations[${key}]: ${text}`);
  if (annotations[seccompPod] !== undefined && !spec.securityContext?.seccompProfile) {
    warnings.push(`${path}metadata.annotations[${seccompPod}]: ${useSeccompField}`);
  }
  return warnings;
}

function volumeWarnings(at: string, spec: PodSpec): string[] {
  const warnings: string[] = [];
  for (const [index, volume] of (spec.volumes ?? []).entries()) {
    const path = `${at}.volumes[${index}]`;
    for (const field of Object.keys(volume)) {
      const text = Object.hasOwn(deadVolumes, field) ? deadVolumes[field] : undefined;
      if (text) warnings.push(`${path}.${text}`);
    }
    const template = volume.ephemeral?.volumeClaimTemplate;
    if (template) warnings.push(...claimWarnings(`${path}.ephemeral.volumeClaimTemplate.spec`, template.spec));
  }
  return [...warnings, ...overlapWarnings(spec.volumes ?? [])];
}

/** Sizes of claims are whole bytes. */
export function claimWarnings(at: string, spec: PersistentVolumeClaimSpec | undefined): string[] {
  return (["requests", "limits"] as const).flatMap((field) => {
    const path = `${at}.resources.${field}[storage]`;
    return fractionWarning(path, spec?.resources?.[field]?.["storage"]);
  });
}

function fractionWarning(path: string, quantity: string | undefined): string[] {
  if (quantity === undefined || parseQuantity(quantity).toMilli() % 1000 === 0) return [];
  return [`${path}: fractional byte value ${JSON.stringify(quantity)} is invalid, must be an integer`];
}

function fractionWarnings(path: string, amounts: Readonly<Record<string, string>> | undefined): string[] {
  if (!amounts) return [];
  return ["memory", "ephemeral-storage"].flatMap((name) => fractionWarning(`${path}[${name}]`, amounts[name]));
}

function repeatedWarnings(at: string, spec: PodSpec): string[] {
  const warnings: string[] = [];
  const addresses = new Set<string>();
  for (const [index, { ip }] of (spec.hostAliases ?? []).entries()) {
    if (addresses.has(ip)) warnings.push(`${at}.hostAliases[${index}].ip: duplicate ip ${JSON.stringify(ip)}`);
    addresses.add(ip);
  }
  const secrets = new Set<string>();
  for (const [index, { name = "" }] of (spec.imagePullSecrets ?? []).entries()) {
    const path = `${at}.imagePullSecrets[${index}].name`;
    if (secrets.has(name)) warnings.push(`${path}: duplicate name ${JSON.stringify(name)}`);
    if (name === "") warnings.push(`${path}: invalid empty name ""`);
    secrets.add(name);
  }
  return warnings;
}

function containerWarnings(
  path: string,
  at: string,
  spec: PodSpec,
  annotations: Annotations,
  ofTemplate: boolean,
): string[] {
  const warnings: string[] = [];
  for (const [container, where] of eachContainer(spec, at)) {
    const security = container.securityContext;
    const seccomp = `${seccompContainer}${container.name}`;
    if (!security?.seccompProfile && annotations[seccomp] !== undefined) {
      warnings.push(`${path}metadata.annotations[${seccomp}]: ${useSeccompField}`);
    }
    warnings.push(...appArmorWarnings(path, container, spec, annotations, ofTemplate));
    for (const field of ["limits", "requests"] as const) {
      warnings.push(...fractionWarnings(`${where}.resources.${field}`, container.resources?.[field]));
    }
    warnings.push(...envWarnings(where, container));
  }
  return warnings;
}

/** A pod's own annotations were turned into fields before this looks at them. */
function appArmorWarnings(
  path: string,
  container: Container | EphemeralContainer,
  spec: PodSpec,
  annotations: Annotations,
  ofTemplate: boolean,
): string[] {
  const key = `${appArmorContainer}${container.name}`;
  const annotation = annotations[key];
  if (annotation === undefined) return [];
  const own = container.securityContext?.appArmorProfile;
  const said = appArmorOf(annotation);
  const ofPod = spec.securityContext?.appArmorProfile;
  const fine = ofTemplate ? own || (ofPod && deepEqual(ofPod, said)) : said && !own;
  if (fine) return [];
  return [`${path}metadata.annotations[${key}]: deprecated since v1.30; use the "appArmorProfile" field instead`];
}

function envWarnings(at: string, { env = [] }: Container | EphemeralContainer): string[] {
  const names = new Set<string>();
  return env.flatMap(({ name, value = "", valueFrom }, index) => {
    const repeated = names.has(name);
    names.add(name);
    const reference = `$(${name})`;
    // A value that is made of the one before does not hide it.
    if (!repeated || (!valueFrom && value !== reference && value.includes(reference))) return [];
    const text = "which may be dropped when using apply";
    return [`${at}.env[${index}]: hides previous definition of ${JSON.stringify(name)}, ${text}`];
  });
}

/** A port as Go prints a struct. */
function printedPort({ name = "", hostPort = 0, containerPort, protocol, hostIP = "" }: ContainerPort): string {
  return `{Name:${name} HostPort:${hostPort} ContainerPort:${containerPort} Protocol:${protocol} HostIP:${hostIP}}`;
}

function portWarnings(at: string, spec: PodSpec): string[] {
  const warnings: string[] = [];
  const all = new Map<string, { path: string; port: ContainerPort }[]>();
  for (const [container, where] of eachContainer(spec, at)) {
    for (const [index, port] of (container.ports ?? []).entries()) {
      const path = `${where}.ports[${index}]`;
      if (port.hostIP && !port.hostPort) warnings.push(`${path}: hostIP set without hostPort: ${printedPort(port)}`);
      const key = `${port.containerPort}/${port.protocol}`;
      const others = all.get(key) ?? [];
      for (const other of others) {
        const word = clash(port, other.port);
        if (word) warnings.push(`${path}: ${word} port definition with ${other.path}`);
      }
      all.set(key, [...others, { path, port }]);
    }
  }
  const names = new Map<string, string>();
  for (const [container, where] of eachContainer(spec, at)) {
    for (const [index, { name }] of (container.ports ?? []).entries()) {
      if (!name) continue;
      const path = `${where}.ports[${index}]`;
      const other = names.get(name);
      if (!other) names.set(name, path);
      else {
        const text = `services and probes that select ports by name will use ${other}`;
        warnings.push(`${path}: duplicate port name ${JSON.stringify(name)} with ${other}, ${text}`);
      }
    }
  }
  return warnings;
}

/** How two definitions of one port get in each other's way. */
function clash(a: ContainerPort, b: ContainerPort): string | undefined {
  const [hostA, hostB] = [a.hostPort ?? 0, b.hostPort ?? 0];
  const [ipA, ipB] = [a.hostIP ?? "", b.hostIP ?? ""];
  if (hostA === hostB && ipA === ipB) return "duplicate";
  if (hostA === 0 || hostB === 0) return "overlapping";
  return hostA === hostB && (ipA === "") !== (ipB === "") ? "dangerously ambiguous" : undefined;
}
