/** The expressions of a mutating policy, compiled. Loads the expression engine: import it where there are policies. */
import type { MutatingAdmissionPolicy } from "../../../api/generated/admissionregistration-v1.ts";
import {
  type AdmissionScope,
  compileAdmission,
  compileVariables,
  type Expression,
  type NamedExpression,
} from "../../../machinery/cel/admission.ts";
import { toJson } from "../../../machinery/cel/json-value.ts";
import { jsonPatchType, misplacedTypes, objectType, StructValue } from "../../../machinery/cel/structs.ts";
import { bool, listOf } from "../../../machinery/cel/types.ts";
import { CelError, type CelValue } from "../../../machinery/cel/values.ts";
import type { DeepReadonly } from "../../../machinery/object.ts";
import { conditionBudget, conditionsHold } from "../match-conditions.ts";
import { Evaluation, type EvaluationInput } from "./evaluation.ts";

/** What one mutation may cost. */
const mutationBudget = 10_000_000;

/** What a mutation wants of an object. */
export type Change =
  | { readonly type: "apply"; readonly configuration: Record<string, unknown> }
  | { readonly type: "patch"; readonly operations: readonly Record<string, unknown>[] };

interface Mutation {
  readonly type: Change["type"];
  readonly expression: Expression;
}

export class Mutations {
  readonly #variables: readonly NamedExpression[];
  readonly #conditions: readonly Expression[];
  readonly #mutations: readonly Mutation[];

  constructor({ spec }: DeepReadonly<MutatingAdmissionPolicy>) {
    const { variables = [], matchConditions = [], mutations = [] } = spec ?? {};
    const base: AdmissionScope = { params: spec?.paramKind !== undefined, authorizer: true };
    const { type: names, expressions } = compileVariables(variables, base);
    const scope: AdmissionScope = { ...base, variables: names };
    this.#variables = expressions;
    this.#conditions = matchConditions.map(({ expression }) => ({
      source: expression,
      ...compileAdmission(expression, scope, [bool]),
    }));
    this.#mutations = mutations.map(({ patchType, applyConfiguration, jsonPatch }) => {
      const type = patchType === "JSONPatch" ? "patch" : "apply";
      const source = (type === "patch" ? jsonPatch : applyConfiguration)?.expression ?? "";
      const wanted = type === "patch" ? listOf(jsonPatchType) : objectType;
      return { type, expression: { source, ...compileAdmission(source, { ...scope, patches: true }, [wanted]) } };
    });
  }

  get count(): number {
    return this.#mutations.length;
  }

  /** Do the policy's conditions hold? Throws Error when that cannot be told. */
  async concern(request: Omit<EvaluationInput, "variables">): Promise<boolean> {
    if (this.#conditions.length === 0) return true;
    const input = { ...request, variables: this.#variables, namespace: undefined };
    return conditionsHold(this.#conditions, new Evaluation(input, conditionBudget));
  }

  /** What the mutation at `index` wants. Throws Error with Kubernetes' text when it cannot be evaluated. */
  async change(index: number, request: Omit<EvaluationInput, "variables">): Promise<Change> {
    const { type, expression } = this.#mutations[index]!;
    if (expression.fault !== undefined) throw new Error(expression.fault);
    const evaluation = new Evaluation({ ...request, variables: this.#variables }, mutationBudget);
    const { value, error } = await evaluation.run(expression);
    if (error !== undefined) throw new Error(error);
    return type === "apply" ? configurationOf(value) : patchOf(value as readonly CelValue[]);
  }
}

function configurationOf(value: CelValue): Change {
  checkTypes(value);
  return { type: "apply", configuration: jsonOf(value, "invalid return type") as Record<string, unknown> };
}

function patchOf(value: readonly CelValue[]): Change {
  const operations = value.map((item) => {
    if (!(item instanceof StructValue)) {
      throw new Error("type mismatch: JSONPatchType.expression should evaluate to array of JSONPatch");
    }
    const operation: Record<string, unknown> = { op: item.get("op"), path: item.get("path") };
    if (item.has("from")) operation["from"] = item.get("from");
    const content = item.fields.get("value");
    if (content === undefined) return operation;
    // A type stands for its whole path, also where only a part is put in.
    if (content instanceof StructValue && content.type !== jsonPatchType) checkTypes(content, content.type.name);
    operation["value"] = jsonOf(content, "JSONPath valueExpression evaluated to a type that could not marshal to JSON");
    return operation;
  });
  return { type: "patch", operations };
}

function checkTypes(value: CelValue, path?: string): void {
  const wrong = misplacedTypes(value, path);
  if (wrong.length > 0) throw new Error(`type mismatch: ${wrong.join("\n")}`);
}

function jsonOf(value: CelValue, what: string): unknown {
  try {
    return toJson(value);
  } catch (error) {
    if (error instanceof CelError) throw new Error(`${what}: ${error.message}`);
    throw error;
  }
}
