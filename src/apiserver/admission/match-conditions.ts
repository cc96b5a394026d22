/**
 * Match conditions: expressions that say for which requests a webhook is called. Loads the expression engine; import it
 * where there are conditions (`await import`).
 */
import { checkConditions } from "../../api/validation/match-conditions.ts";
import { compileAdmission, type Expression } from "../../machinery/cel/admission.ts";
import { bool } from "../../machinery/cel/types.ts";
import type { FieldError } from "../../machinery/status.ts";
import type { AdmissionAttributes, Authorizer } from "../request.ts";
import { AccessAnswers } from "./policies/access-answers.ts";
import { Evaluation } from "./policies/evaluation.ts";

export interface MatchCondition {
  readonly name: string;
  readonly expression: string;
}

/** What all conditions of one webhook or policy may cost together. */
export const conditionBudget = 2_500_000;

/** By the list that was given, which belongs to an object that never changes. */
const compiled = new WeakMap<readonly MatchCondition[], readonly Expression[]>();

function compileAll(conditions: readonly MatchCondition[]): readonly Expression[] {
  let expressions = compiled.get(conditions);
  if (!expressions) {
    const scope = { params: false, authorizer: true };
    expressions = conditions.map(({ expression }) => ({
      source: expression,
      ...compileAdmission(expression, scope, [bool]),
    }));
    compiled.set(conditions, expressions);
  }
  return expressions;
}

/**
 * Do all conditions hold? One that is false decides, whatever the others do. Throws Error with Kubernetes' text when none
 * is false and one cannot be evaluated.
 */
export async function matchConditions(
  conditions: readonly MatchCondition[],
  attributes: AdmissionAttributes,
  authorize: Authorizer,
): Promise<boolean> {
  const access = new AccessAnswers(authorize, attributes.user);
  return conditionsHold(compileAll(conditions), new Evaluation({ attributes, access }, conditionBudget));
}

/** The same for expressions that are compiled already. */
export async function conditionsHold(conditions: readonly Expression[], evaluation: Evaluation): Promise<boolean> {
  const results = [];
  for (const condition of conditions) results.push(await evaluation.run(condition));
  if (results.some(({ value }) => value === false)) return false;
  const errors = [...new Set(results.flatMap(({ error }) => (error === undefined ? [] : [error])))];
  if (errors.length === 0) return true;
  throw new Error(errors.length === 1 ? errors[0] : `[${errors.join(", ")}]`);
}

/** What is wrong with the conditions of a webhook that stand at `path`. */
export function checkMatchConditions(conditions: readonly MatchCondition[], path: string): FieldError[] {
  return checkConditions(conditions, path, { params: false });
}
