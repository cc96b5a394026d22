/** What a CustomResourceDefinition must be, beyond its type. Source: apiextensions' validation, as far as it decides. */
import type { CustomResourceDefinition } from "../../api/generated/apiextensions-v1.ts";
import { equalJson } from "../../machinery/apply/typed.ts";
import { dns1035Label, dns1123Label, dns1123Subdomain } from "../../machinery/names.ts";
import type { JsonSchemaProps } from "../../machinery/schema-from-openapi.ts";
import { type FieldError, fieldError, invalid } from "../../machinery/status.ts";
import type { AdmissionPlugin } from "../request.ts";

function checkDefinition({ metadata, spec }: CustomResourceDefinition): FieldError[] {
  const errors: FieldError[] = [];
  const { names } = spec;
  const wanted = `${names.plural}.${spec.group}`;
  if (metadata.name !== wanted) {
    const text = `must be spec.names.plural+"."+spec.group`;
    errors.push(fieldError.invalid("metadata.name", metadata.name, text));
  }
  for (const text of dns1123Subdomain(spec.group)) errors.push(fieldError.invalid("spec.group", spec.group, text));
  if (!spec.group.includes(".")) {
    errors.push(fieldError.invalid("spec.group", spec.group, "should be a domain with at least one dot"));
  }
  for (const text of dns1035Label(names.plural))
    errors.push(fieldError.invalid("spec.names.plural", names.plural, text));
  for (const text of dns1035Label(names.kind.toLowerCase())) {
    errors.push(fieldError.invalid("spec.names.kind", names.kind, text));
  }
  if (spec.scope !== "Namespaced" && spec.scope !== "Cluster") {
    errors.push(fieldError.notSupported("spec.scope", spec.scope, ["Cluster", "Namespaced"]));
  }
  const seen = new Set<string>();
  for (const [index, version] of spec.versions.entries()) {
    const at = `spec.versions[${index}]`;
    for (const text of dns1123Label(version.name)) errors.push(fieldError.invalid(`${at}.name`, version.name, text));
    if (seen.has(version.name))
      errors.push(fieldError.invalid(`${at}.name`, version.name, "must contain unique version names"));
    seen.add(version.name);
    if (!version.schema?.openAPIV3Schema) {
      errors.push(fieldError.required(`${at}.schema.openAPIV3Schema`, "schemas are required"));
    } else if ((version.schema.openAPIV3Schema as { type?: string }).type !== "object") {
      const type = (version.schema.openAPIV3Schema as { type?: string }).type ?? "";
      errors.push(fieldError.invalid(`${at}.schema.openAPIV3Schema.type`, type, "must be object at the root"));
    }
  }
  if (spec.versions.filter(({ storage }) => storage).length !== 1) {
    const list = spec.versions.map(({ name }) => name);
    errors.push(fieldError.invalid("spec.versions", list, "must have exactly one version marked as storage version"));
  }
  return errors;
}

/** CEL rules must compile, and cost little enough at worst. */
async function checkDefinitionRules({ spec }: CustomResourceDefinition): Promise<FieldError[]> {
  const schemas = spec.versions.map(({ schema }) => schema!.openAPIV3Schema as JsonSchemaProps);
  const { hasRules } = await import("../../machinery/schema-validation.ts");
  if (!schemas.some(hasRules)) return [];
  // Loaded at use: most definitions have no rules.
  const { checkRules } = await import("../../machinery/cel/rule-check.ts");
  // Kubernetes reads a schema that all versions share as one of the whole definition, and names it so.
  const [first, ...others] = schemas;
  if (others.every((schema) => equalJson(schema, first))) return checkRules(first!, "spec.validation.openAPIV3Schema");
  return schemas.flatMap((schema, i) => checkRules(schema, `spec.versions[${i}].schema.openAPIV3Schema`));
}

/** Refuses definitions that cannot be served with 422. */
export const definitionCheck: AdmissionPlugin = {
  name: "CustomResourceDefinitionCheck",
  async validate({ facts, operation, subresource, object }) {
    if (facts.resource !== "customresourcedefinitions" || facts.custom || subresource || operation === "DELETE") return;
    const definition = object as CustomResourceDefinition;
    const of = { group: facts.group, resource: facts.kind };
    const errors = checkDefinition(definition);
    if (errors.length > 0) throw invalid(of, definition.metadata.name ?? "", errors);
    const wrong = await checkDefinitionRules(definition);
    if (wrong.length > 0) throw invalid(of, definition.metadata.name ?? "", wrong);
    try {
      // Compiles every path. Loaded at use: most clusters define nothing.
      const { customFacts } = await import("./custom-facts.ts");
      await customFacts(definition);
    } catch (error) {
      const text = (error as Error).message;
      throw invalid(of, definition.metadata.name ?? "", [fieldError.invalid("spec.versions", "", text)]);
    }
  },
};
