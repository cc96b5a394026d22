/** Requests and limits of containers and pods. */
import { dns1123Label } from "../../machinery/names.ts";
import { parseQuantity } from "../../machinery/quantity.ts";
import type { ResourceRequirements } from "../generated/core-v1.ts";
import type { Errors } from "./errors.ts";
import {
  checkContainerResourceName,
  checkResourceName,
  checkResourceQuantity,
  isHugePage,
  isOvercommitAllowed,
} from "./resource-names.ts";

type CheckName = (errors: Errors, path: string, name: string) => void;

/** Checks what a container asks for; `claims`: the names of the pod's resource claims. */
export function checkResources(
  errors: Errors,
  path: string,
  resources: ResourceRequirements | undefined,
  claims: ReadonlySet<string>,
  checkName: CheckName = checkContainerResourceName,
): void {
  if (!resources) return;
  const limits = resources.limits ?? {};
  const requests = resources.requests ?? {};
  for (const [name, value] of Object.entries(limits)) {
    checkAmount(errors, `${path}.limits[${name}]`, name, value, checkName);
  }
  for (const [name, value] of Object.entries(requests)) {
    checkAmount(errors, `${path}.requests[${name}]`, name, value, checkName);
    const limit = Object.hasOwn(limits, name) ? limits[name] : undefined;
    const overcommit = isOvercommitAllowed(name);
    if (limit === undefined) {
      if (!overcommit) errors.required(`${path}.limits`, "Limit must be set for non overcommitable resources");
      continue;
    }
    const order = parseQuantity(value).compare(parseQuantity(limit));
    const words = `${name} limit of ${limit}`;
    if (!overcommit && order !== 0) errors.invalid(`${path}.requests`, value, `must be equal to ${words}`);
    else if (order > 0) errors.invalid(`${path}.requests`, value, `must be less than or equal to ${words}`);
  }
  const names = [...Object.keys(limits), ...Object.keys(requests)];
  if (names.some(isHugePage) && !names.includes("cpu") && !names.includes("memory")) {
    errors.forbidden(path, "HugePages require cpu or memory");
  }
  checkClaims(errors, `${path}.claims`, resources.claims ?? [], claims);
}

function checkAmount(errors: Errors, at: string, name: string, value: string, checkName: CheckName): void {
  checkName(errors, at, name);
  checkResourceQuantity(errors, at, name, value);
  if (!isHugePage(name) || isDivisible(name, value)) return;
  errors.invalid(at, value, `${value} is not positive integer multiple of ${name}`);
}

/** Huge pages are handed out whole. */
function isDivisible(name: string, value: string): boolean {
  try {
    const size = parseQuantity(name.slice("hugepages-".length));
    if (size.sign <= 0 || size.toMilli() % 1000 !== 0) return false;
    return Math.ceil(parseQuantity(value).toNumber()) % size.toNumber() === 0;
  } catch {
    return false;
  }
}

function checkClaims(
  errors: Errors,
  path: string,
  claims: NonNullable<ResourceRequirements["claims"]>,
  known: ReadonlySet<string>,
): void {
  const seen = new Set<string>();
  for (const [index, { name, request }] of claims.entries()) {
    const at = `${path}[${index}]`;
    if (!name) {
      errors.required(at);
      continue;
    }
    if (seen.has(name)) errors.duplicate(at, name);
    else {
      if (request) errors.messages(`${at}.request`, request, dns1123Label(request));
      const key = request ? `${name}/${request}` : name;
      const partly = !request && [...seen].some((other) => other.startsWith(`${name}/`));
      if (seen.has(key) || partly) errors.duplicate(at, key);
      seen.add(key);
    }
    if (known.has(name)) continue;
    const names = [...known].sort().join(", ");
    const which = names === "" ? " which is empty" : `: ${names}`;
    errors.notFound(at, name, `must be one of the names in pod.spec.resourceClaims${which}`);
  }
}

/** What may be asked for a pod as a whole. */
export function checkPodResourceName(errors: Errors, path: string, name: string): void {
  if (!checkResourceName(errors, path, name) || name === "cpu" || name === "memory" || isHugePage(name)) return;
  errors.notSupported(path, name, ["cpu", "hugepages-", "memory"]);
}
