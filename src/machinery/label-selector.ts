/** Label selectors: the query syntax, meta/v1 LabelSelector, and matching. Source: apimachinery's labels package. */
import { labelValue, qualifiedName } from "./names.ts";
import { badRequest } from "./status.ts";

export type Operator = "=" | "==" | "!=" | "in" | "notin" | "exists" | "!" | ">" | "<";

/** One condition on one label. */
export interface Requirement {
  readonly key: string;
  readonly operator: Operator;
  readonly values: readonly string[];
}

/** meta/v1 LabelSelector. */
export interface LabelSelector {
  matchLabels?: Record<string, string>;
  matchExpressions?: { key: string; operator: string; values?: string[] }[];
}

type Labels = Readonly<Record<string, string>> | undefined | null;

const integer = /^[+-]?\d+$/;

/** Does one requirement hold? */
export function matchesRequirement({ key, operator, values }: Requirement, labels: Labels): boolean {
  const value = labels && Object.hasOwn(labels, key) ? labels[key] : undefined;
  switch (operator) {
    case "=":
    case "==":
    case "in":
      return value !== undefined && values.includes(value);
    case "!=":
    case "notin":
      return value === undefined || !values.includes(value);
    case "exists":
      return value !== undefined;
    case "!":
      return value === undefined;
    default: {
      if (value === undefined || !integer.test(value) || values.length !== 1 || !integer.test(values[0]!)) return false;
      return operator === ">" ? BigInt(value) > BigInt(values[0]!) : BigInt(value) < BigInt(values[0]!);
    }
  }
}

const byCode = (a: string, b: string) => (a < b ? -1 : a > b ? 1 : 0);

function printRequirement({ key, operator, values }: Requirement): string {
  const list = values.length > 1 ? [...values].sort(byCode).join(",") : (values[0] ?? "");
  if (operator === "exists") return key;
  if (operator === "!") return `!${key}`;
  if (operator === "in" || operator === "notin") return `${key} ${operator} (${list})`;
  return `${key}${operator}${list}`;
}

/** All requirements together; without any it matches everything. */
export class Selector {
  readonly requirements: readonly Requirement[];
  /** Matches no object at all: what an absent LabelSelector stands for. */
  readonly nothing: boolean;

  constructor(requirements: readonly Requirement[], nothing = false) {
    this.requirements = [...requirements].sort((a, b) => byCode(a.key, b.key));
    this.nothing = nothing;
  }

  /** True when every object matches. */
  get empty(): boolean {
    return !this.nothing && this.requirements.length === 0;
  }

  matches(labels: Labels): boolean {
    if (this.nothing) return false;
    for (const requirement of this.requirements) if (!matchesRequirement(requirement, labels)) return false;
    return true;
  }

  /** The value that the label must have, if the selector asks for exactly one. */
  exactValue(key: string): string | undefined {
    const requirement = this.requirements.find((candidate) => candidate.key === key);
    if (requirement?.values.length !== 1) return undefined;
    return ["=", "==", "in"].includes(requirement.operator) ? requirement.values[0] : undefined;
  }

  /** The query syntax; parsing it again gives the same selector. */
  toString(): string {
    return this.requirements.map(printRequirement).join(",");
  }
}

export const everything = new Selector([]);
export const nothing = new Selector([], true);

/** Checks a requirement's key and values. Throws a 400 StatusError with Kubernetes' text. */
export function makeRequirement(key: string, operator: Operator, values: readonly string[]): Requirement {
  const errors: string[] = [];
  const invalid = (field: string, value: unknown, detail: string) =>
    errors.push(`${field}: Invalid value: ${JSON.stringify(value)}: ${detail}`);
  const keyErrors = qualifiedName(key);
  if (keyErrors.length > 0) invalid("key", key, keyErrors.join("; "));
  if ((operator === "in" || operator === "notin") && values.length === 0) {
    invalid("values", values, "for 'in', 'notin' operators, values set can't be empty");
  } else if (["=", "==", "!="].includes(operator) && values.length !== 1) {
    invalid("values", values, "exact-match compatibility requires one single value");
  } else if ((operator === "exists" || operator === "!") && values.length > 0) {
    invalid("values", values, "values set must be empty for exists and does not exist");
  } else if (operator === ">" || operator === "<") {
    if (values.length !== 1) invalid("values", values, "for 'Gt', 'Lt' operators, exactly one value is required");
    values.forEach((value, i) => {
      if (!integer.test(value)) {
        invalid(`values[${i}]`, value, "for 'Gt', 'Lt' operators, the value must be an integer");
      }
    });
  }
  values.forEach((value, i) => {
    const valueErrors = labelValue(value);
    if (valueErrors.length > 0) invalid(`values[${i}][${key}]`, value, valueErrors.join("; "));
  });
  if (errors.length > 0) throw badRequest(errors.length === 1 ? errors[0]! : `[${errors.join(", ")}]`);
  return { key, operator, values };
}

const operatorNames: Readonly<Record<string, Operator>> = {
  In: "in",
  NotIn: "notin",
  Exists: "exists",
  DoesNotExist: "!",
  Gt: ">",
  Lt: "<",
};

/** The operator of a node selector ("In", "Gt", …); a label selector has no Gt and Lt. Throws a 400 StatusError. */
export function operatorOf(name: string, allowOrder = true): Operator {
  const operator = Object.hasOwn(operatorNames, name) ? operatorNames[name] : undefined;
  if (!operator || (!allowOrder && (operator === ">" || operator === "<"))) {
    throw badRequest(`${JSON.stringify(name)} is not a valid label selector operator`);
  }
  return operator;
}

/** From meta/v1 LabelSelector: absent matches nothing, an empty one everything. Throws a 400 StatusError. */
export function fromLabelSelector(selector: LabelSelector | null | undefined): Selector {
  if (!selector) return nothing;
  const requirements = Object.entries(selector.matchLabels ?? {}).map(([key, value]) =>
    makeRequirement(key, "=", [value]),
  );
  for (const { key, operator, values = [] } of selector.matchExpressions ?? []) {
    requirements.push(makeRequirement(key, operatorOf(operator, false), values));
  }
  return new Selector(requirements);
}

/** Matches exactly these labels (a Service's or ReplicationController's selector); absent or empty: everything. */
export function fromLabels(labels: Readonly<Record<string, string>> | undefined | null): Selector {
  return new Selector(Object.entries(labels ?? {}).map(([key, value]) => ({ key, operator: "=", values: [value] })));
}

interface Token {
  readonly kind:
    | "identifier"
    | "end"
    | "error"
    | "in"
    | "notin"
    | "="
    | "=="
    | "!="
    | "!"
    | "("
    | ")"
    | ","
    | ">"
    | "<";
  readonly text: string;
}

function tokenize(text: string): Token[] {
  const tokens: Token[] = [];
  const pattern = /\s*(?:(==|!=|[=!(),<>])|([^\s=!(),<>]+))/gy;
  for (let match = pattern.exec(text); match; match = pattern.exec(text)) {
    const [, symbol, word] = match;
    if (symbol) tokens.push({ kind: symbol as Token["kind"], text: symbol });
    else if (word === "in" || word === "notin") tokens.push({ kind: word, text: word });
    else tokens.push({ kind: "identifier", text: word! });
  }
  tokens.push({ kind: "end", text: "" });
  return tokens;
}

/** Reads the tokens of one selector; `in` and `notin` are ordinary words where a key or value stands. */
class Parser {
  readonly #tokens: Token[];
  #at = 0;

  constructor(text: string) {
    this.#tokens = tokenize(text);
  }

  #peek(): Token {
    const token = this.#tokens[this.#at]!;
    return token.kind === "in" || token.kind === "notin" ? { kind: "identifier", text: token.text } : token;
  }

  #next(): Token {
    const token = this.#peek();
    if (token.kind !== "end") this.#at++;
    return token;
  }

  parse(): Requirement[] {
    const requirements: Requirement[] = [];
    for (;;) {
      const { kind, text } = this.#peek();
      if (kind === "end") return requirements;
      if (kind !== "identifier" && kind !== "!") {
        throw badRequest(`found '${text}', expected: !, identifier, or 'end of string'`);
      }
      try {
        requirements.push(this.#requirement());
      } catch (error) {
        throw badRequest(`unable to parse requirement: ${(error as Error).message}`);
      }
      const separator = this.#next();
      if (separator.kind === "end") return requirements;
      if (separator.kind !== ",") throw badRequest(`found '${separator.text}', expected: ',' or 'end of string'`);
      const following = this.#peek();
      if (following.kind !== "identifier" && following.kind !== "!") {
        throw badRequest(`found '${following.text}', expected: identifier after ','`);
      }
    }
  }

  #requirement(): Requirement {
    let token = this.#next();
    const absent = token.kind === "!";
    if (absent) token = this.#next();
    if (token.kind !== "identifier") throw badRequest(`found '${token.text}', expected: identifier`);
    const key = token.text;
    const errors = qualifiedName(key);
    if (errors.length > 0) throw badRequest(`<nil>: Invalid value: ${JSON.stringify(key)}: ${errors.join("; ")}`);
    const following = this.#peek().kind;
    if (absent) return makeRequirement(key, "!", []);
    if (following === "end" || following === ",") return makeRequirement(key, "exists", []);
    const operator = this.#tokens[this.#at]!;
    switch (operator.kind) {
      case "in":
      case "notin":
        this.#at++;
        return makeRequirement(key, operator.kind, this.#valueSet());
      case "=":
      case "==":
      case "!=":
      case ">":
      case "<":
        this.#at++;
        return makeRequirement(key, operator.kind, [this.#exactValue()]);
      default:
        throw badRequest(`found '${operator.text}', expected: in, notin, =, ==, !=, gt, lt`);
    }
  }

  #exactValue(): string {
    const { kind } = this.#peek();
    if (kind === "end" || kind === ",") return "";
    const token = this.#next();
    if (token.kind !== "identifier") throw badRequest(`found '${token.text}', expected: identifier`);
    return token.text;
  }

  /** "(a,b)"; an empty place between commas is the empty value. */
  #valueSet(): string[] {
    const open = this.#next();
    if (open.kind !== "(") throw badRequest(`found '${open.text}' expected: '('`);
    const values = new Set<string>();
    let current = "";
    for (let first = true; ; first = false) {
      const token = this.#next();
      if (token.kind === "identifier") {
        current = token.text;
        const after = this.#peek();
        if (after.kind !== "," && after.kind !== ")") {
          throw badRequest(`found '${after.text}', expected: ',' or ')'`);
        }
      } else if (token.kind === "," || token.kind === ")") {
        values.add(current);
        current = "";
        if (token.kind === ")") return [...values].sort(byCode);
      } else {
        const alternatives = first ? "',', ')' or identifier" : "',', or identifier";
        throw badRequest(`found '${token.text}', expected: ${alternatives}`);
      }
    }
  }
}

/** Parses "app=web,tier in (a,b),!old". Throws a 400 StatusError with Kubernetes' text. */
export function parseLabelSelector(text: string): Selector {
  return text === "" ? everything : new Selector(new Parser(text).parse());
}
