import type { KubeObject } from "../../machinery/object.ts";
import { type Quantity, quantityOf } from "../../machinery/quantity.ts";
import type { Container, PersistentVolumeClaim, Pod, Service } from "../generated/core-v1.ts";
import type { ResourceClaim } from "../generated/resource-v1.ts";
import { type Amounts, addAmounts, podAmounts, readAmounts } from "./pod-usage.ts";
import type { Counted } from "./scopes.ts";

/**
 * What objects take of quotas. Admission and the controller that recounts have to agree to the last unit; so both count
 * by what stands here.
 */

/** Kinds of which quotas also count the objects under their plain name. */
const plainlyCounted = new Set(["configmaps", "resourcequotas", "replicationcontrollers", "secrets"]);
const computed = ["cpu", "memory", "ephemeral-storage"];
const podNames = new Set([
  "pods",
  "count/pods",
  ...computed,
  ...computed.map((name) => `requests.${name}`),
  ...computed.map((name) => `limits.${name}`),
]);
/** What every container must state when a quota limits it. */
const mustState = new Set(["cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory"]);
const serviceNames = new Set(["services", "services.nodeports", "services.loadbalancers"]);
const claimNames = ["persistentvolumeclaims", "requests.storage"];
const storageClassInfix = ".storageclass.storage.k8s.io/";
const deviceClassSuffix = ".deviceclass.resource.k8s.io/devices";
/** Devices that a claim for "all" of a class counts as: the most that one allocation can have. */
const mostDevices = 32;

/** "pods" or "deployments.apps": the name under which `count/<name>` limits a kind. */
export function countedName({ group, resource }: Counted): string {
  return group ? `${resource}.${group}` : resource;
}

/** Those of a quota's names that objects of a kind can take from. */
export function namesFor(counted: Counted, names: readonly string[]): string[] {
  const count = `count/${countedName(counted)}`;
  return names.filter((name) => name === count || isNameOf(counted, name));
}

function isNameOf({ group, resource }: Counted, name: string): boolean {
  if (group === "resource.k8s.io" && resource === "resourceclaims") return name.endsWith(deviceClassSuffix);
  if (group !== "") return false;
  switch (resource) {
    case "pods":
      return podNames.has(name) || /^(?:requests\.)?hugepages-/.test(name) || isExtended(name);
    case "services":
      return serviceNames.has(name);
    case "persistentvolumeclaims":
      return claimNames.some((one) => name === one || name.endsWith(`${storageClassInfix}${one}`));
    default:
      return plainlyCounted.has(resource) && name === resource;
  }
}

/** "requests.example.com/device": requests of resources that Kubernetes does not know itself. */
function isExtended(name: string): boolean {
  if (!name.startsWith("requests.")) return false;
  const plain = name.slice("requests.".length);
  return plain.includes("/") && !/^(?:[^/]*\.)?kubernetes\.io\//.test(plain);
}

/**
 * What an object takes of quotas, under all the names that quotas have for it.
 * @param nowMs cluster time, for pods that are overdue to be gone
 */
export function usageOf(counted: Counted, object: KubeObject, nowMs: number): Amounts {
  const one = quantityOf(1);
  const usage: Amounts = new Map([[`count/${countedName(counted)}`, one]]);
  if (counted.group === "resource.k8s.io" && counted.resource === "resourceclaims") {
    return addDevices(object as ResourceClaim, usage);
  }
  if (counted.group !== "") return usage;
  if (counted.resource === "pods") return addPod(object as Pod, usage, nowMs);
  if (counted.resource === "services") return addService(object as Service, usage);
  if (counted.resource === "persistentvolumeclaims") return addClaim(object as PersistentVolumeClaim, usage);
  if (plainlyCounted.has(counted.resource)) usage.set(counted.resource, one);
  return usage;
}

/** When a pod stops counting though it is still there, in milliseconds since the epoch; undefined: not by time. */
export function overdueMs({ metadata }: Pod): number | undefined {
  const { deletionTimestamp, deletionGracePeriodSeconds } = metadata;
  if (!deletionTimestamp || deletionGracePeriodSeconds === undefined) return undefined;
  return Date.parse(deletionTimestamp) + deletionGracePeriodSeconds * 1000;
}

function addPod(pod: Pod, usage: Amounts, nowMs: number): Amounts {
  // Pods that are over hold nothing but their entry, and so do those whose node does not say that they are.
  if (pod.status?.phase === "Succeeded" || pod.status?.phase === "Failed") return usage;
  if (nowMs > (overdueMs(pod) ?? Number.POSITIVE_INFINITY)) return usage;
  addAmounts(usage, computeUsage(podAmounts(pod, "requests"), podAmounts(pod, "limits")));
  return usage;
}

function computeUsage(requests: Amounts, limits: Amounts): Amounts {
  const usage: Amounts = new Map([["pods", quantityOf(1)]]);
  for (const [name, amount] of requests) {
    if (computed.includes(name) || name.startsWith("hugepages-")) usage.set(name, amount);
    if (usage.has(name) || isExtended(`requests.${name}`)) usage.set(`requests.${name}`, amount);
  }
  for (const [name, amount] of limits) if (computed.includes(name)) usage.set(`limits.${name}`, amount);
  return usage;
}

function addService({ spec }: Service, usage: Amounts): Amounts {
  const balanced = spec?.type === "LoadBalancer";
  const ports = spec?.ports ?? [];
  const chosen = ports.filter(({ nodePort }) => nodePort).length;
  const nodePorts =
    spec?.type === "NodePort" || (balanced && spec.allocateLoadBalancerNodePorts !== false)
      ? ports.length
      : balanced
        ? chosen
        : 0;
  usage.set("services", quantityOf(1));
  usage.set("services.loadbalancers", quantityOf(balanced ? 1 : 0));
  usage.set("services.nodeports", quantityOf(nodePorts));
  return usage;
}

function addClaim({ metadata, spec, status }: PersistentVolumeClaim, usage: Amounts): Amounts {
  const one = quantityOf(1);
  usage.set("persistentvolumeclaims", one);
  const storageClass = metadata.annotations?.["volume.beta.kubernetes.io/storage-class"] ?? spec?.storageClassName;
  if (storageClass) usage.set(`${storageClass}${storageClassInfix}persistentvolumeclaims`, one);
  const wanted = readAmounts(spec?.resources?.requests).get("storage");
  if (!wanted) return usage;
  const allocated = readAmounts(status?.allocatedResources).get("storage");
  const storage = allocated && allocated.compare(wanted) > 0 ? allocated : wanted;
  usage.set("requests.storage", storage);
  if (storageClass) usage.set(`${storageClass}${storageClassInfix}requests.storage`, storage);
  return usage;
}

function addDevices({ spec }: ResourceClaim, usage: Amounts): Amounts {
  const countOf = ({ allocationMode, count }: { allocationMode?: string; count?: number }) =>
    allocationMode === "All" ? mostDevices : Number(count ?? 0);
  for (const request of spec?.devices?.requests ?? []) {
    const most = new Map<string, number>();
    for (const choice of request.firstAvailable ?? (request.exactly ? [request.exactly] : [])) {
      const name = `${choice.deviceClassName}${deviceClassSuffix}`;
      most.set(name, Math.max(most.get(name) ?? 0, countOf(choice)));
    }
    addAmounts(usage, new Map([...most].map(([name, count]) => [name, quantityOf(count)])));
  }
  return usage;
}

/**
 * What a pod must state and does not, as the refusal's text; undefined: nothing.
 * @param names the quota's names that concern pods
 */
export function unstated(pod: Pod, names: readonly string[]): string | undefined {
  const required = names.filter((name) => mustState.has(name));
  if (required.length === 0) return undefined;
  // Who sets the pod's resources as a whole need not set each container's.
  const { requests, limits } = pod.spec?.resources ?? {};
  if (Object.keys(requests ?? {}).length > 0 || Object.keys(limits ?? {}).length > 0) return undefined;
  const missing = new Map<string, Set<string>>();
  for (const container of [...(pod.spec?.containers ?? []), ...(pod.spec?.initContainers ?? [])] as Container[]) {
    const stated = computeUsage(readAmounts(container.resources?.requests), readAmounts(container.resources?.limits));
    for (const name of required) {
      if (stated.has(name)) continue;
      const containers = missing.get(name) ?? new Set<string>();
      missing.set(name, containers.add(container.name));
    }
  }
  if (missing.size === 0) return undefined;
  const parts = [...missing.keys()].sort().map((name) => `${name} for: ${[...missing.get(name)!].sort().join(",")}`);
  return `must specify ${parts.join("; ")}`;
}

/** `amounts` less `others`, never below zero; what is zero is left out. */
export function increaseOver(amounts: Amounts, others: Amounts): Amounts {
  const more: Amounts = new Map();
  for (const [name, amount] of amounts) {
    const before = others.get(name);
    const rest: Quantity = before ? amount.sub(before) : amount;
    if (rest.sign > 0) more.set(name, rest);
  }
  return more;
}
