/** References of the downward API to fields of the pod and to resources of its containers. */
import { qualifiedName } from "../../machinery/names.ts";
import { parseQuantity } from "../../machinery/quantity.ts";
import type { Errors } from "./errors.ts";

export const envFields = [
  "metadata.name",
  "metadata.namespace",
  "metadata.uid",
  "spec.nodeName",
  "spec.serviceAccountName",
  "status.hostIP",
  "status.hostIPs",
  "status.podIP",
  "status.podIPs",
];

/** Fields that files of a downward API volume may show. */
export const fileFields = [
  "metadata.annotations",
  "metadata.labels",
  "metadata.name",
  "metadata.namespace",
  "metadata.uid",
];

/** What there is at all, whoever may show it. */
const knownFields = new Set([...envFields, ...fileFields, "spec.restartPolicy", "spec.schedulerName", "status.phase"]);

export function checkFieldRef(
  errors: Errors,
  at: string,
  reference: { fieldPath: string; apiVersion?: string },
  supported: readonly string[],
): void {
  const { apiVersion, fieldPath } = reference;
  if (!errors.present(`${at}.apiVersion`, apiVersion) || !errors.present(`${at}.fieldPath`, fieldPath)) return;
  const unconvertible = (why: string) =>
    errors.invalid(`${at}.fieldPath`, fieldPath, `error converting fieldPath: ${why}`);
  if (apiVersion !== "v1") {
    unconvertible(`unsupported pod version: ${apiVersion}`);
    return;
  }
  const [, path, subscript] = /^(.*)\['(.*)'\]$/.exec(fieldPath) ?? [];
  if (path !== undefined && subscript !== undefined) {
    if (path === "metadata.annotations")
      errors.messages(at, subscript.toLowerCase(), qualifiedName(subscript.toLowerCase()));
    else if (path === "metadata.labels") errors.messages(at, subscript, qualifiedName(subscript));
    else unconvertible(`field label does not support subscript: ${fieldPath}`);
    return;
  }
  // An old name of the node's name.
  const field = fieldPath === "spec.host" ? "spec.nodeName" : fieldPath;
  if (!knownFields.has(field)) unconvertible(`field label not supported: ${fieldPath}`);
  else if (!supported.includes(field)) errors.notSupported(`${at}.fieldPath`, field, supported);
}

const resourceFields = [
  "limits.cpu",
  "limits.ephemeral-storage",
  "limits.memory",
  "requests.cpu",
  "requests.ephemeral-storage",
  "requests.memory",
];

const byteDivisors = "1, 1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi, 1Ei";

/** `ofVolume`: a file names the container that it is about, an environment variable need not. */
export function checkResourceField(
  errors: Errors,
  at: string,
  reference: { resource: string; containerName?: string; divisor?: string },
  ofVolume: boolean,
): void {
  const { resource = "", containerName, divisor } = reference;
  const isHugePage = /^(limits|requests)\.hugepages-/.test(resource);
  if (ofVolume && !containerName) errors.required(`${at}.containerName`);
  else if (!resource) errors.required(`${at}.resource`);
  else if (!resourceFields.includes(resource) && !isHugePage) {
    errors.notSupported(`${at}.resource`, resource, resourceFields);
  }
  const quantity = divisor === undefined ? undefined : parseQuantity(divisor);
  if (!quantity || quantity.sign === 0) return;
  const kind = resource.slice(resource.indexOf(".") + 1);
  const text = String(quantity);
  if (kind === "cpu" && resourceFields.includes(resource)) {
    if (text === "1m" || text === "1") return;
    errors.invalid(`${at}.divisor`, resource, "only divisor's values 1m and 1 are supported with the cpu resource");
    return;
  }
  const words = isHugePage ? "hugepages" : kind === "memory" ? "memory" : "local ephemeral storage";
  if ((!isHugePage && !resourceFields.includes(resource)) || byteDivisors.split(", ").includes(text)) return;
  errors.invalid(
    `${at}.divisor`,
    resource,
    `only divisor's values ${byteDivisors} are supported with the ${words} resource`,
  );
}
