import { qualifiedName } from "../../machinery/names.ts";
import type { Errors } from "./errors.ts";

interface Condition {
  type?: string;
  status?: string;
  reason?: string;
  message?: string;
  lastTransitionTime?: string | null;
  observedGeneration?: number;
}

const statuses = ["False", "True", "Unknown"];
const reasonFormat = /^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$/;
const maxMessage = 32 * 1024;
const maxReason = 1024;

/** Conditions of the common form (metav1.Condition): each type once, every part filled in. */
export function checkConditions(errors: Errors, path: string, conditions: readonly Condition[]): void {
  const types = new Map<string, number>();
  for (const [index, condition] of conditions.entries()) {
    const at = `${path}[${index}]`;
    const { type = "", status = "", reason = "", message = "" } = condition;
    if (types.has(type)) errors.duplicate(`${at}.type`, type);
    types.set(type, index);
    errors.messages(`${at}.type`, type, qualifiedName(type));
    if (!statuses.includes(status)) errors.notSupported(`${at}.status`, status, statuses);
    if ((condition.observedGeneration ?? 0) < 0) {
      errors.invalid(`${at}.observedGeneration`, condition.observedGeneration, "must be greater than or equal to zero");
    }
    if (!condition.lastTransitionTime) errors.required(`${at}.lastTransitionTime`);
    if (reason === "") errors.required(`${at}.reason`);
    else if (!reasonFormat.test(reason)) {
      const text =
        "a condition reason must start with alphabetic character, optionally followed by a string of alphanumeric characters or '_,:', and must end with an alphanumeric character or '_' (e.g. 'my_name',  or 'MY_NAME',  or 'MyName',  or 'ReasonA,ReasonB',  or 'ReasonA:ReasonB', regex used for validation is '[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?')";
      errors.invalid(`${at}.reason`, reason, text);
    }
    if (Buffer.byteLength(reason) > maxReason) errors.tooLong(`${at}.reason`, maxReason);
    if (Buffer.byteLength(message) > maxMessage) errors.tooLong(`${at}.message`, maxMessage);
  }
}
