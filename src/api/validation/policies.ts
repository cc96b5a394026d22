/** Validation of admission policies and their bindings. Loads the expression engine: import it at use. */
import {
  type AdmissionScope,
  compileAdmission,
  compileVariable,
  emptyVariables,
  type VariablesType,
} from "../../machinery/cel/admission.ts";
import { jsonPatchType, objectType } from "../../machinery/cel/structs.ts";
import { bool, type CelType, listOf, nullType, string } from "../../machinery/cel/types.ts";
import { dns1035Label, dns1123Subdomain, pathSegmentName, qualifiedName } from "../../machinery/names.ts";
import { parseApiVersion } from "../../machinery/object.ts";
import type { FieldError } from "../../machinery/status.ts";
import type {
  AuditAnnotation,
  MutatingAdmissionPolicy,
  MutatingAdmissionPolicyBinding,
  Mutation,
  ParamKind,
  ParamRef,
  ValidatingAdmissionPolicy,
  ValidatingAdmissionPolicyBinding,
  Validation,
  Variable,
} from "../generated/admissionregistration-v1.ts";
import { sameJson } from "../strategy.ts";
import { checkMatchResources } from "./admission-rules.ts";
import { checkConditions as checkStatusConditions } from "./conditions.ts";
import { Errors } from "./errors.ts";
import { checkLabelSelector } from "./labels.ts";
import { checkConditions } from "./match-conditions.ts";

const maxAuditAnnotations = 20;
const maxValueExpressionBytes = 5 * 1024;
const reasons = ["Forbidden", "Invalid", "RequestEntityTooLarge"];
const mutatingOperations = ["*", "CONNECT", "CREATE", "UPDATE"];
const hasBreak = (text: string) => /[\n\r]/.test(text);
const isBlank = (text: string | undefined) => !text?.trim();

type PolicySpec = NonNullable<ValidatingAdmissionPolicy["spec"]> | NonNullable<MutatingAdmissionPolicy["spec"]>;

/** What both kinds of policies have, before what they are there for. */
function checkCommon(errors: Errors, spec: PolicySpec, old: PolicySpec | undefined, mutating: boolean): void {
  errors.oneOf("spec.failurePolicy", spec.failurePolicy, ["Fail", "Ignore"]);
  if (spec.paramKind) checkParamKind(errors, "spec.paramKind", spec.paramKind);
  if (!spec.matchConstraints) errors.required("spec.matchConstraints");
  else {
    checkMatchResources(errors, "spec.matchConstraints", spec.matchConstraints);
    if (!spec.matchConstraints.resourceRules?.length) errors.required("spec.matchConstraints.resourceRules");
    if (mutating) checkMutatingOperations(errors, "spec.matchConstraints", spec.matchConstraints.resourceRules);
  }
  const unchanged =
    old && sameJson(old.paramKind, spec.paramKind) && sameJson(old.matchConditions, spec.matchConditions);
  if (!unchanged) {
    const params = spec.paramKind !== undefined;
    errors.list.push(...checkConditions(spec.matchConditions ?? [], "spec.matchConditions", { params }));
  }
}

/** Nothing else can be mutated. */
function checkMutatingOperations(
  errors: Errors,
  path: string,
  rules: readonly { readonly operations?: readonly string[] }[] | undefined,
): void {
  for (const operation of (rules ?? []).flatMap(({ operations }) => operations ?? [])) {
    if (mutatingOperations.includes(operation)) continue;
    errors.notSupported(`${path}.resourceRules.operations`, operation, mutatingOperations);
  }
}

function checkParamKind(errors: Errors, path: string, { apiVersion, kind }: ParamKind): void {
  const at = `${path}.apiVersion`;
  if (!apiVersion) errors.required(at);
  else if (apiVersion.split("/").length > 2) {
    errors.invalid(at, apiVersion, `unexpected GroupVersion string: ${apiVersion}`);
  } else {
    const { group, version } = parseApiVersion(apiVersion);
    const groupFaults = group === "" ? [] : dns1123Subdomain(group);
    if (groupFaults.length > 0) errors.invalid(at, group, groupFaults.join(","));
    const versionFaults = dns1035Label(version);
    if (version === "") errors.invalid(at, apiVersion, "version must be specified");
    else if (versionFaults.length > 0) errors.invalid(at, version, versionFaults.join(","));
  }
  if (!kind) errors.required(`${path}.kind`);
  else {
    const faults = dns1035Label(kind.toLowerCase());
    if (faults.length > 0) {
      errors.invalid(`${path}.kind`, kind, `may have mixed case, but should otherwise match: ${faults.join(",")}`);
    }
  }
}

const identifier = /^[_a-zA-Z][_a-zA-Z0-9]*$/;
const reserved = new Set(
  "true false null in as break const continue else for function if import let loop package namespace return var void while".split(
    " ",
  ),
);

/** Checks expressions of one policy; variables first, since the others know them. */
class ExpressionCheck {
  readonly #errors: Errors;
  readonly #scope: AdmissionScope;
  readonly #variables: VariablesType | undefined;

  constructor(errors: Errors, params: boolean, variables: boolean) {
    this.#errors = errors;
    this.#variables = variables ? emptyVariables() : undefined;
    this.#scope = { params, authorizer: true, ...(this.#variables ? { variables: this.#variables.type } : {}) };
  }

  check(path: string, shown: string, wanted: readonly CelType[], more: Partial<AdmissionScope> = {}, source = shown) {
    const { fault } = compileAdmission(source, { ...this.#scope, ...more }, wanted);
    if (fault !== undefined) this.#errors.invalid(path, shown, fault);
  }

  variable(path: string, { name, expression }: Variable): void {
    if (isBlank(name)) this.#errors.required(`${path}.name`, "name is not specified");
    else if (!identifier.test(name) || reserved.has(name)) {
      this.#errors.invalid(`${path}.name`, name, "must be a valid CEL identifier");
    }
    if (isBlank(expression)) this.#errors.required(`${path}.expression`, "expression is not specified");
    else {
      const { fault } = compileVariable({ name, expression }, this.#scope, this.#variables!);
      if (fault !== undefined) this.#errors.invalid(`${path}.expression`, expression, fault);
    }
  }
}

/** What is wrong with a policy; `old` is what it was before an update. */
export function validateValidatingPolicy(
  { metadata, spec = {} }: ValidatingAdmissionPolicy,
  old?: ValidatingAdmissionPolicy,
): FieldError[] {
  const errors = new Errors();
  checkCommon(errors, spec, old?.spec, false);
  const { variables = [], validations = [], auditAnnotations = [] } = spec;
  const check = new ExpressionCheck(errors, spec.paramKind !== undefined, variables.length > 0);
  for (const [i, variable] of variables.entries()) check.variable(`spec.variables[${i}]`, variable);
  if (validations.length + auditAnnotations.length === 0) {
    for (const field of ["validations", "auditAnnotations"]) {
      errors.required(`spec.${field}`, "validations or auditAnnotations must contain at least one item");
    }
  }
  for (const [i, validation] of validations.entries()) {
    checkValidation(errors, check, `spec.validations[${i}]`, validation);
  }
  if (auditAnnotations.length > maxAuditAnnotations) {
    const text = `must not have more than ${maxAuditAnnotations} auditAnnotations`;
    // Kubernetes shows its own form of them here.
    const shown = auditAnnotations.map(({ key, valueExpression }) => ({ Key: key, ValueExpression: valueExpression }));
    errors.invalid("spec.auditAnnotations", shown, text);
  }
  const keys = new Set<string>();
  for (const [i, annotation] of auditAnnotations.entries()) {
    const at = `spec.auditAnnotations[${i}]`;
    checkAnnotation(errors, check, at, metadata.name, annotation);
    if (keys.has(annotation.key)) errors.duplicate(`${at}.key`, annotation.key);
    keys.add(annotation.key);
  }
  return errors.list;
}

function checkValidation(errors: Errors, check: ExpressionCheck, path: string, validation: Validation): void {
  const { expression, message, messageExpression, reason } = validation;
  if (isBlank(expression)) errors.required(`${path}.expression`, "expression is not specified");
  else check.check(`${path}.expression`, expression, [bool]);
  if (messageExpression && isBlank(messageExpression)) {
    errors.invalid(`${path}.messageExpression`, messageExpression, "must be non-empty if specified");
  } else if (messageExpression) {
    check.check(`${path}.messageExpression`, messageExpression, [string], { authorizer: false });
  }
  if (message && isBlank(message)) errors.invalid(`${path}.message`, message, "must be non-empty if specified");
  else if (message && hasBreak(message.trim())) {
    errors.invalid(`${path}.message`, message, "must not contain line breaks");
  }
  if (reason !== undefined && !reasons.includes(reason)) errors.notSupported(`${path}.reason`, reason, reasons);
}

function checkAnnotation(
  errors: Errors,
  check: ExpressionCheck,
  path: string,
  name: string | undefined,
  { key, valueExpression }: AuditAnnotation,
): void {
  if (!name) errors.invalid(`${path}.key`, key, "requires metadata.name be non-empty");
  else errors.messages(`${path}.key`, `${name}/${key}`, qualifiedName(`${name}/${key}`));
  const source = valueExpression?.trim() ?? "";
  if (source === "") errors.required(`${path}.valueExpression`, "valueExpression is not specified");
  else if (Buffer.byteLength(source) > maxValueExpressionBytes) {
    errors.required(`${path}.valueExpression`, `must not exceed ${maxValueExpressionBytes} bytes in length`);
  } else check.check(`${path}.valueExpression`, valueExpression, [string, nullType], {}, source);
}

/** What is wrong with a mutating policy; `old` is what it was before an update. */
export function validateMutatingPolicy(
  { spec = {} }: MutatingAdmissionPolicy,
  old?: MutatingAdmissionPolicy,
): FieldError[] {
  const errors = new Errors();
  checkCommon(errors, spec, old?.spec, true);
  const check = new ExpressionCheck(errors, spec.paramKind !== undefined, true);
  for (const [i, variable] of (spec.variables ?? []).entries()) check.variable(`spec.variables[${i}]`, variable);
  if (!spec.mutations?.length) errors.required("spec.mutations", "mutations must contain at least one item");
  for (const [i, mutation] of (spec.mutations ?? []).entries()) {
    checkMutation(errors, check, `spec.mutations[${i}]`, mutation);
  }
  errors.oneOf("spec.reinvocationPolicy", spec.reinvocationPolicy, ["IfNeeded", "Never"]);
  return errors.list;
}

const patchTypes = {
  JSONPatch: { own: "jsonPatch", other: "applyConfiguration", wanted: listOf(jsonPatchType) },
  ApplyConfiguration: { own: "applyConfiguration", other: "jsonPatch", wanted: objectType },
} as const;

function checkMutation(errors: Errors, check: ExpressionCheck, path: string, mutation: Mutation): void {
  const { patchType } = mutation;
  if (patchType !== "JSONPatch" && patchType !== "ApplyConfiguration") {
    errors.oneOf(`${path}.patchType`, patchType, Object.keys(patchTypes));
    return;
  }
  const { own, other, wanted } = patchTypes[patchType];
  const patch = mutation[own];
  const source = patch?.expression?.trim() ?? "";
  if (!patch) errors.required(`${path}.${own}`, `must be specified when patchType is ${patchType}`);
  else if (source === "") errors.required(`${path}.${own}.expression`);
  else check.check(`${path}.${own}.expression`, source, [wanted], { patches: true });
  if (mutation[other]) {
    errors.invalid(`${path}.${other}`, `{${other}}`, `must not be specified when patchType is ${patchType}`);
  }
}

type BindingSpec = NonNullable<ValidatingAdmissionPolicyBinding["spec"] | MutatingAdmissionPolicyBinding["spec"]>;

function checkBinding(errors: Errors, { policyName, paramRef, matchResources }: BindingSpec): void {
  if (!policyName) errors.required("spec.policyName");
  else errors.messages("spec.policyName", policyName, dns1123Subdomain(policyName));
  if (paramRef) checkParamRef(errors, "spec.paramRef", paramRef);
  checkMatchResources(errors, "spec.matchResources", matchResources);
}

/** Not in alphabetical order, where Kubernetes names them. */
const notFoundActions = ["Deny", "Allow"];

function checkParamRef(errors: Errors, path: string, { name, selector, parameterNotFoundAction }: ParamRef): void {
  const exclusive = "name and selector are mutually exclusive";
  if (name) {
    errors.messages(`${path}.name`, name, pathSegmentName(name));
    if (selector) errors.forbidden(`${path}.name`, exclusive);
  }
  if (selector) {
    checkLabelSelector(errors, `${path}.selector`, selector);
    if (name) errors.forbidden(`${path}.selector`, exclusive);
  }
  if (!name && !selector) errors.required(path, "one of name or selector must be specified");
  const at = `${path}.parameterNotFoundAction`;
  if (!parameterNotFoundAction) errors.required(at);
  else if (!notFoundActions.includes(parameterNotFoundAction)) {
    const supported = notFoundActions.map((one) => JSON.stringify(one)).join(", ");
    const message = `Unsupported value: ${JSON.stringify(parameterNotFoundAction)}: supported values: ${supported}`;
    errors.list.push({ reason: "FieldValueNotSupported", field: at, message });
  }
}

export function validateValidatingBinding({ spec }: ValidatingAdmissionPolicyBinding): FieldError[] {
  const errors = new Errors();
  checkBinding(errors, spec ?? {});
  const path = "spec.validationActions";
  const actions = spec?.validationActions ?? [];
  for (const [i, action] of actions.entries()) {
    errors.oneOf(`${path}[${i}]`, action, ["Audit", "Deny", "Warn"]);
    if (actions.indexOf(action) < i) errors.duplicate(`${path}[${i}]`, action);
  }
  if (actions.includes("Deny") && actions.includes("Warn")) {
    const why = "repeating the same validation failure information in the API response and headers serves no purpose";
    errors.invalid(path, actions, `must not contain both Deny and Warn (${why})`);
  }
  if (actions.length === 0) errors.required(path, "at least one validation action is required");
  return errors.list;
}

export function validateMutatingBinding({ spec = {} }: MutatingAdmissionPolicyBinding): FieldError[] {
  const errors = new Errors();
  checkBinding(errors, spec);
  checkMutatingOperations(errors, "spec.matchResources", spec.matchResources?.resourceRules);
  return errors.list;
}

/** The status of a validating policy: warnings have a text and say where. */
export function validatePolicyStatus({ status }: ValidatingAdmissionPolicy): FieldError[] {
  const errors = new Errors();
  for (const [i, { warning, fieldRef }] of (status?.typeChecking?.expressionWarnings ?? []).entries()) {
    const at = `status.typeChecking.expressionWarnings[${i}]`;
    if (!warning) errors.required(`${at}.warning`);
    if (isBlank(fieldRef)) errors.required(`${at}.fieldRef`);
  }
  checkStatusConditions(errors, "status.conditions", status?.conditions ?? []);
  return errors.list;
}
