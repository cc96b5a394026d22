/** Values of expressions as JSON. */
import { setKey } from "../json.ts";
import { durationText, timestampText } from "./library/times.ts";
import { StructValue } from "./structs.ts";
import {
  CelError,
  CelObject,
  type CelValue,
  Double,
  Duration,
  isMap,
  mapGet,
  mapKeys,
  Optional,
  Timestamp,
  typeNameOf,
  Uint,
} from "./values.ts";

/** A deep copy of the value as JSON. Throws {@link CelError} for what JSON has no form of. */
export function toJson(value: CelValue): unknown {
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return value.map((item) => toJson(item as CelValue));
  if (value instanceof Uint8Array) return Buffer.from(value).toString("base64");
  if (value instanceof StructValue) {
    const object: Record<string, unknown> = {};
    for (const [name, inner] of value.fields) setKey(object, name, toJson(inner));
    return object;
  }
  if (value instanceof Optional) return value.value === undefined ? null : toJson(value.value);
  if (isMap(value)) {
    const object: Record<string, unknown> = {};
    for (const key of mapKeys(value)) {
      if (typeof key !== "string") throw new CelError(`map key ${String(key)} is not a string`);
      setKey(object, key, toJson(mapGet(value, key)!));
    }
    return object;
  }
  if (value instanceof Double && Number.isFinite(value.value)) return value.value;
  if (value instanceof Uint) return value.value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value.value) : value.value;
  if (value instanceof Timestamp) return timestampText(value);
  if (value instanceof Duration) return durationText(value);
  if (value instanceof CelObject) throw new CelError(`type conversion error from '${typeNameOf(value)}' to JSON`);
  return value;
}
