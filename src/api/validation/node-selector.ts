import { dns1123Subdomain, labelValue } from "../../machinery/names.ts";
import type { NodeSelector, NodeSelectorRequirement, NodeSelectorTerm } from "../generated/core-v1.ts";
import type { Errors } from "./errors.ts";

const notOperator = "not a valid selector operator";

/** Checks which nodes are meant; `anyValues`: values need not be possible values of labels. */
export function checkNodeSelector(errors: Errors, at: string, selector: NodeSelector, anyValues = false): void {
  const path = `${at}.nodeSelectorTerms`;
  if (!errors.present(path, selector.nodeSelectorTerms, "must have at least one node selector term")) return;
  for (const [index, term] of selector.nodeSelectorTerms.entries()) {
    checkNodeSelectorTerm(errors, `${path}[${index}]`, term, anyValues);
  }
}

export function checkNodeSelectorTerm(errors: Errors, at: string, term: NodeSelectorTerm, anyValues: boolean): void {
  for (const [index, requirement] of (term.matchExpressions ?? []).entries()) {
    checkExpression(errors, `${at}.matchExpressions[${index}]`, requirement, anyValues);
  }
  for (const [index, requirement] of (term.matchFields ?? []).entries()) {
    checkField(errors, `${at}.matchFields[${index}]`, requirement);
  }
}

function checkExpression(errors: Errors, at: string, requirement: NodeSelectorRequirement, anyValues: boolean): void {
  const { key, operator, values = [] } = requirement;
  switch (operator) {
    case "In":
    case "NotIn":
      errors.present(`${at}.values`, values, "must be specified when `operator` is 'In' or 'NotIn'");
      break;
    case "Exists":
    case "DoesNotExist":
      if (values.length > 0) {
        errors.forbidden(`${at}.values`, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
      }
      break;
    case "Gt":
    case "Lt":
      if (values.length !== 1) {
        errors.required(`${at}.values`, "must be specified single value when `operator` is 'Lt' or 'Gt'");
      }
      break;
    default:
      errors.invalid(`${at}.operator`, operator, notOperator);
  }
  errors.qualified(`${at}.key`, key);
  if (anyValues) return;
  for (const [index, value] of values.entries()) {
    errors.messages(`${at}.values[${index}]`, value, labelValue(value));
  }
}

function checkField(errors: Errors, at: string, { key, operator, values = [] }: NodeSelectorRequirement): void {
  if (operator !== "In" && operator !== "NotIn") errors.invalid(`${at}.operator`, operator, notOperator);
  else if (values.length !== 1) {
    const text = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector";
    errors.required(`${at}.values`, text);
  }
  if (key !== "metadata.name") {
    errors.invalid(`${at}.key`, key, "not a valid field selector key");
    return;
  }
  for (const [index, value] of values.entries()) {
    errors.messages(`${at}.values[${index}]`, value, dns1123Subdomain(value));
  }
}
