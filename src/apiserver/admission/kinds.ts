import type { KubeObject, ResourceType } from "../../machinery/object.ts";
import { forbidden, type StatusError } from "../../machinery/status.ts";
import type { AdmissionAttributes } from "../request.ts";

/** Is this request about the main resource of that type? */
export function isAbout<T extends KubeObject>(
  attributes: AdmissionAttributes,
  type: ResourceType<T>,
  ...operations: AdmissionAttributes["operation"][]
): attributes is AdmissionAttributes & { readonly object: T; readonly oldObject?: T } {
  return (
    attributes.facts.group === type.group &&
    attributes.facts.resource === type.resource &&
    !attributes.subresource &&
    operations.includes(attributes.operation)
  );
}

/** A refusal by an admission plugin. */
export function refusedBy(attributes: AdmissionAttributes, why: string): StatusError {
  const { group, resource } = attributes.facts;
  return forbidden({ group, resource }, attributes.name || (attributes.object?.metadata.name ?? ""), why);
}
