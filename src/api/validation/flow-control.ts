/** FlowSchemas and PriorityLevelConfigurations. */
import { deepEqual } from "../../machinery/equality.ts";
import { dns1123Label } from "../../machinery/names.ts";
import type { FieldError } from "../../machinery/status.ts";
import { mandatoryLevels, mandatorySchemas } from "../flow-control-objects.ts";
import type {
  FlowSchema,
  LimitResponse,
  NonResourcePolicyRule,
  PolicyRulesWithSubjects,
  PriorityLevelConfiguration,
  ResourcePolicyRule,
  Subject,
} from "../generated/flowcontrol-v1.ts";
import { Errors } from "./errors.ts";

const maxPrecedence = 10_000;
const maxQueues = 10_000_000;
const maxHashBits = 60;
const verbs = ["create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch"];

export function validateFlowSchema(schema: FlowSchema): FieldError[] {
  const errors = new Errors();
  const name = schema.metadata.name ?? "";
  const { spec } = schema;
  const precedence = spec?.matchingPrecedence ?? 0;
  const path = "spec.matchingPrecedence";
  if (precedence <= 0) errors.invalid(path, precedence, "must be a positive value");
  if (precedence > maxPrecedence) errors.invalid(path, precedence, `must not be greater than ${maxPrecedence}`);
  if (precedence === 1 && name !== "exempt") {
    errors.invalid(path, precedence, "only the schema named 'exempt' may have matchingPrecedence 1");
  }
  const method = spec?.distinguisherMethod;
  if (method && method.type !== "ByUser" && method.type !== "ByNamespace") {
    errors.notSupported("spec.distinguisherMethod.type", method, ["ByNamespace", "ByUser"]);
  }
  const level = spec?.priorityLevelConfiguration?.name;
  const levelAt = "spec.priorityLevelConfiguration.name";
  if (errors.present(levelAt, level, "must reference a priority level")) errors.subdomain(levelAt, level!);
  for (const [index, rule] of (spec?.rules ?? []).entries()) checkRule(errors, `spec.rules[${index}]`, rule);
  const fixed = mandatorySchemas.find(({ metadata }) => metadata.name === name);
  if (fixed && !deepEqual(spec, fixed.spec)) {
    errors.invalid("spec", spec, `spec of '${name}' must equal the fixed value`);
  }
  checkConditions(errors, schema);
  return errors.list;
}

/** A status is checked by itself. */
export function validateFlowStatus(
  object: FlowSchema | PriorityLevelConfiguration,
  _old: unknown,
  subresource?: string,
): FieldError[] {
  const errors = new Errors();
  if (subresource === "status") checkConditions(errors, object);
  return errors.list;
}

function checkConditions(errors: Errors, { status }: FlowSchema | PriorityLevelConfiguration): void {
  const types = new Set<string>();
  for (const [index, { type = "" }] of (status?.conditions ?? []).entries()) {
    const path = `status.conditions[${index}].type`;
    if (types.has(type)) errors.duplicate(path, type);
    types.add(type);
    errors.present(path, type);
  }
}

function checkRule(errors: Errors, at: string, rule: PolicyRulesWithSubjects): void {
  errors.present(`${at}.subjects`, rule.subjects, "subjects must contain at least one value");
  for (const [index, subject] of (rule.subjects ?? []).entries())
    checkSubject(errors, `${at}.subjects[${index}]`, subject);
  if (!rule.resourceRules?.length && !rule.nonResourceRules?.length) {
    errors.required(at, "at least one of resourceRules and nonResourceRules has to be non-empty");
  }
  for (const [index, one] of (rule.resourceRules ?? []).entries()) {
    checkResources(errors, `${at}.resourceRules[${index}]`, one);
  }
  for (const [index, one] of (rule.nonResourceRules ?? []).entries()) {
    checkUrls(errors, `${at}.nonResourceRules[${index}]`, one);
  }
}

const subjectFields: Readonly<Record<string, "user" | "group" | "serviceAccount">> = {
  User: "user",
  Group: "group",
  ServiceAccount: "serviceAccount",
};

function checkSubject(errors: Errors, at: string, subject: Subject): void {
  const kind = subject.kind ?? "";
  const own = Object.hasOwn(subjectFields, kind) ? subjectFields[kind]! : undefined;
  if (!own) {
    errors.notSupported(`${at}.kind`, kind, Object.keys(subjectFields));
    return;
  }
  const given = subject[own];
  if (!given) errors.required(`${at}.${own}`, `${own} is required when subject kind is '${kind}'`);
  else {
    const path = `${at}.${own}.name`;
    const account = subject.serviceAccount;
    if (errors.present(path, given.name) && own === "serviceAccount" && given.name !== "*") {
      errors.subdomain(path, given.name);
    }
    if (own === "serviceAccount") {
      const namespace = `${at}.serviceAccount.namespace`;
      const text = "must specify namespace for service account";
      if (errors.present(namespace, account?.namespace, text)) errors.label(namespace, account!.namespace);
    }
  }
  for (const [other, field] of Object.entries(subjectFields)) {
    if (field === own || !subject[field]) continue;
    errors.forbidden(`${at}.${field}`, `${field} is forbidden when subject kind is not '${other}'`);
  }
}

function checkVerbs(errors: Errors, at: string, given: readonly string[]): void {
  const path = `${at}.verbs`;
  if (!errors.present(path, given, "verbs must contain at least one value")) return;
  if (given.includes("*")) alone(errors, path, given, "verbs");
  else if (!given.every((verb) => verbs.includes(verb))) errors.notSupported(path, given, verbs);
}

/** A star says all there is to say. */
function alone(errors: Errors, path: string, given: readonly string[], what: string): void {
  if (given.length > 1 && given.includes("*")) {
    errors.invalid(path, given, `if '*' is present, must not specify other ${what}`);
  }
}

function checkResources(errors: Errors, at: string, rule: ResourcePolicyRule): void {
  checkVerbs(errors, at, rule.verbs ?? []);
  const apiGroups = rule.apiGroups ?? [];
  const resources = rule.resources ?? [];
  const namespaces = rule.namespaces ?? [];
  errors.present(`${at}.apiGroups`, apiGroups, "resource rules must supply at least one api group");
  alone(errors, `${at}.apiGroups`, apiGroups, "api groups");
  errors.present(`${at}.resources`, resources, "resource rules must supply at least one resource");
  alone(errors, `${at}.resources`, resources, "resources");
  if (namespaces.length === 0 && !rule.clusterScope) {
    const text = "resource rules that are not cluster scoped must supply at least one namespace";
    errors.required(`${at}.namespaces`, text);
  } else if (namespaces.includes("*")) alone(errors, `${at}.namespaces`, namespaces, "namespaces");
  else {
    for (const [index, name] of namespaces.entries()) {
      for (const message of dns1123Label(name)) {
        const text = `each member of this list must be '*' or a DNS-1123 label; ${message}`;
        errors.invalid(`${at}.namespaces[${index}]`, name, text);
      }
    }
  }
}

function checkUrls(errors: Errors, at: string, rule: NonResourcePolicyRule): void {
  checkVerbs(errors, at, rule.verbs ?? []);
  const urls = rule.nonResourceURLs ?? [];
  const path = `${at}.nonResourceURLs`;
  if (!errors.present(path, urls, "nonResourceURLs must contain at least one value")) return;
  if (urls.includes("*")) alone(errors, path, urls, "non-resource URLs");
  else {
    for (const [index, url] of urls.entries()) {
      const problem = urlProblem(url);
      if (problem) errors.invalid(`${path}[${index}]`, url, problem);
    }
  }
}

function urlProblem(url: string): string | undefined {
  if (url === "") return "must not be empty";
  if (url === "/") return undefined;
  if (!url.startsWith("/")) return "must start with slash";
  if (url.includes(" ")) return "must not contain white-space";
  if (url.includes("//")) return "must not contain double slash";
  const stars = url.split("*").length - 1;
  return stars > 1 || (stars === 1 && !url.endsWith("/*")) ? "wildcard can only do suffix matching" : undefined;
}

export function validatePriorityLevel(level: PriorityLevelConfiguration): FieldError[] {
  const errors = new Errors();
  const name = level.metadata.name ?? "";
  const key = "flowcontrol.k8s.io/v1beta3-preserve-zero-concurrency-shares";
  if (level.metadata.annotations?.[key] !== undefined) {
    errors.forbidden("metadata.annotations", `annotation '${key}' is forbidden`);
  }
  checkLevel(errors, level, name);
  checkFixed(errors, level, name);
  checkConditions(errors, level);
  return errors.list;
}

function checkLevel(errors: Errors, { spec }: PriorityLevelConfiguration, name: string): void {
  const type = spec?.type ?? "";
  if ((name === "exempt") !== (type === "Exempt")) {
    errors.invalid("spec.type", type, "must be 'Exempt' if and only if `name` is 'exempt'");
  }
  const { limited, exempt } = spec ?? {};
  if (type === "Exempt") {
    if (limited) errors.forbidden("spec.limited", "must be nil if the type is not Limited");
    if (exempt) checkShares(errors, "spec.exempt", exempt);
  } else if (type === "Limited") {
    if (exempt) errors.forbidden("spec.exempt", "must be nil if the type is Limited");
    if (!limited) errors.required("spec.limited", "must not be empty when type is Limited");
    else {
      checkShares(errors, "spec.limited", limited, () =>
        checkResponse(errors, "spec.limited.limitResponse", limited.limitResponse ?? { type: "" }),
      );
      const borrowing = limited.borrowingLimitPercent;
      if (borrowing !== undefined && borrowing < 0) {
        const text = "if specified, must be a non-negative integer";
        errors.invalid("spec.limited.borrowingLimitPercent", borrowing, text);
      }
    }
  } else errors.notSupported("spec.type", type, ["Exempt", "Limited"]);
}

interface Shares {
  nominalConcurrencyShares?: number;
  lendablePercent?: number;
}

/** `between`: what stands between the two in Kubernetes' order. */
function checkShares(errors: Errors, at: string, shares: Shares, between?: () => void): void {
  const { nominalConcurrencyShares: nominal = 0, lendablePercent: lendable = 0 } = shares;
  if (nominal < 0) errors.invalid(`${at}.nominalConcurrencyShares`, nominal, "must be a non-negative integer");
  between?.();
  if (lendable < 0 || lendable > 100) {
    errors.invalid(`${at}.lendablePercent`, lendable, "must be between 0 and 100, inclusive");
  }
}

function checkResponse(errors: Errors, at: string, response: LimitResponse): void {
  const { type, queuing } = response;
  if (type === "Reject") {
    if (queuing) errors.forbidden(`${at}.queuing`, "must be nil if limited.limitResponse.type is not Limited");
  } else if (type !== "Queue") errors.notSupported(`${at}.type`, type ?? "", ["Queue", "Reject"]);
  else if (!queuing) errors.required(`${at}.queuing`, "must not be empty if limited.limitResponse.type is Limited");
  else {
    const { queues = 0, handSize = 0, queueLengthLimit = 0 } = queuing;
    const path = `${at}.queuing`;
    if (queueLengthLimit <= 0) errors.invalid(`${path}.queueLengthLimit`, queueLengthLimit, "must be positive");
    if (queues <= 0) errors.invalid(`${path}.queues`, queues, "must be positive");
    else if (queues > maxQueues) errors.invalid(`${path}.queues`, queues, `must not be greater than ${maxQueues}`);
    const hand = `${path}.handSize`;
    if (handSize <= 0) errors.invalid(hand, handSize, "must be positive");
    else if (handSize > queues) errors.invalid(hand, handSize, `should not be greater than queues (${queues})`);
    else if (entropyBits(queues, handSize) > maxHashBits) {
      const text = `required entropy bits of deckSize ${queues} and handSize ${handSize} should not be greater than ${maxHashBits}`;
      errors.invalid(hand, handSize, text);
    }
  }
}

/** How many bits of a hash it takes to deal a hand. */
function entropyBits(deck: number, hand: number): number {
  return Math.ceil(Math.log2(deck) * hand);
}

function checkFixed(errors: Errors, { spec }: PriorityLevelConfiguration, name: string): void {
  const fixed = mandatoryLevels.find(({ metadata }) => metadata.name === name)?.spec;
  if (!fixed) return;
  if (name === "exempt") {
    const { exempt: _, ...have } = spec ?? { type: "" };
    const { exempt: __, ...want } = fixed;
    if (deepEqual(have, want)) return;
    errors.invalid("spec", spec, "spec of 'exempt' except the 'spec.exempt' field must equal the fixed value");
  } else if (!deepEqual(spec, fixed)) errors.invalid("spec", spec, `spec of '${name}' must equal the fixed value`);
}
