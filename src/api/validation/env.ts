/** Environment variables of containers. */
import { configMapKey, dns1123Subdomain, maskTrailingDash, relaxedEnvVarName } from "../../machinery/names.ts";
import type { Container, EnvVar, EnvVarSource } from "../generated/core-v1.ts";
import type { Errors } from "./errors.ts";
import { checkFieldRef, checkResourceField, envFields } from "./field-ref.ts";
import { checkNoBackSteps } from "./paths.ts";

const noSource =
  "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`";
const tooMany = "may not have more than one field specified at a time";

export function checkEnv(errors: Errors, path: string, env: readonly EnvVar[]): void {
  for (const [index, variable] of env.entries()) {
    const at = `${path}[${index}]`;
    if (errors.present(`${at}.name`, variable.name)) {
      errors.messages(`${at}.name`, variable.name, relaxedEnvVarName(variable.name));
    }
    const source = variable.valueFrom;
    if (!source) continue;
    const from = `${at}.valueFrom`;
    checkSource(errors, from, source);
    const given = Object.values(source).filter((value) => value !== undefined && value !== null).length;
    if (given === 0) errors.invalid(from, "", noSource);
    else if (variable.value) errors.invalid(from, "", "may not be specified when `value` is not empty");
    else if (given > 1) errors.invalid(from, "", tooMany);
  }
}

function checkSource(errors: Errors, at: string, source: EnvVarSource): void {
  if (source.fieldRef) checkFieldRef(errors, `${at}.fieldRef`, source.fieldRef, envFields);
  if (source.resourceFieldRef) checkResourceField(errors, `${at}.resourceFieldRef`, source.resourceFieldRef, false);
  for (const field of ["configMapKeyRef", "secretKeyRef"] as const) {
    const reference = source[field];
    if (!reference) continue;
    errors.subdomain(`${at}.${field}.name`, reference.name ?? "");
    checkKey(errors, `${at}.${field}.key`, reference.key, configMapKey);
  }
  const file = source.fileKeyRef;
  if (!file) return;
  const from = `${at}.fileKeyRef`;
  checkKey(errors, `${from}.key`, file.key, relaxedEnvVarName);
  if (errors.present(`${from}.volumeName`, file.volumeName)) errors.label(`${from}.volumeName`, file.volumeName);
  if (errors.present(`${from}.path`, file.path)) checkNoBackSteps(errors, `${from}.path`, file.path);
}

function checkKey(errors: Errors, path: string, key: string | undefined, check: (key: string) => string[]): void {
  if (errors.present(path, key)) errors.messages(path, key, check(key!));
}

export function checkEnvFrom(errors: Errors, path: string, sources: NonNullable<Container["envFrom"]>): void {
  for (const [index, source] of sources.entries()) {
    const at = `${path}[${index}]`;
    if (source.prefix) errors.messages(`${at}.prefix`, source.prefix, relaxedEnvVarName(source.prefix));
    for (const field of ["configMapRef", "secretRef"] as const) {
      const reference = source[field];
      if (!reference || !errors.present(`${at}.${field}.name`, reference.name)) continue;
      errors.messages(`${at}.${field}.name`, reference.name, dns1123Subdomain(maskTrailingDash(reference.name!)));
    }
    if (!source.configMapRef && !source.secretRef) {
      errors.invalid(path, "", "must specify one of: `configMapRef` or `secretRef`");
    } else if (source.configMapRef && source.secretRef) errors.invalid(path, "", tooMany);
  }
}
