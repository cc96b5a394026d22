import type { MatchResources, NamedRuleWithOperations } from "../../../api/generated/admissionregistration-v1.ts";
import type { LabelSelector } from "../../../api/generated/meta-v1.ts";
import type { ResourceFacts } from "../../../api/resource.ts";
import type { Client } from "../../../client/client.ts";
import { fromLabelSelector, type Selector } from "../../../machinery/label-selector.ts";
import type { DeepReadonly } from "../../../machinery/object.ts";
import type { AdmissionAttributes } from "../../request.ts";
import type { Equivalents } from "../equivalents.ts";
import { namespaceSelected, objectSelected, ruledAs } from "../matching.ts";

type Rules = readonly DeepReadonly<NamedRuleWithOperations>[];

/** What a policy or a binding says of the requests that it is for, with its selectors read. */
export interface Constraints {
  readonly rules: Rules;
  readonly excluded: Rules;
  /** Absent: every namespace, or every object. */
  readonly namespaceSelector: Selector | undefined;
  readonly objectSelector: Selector | undefined;
  /** Do other versions of a resource count? */
  readonly equivalent: boolean;
}

export function readConstraints(match: DeepReadonly<MatchResources> | undefined): Constraints {
  return {
    rules: match?.resourceRules ?? [],
    excluded: match?.excludeResourceRules ?? [],
    namespaceSelector: selectorOf(match?.namespaceSelector),
    objectSelector: selectorOf(match?.objectSelector),
    equivalent: match?.matchPolicy === "Equivalent",
  };
}

function selectorOf(selector: DeepReadonly<LabelSelector> | undefined): Selector | undefined {
  const { matchLabels = {}, matchExpressions = [] } = selector ?? {};
  if (Object.keys(matchLabels).length + matchExpressions.length === 0) return undefined;
  return fromLabelSelector(selector as LabelSelector);
}

/** Rules may name objects. */
const naming = (rules: Rules, name: string) =>
  rules.filter(({ resourceNames }) => !resourceNames?.length || resourceNames.includes(name));

/**
 * As which resource a request is one of those meant; undefined: it is none. No rules mean all. Throws 404 when its
 * namespace, which a selector asks about, is not there.
 */
export async function meantAs(
  constraints: Constraints,
  attributes: AdmissionAttributes,
  client: Client,
  equivalents: Equivalents | undefined,
): Promise<ResourceFacts | undefined> {
  const { rules, excluded, namespaceSelector, objectSelector } = constraints;
  const others = constraints.equivalent ? equivalents : undefined;
  const { name } = attributes;
  const facts = rules.length === 0 ? attributes.facts : ruledAs(naming(rules, name), attributes, others);
  if (!facts || ruledAs(naming(excluded, name), attributes, others)) return undefined;
  if (objectSelector && !objectSelected(objectSelector, attributes)) return undefined;
  if (namespaceSelector && !(await namespaceSelected(client, namespaceSelector, attributes))) return undefined;
  return facts;
}
