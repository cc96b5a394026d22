/** The expressions of a validating policy, compiled. Loads the expression engine: import it where there are policies. */
import type { ValidatingAdmissionPolicy } from "../../../api/generated/admissionregistration-v1.ts";
import {
  type AdmissionScope,
  compileAdmission,
  compileVariables,
  type Expression,
  type NamedExpression,
} from "../../../machinery/cel/admission.ts";
import { bool, nullType, string } from "../../../machinery/cel/types.ts";
import { typeNameOf } from "../../../machinery/cel/values.ts";
import type { DeepReadonly } from "../../../machinery/object.ts";
import { conditionBudget, conditionsHold } from "../match-conditions.ts";
import { type Evaluated, Evaluation, type EvaluationInput } from "./evaluation.ts";

/** Something that speaks against a request. */
export interface Objection {
  readonly message: string;
  /** Of a Status: "Invalid", "Forbidden", … */
  readonly reason: string;
  /** An audit annotation could not be made: this refuses the request whatever a binding says. */
  readonly unconditional?: boolean;
}

/** What all expressions of one policy may cost for one binding and parameter. */
export const policyBudget = 10_000_000;
const maxMessageBytes = 5 * 1024;

interface Validation {
  readonly condition: Expression;
  readonly message: string | undefined;
  readonly messageExpression: Expression | undefined;
  readonly reason: string;
}

const invalid = (message: string, more: Partial<Objection> = {}): Objection => ({
  message,
  reason: "Invalid",
  ...more,
});

export class Validations {
  readonly #failsOpen: boolean;
  readonly #variables: readonly NamedExpression[];
  readonly #conditions: readonly Expression[];
  readonly #validations: readonly Validation[];
  readonly #annotations: readonly Expression[];

  constructor({ spec }: DeepReadonly<ValidatingAdmissionPolicy>) {
    const { variables = [], matchConditions = [], validations = [], auditAnnotations = [] } = spec ?? {};
    const base: AdmissionScope = { params: spec?.paramKind !== undefined, authorizer: true };
    const { type, expressions } = compileVariables(variables, base);
    const scope: AdmissionScope = { ...base, variables: type };
    const compile = (source: string, wanted: Parameters<typeof compileAdmission>[2], authorizer = true) => ({
      source,
      ...compileAdmission(source, { ...scope, authorizer }, wanted),
    });
    this.#failsOpen = spec?.failurePolicy === "Ignore";
    this.#variables = expressions;
    this.#conditions = matchConditions.map(({ expression }) => compile(expression, [bool]));
    this.#validations = validations.map(({ expression, message, messageExpression, reason }) => ({
      condition: compile(expression, [bool]),
      message,
      messageExpression: messageExpression ? compile(messageExpression, [string], false) : undefined,
      reason: reason ?? "Invalid",
    }));
    this.#annotations = auditAnnotations.map(({ valueExpression }) => compile(valueExpression, [string, nullType]));
  }

  /** What the policy has against a request. */
  async objections(request: Omit<EvaluationInput, "variables">): Promise<Objection[]> {
    const input = { ...request, variables: this.#variables };
    try {
      if (!(await this.#concerns(input))) return [];
      const found = await this.#validate(input);
      return [...found, ...(await this.#annotate(input))];
    } catch (error) {
      return this.#failed((error as Error).message);
    }
  }

  #failed(message: string): Objection[] {
    return this.#failsOpen ? [] : [invalid(message)];
  }

  async #concerns(input: EvaluationInput): Promise<boolean> {
    if (this.#conditions.length === 0) return true;
    const evaluation = new Evaluation({ ...input, namespace: undefined }, conditionBudget);
    return conditionsHold(this.#conditions, evaluation);
  }

  async #validate(input: EvaluationInput): Promise<Objection[]> {
    const evaluation = new Evaluation(input, policyBudget);
    const results: Evaluated[] = [];
    for (const { condition } of this.#validations) results.push(await evaluation.run(condition));
    if (results.every(({ value }) => value === true)) return [];
    const messages = results.some(({ value }) => value === false)
      ? await this.#messages(input, evaluation.budget)
      : undefined;
    return this.#validations.flatMap((validation, i) => {
      const { value, error } = results[i]!;
      if (error !== undefined) return this.#failed(error);
      if (typeof messages === "string") return this.#failed(messages);
      if (value === true) return [];
      const { message, condition, reason } = validation;
      const text = messages?.[i] || message?.trim() || `failed expression: ${condition.source.trim()}`;
      return [{ message: text, reason }];
    });
  }

  /** What message expressions make, empty where they make nothing that can be shown; a text alone says why none could. */
  async #messages(input: EvaluationInput, budget: number): Promise<string[] | string> {
    const evaluation = new Evaluation(input, budget);
    const messages: string[] = [];
    try {
      for (const { messageExpression } of this.#validations) {
        const { value } = messageExpression ? await evaluation.run(messageExpression) : {};
        const text = typeof value === "string" ? value.trim() : "";
        messages.push(Buffer.byteLength(text) > maxMessageBytes || text.includes("\n") ? "" : text);
      }
      return messages;
    } catch (error) {
      return `failed messageExpression: ${(error as Error).message}`;
    }
  }

  /** There is no audit log yet: annotations are made only to find out whether they can be. */
  async #annotate(input: EvaluationInput): Promise<Objection[]> {
    const evaluation = new Evaluation(input, policyBudget);
    const objections: Objection[] = [];
    for (const annotation of this.#annotations) {
      const { value, error } = await evaluation.run(annotation);
      if (error !== undefined) {
        if (!this.#failsOpen) objections.push(invalid(error, { unconditional: true }));
      } else if (typeof value !== "string" && value !== null) {
        const text = `valueExpression '${annotation.source}' resulted in unsupported return type: ${typeNameOf(value)}. Return type must be either string or null.`;
        objections.push(invalid(text, { unconditional: true }));
      }
    }
    return objections;
  }
}
