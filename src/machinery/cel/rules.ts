/**
 * x-kubernetes-validations: the rules of a custom resource's schema, compiled once and run on every write. Source:
 * apiextensions' schema/cel.
 */
import { equalJson } from "../apply/typed.ts";
import { getKey, isRecord } from "../json.ts";
import type { JsonSchemaProps } from "../schema-from-openapi.ts";
import { hasRules } from "../schema-validation.ts";
import type { FieldError } from "../status.ts";
import { CelCompileError } from "./issues.ts";
import { CelProgram, type Outcome } from "./program.ts";
import { normalizedFieldPath } from "./rule-field-path.ts";
import { type Declared, declare, escapeName } from "./schema-types.ts";
import * as types from "./types.ts";
import { CelCostExceeded, CelError, type CelValue, Optional } from "./values.ts";

/** apiextensions/v1 ValidationRule. */
export interface ValidationRule {
  readonly rule: string;
  readonly message?: string;
  readonly messageExpression?: string;
  readonly reason?: string;
  readonly fieldPath?: string;
  readonly optionalOldSelf?: boolean;
}

/** What one evaluation, and all of one object, may cost. */
export const perCallLimit = 1_000_000;
const objectBudget = 10_000_000;
const maxMessageBytes = 5 * 1024;

export interface CompiledRule {
  readonly rule: ValidationRule;
  /** Absent when it does not compile. */
  readonly program?: CelProgram;
  /** Why it does not. */
  readonly fault?: string;
  readonly message?: CelProgram;
  readonly messageFault?: string;
  readonly usesOldSelf: boolean;
  /** Where its errors are, under the path of its schema. */
  readonly fieldPath?: string;
}

const rulesOf = (props: JsonSchemaProps) => (props["x-kubernetes-validations"] ?? []) as readonly ValidationRule[];

function faultOf(what: string, error: unknown): string {
  if (error instanceof CelCompileError) return `${what}compilation failed: ${error.message}`;
  if (error instanceof CelError) return `${what === "" ? "program " : what}instantiation failed: ${error.message}`;
  throw error;
}

/** Compiles one rule of a schema. Never throws for what a user wrote: `fault` says it. */
export function compileRule(rule: ValidationRule, props: JsonSchemaProps, declared: Declared): CompiledRule {
  const oldSelf = rule.optionalOldSelf ? types.optionalOf(declared.type) : declared.type;
  const variables = [
    { name: "self", type: declared.type },
    { name: "oldSelf", type: oldSelf },
  ];
  let program: CelProgram;
  try {
    program = new CelProgram(rule.rule, { variables });
  } catch (error) {
    return { rule, fault: faultOf("", error), usesOldSelf: false };
  }
  if (program.type.kind !== "bool") {
    return { rule, fault: "cel expression must evaluate to a bool", usesOldSelf: false };
  }
  const path = rule.fieldPath ? normalizedFieldPath(rule.fieldPath, props) : undefined;
  const compiled: CompiledRule = {
    rule,
    program,
    usesOldSelf: program.reads("oldSelf"),
    ...(path === undefined ? {} : { fieldPath: path }),
  };
  if (!rule.messageExpression) return compiled;
  try {
    const message = new CelProgram(rule.messageExpression, { variables });
    if (message.type.kind === "string") return { ...compiled, message };
    return { ...compiled, messageFault: "messageExpression must evaluate to a string" };
  } catch (error) {
    return { ...compiled, messageFault: faultOf("messageExpression ", error) };
  }
}

/** The rules of a schema and of what is under it; schemas without any are not there. */
interface RuleNode {
  readonly props: JsonSchemaProps;
  readonly declared: Declared;
  readonly rules: readonly CompiledRule[];
  readonly properties: ReadonlyMap<string, RuleNode>;
  readonly additional: RuleNode | undefined;
  readonly items: RuleNode | undefined;
  readonly allOf: readonly RuleNode[];
}

/**
 * `spine` is what the value is, `checks` where rules stand: the same but under allOf, whose schemas name no types.
 */
function compileNode(
  checks: JsonSchemaProps,
  spine: JsonSchemaProps,
  declared: Declared | undefined,
  resource: boolean,
): RuleNode | undefined {
  const type = declared ?? declare(spine, resource);
  if (!type || !hasRules(checks)) return undefined;
  const properties = new Map<string, RuleNode>();
  for (const [key, inner] of Object.entries(checks.properties ?? {})) {
    const of = spine.properties && Object.hasOwn(spine.properties, key) ? spine.properties[key]! : undefined;
    if (!of) continue;
    const name = escapeName(key);
    const field = name === undefined ? undefined : type.fields?.get(name);
    // What expressions cannot see by its type has no rules either.
    if (name !== undefined && !field) continue;
    const node = compileNode(inner, of, field, of["x-kubernetes-embedded-resource"] === true);
    if (node) properties.set(key, node);
  }
  const child = (inner: unknown, of: unknown) => {
    if (typeof inner !== "object" || typeof of !== "object" || !inner || !of) return undefined;
    const schema = of as JsonSchemaProps;
    const embedded = schema["x-kubernetes-embedded-resource"] === true;
    return compileNode(inner as JsonSchemaProps, schema, type.element, embedded);
  };
  const allOf = (checks.allOf ?? []).flatMap((part) => compileNode(part, spine, type, resource) ?? []);
  return {
    props: spine,
    declared: type,
    rules: rulesOf(checks).map((rule) => compileRule(rule, spine, type)),
    properties,
    additional: child(checks.additionalProperties, spine.additionalProperties),
    items: child(checks.items, spine.items),
    allOf,
  };
}

/** Checks an object by its rules, against the stored one if there is one. */
export type RuleCheck = (value: unknown, old?: unknown) => FieldError[];

/** Compiles all rules of a resource's schema; undefined when it has none. */
export function compileRules(props: JsonSchemaProps): RuleCheck | undefined {
  const root = compileNode(props, props, undefined, true);
  if (!root) return undefined;
  return (value, old) => {
    const run = new RuleRun();
    run.check(root, value, old, "", { old, unchanged: false });
    return run.errors;
  };
}

/** What is known of the old value for leaving old faults alone: what did not change may stay wrong. */
interface Ratchet {
  /** The old value of the same place; undefined where none corresponds. */
  readonly old: unknown;
  /** Something above did not change. */
  readonly unchanged: boolean;
}

const spent = new Error("the budget is spent");
const child = (path: string, key: string) => (path === "" ? key : `${path}.${key}`);
const shownPath = (path: string) => (path === "" ? "<nil>" : path);
const invalid = (path: string, message: string): FieldError => ({
  reason: "FieldValueInvalid",
  field: shownPath(path),
  message: `Invalid value: ${message}`,
});

class RuleRun {
  readonly errors: FieldError[] = [];
  #budget = objectBudget;

  check(node: RuleNode, value: unknown, old: unknown, path: string, ratchet: Ratchet): void {
    try {
      this.#check(node, value, old, path, ratchet);
    } catch (error) {
      if (error !== spent) throw error;
    }
  }

  #check(node: RuleNode, value: unknown, old: unknown, path: string, ratchet: Ratchet): void {
    if (value === null || value === undefined) return;
    if (node.rules.length > 0) this.#rules(node, value, old, path, ratchet);
    for (const part of node.allOf)
      this.#check(part, value, old, path, { old: undefined, unchanged: ratchet.unchanged });
    if (Array.isArray(value)) {
      if (!node.items) return;
      for (const [i, item] of value.entries()) {
        const before = correlated(node.props, old, item);
        this.#check(
          node.items,
          item,
          before,
          `${path}[${i}]`,
          below(ratchet, value, correlated(node.props, ratchet.old, item)),
        );
      }
      return;
    }
    if (!isRecord(value)) return;
    for (const key of Object.keys(value)) {
      const inner = node.properties.get(key);
      const of = inner ?? (node.props.properties?.[key] ? undefined : node.additional);
      if (!of) continue;
      const before = isRecord(old) ? getKey(old, key) : undefined;
      const same = isRecord(ratchet.old) ? getKey(ratchet.old, key) : undefined;
      this.#check(of, value[key], before, inner ? child(path, key) : `${path}[${key}]`, below(ratchet, value, same));
    }
  }

  #rules({ rules, declared, props }: RuleNode, value: unknown, old: unknown, path: string, ratchet: Ratchet): void {
    const shownType = JSON.stringify(props.type ?? "");
    const { convert } = declared;
    const converted = (json: unknown) => (convert ? convert(json) : json) as CelValue;
    const self = converted(value);
    const hasOld = old !== undefined && old !== null;
    if (this.#budget <= 0)
      this.#stop(
        path,
        shownType,
        "validation failed due to running out of cost budget, no further validation rules will be run",
      );
    for (const compiled of rules) {
      const { rule, program, usesOldSelf } = compiled;
      if (!program) {
        this.errors.push(invalid(path, `${shownType}: rule compile error: ${compiled.fault}`));
        continue;
      }
      if (usesOldSelf && !hasOld && !rule.optionalOldSelf) continue;
      const plainOld = usesOldSelf && hasOld ? converted(old) : undefined;
      const oldSelf =
        rule.optionalOldSelf && usesOldSelf ? (hasOld ? new Optional(plainOld) : Optional.none) : plainOld;
      const outcome = program.run([self, oldSelf], perCallLimit);
      this.#spend(outcome, path, shownType, "validation failed");
      if (outcome.error) {
        this.#failed(outcome.error.message, outcome.error instanceof CelCostExceeded, rule, path, shownType);
        continue;
      }
      if (outcome.value === true) continue;
      if (!usesOldSelf && isUnchanged(ratchet, value)) continue;
      const at = compiled.fieldPath === undefined ? path : child(path, compiled.fieldPath);
      const detail = this.#detail(compiled, [self, oldSelf], at, shownType);
      this.errors.push(
        errorFor(rule.reason, at, props.type === "object" || props.type === "array" ? undefined : value, detail),
      );
    }
  }

  #spend({ cost }: Outcome, path: string, shownType: string, what: string): void {
    if (cost > this.#budget) {
      this.#stop(path, shownType, `${what} due to running out of cost budget, no further validation rules will be run`);
    }
    this.#budget -= cost;
  }

  #stop(path: string, shownType: string, detail: string): never {
    this.errors.push(invalid(path, `${shownType}: ${detail}`));
    throw spent;
  }

  #failed(message: string, tooCostly: boolean, rule: ValidationRule, path: string, shownType: string): void {
    const named = ruleText(rule);
    if (tooCostly) {
      const detail = `'${message}': no further validation rules will be run due to call cost exceeds limit for rule: ${named}`;
      this.#stop(path, shownType, detail);
    }
    const detail = message.startsWith("no such overload")
      ? `'${message}': call arguments did not match a supported operator, function or macro signature for rule: ${named}`
      : `${message} evaluating rule: ${named}`;
    this.errors.push(invalid(path, `${shownType}: ${detail}`));
  }

  /** What the rule says; a message expression that fails gives way to the message. */
  #detail(
    { rule, message }: CompiledRule,
    values: readonly (CelValue | undefined)[],
    path: string,
    shownType: string,
  ): string {
    if (message) {
      const outcome = message.run(values, perCallLimit);
      this.#spend(outcome, path, shownType, "messageExpression evaluation failed");
      if (outcome.error instanceof CelCostExceeded) {
        const shown = JSON.stringify(rule.messageExpression);
        this.#stop(
          path,
          shownType,
          `no further validation rules will be run due to call cost exceeds limit for messageExpression: ${shown}`,
        );
      }
      const text = typeof outcome.value === "string" ? outcome.value.trim() : "";
      if (text !== "" && !text.includes("\n") && Buffer.byteLength(text) <= maxMessageBytes) return text;
    }
    return rule.message ? rule.message.trim() : `failed rule: ${ruleText(rule)}`;
  }
}

const ruleText = ({ message, rule }: ValidationRule) => (message || rule).trim();

function errorFor(reason: string | undefined, path: string, value: unknown, detail: string): FieldError {
  const field = shownPath(path);
  const shown = value === undefined ? "" : `: ${typeof value === "bigint" ? value : JSON.stringify(value)}`;
  switch (reason) {
    case "FieldValueForbidden":
      return { reason, field, message: `Forbidden: ${detail}` };
    case "FieldValueRequired":
      return { reason, field, message: `Required value: ${detail}` };
    case "FieldValueDuplicate":
      return { reason, field, message: `Duplicate value${shown}` };
    default:
      return { reason: "FieldValueInvalid", field, message: `Invalid value${shown}: ${detail}` };
  }
}

/** The old element with the same keys; only lists that are maps have one. */
function correlated(props: JsonSchemaProps, old: unknown, item: unknown): unknown {
  if (!Array.isArray(old) || props["x-kubernetes-list-type"] !== "map" || !isRecord(item)) return undefined;
  const keys = props["x-kubernetes-list-map-keys"] ?? [];
  const keyOf = (of: Record<string, unknown>, key: string) =>
    getKey(of, key) ?? props.items?.properties?.[key]?.default;
  return old.find(
    (other) => isRecord(other) && keys.every((key) => equalJson(keyOf(other, key) ?? null, keyOf(item, key) ?? null)),
  );
}

function below(ratchet: Ratchet, value: unknown, old: unknown): Ratchet {
  // Where nothing corresponds below, the nearest value above decides.
  const unchanged = ratchet.unchanged || (old === undefined && isUnchanged(ratchet, value));
  return { old, unchanged };
}

function isUnchanged({ old, unchanged }: Ratchet, value: unknown): boolean {
  return unchanged || (old !== undefined && equalJson(old, value));
}
