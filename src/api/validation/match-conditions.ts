import { compileAdmission } from "../../machinery/cel/admission.ts";
import { bool } from "../../machinery/cel/types.ts";
import { qualifiedName } from "../../machinery/names.ts";
import { type FieldError, fieldError } from "../../machinery/status.ts";
import { Errors } from "./errors.ts";

const mostConditions = 64;

/** What is wrong with match conditions that stand at `path`. `params`: may they look at a policy's parameter? */
export function checkConditions(
  conditions: readonly { readonly name?: string; readonly expression?: string }[],
  path: string,
  { params }: { readonly params: boolean },
): FieldError[] {
  const errors = new Errors();
  if (conditions.length > mostConditions) {
    errors.list.push(fieldError.tooMany(path, conditions.length, mostConditions));
  }
  const names = new Set<string>();
  for (const [i, { name, expression = "" }] of conditions.entries()) {
    const at = `${path}[${i}]`;
    const source = expression.trim();
    if (source === "") errors.required(`${at}.expression`);
    else {
      const { fault } = compileAdmission(source, { params, authorizer: true }, [bool]);
      if (fault !== undefined) errors.invalid(`${at}.expression`, source, fault);
    }
    if (!name) {
      errors.required(`${at}.name`);
      continue;
    }
    errors.messages(`${at}.name`, name, qualifiedName(name));
    if (names.has(name)) errors.duplicate(`${at}.name`, name);
    names.add(name);
  }
  return errors.list;
}
