import { qualifiedName } from "../../machinery/names.ts";
import { parseQuantity } from "../../machinery/quantity.ts";
import type { ResourceRequirements } from "../generated/core-v1.ts";
import type { Errors } from "./errors.ts";

const standard = ["cpu", "memory", "ephemeral-storage"];

const isHugePage = (name: string) => name.startsWith("hugepages-");
/** Resources that no node can hand out twice: an extended resource, or huge pages. */
const isFixed = (name: string) => isHugePage(name) || (name.includes("/") && !name.startsWith("kubernetes.io/"));

/** Requests and limits of a container. */
export function checkResources(errors: Errors, path: string, resources: ResourceRequirements | undefined): void {
  const limits = resources?.limits ?? {};
  for (const [name, value] of Object.entries(limits)) checkResource(errors, `${path}.limits[${name}]`, name, value);
  for (const [name, value] of Object.entries(resources?.requests ?? {})) {
    const at = `${path}.requests[${name}]`;
    checkResource(errors, at, name, value);
    const limit = limits[name];
    if (limit === undefined) {
      if (isFixed(name))
        errors.required(`${path}.limits[${name}]`, "Limit must be set for non overcommitable resources");
      continue;
    }
    const order = parseQuantity(value).compare(parseQuantity(limit));
    if (isFixed(name) && order !== 0) errors.invalid(at, value, `must be equal to ${name} limit of ${limit}`);
    else if (order > 0) errors.invalid(at, value, `must be less than or equal to ${name} limit of ${limit}`);
  }
}

function checkResource(errors: Errors, at: string, name: string, value: string): void {
  const messages = qualifiedName(name);
  errors.messages(at, name, messages);
  if (messages.length === 0 && !name.includes("/") && !standard.includes(name) && !isHugePage(name)) {
    errors.invalid(at, name, "must be a standard resource for containers");
  }
  const quantity = parseQuantity(value);
  if (quantity.sign < 0) errors.invalid(at, value, "must be greater than or equal to 0");
  if (name.includes("/") && quantity.toMilli() % 1000 !== 0) errors.invalid(at, value, "must be an integer");
}
