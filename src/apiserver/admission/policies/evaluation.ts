import type { Namespace } from "../../../api/generated/core-v1.ts";
import { type Expression, type NamedExpression, perCallLimit } from "../../../machinery/cel/admission.ts";
import { authorizerValue, resourceCheckValue } from "../../../machinery/cel/library/authorization.ts";
import { CelError, type CelValue } from "../../../machinery/cel/values.ts";
import type { AdmissionAttributes } from "../../request.ts";
import type { AccessAnswers } from "./access-answers.ts";
import { namespaceOf, namespaceValue, objectValues, requestValue } from "./request-values.ts";

export interface EvaluationInput {
  readonly attributes: AdmissionAttributes;
  /** The request as it came, where `attributes` have it as one for an equivalent resource. */
  readonly asked?: AdmissionAttributes;
  readonly access: AccessAnswers;
  /** Absent: cluster-scoped, or not to be seen. */
  readonly namespace?: Namespace | undefined;
  /** The parameter object; null: none was bound. */
  readonly params?: CelValue;
  readonly variables?: readonly NamedExpression[] | undefined;
}

/** The budget is spent: nothing more is evaluated. */
export class OutOfBudget extends Error {
  constructor() {
    super("validation failed due to running out of cost budget, no further validation rules will be run");
  }
}

/** A value, or why there is none. */
export type Evaluated =
  | { readonly value: CelValue; readonly error?: undefined }
  | { readonly value?: undefined; readonly error: string };

/** Runs expressions about one request, with one budget and one set of variables. */
export class Evaluation {
  readonly #input: EvaluationInput;
  readonly #values: (CelValue | undefined)[];
  #budget: number;
  /** Of the variables that were computed since it was last looked at. */
  #variablesCost = 0;

  constructor(input: EvaluationInput, budget: number) {
    const { attributes, access, namespace, params, variables } = input;
    const asked = input.asked ?? attributes;
    const { facts, subresource, name } = asked;
    const place = namespaceOf(asked);
    const resource = {
      group: facts.group,
      resource: facts.resource,
      ...(subresource ? { subresource } : {}),
      ...(place ? { namespace: place } : {}),
      ...(name ? { name } : {}),
    };
    this.#input = input;
    this.#budget = budget;
    this.#values = [
      ...objectValues(attributes),
      namespaceValue(namespace),
      requestValue(attributes, asked),
      params ?? null,
      authorizerValue(access.decide),
      resourceCheckValue(access.decide, resource),
      variables ? this.#lazily(variables) : undefined,
    ];
  }

  get budget(): number {
    return this.#budget;
  }

  /** Throws {@link OutOfBudget}. */
  async run({ source, program, fault }: Expression): Promise<Evaluated> {
    if (!program) return { error: `compilation error: ${fault}` };
    const outcome = await this.#input.access.complete(() => program.run(this.#values, perCallLimit));
    const spent = this.#variablesCost;
    this.#variablesCost = 0;
    this.#spend(spent);
    this.#spend(outcome.cost);
    if (outcome.error) return { error: `expression '${source}' resulted in error: ${outcome.error.message}` };
    return { value: outcome.value };
  }

  #spend(cost: number): void {
    if (cost > this.#budget) throw new OutOfBudget();
    this.#budget -= cost;
  }

  #lazily(variables: readonly NamedExpression[]): CelValue {
    const object: Record<string, unknown> = {};
    for (const variable of variables) {
      let known: CelValue | CelError | undefined;
      const get = () => {
        // Computed once, also when it is null.
        if (known === undefined) known = this.#compute(variable);
        if (known instanceof CelError) throw known;
        return known;
      };
      Object.defineProperty(object, variable.name, { enumerable: true, configurable: true, get });
    }
    return object;
  }

  #compute({ name, program, fault }: NamedExpression): CelValue | CelError {
    const quoted = JSON.stringify(name);
    if (!program) return new CelError(`composited variable ${quoted} fails to compile: ${fault}`);
    const outcome = program.run(this.#values, perCallLimit);
    this.#variablesCost += outcome.cost;
    if (!outcome.error) return outcome.value;
    return new CelError(`composited variable ${quoted} fails to evaluate: ${outcome.error.message}`);
  }
}
