/**
 * Validation of custom resources by their OpenAPI v3 schema, with kube-apiserver's texts. Load it only where custom
 * resources are: it brings RE2, since patterns come from users and must not stall the process.
 */
import { RE2JS } from "re2js";
import { equalJson } from "./apply/typed.ts";
import { hasFormat } from "./formats.ts";
import { getKey, isRecord, stringifyJson } from "./json.ts";
import type { JsonSchemaProps } from "./schema-from-openapi.ts";
import { type FieldError, fieldError, notBuilt } from "./status.ts";

/** Evaluates the x-kubernetes-validations of a whole schema: cel/rules.ts compiles one. */
export type RuleValidator = (value: unknown, old?: unknown) => readonly FieldError[];

/** Has the schema x-kubernetes-validations anywhere? */
export function hasRules(props: JsonSchemaProps): boolean {
  if (props["x-kubernetes-validations"]?.length) return true;
  const { items, additionalProperties, properties = {}, allOf = [] } = props;
  const inner = [...(items ? [items] : []), ...allOf, ...Object.values(properties)];
  return inner.some(hasRules) || (typeof additionalProperties === "object" && hasRules(additionalProperties));
}

export interface ValidateOptions {
  /** The stored object: what did not change since may stay wrong, and transition rules compare with it. */
  readonly old?: unknown;
  /** Evaluates CEL rules; without it, a schema with rules is refused. */
  readonly rules?: RuleValidator | undefined;
}

const patterns = new Map<string, RE2JS>();
/** A cluster's CRDs have some hundreds; a stream of ever new ones must not fill the memory. */
const maxPatterns = 2000;

function compiled(pattern: string): RE2JS {
  let expression = patterns.get(pattern);
  if (!expression) {
    if (patterns.size >= maxPatterns) patterns.clear();
    expression = RE2JS.compile(pattern);
    patterns.set(pattern, expression);
  }
  return expression;
}

/** Is it a pattern that RE2 takes? Returns the reason why not. */
export function patternError(pattern: string): string | undefined {
  try {
    compiled(pattern);
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

function typeOf(value: unknown): string {
  if (value === null || value === undefined) return "null";
  if (Array.isArray(value)) return "array";
  if (typeof value === "bigint") return "integer";
  if (typeof value === "number") return Number.isInteger(value) ? "integer" : "number";
  return typeof value;
}

const join = (path: string, key: string) => (path === "" ? key : `${path}.${key}`);
/** Go counts characters, not UTF-16 units. */
const characters = (text: string) => {
  let count = 0;
  for (const _ of text) count++;
  return count;
};

class Validation {
  readonly errors: FieldError[] = [];
  readonly #options: ValidateOptions;

  constructor(options: ValidateOptions) {
    this.#options = options;
  }

  #invalid(path: string, value: unknown, message: string): void {
    this.errors.push(fieldError.invalid(path, value, `${path} in body ${message}`));
  }

  #wrongType(path: string, value: unknown, wanted: string, shown: string = typeOf(value)): void {
    const detail = `${path} in body must be of type ${wanted}: ${JSON.stringify(shown)}`;
    this.errors.push(fieldError.typeInvalid(path, shown, detail));
  }

  /** Checks a value against a schema; `path` is "spec.list[0].name". */
  check(props: JsonSchemaProps, value: unknown, path: string, old?: unknown): void {
    if (value === null && props.nullable) return;
    if (old !== undefined && equalJson(old, value)) return;
    if (!this.#checkType(props, value, path)) return;
    if (props.enum && !props.enum.some((allowed) => equalJson(allowed, value))) {
      const supported = props.enum.map((allowed) => (typeof allowed === "string" ? allowed : stringifyJson(allowed)));
      this.errors.push(fieldError.notSupported(path, value, supported));
    }
    if (typeof value === "string") this.#checkString(props, value, path);
    else if (typeof value === "number" || typeof value === "bigint") this.#checkNumber(props, value, path);
    else if (Array.isArray(value)) this.#checkArray(props, value, path, old);
    else if (isRecord(value)) this.#checkObject(props, value, path, old);
    this.#checkCombinations(props, value, path);
    if (props["x-kubernetes-validations"]?.length && !this.#options.rules) {
      throw notBuilt("x-kubernetes-validations (CEL rules) in a CustomResourceDefinition");
    }
  }

  #checkType(props: JsonSchemaProps, value: unknown, path: string): boolean {
    const actual = typeOf(value);
    if (props["x-kubernetes-int-or-string"]) {
      if (actual === "integer" || actual === "string") return true;
      this.#wrongType(path, value, "integer,string");
      return false;
    }
    if (!props.type || props.type === actual || (props.type === "number" && actual === "integer")) return true;
    this.#wrongType(path, value, props.type);
    return false;
  }

  #checkString(props: JsonSchemaProps, value: string, path: string): void {
    if (props.maxLength !== undefined && characters(value) > props.maxLength) {
      this.errors.push(fieldError.tooLong(path, props.maxLength));
    }
    if (props.minLength !== undefined && characters(value) < props.minLength) {
      this.#invalid(path, value, `should be at least ${props.minLength} chars long`);
    }
    if (props.pattern !== undefined && !compiled(props.pattern).matcher(value).find()) {
      this.#invalid(path, value, `should match '${props.pattern}'`);
    }
    if (props.format !== undefined && !hasFormat(props.format, value)) {
      this.#wrongType(path, value, props.format, value);
    }
  }

  #checkNumber(props: JsonSchemaProps, value: number | bigint, path: string): void {
    const { minimum, maximum, multipleOf } = props;
    if (maximum !== undefined && (props.exclusiveMaximum ? value >= maximum : value > maximum)) {
      this.#invalid(path, value, `should be less than ${props.exclusiveMaximum ? "" : "or equal to "}${maximum}`);
    }
    if (minimum !== undefined && (props.exclusiveMinimum ? value <= minimum : value < minimum)) {
      this.#invalid(path, value, `should be greater than ${props.exclusiveMinimum ? "" : "or equal to "}${minimum}`);
    }
    if (multipleOf !== undefined && !Number.isInteger(Number((Number(value) / multipleOf).toFixed(10)))) {
      this.#invalid(path, value, `should be a multiple of ${multipleOf}`);
    }
    if (props.format === "int32" && (value > 2 ** 31 - 1 || value < -(2 ** 31))) {
      this.#invalid(path, value, "must be of type integer with format int32");
    }
  }

  #checkArray(props: JsonSchemaProps, value: unknown[], path: string, old: unknown): void {
    if (props.maxItems !== undefined && value.length > props.maxItems) {
      this.errors.push(fieldError.tooMany(path, value.length, props.maxItems));
    }
    if (props.minItems !== undefined && value.length < props.minItems) {
      this.#invalid(path, value.length, `should have at least ${props.minItems} items`);
    }
    if (props.uniqueItems && value.some((item, i) => value.slice(0, i).some((other) => equalJson(item, other)))) {
      this.#invalid(path, value, "shouldn't contain duplicates");
    }
    this.#checkListType(props, value, path);
    if (!props.items) return;
    for (const [i, item] of value.entries()) {
      this.check(props.items, item, `${path}[${i}]`, correlated(props, value, i, old));
    }
  }

  #checkListType(props: JsonSchemaProps, value: unknown[], path: string): void {
    const type = props["x-kubernetes-list-type"];
    if (type !== "set" && type !== "map") return;
    const seen = new Set<string>();
    for (const [i, item] of value.entries()) {
      const shown = type === "set" ? item : keysOf(props, item);
      const identity = stringifyJson(shown);
      if (seen.has(identity)) this.errors.push(fieldError.duplicate(`${path}[${i}]`, shown));
      seen.add(identity);
    }
  }

  #checkObject(props: JsonSchemaProps, value: Record<string, unknown>, path: string, old: unknown): void {
    const count = Object.keys(value).length;
    if (props.maxProperties !== undefined && count > props.maxProperties) {
      this.errors.push(fieldError.tooMany(path, count, props.maxProperties));
    }
    if (props.minProperties !== undefined && count < props.minProperties) {
      this.#invalid(path, count, `should have at least ${props.minProperties} properties`);
    }
    for (const key of props.required ?? []) {
      if (!Object.hasOwn(value, key)) this.errors.push(fieldError.required(join(path, key)));
    }
    if (props["x-kubernetes-embedded-resource"]) this.#checkEmbedded(value, path);
    for (const key of Object.keys(value)) {
      const field = props.properties && Object.hasOwn(props.properties, key) ? props.properties[key] : undefined;
      const inner = field ?? (typeof props.additionalProperties === "object" ? props.additionalProperties : undefined);
      if (!inner) continue;
      const was = isRecord(old) ? getKey(old, key) : undefined;
      this.check(inner, value[key], field ? join(path, key) : `${path}[${key}]`, was);
    }
  }

  #checkEmbedded(value: Record<string, unknown>, path: string): void {
    for (const key of ["apiVersion", "kind"]) {
      const text = getKey(value, key);
      if (typeof text !== "string" || text === "") {
        this.errors.push(fieldError.required(join(path, key), "must not be empty"));
      }
    }
  }

  /** How many errors a schema would give; combinations only ask whether it holds. */
  #holds(props: JsonSchemaProps, value: unknown, path: string): boolean {
    const trial = new Validation(this.#options);
    trial.check(props, value, path);
    return trial.errors.length === 0;
  }

  #checkCombinations({ allOf, anyOf, oneOf, not }: JsonSchemaProps, value: unknown, path: string): void {
    const name = JSON.stringify(path);
    const wrong = (message: string) => this.errors.push(fieldError.invalid(path, "", `${name} ${message}`));
    if (allOf) {
      const before = this.errors.length;
      for (const part of allOf) this.check(part, value, path);
      if (this.errors.length > before) wrong("must validate all the schemas (allOf)");
    }
    if (anyOf?.length && !anyOf.some((part) => this.#holds(part, value, path))) {
      wrong("must validate at least one schema (anyOf)");
    }
    if (oneOf?.length) {
      const count = oneOf.filter((part) => this.#holds(part, value, path)).length;
      if (count !== 1) {
        const found = count === 0 ? "Found none valid" : `Found ${count} valid alternatives`;
        wrong(`must validate one and only one schema (oneOf). ${found}`);
      }
    }
    if (not && this.#holds(not, value, path)) wrong("must not validate the schema (not)");
  }
}

function keysOf(props: JsonSchemaProps, item: unknown): Record<string, unknown> {
  const keys: Record<string, unknown> = {};
  for (const key of props["x-kubernetes-list-map-keys"] ?? []) {
    keys[key] = (isRecord(item) ? getKey(item, key) : undefined) ?? props.items?.properties?.[key]?.default;
  }
  return keys;
}

/** The old element that stands for the same thing: the one with its keys in keyed lists; elsewhere there is none. */
function correlated(props: JsonSchemaProps, value: unknown[], index: number, old: unknown): unknown {
  if (!Array.isArray(old) || props["x-kubernetes-list-type"] !== "map") return undefined;
  const keys = keysOf(props, value[index]);
  return old.find((item) => equalJson(keysOf(props, item), keys));
}

/** After these a value is not what its rules take it for. */
const blocking = new Set<FieldError["reason"]>([
  "FieldValueNotSupported",
  "FieldValueRequired",
  "FieldValueTooLong",
  "FieldValueTooMany",
  "FieldValueTypeInvalid",
]);
const unchecked =
  "some validation rules were not checked because the object was invalid; correct the existing errors to complete validation";

/**
 * Checks a custom resource against its schema. Returns what is wrong (none: valid). Throws a 501 StatusError for a
 * schema with CEL rules when `options.rules` is absent, and a JavaScript Error for a pattern that RE2 does not take.
 */
export function validateBySchema(props: JsonSchemaProps, value: unknown, options: ValidateOptions = {}): FieldError[] {
  const validation = new Validation(options);
  validation.check(props, value, "", options.old);
  const { errors } = validation;
  if (!options.rules) return errors;
  if (errors.some(({ reason }) => blocking.has(reason))) {
    errors.push({ reason: "FieldValueInvalid", field: "<nil>", message: `Invalid value: null: ${unchecked}` });
  } else errors.push(...options.rules(value, options.old));
  return errors;
}
