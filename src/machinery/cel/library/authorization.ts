/** Kubernetes' authz library: expressions ask whether somebody may do something. */
import { dns1123Label, dns1123Subdomain } from "../../names.ts";
import { type Library, member } from "../functions.ts";
import { costs } from "../sizes.ts";
import { bool, type CelType, opaque, string } from "../types.ts";
import { CelError, CelObject, type CelValue, noSuchOverload, sizeOf } from "../values.ts";

/** Of whom, and what for. */
export interface AccessQuestion {
  readonly verb: string;
  /** Absent: whoever sent the request. */
  readonly serviceAccount?: { readonly namespace: string; readonly name: string };
  /** For what is no resource. */
  readonly path?: string;
  readonly group?: string;
  readonly resource?: string;
  readonly subresource?: string;
  readonly namespace?: string;
  readonly name?: string;
}

export interface AccessDecision {
  readonly allowed: boolean;
  readonly reason: string;
  /** Why nobody could tell; absent: somebody could. */
  readonly error?: string;
}

/** Answers at once. May throw what is no CelError to end the evaluation: an answer that has to be waited for. */
export type DecideAccess = (question: AccessQuestion) => AccessDecision;

export const authorizerType = opaque("kubernetes.authorization.Authorizer");
const pathCheckType = opaque("kubernetes.authorization.PathCheck");
const groupCheckType = opaque("kubernetes.authorization.GroupCheck");
export const resourceCheckType = opaque("kubernetes.authorization.ResourceCheck");
const decisionType = opaque("kubernetes.authorization.Decision");

/** A question as far as it is put, or its answer. */
class AuthorizationValue<T> extends CelObject {
  readonly type: CelType;
  readonly content: T;

  constructor(type: CelType, content: T) {
    super();
    this.type = type;
    this.content = content;
  }

  /** Not even with themselves. */
  equals(_other: CelValue): boolean {
    throw noSuchOverload();
  }
}

interface Asking {
  readonly decide: DecideAccess;
  readonly question: Omit<AccessQuestion, "verb">;
}

type AskingValue = AuthorizationValue<Asking>;

/** The value of `authorizer`. */
export const authorizerValue = (decide: DecideAccess): CelValue =>
  new AuthorizationValue<Asking>(authorizerType, { decide, question: {} });

/** The value of `authorizer.requestResource`. */
export const resourceCheckValue = (decide: DecideAccess, question: Omit<AccessQuestion, "verb">): CelValue =>
  new AuthorizationValue<Asking>(resourceCheckType, { decide, question });

const refine = (type: CelType, { content }: AskingValue, more: Partial<AccessQuestion>) =>
  new AuthorizationValue<Asking>(type, { ...content, question: { ...content.question, ...more } });

function required(text: string, what: string): string {
  if (text.trim() === "") throw new CelError(`${what} must not be empty`);
  return text;
}

function serviceAccount(of: AskingValue, namespace: string, name: string): AskingValue {
  if (dns1123Subdomain(name).length > 0) throw new CelError("Invalid service account name");
  if (dns1123Label(namespace).length > 0) throw new CelError("Invalid service account namespace");
  return refine(authorizerType, of, { serviceAccount: { namespace, name } });
}

function check({ content }: AskingValue, verb: string): AuthorizationValue<AccessDecision> {
  return new AuthorizationValue(decisionType, content.decide({ ...content.question, verb }));
}

const checkCost = () => 350_000;

/** A selector is read, and at worst every second character of it begins a requirement. */
function selectorCost([, text]: readonly CelValue[]): number {
  const length = sizeOf(text!);
  const requirements = Math.ceil(length * 0.5) * (costs.list + costs.struct);
  return costs.list + Math.ceil(length * costs.stringTraversal) + requirements;
}

/** Roles know no selectors, and no authorizer here narrows by them: they leave the question as it is. */
const unnarrowed = (of: AskingValue) => of;

const narrowing = (id: string, field: keyof AccessQuestion) =>
  member(id, [resourceCheckType, string], resourceCheckType, (of: AskingValue, text: string) =>
    refine(resourceCheckType, of, { [field]: text }),
  );

const answer = (id: string, result: CelType, read: (decision: AccessDecision) => CelValue) =>
  member(id, [decisionType], result, ({ content }: AuthorizationValue<AccessDecision>) => read(content));

export const authorization: Library = [
  [
    "path",
    member("authorizer_path", [authorizerType, string], pathCheckType, (of: AskingValue, path: string) =>
      refine(pathCheckType, of, { path: required(path, "path") }),
    ),
  ],
  [
    "group",
    member("authorizer_group", [authorizerType, string], groupCheckType, (of: AskingValue, group: string) =>
      refine(groupCheckType, of, { group }),
    ),
  ],
  [
    "serviceAccount",
    member("authorizer_serviceaccount", [authorizerType, string, string], authorizerType, serviceAccount),
  ],
  [
    "resource",
    member("groupcheck_resource", [groupCheckType, string], resourceCheckType, (of: AskingValue, resource: string) =>
      refine(resourceCheckType, of, { resource: required(resource, "resource") }),
    ),
  ],
  ["subresource", narrowing("resourcecheck_subresource", "subresource")],
  ["namespace", narrowing("resourcecheck_namespace", "namespace")],
  ["name", narrowing("resourcecheck_name", "name")],
  [
    "fieldSelector",
    member("authorizer_fieldselector", [resourceCheckType, string], resourceCheckType, unnarrowed, selectorCost),
  ],
  [
    "labelSelector",
    member("authorizer_labelselector", [resourceCheckType, string], resourceCheckType, unnarrowed, selectorCost),
  ],
  [
    "check",
    member("pathcheck_check", [pathCheckType, string], decisionType, check, checkCost),
    member("resourcecheck_check", [resourceCheckType, string], decisionType, check, checkCost),
  ],
  ["allowed", answer("decision_allowed", bool, ({ allowed }) => allowed)],
  ["reason", answer("decision_reason", string, ({ reason }) => reason)],
  ["errored", answer("decision_errored", bool, ({ error }) => error !== undefined)],
  ["error", answer("decision_error", string, ({ error }) => error ?? "")],
];
