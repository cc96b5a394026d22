import { isRecord } from "../../../machinery/json.ts";
import type { KubeObject } from "../../../machinery/object.ts";
import type { AdmissionAttributes } from "../../request.ts";

/**
 * Puts back who owns which fields when a webhook has left that in a state which nobody can read, and warns. `before` is
 * what stood there when the webhooks were not asked yet.
 */
export function keepManagedFields(
  { object, warn }: AdmissionAttributes,
  before: KubeObject["metadata"]["managedFields"],
): void {
  if (!object) return;
  const why = faultOf(object.metadata.managedFields);
  if (why === undefined) return;
  if (before) object.metadata.managedFields = before;
  else delete object.metadata.managedFields;
  const text = "this could be caused by an outdated mutating admission controller; please fix your requests";
  warn(`.metadata.managedFields was in an invalid state after admission; ${text}: ${why}`);
}

function faultOf(entries: unknown): string | undefined {
  if (entries === undefined) return undefined;
  if (!Array.isArray(entries)) return "must be a list";
  for (const [index, entry] of entries.entries()) {
    const { operation, fieldsType, fieldsV1 } = isRecord(entry) ? entry : {};
    if (operation !== "Apply" && operation !== "Update") return `[${index}].operation: must be \`Apply\` or \`Update\``;
    if (fieldsType !== "FieldsV1") return `[${index}].fieldsType: must be \`FieldsV1\``;
    if (fieldsV1 === undefined) continue;
    const bad = badPath(fieldsV1);
    if (bad !== undefined) return `[${index}].fieldsV1: unknown path element ${JSON.stringify(bad)}`;
  }
  return undefined;
}

/** A key of a set of fields that is none of its forms: ".", "f:name", "k:{…}", "v:…" or "i:0". */
function badPath(fields: unknown): string | undefined {
  if (!isRecord(fields)) return String(fields);
  for (const [key, value] of Object.entries(fields)) {
    if (key !== "." && !/^(f:|k:\{|v:|i:\d)/.test(key)) return key;
    const bad = badPath(value);
    if (bad !== undefined) return bad;
  }
  return undefined;
}
