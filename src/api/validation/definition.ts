/** What extends the API: definitions of custom resources, and API services. */
import { dns1035Label, dns1123Subdomain, inRange } from "../../machinery/names.ts";
import type { FieldError } from "../../machinery/status.ts";
import type {
  CustomResourceDefinition,
  CustomResourceDefinitionNames,
  CustomResourceDefinitionVersion,
} from "../generated/apiextensions-v1.ts";
import type { APIService } from "../generated/apiregistration-v1.ts";
import { Errors } from "./errors.ts";
import { checkClientConfig, checkReviewVersions } from "./webhook-client.ts";

/** Error texts keep the paths of a release that had no `webhook` in between. */
const conversionClient = "spec.conversion.webhookClientConfig";
const conversionVersions = "spec.conversion.conversionReviewVersions";

const approval = "api-approved.kubernetes.io";

export function validateDefinition({ metadata, spec }: CustomResourceDefinition): FieldError[] {
  const errors = new Errors();
  const wanted = `${spec.names.plural}.${spec.group}`;
  if (metadata.name && metadata.name !== wanted) {
    errors.invalid("metadata.name", metadata.name, 'must be spec.names.plural+"."+spec.group');
  }
  checkGroup(errors, spec.group);
  if (/(^|\.)(k8s|kubernetes)\.io$/.test(spec.group) && !metadata.annotations?.[approval]) {
    const text = 'protected groups must have approval annotation "api-approved.kubernetes.io"';
    errors.required(
      `metadata.annotations[${approval}]`,
      `${text}, see https://github.com/kubernetes/enhancements/pull/1111`,
    );
  }
  errors.oneOf("spec.scope", spec.scope, ["Cluster", "Namespaced"]);
  checkVersions(errors, spec.versions ?? []);
  checkNames(errors, "spec.names", spec.names);
  checkConversion(errors, spec);
  return errors.list;
}

function checkGroup(errors: Errors, group: string): void {
  if (!group) errors.required("spec.group");
  else {
    const messages = dns1123Subdomain(group);
    if (messages.length > 0) errors.invalid("spec.group", group, messages.join(","));
    else if (!group.includes(".")) errors.invalid("spec.group", group, "should be a domain with at least one dot");
  }
}

function checkVersions(errors: Errors, versions: readonly CustomResourceDefinitionVersion[]): void {
  for (const [index, version] of versions.entries()) {
    const at = `spec.versions[${index}]`;
    const messages = dns1035Label(version.name);
    if (messages.length > 0) errors.invalid(`${at}.name`, version.name, messages.join(","));
    const schema = version.schema?.openAPIV3Schema;
    const path = `${at}.schema.openAPIV3Schema`;
    if (!schema) errors.required(path, "schemas are required");
    else if (!schema.type) errors.required(`${path}.type`, "must not be empty at the root");
    else if (schema.type !== "object") errors.invalid(`${path}.type`, schema.type, "must be object at the root");
    for (const [place, column] of (version.additionalPrinterColumns ?? []).entries()) {
      const columnAt = `${at}.additionalPrinterColumns[${place}]`;
      const types = ["boolean", "date", "integer", "number", "string"];
      if (!column.name) errors.required(`${columnAt}.name`);
      if (!column.type) errors.required(`${columnAt}.type`, `must be one of ${types.join(",")}`);
      else if (!types.includes(column.type)) {
        errors.invalid(`${columnAt}.type`, column.type, `must be one of ${types.join(",")}`);
      }
      if (!column.jsonPath) errors.required(`${columnAt}.JSONPath`);
    }
  }
  if (new Set(versions.map(({ name }) => name)).size < versions.length) {
    errors.invalid("spec.versions", versions, "must contain unique version names");
  }
  if (versions.filter(({ storage }) => storage).length !== 1) {
    errors.invalid("spec.versions", versions, "must have exactly one version marked as storage version");
  }
}

function checkNames(errors: Errors, path: string, names: CustomResourceDefinitionNames): void {
  for (const field of ["plural", "singular", "kind", "listKind"] as const) {
    const name = names[field];
    if (!name) {
      errors.required(`${path}.${field}`);
      continue;
    }
    const mixedCase = field === "kind" || field === "listKind";
    const messages = dns1035Label(mixedCase ? name.toLowerCase() : name);
    const prefix = mixedCase ? "may have mixed case, but should otherwise match: " : "";
    if (messages.length > 0) errors.invalid(`${path}.${field}`, name, `${prefix}${messages.join(",")}`);
  }
  for (const field of ["shortNames", "categories"] as const) {
    for (const [index, name] of (names[field] ?? []).entries()) {
      const messages = dns1035Label(name);
      if (messages.length > 0) errors.invalid(`${path}.${field}[${index}]`, name, messages.join(","));
    }
  }
  if (names.kind && names.kind === names.listKind) {
    errors.invalid(`${path}.listKind`, names.listKind, "kind and listKind may not be the same");
  }
}

function checkConversion(
  errors: Errors,
  { conversion, preserveUnknownFields }: CustomResourceDefinition["spec"],
): void {
  if (!conversion) return;
  const { strategy, webhook } = conversion;
  if (strategy !== "None" && preserveUnknownFields) {
    errors.invalid("spec.conversion.strategy", strategy, "must be None if spec.preserveUnknownFields is true");
  }
  errors.oneOf("spec.conversion.strategy", strategy, ["None", "Webhook"]);
  const { clientConfig, conversionReviewVersions: versions = [] } = webhook ?? {};
  if (strategy !== "Webhook") {
    const text = "should not be set when strategy is not set to Webhook";
    if (clientConfig) errors.forbidden(conversionClient, text);
    if (versions.length > 0) errors.forbidden(conversionVersions, text);
    return;
  }
  if (!clientConfig) errors.required(conversionClient, "required when strategy is set to Webhook");
  else checkClientConfig(errors, conversionClient, clientConfig);
  checkReviewVersions(errors, conversionVersions, versions, { known: true, missing: "" });
}

function hasCertificates(base64: string): boolean {
  const pem = Buffer.from(base64, "base64").toString("latin1");
  return pem.trim() === "" || pem.includes("-----BEGIN CERTIFICATE-----");
}

/** What names the resource and its objects in the store stays. */
export function validateDefinitionUpdate(
  { spec, status }: CustomResourceDefinition,
  old: CustomResourceDefinition,
): FieldError[] {
  const errors = new Errors();
  errors.immutable("spec.group", spec.group, spec.group === old.spec.group);
  errors.immutable("spec.names.plural", spec.names.plural, spec.names.plural === old.spec.names.plural);
  const established = old.status?.conditions?.some(({ type, status }) => type === "Established" && status === "True");
  if (established) {
    errors.immutable("spec.scope", spec.scope, spec.scope === old.spec.scope);
    errors.immutable("spec.names.kind", spec.names.kind, spec.names.kind === old.spec.names.kind);
  }
  const caBundle = spec.conversion?.webhook?.clientConfig?.caBundle;
  const oldBundle = old.spec.conversion?.webhook?.clientConfig?.caBundle;
  // What could not be read before may stay, so that it does not stand in the way of other changes.
  const tolerated = !established || (oldBundle && !hasCertificates(oldBundle));
  if (caBundle && !hasCertificates(caBundle) && !tolerated) {
    const text = "unable to load root certificates: unable to parse bytes as PEM block";
    errors.invalid(`${conversionClient}.caBundle`, caBundle, text);
  }
  const names = new Set((spec.versions ?? []).map(({ name }) => name));
  for (const [index, version] of (status?.storedVersions ?? []).entries()) {
    if (names.has(version)) continue;
    const text = `missing from spec.versions; ${version} was previously a storage version, and must remain in spec.versions until a storage migration ensures no data remains persisted in ${version} and removes ${version} from status.storedVersions`;
    errors.invalid(`status.storedVersions[${index}]`, version, text);
  }
  return errors.list;
}

export function validateApiService({ metadata, spec }: APIService): FieldError[] {
  const errors = new Errors();
  if (!spec) return errors.list;
  const name = `${spec.version ?? ""}.${spec.group ?? ""}`;
  if (metadata.name && metadata.name !== name) {
    errors.invalid("metadata.name", metadata.name, `must be \`spec.version+"."+spec.group\`: ${JSON.stringify(name)}`);
  }
  if (!spec.group && spec.version !== "v1") {
    errors.required("spec.group", "only v1 may have an empty group and it better be legacy kube");
  }
  if (spec.group) errors.messages("spec.group", spec.group, dns1123Subdomain(spec.group));
  errors.messages("spec.version", spec.version, dns1035Label(spec.version ?? ""));
  if (spec.groupPriorityMinimum <= 0 || spec.groupPriorityMinimum > 20_000) {
    errors.invalid("spec.groupPriorityMinimum", spec.groupPriorityMinimum, "must be positive and less than 20000");
  }
  if (spec.versionPriority <= 0 || spec.versionPriority > 1000) {
    errors.invalid("spec.versionPriority", spec.versionPriority, "must be positive and less than 1000");
  }
  const { service } = spec;
  if (!service) {
    if (spec.insecureSkipTLSVerify) {
      errors.invalid("spec.insecureSkipTLSVerify", true, "local APIServices may not have insecureSkipTLSVerify");
    }
    return errors.list;
  }
  if (!service.namespace) errors.required("spec.service.namespace");
  if (!service.name) errors.required("spec.service.name");
  const messages = inRange(service.port ?? 0, 1, 65535);
  if (messages.length > 0)
    errors.invalid("spec.service.port", service.port, `port is not valid: ${messages.join(", ")}`);
  if (spec.insecureSkipTLSVerify && spec.caBundle) {
    errors.invalid("spec.insecureSkipTLSVerify", true, "may not be true if caBundle is present");
  }
  return errors.list;
}
