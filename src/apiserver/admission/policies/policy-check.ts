import {
  type MutatingAdmissionPolicy,
  type MutatingAdmissionPolicyBinding,
  mutatingAdmissionPolicies,
  mutatingAdmissionPolicyBindings,
  type ParamKind,
  type ValidatingAdmissionPolicy,
  type ValidatingAdmissionPolicyBinding,
  validatingAdmissionPolicies,
  validatingAdmissionPolicyBindings,
} from "../../../api/generated/admissionregistration-v1.ts";
import { sameJson } from "../../../api/strategy.ts";
import type { Client } from "../../../client/client.ts";
import { type KubeObject, parseApiVersion } from "../../../machinery/object.ts";
import { type FieldError, fieldError, invalid } from "../../../machinery/status.ts";
import type { AdmissionAttributes, AdmissionPlugin, Authorizer, UserInfo } from "../../request.ts";
import { resourceOfKind, type ServedResources } from "./parameters.ts";
import type { Binding, Policy } from "./policy-source.ts";

interface PolicyCheckOptions {
  readonly client: Client;
  readonly authorize: Authorizer;
  readonly resources: ServedResources;
}

/** As Go prints somebody. */
function shownUser({ name, uid = "", groups, extra = {} }: UserInfo): string {
  const shown = Object.keys(extra)
    .sort()
    .map((key) => `${key}:[${extra[key]!.join(" ")}]`);
  return `&{${name} ${uid} [${groups.join(" ")}] map[${shown.join(" ")}]}`;
}

/**
 * Refuses policies and bindings that are not valid. Part of admission, since their expressions are compiled for that, by
 * an engine that is loaded when there are some; and whoever binds a policy to objects must be allowed to read them.
 */
export function policyCheck(options: PolicyCheckOptions): AdmissionPlugin {
  async function validate(attributes: AdmissionAttributes): Promise<void> {
    const { facts, operation, object, oldObject, subresource } = attributes;
    if (facts.group !== validatingAdmissionPolicies.group || !object) return;
    if (operation !== "CREATE" && operation !== "UPDATE") return;
    if (!checked.has(facts.resource) || (subresource && subresource !== "status")) return;
    const errors = await check(facts.resource, subresource, object, oldObject);
    if (errors.length === 0 && !subresource) errors.push(...(await mayRead(attributes, options)));
    if (errors.length > 0) throw invalid({ group: facts.group, resource: facts.kind }, attributes.name, errors);
  }
  return { name: "AdmissionPolicyCheck", validate };
}

const checked = new Set(
  [
    validatingAdmissionPolicies,
    validatingAdmissionPolicyBindings,
    mutatingAdmissionPolicies,
    mutatingAdmissionPolicyBindings,
  ].map(({ resource }) => resource),
);

async function check(
  resource: string,
  subresource: string | undefined,
  object: KubeObject,
  old: KubeObject | undefined,
): Promise<FieldError[]> {
  const rules = await import("../../../api/validation/policies.ts");
  if (subresource) return rules.validatePolicyStatus(object as ValidatingAdmissionPolicy);
  switch (resource) {
    case validatingAdmissionPolicies.resource:
      return rules.validateValidatingPolicy(object as ValidatingAdmissionPolicy, old as ValidatingAdmissionPolicy);
    case mutatingAdmissionPolicies.resource:
      return rules.validateMutatingPolicy(object as MutatingAdmissionPolicy, old as MutatingAdmissionPolicy);
    case validatingAdmissionPolicyBindings.resource:
      return rules.validateValidatingBinding(object as ValidatingAdmissionPolicyBinding);
    default:
      return rules.validateMutatingBinding(object as MutatingAdmissionPolicyBinding);
  }
}

/** What is to be authorized: all kinds as long as the kind is not known. */
function parameterResource(paramKind: ParamKind | undefined, resources: ServedResources) {
  if (!paramKind) return { group: "*", version: "*", resource: "*", known: false };
  const { group, version } = parseApiVersion(paramKind.apiVersion ?? "");
  try {
    return { group, version, resource: resourceOfKind(paramKind, resources).resource, known: true };
  } catch {
    return { group, version, resource: "*", known: false };
  }
}

/** Whoever has objects read by a policy must be allowed to read them. */
async function mayRead(attributes: AdmissionAttributes, options: PolicyCheckOptions): Promise<FieldError[]> {
  const { user, object, oldObject, facts } = attributes;
  if (user.groups.includes("system:masters")) return [];
  return facts.resource.endsWith("bindings")
    ? mayReadParameter(object as Binding, oldObject as Binding | undefined, user, options)
    : mayReadKind(object as Policy, oldObject as Policy | undefined, user, options);
}

async function mayReadKind(
  { spec }: Policy,
  old: Policy | undefined,
  user: UserInfo,
  { authorize, resources }: PolicyCheckOptions,
): Promise<FieldError[]> {
  const paramKind = spec?.paramKind;
  if (!paramKind || (old && sameJson(old.spec?.paramKind, paramKind))) return [];
  const { group, version, resource } = parameterResource(paramKind, resources);
  const decision = await authorize({ user, verb: "get", group, version, resource, namespace: "*", name: "*" });
  if (decision.allowed) return [];
  const { kind = "", apiVersion = "" } = paramKind;
  const text = `user ${shownUser(user)} must have "get" permission on all objects of the referenced paramKind (kind=${kind}, apiVersion=${apiVersion})`;
  return [fieldError.forbidden("spec.paramKind", text)];
}

async function mayReadParameter(
  { spec, kind }: Binding,
  old: Binding | undefined,
  user: UserInfo,
  { authorize, client, resources }: PolicyCheckOptions,
): Promise<FieldError[]> {
  const paramRef = spec?.paramRef;
  const policyName = spec?.policyName ?? "";
  if (!paramRef || (old && sameJson(old.spec?.paramRef, paramRef) && old.spec?.policyName === policyName)) return [];
  const type =
    kind === validatingAdmissionPolicyBindings.kind ? validatingAdmissionPolicies : mutatingAdmissionPolicies;
  const policy: Policy | undefined = await client.get<Policy>(type, policyName).catch(() => undefined);
  const paramKind = policy?.spec?.paramKind;
  const { group, version, resource, known } = parameterResource(paramKind, resources);
  const verb = paramRef.name ? "get" : "list";
  const { namespace, name } = paramRef;
  const place = { ...(namespace ? { namespace } : {}), ...(name ? { name } : {}) };
  if ((await authorize({ user, verb, group, version, resource, ...place })).allowed) return [];
  const lacks = `user ${shownUser(user)} does not have "${verb}" permission`;
  const all = `to determine minimum required permissions and ${lacks} for all groups, versions and resources`;
  const text = !policy
    ? `unable to get policy ${policyName} ${all}`
    : paramKind && !known
      ? `unable to resolve paramKind &ParamKind{APIVersion:${paramKind.apiVersion},Kind:${paramKind.kind},} ${all}`
      : `${lacks} on the object referenced by paramRef`;
  return [fieldError.forbidden("spec.paramRef", text)];
}
