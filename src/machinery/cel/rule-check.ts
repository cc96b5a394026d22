/**
 * Are the rules of a definition good? Asked when it is created: they must compile, have the right types, and cost little
 * enough at worst. Source: apiextensions' validation, with its texts.
 */
import type { JsonSchemaProps } from "../schema-from-openapi.ts";
import { hasRules } from "../schema-validation.ts";
import { type FieldError, fieldError } from "../status.ts";
import { normalizedFieldPath } from "./rule-field-path.ts";
import { compileRule, type ValidationRule } from "./rules.ts";
import { type Declared, declare, escapeName, maxCardinality, sizesOf } from "./schema-types.ts";
import { unbounded } from "./sizes.ts";

const ruleLimit = 10_000_000;
const totalLimit = 100_000_000;
/** Rules below a hundredth of the limit are not named among the expensive. */
const notable = totalLimit / 100;
const maxNamed = 4;
const reasons = ["FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired"];

const hasBreak = (text: string) => /[\n\r]/.test(text);

function costMessage(what: string, cost: number, limit: number): string {
  const factor = cost / limit;
  const shown = factor > 100 ? "more than 100x" : factor < 1.5 ? `${factor.toFixed(6)}x` : `${factor.toFixed(1)}x`;
  return `${what} exceeds budget by factor of ${shown} (try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)`;
}

/** A rule as Go shows it. */
function shownRule(rule: ValidationRule): object {
  return {
    Rule: rule.rule,
    Message: rule.message ?? "",
    MessageExpression: rule.messageExpression ?? "",
    Reason: rule.reason ?? null,
    FieldPath: rule.fieldPath ?? "",
    OptionalOldSelf: rule.optionalOldSelf ?? null,
  };
}

/** What holds for all rules of one schema. */
interface Place {
  readonly path: string;
  readonly props: JsonSchemaProps;
  readonly declared: Declared | undefined;
  readonly resource: boolean;
  /** How often the schema's values can stand in an object; undefined: nothing says. */
  readonly cardinality: number | undefined;
  /** The list above whose elements have no old ones to compare with. */
  readonly uncorrelated: string | undefined;
}

class RuleCheck {
  readonly errors: FieldError[] = [];
  #total = 0;
  readonly #expensive: { readonly path: string; readonly cost: number }[] = [];

  finish(path: string): FieldError[] {
    if (this.#total <= totalLimit) return this.errors;
    const named = this.#expensive.sort((a, b) => b.cost - a.cost).slice(0, maxNamed);
    for (const rule of named) {
      const text = "contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema";
      this.errors.push(fieldError.forbidden(rule.path, text));
    }
    const what = "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema";
    this.errors.push(fieldError.forbidden(path, costMessage(what, this.#total, totalLimit)));
    return this.errors;
  }

  #observe(path: string, cost: number): void {
    this.#total += cost;
    if (cost >= notable) this.#expensive.push({ path, cost });
  }

  /** Forms that need no compiler. */
  #checkForm(rule: ValidationRule, props: JsonSchemaProps, at: string): boolean {
    const before = this.errors.length;
    const { rule: text = "", message = "", messageExpression = "", reason, fieldPath = "" } = rule;
    if (text.trim() === "") this.errors.push(fieldError.required(`${at}.rule`, "rule is not specified"));
    else if (message !== "" && message.trim() === "") {
      this.errors.push(fieldError.invalid(`${at}.message`, message, "must be non-empty if specified"));
    } else if (hasBreak(message.trim())) {
      this.errors.push(fieldError.invalid(`${at}.message`, message, "must not contain line breaks"));
    } else if (hasBreak(text.trim()) && message.trim() === "") {
      this.errors.push(fieldError.required(`${at}.message`, "message must be specified if rule contains line breaks"));
    }
    if (messageExpression !== "" && messageExpression.trim() === "") {
      const detail = "messageExpression must be non-empty if specified";
      this.errors.push(fieldError.required(`${at}.messageExpression`, detail));
    }
    if (reason !== undefined && !reasons.includes(reason)) {
      this.errors.push(fieldError.notSupported(`${at}.reason`, reason, reasons));
    }
    const wrongPath = (detail: string) => this.errors.push(fieldError.invalid(`${at}.fieldPath`, fieldPath, detail));
    if (fieldPath !== "" && fieldPath.trim() === "") wrongPath("must be non-empty if specified");
    if (hasBreak(fieldPath)) wrongPath("must not contain line breaks");
    if (fieldPath !== "" && normalizedFieldPath(fieldPath, props) === undefined) wrongPath("must be a valid path");
    return this.errors.length === before;
  }

  check(place: Place): void {
    const { props, path, cardinality, uncorrelated } = place;
    if (!hasRules(props)) return;
    const declared = place.declared ?? declare(props, place.resource);
    const factor = props.type === "array" ? props.maxItems : props.additionalProperties ? props.maxProperties : 1;
    const inner = {
      resource: false,
      cardinality: cardinality === undefined || factor === undefined ? undefined : cardinality * factor,
      uncorrelated,
    };
    for (const [key, of] of Object.entries(props.properties ?? {})) {
      const name = escapeName(key);
      const field = name === undefined ? undefined : declared?.fields?.get(name);
      const resource = of["x-kubernetes-embedded-resource"] === true;
      this.check({ ...inner, props: of, declared: field, resource, path: `${path}.properties[${key}]` });
    }
    if (typeof props.additionalProperties === "object") {
      const of = props.additionalProperties;
      this.check({ ...inner, props: of, declared: declared?.element, path: `${path}.additionalProperties` });
    }
    if (props.items) {
      const loose = props["x-kubernetes-list-type"] === "map" ? uncorrelated : (uncorrelated ?? path);
      const resource = props.items["x-kubernetes-embedded-resource"] === true;
      const at = `${path}.items`;
      this.check({
        ...inner,
        props: props.items,
        declared: declared?.element,
        resource,
        path: at,
        uncorrelated: loose,
      });
    }
    const rules = (props["x-kubernetes-validations"] ?? []) as readonly ValidationRule[];
    const good = rules.map((rule, i) => this.#checkForm(rule, props, `${path}.x-kubernetes-validations[${i}]`));
    if (rules.length === 0 || good.includes(false)) return;
    if (!declared) {
      const text = "internal error: failed to retrieve type information for x-kubernetes-validations";
      const message = `Internal error: ${text}`;
      this.errors.push({ reason: "InternalError", field: `${path}.x-kubernetes-validations`, message });
      return;
    }
    for (const [i, rule] of rules.entries()) {
      this.#checkRule(rule, declared, place, `${path}.x-kubernetes-validations[${i}]`);
    }
  }

  #checkRule(rule: ValidationRule, declared: Declared, { props, cardinality, uncorrelated }: Place, at: string): void {
    const compiled = compileRule(rule, props, declared);
    const sizes = sizesOf(declared);
    if (compiled.program) {
      const once = compiled.program.estimate(sizes).max;
      const cost = Math.min(once * (cardinality ?? maxCardinality(declared)), unbounded);
      if (cost > ruleLimit) {
        this.errors.push(fieldError.forbidden(`${at}.rule`, costMessage("estimated rule cost", cost, ruleLimit)));
      }
      this.#observe(`${at}.rule`, cost);
    }
    if (compiled.fault) this.errors.push(fieldError.invalid(`${at}.rule`, shownRule(rule), compiled.fault));
    if (compiled.messageFault) {
      this.errors.push(fieldError.invalid(`${at}.messageExpression`, shownRule(rule), compiled.messageFault));
    } else if (compiled.message) {
      const cost = compiled.message.estimate(sizes).max;
      if (cost > ruleLimit) {
        const text = costMessage("estimated messageExpression cost", cost, ruleLimit);
        this.errors.push(fieldError.forbidden(`${at}.messageExpression`, text));
      }
      this.#observe(`${at}.messageExpression`, cost);
    }
    if (compiled.usesOldSelf && uncorrelated !== undefined) {
      const text = `oldSelf cannot be used on the uncorrelatable portion of the schema within ${uncorrelated}`;
      this.errors.push(fieldError.invalid(`${at}.rule`, rule.rule, text));
    } else if (!compiled.usesOldSelf && rule.optionalOldSelf !== undefined) {
      const text = "may not be set if oldSelf is not used in rule";
      this.errors.push(fieldError.invalid(`${at}.optionalOldSelf`, rule.optionalOldSelf, text));
    }
  }
}

/** What is wrong with the rules of a resource's schema that stands at `path` (none: nothing). */
export function checkRules(props: JsonSchemaProps, path: string): FieldError[] {
  const check = new RuleCheck();
  check.check({ props, path, declared: undefined, resource: true, cardinality: 1, uncorrelated: undefined });
  return check.finish(path);
}
