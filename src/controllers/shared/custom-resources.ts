import type { CustomResourceDefinition } from "../../api/generated/apiextensions-v1.ts";
import type { DeepReadonly, ResourceType } from "../../machinery/object.ts";

/** The type under which the objects of a CRD can be reached; undefined while it is not established. */
export function customResourceType(crd: DeepReadonly<CustomResourceDefinition>): ResourceType | undefined {
  const established = crd.status?.conditions?.some(({ type, status }) => type === "Established" && status === "True");
  if (!established) return undefined;
  const versions = crd.spec.versions.filter(({ served }) => served);
  const version = versions.find(({ storage }) => storage) ?? versions[0];
  if (!version) return undefined;
  const { group, names, scope } = crd.spec;
  return { group, version: version.name, resource: names.plural, kind: names.kind, namespaced: scope === "Namespaced" };
}
