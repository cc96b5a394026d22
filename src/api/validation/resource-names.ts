/** Names of resources ("cpu", "requests.storage", "example.com/gpu"), and what may be said of each. */
import { qualifiedName } from "../../machinery/names.ts";
import { parseQuantity } from "../../machinery/quantity.ts";
import type { Errors } from "./errors.ts";

const counted = [
  "configmaps",
  "persistentvolumeclaims",
  "pods",
  "replicationcontrollers",
  "resourcequotas",
  "secrets",
  "services",
  "services.loadbalancers",
  "services.nodeports",
];
const compute = ["cpu", "memory", "ephemeral-storage"];
const quotaNames = [
  ...compute,
  ...compute.map((name) => `requests.${name}`),
  ...compute.map((name) => `limits.${name}`),
  "requests.storage",
  ...counted,
];

export const isHugePage = (name: string) => name.startsWith("hugepages-");
const isQuotaHugePage = (name: string) => isHugePage(name) || name.startsWith("requests.hugepages-");

export const isContainerResource = (name: string) => compute.includes(name) || isHugePage(name);
export const isQuotaResource = (name: string) => quotaNames.includes(name) || isQuotaHugePage(name);
const isStandard = (name: string) => isQuotaResource(name) || name === "storage";

/** One of Kubernetes' own, not of a device's maker. */
export function isNativeResource(name: string): boolean {
  return !name.includes("/") || name.includes("kubernetes.io/");
}

export function isExtendedResource(name: string): boolean {
  if (isNativeResource(name) || name.startsWith("requests.")) return false;
  return qualifiedName(`requests.${name}`).length === 0;
}

/** May nodes promise more of it than they have? */
export function isOvercommitAllowed(name: string): boolean {
  return isNativeResource(name) && !isHugePage(name);
}

/** Is it something that comes in whole numbers? */
function isWhole(name: string): boolean {
  return counted.includes(name) || isExtendedResource(name);
}

/** A standard name, or one with a domain. Says whether it is. */
export function checkResourceName(errors: Errors, path: string, name: string): boolean {
  const messages = qualifiedName(name);
  errors.messages(path, name, messages);
  if (messages.length > 0) return false;
  if (name.includes("/") || isStandard(name)) return true;
  errors.invalid(path, name, "must be a standard resource type or fully qualified");
  return false;
}

export function checkContainerResourceName(errors: Errors, path: string, name: string): void {
  checkResourceName(errors, path, name);
  const slashes = name.split("/").length - 1;
  if (slashes === 0) {
    if (!isContainerResource(name)) errors.invalid(path, name, "must be a standard resource for containers");
  } else if (!isNativeResource(name) && !isExtendedResource(name)) {
    errors.invalid(path, name, "doesn't follow extended resource name standard");
  }
}

/** An amount: not below zero, and whole where the resource is counted. */
export function checkResourceQuantity(errors: Errors, path: string, name: string, quantity: string): void {
  const parsed = parseQuantity(quantity);
  if (parsed.sign < 0) errors.invalid(path, quantity, "must be greater than or equal to 0");
  if (isWhole(name) && parsed.toMilli() % 1000 !== 0) errors.invalid(path, quantity, "must be an integer");
}
