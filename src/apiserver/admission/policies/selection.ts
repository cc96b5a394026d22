import { type Namespace, namespaces } from "../../../api/generated/core-v1.ts";
import type { ResourceFacts } from "../../../api/resource.ts";
import type { Client } from "../../../client/client.ts";
import type { KubeObject } from "../../../machinery/object.ts";
import { forbidden, type StatusError } from "../../../machinery/status.ts";
import type { AdmissionAttributes } from "../../request.ts";
import { convertBetween, type Equivalents } from "../equivalents.ts";
import { meantAs } from "./match-resources.ts";
import { collectParameters, resourceOfKind, type ServedResources } from "./parameters.ts";
import type { BoundPolicy, Policy, PolicyBinding } from "./policy-source.ts";
import { namespaceOf } from "./request-values.ts";

/** A policy that a request is to be held to, by one binding with one parameter. */
export interface Invocation<P extends Policy, C> {
  readonly policy: BoundPolicy<P, C>;
  readonly binding: PolicyBinding;
  /** As which resource the policy knows the request's. */
  readonly facts: ResourceFacts;
  /** null: without one. */
  readonly parameter: KubeObject | null;
}

/** A policy or a binding cannot be followed. */
export type Misconfigured = (
  policy: { readonly name: string; readonly failsOpen: boolean },
  binding: PolicyBinding | undefined,
  message: string,
) => void;

export interface SelectionOptions {
  readonly client: Client;
  readonly resources: ServedResources;
  readonly equivalents: Equivalents | undefined;
}

const reviews = ["authorization.k8s.io", "authentication.k8s.io"];
const policyKinds = /^(validating|mutating)admissionpolic(ies|ybindings)$/;

/** Requests that no policy may stop: policies themselves, which one could never take away again, and reviews. */
export function isBeyondPolicies({ facts: { group, resource } }: AdmissionAttributes): boolean {
  return reviews.includes(group) || (group === "admissionregistration.k8s.io" && policyKinds.test(resource));
}

const textOf = (error: unknown) => (error instanceof Error ? error.message : String(error));

/** Which policies a request is to be held to. */
export async function select<P extends Policy, C>(
  policies: readonly BoundPolicy<P, C>[],
  attributes: AdmissionAttributes,
  options: SelectionOptions,
  misconfigured: Misconfigured,
): Promise<Invocation<P, C>[]> {
  const { client, resources, equivalents } = options;
  const selected: Invocation<P, C>[] = [];
  for (const policy of policies) {
    const fault = (binding: PolicyBinding | undefined, error: unknown) =>
      misconfigured(policy, binding, `failed to configure ${binding ? "binding" : "policy"}: ${textOf(error)}`);
    let facts: ResourceFacts | undefined;
    let parameters: ResourceFacts | undefined;
    try {
      if (!policy.constraints) throw new Error("policy contained no match constraints, a required field");
      facts = await meantAs(policy.constraints, attributes, client, equivalents);
      if (!facts) continue;
      if (policy.spec.paramKind) parameters = resourceOfKind(policy.spec.paramKind, resources);
    } catch (error) {
      fault(undefined, error);
      continue;
    }
    for (const binding of policy.bindings) {
      try {
        if (binding.constraints && !(await meantAs(binding.constraints, attributes, client, equivalents))) continue;
        const found = await collectParameters(client, parameters, binding.paramRef, namespaceOf(attributes));
        for (const parameter of found) selected.push({ policy, binding, facts, parameter });
      } catch (error) {
        fault(binding, error);
      }
    }
  }
  return selected;
}

/** The namespace of a request, as expressions see it. Throws 404 when it is not there. */
export function namespaceObjectOf(attributes: AdmissionAttributes, client: Client): Promise<Namespace | undefined> {
  const { facts, namespace } = attributes;
  const itself = facts.group === "" && facts.resource === "namespaces";
  return itself || !namespace ? Promise.resolve(undefined) : client.get(namespaces, namespace);
}

/** The request as if it had been about an equivalent resource. Throws when its objects cannot be converted. */
export async function shownAs(asked: AdmissionAttributes, facts: ResourceFacts): Promise<AdmissionAttributes> {
  if (facts === asked.facts) return asked;
  // The body of a subresource is the same whatever the version of what it belongs to.
  const own = asked.subresource !== undefined && facts.subresources[asked.subresource]?.kind !== undefined;
  const convert = (object: KubeObject | undefined) =>
    object && !own ? convertBetween(asked.facts, facts, object) : Promise.resolve(object);
  const [object, oldObject] = await Promise.all([convert(asked.object), convert(asked.oldObject)]);
  return { ...asked, facts, ...(object ? { object } : {}), ...(oldObject ? { oldObject } : {}) };
}

/** The refusal of a request, which names what it is about; without a name yet, by what it will begin with. */
export function refusal({ facts, name, object }: AdmissionAttributes, why: string): StatusError {
  const { group, resource } = facts;
  const { metadata } = object ?? {};
  return forbidden({ group, resource }, name || metadata?.name || metadata?.generateName || "Unknown", why);
}
