/**
 * Objects that expressions make: `Object.spec{replicas: 2}` and `JSONPatch{op: "add", …}`. Fields of `Object` types are
 * not known, only that the name of a type is the path to its field. Source: apiserver's cel/mutation.
 */
import * as types from "./types.ts";
import { type CelType, formatType, type ObjectField } from "./types.ts";
import { CelError, CelObject, type CelValue, equalValues, isMap, mapGet, mapKeys, typeOfValue } from "./values.ts";

/** Any name is a field. */
class AnyField extends Map<string, ObjectField> {
  override get(key: string): ObjectField {
    return { type: types.dyn, key };
  }
}

const objectTypes = new Map<string, CelType>();

export const objectType = types.objectOf("Object", new AnyField());

const text = (key: string): [string, ObjectField] => [key, { type: types.string, key }];

export const jsonPatchType = types.objectOf(
  "JSONPatch",
  new Map([text("op"), text("from"), text("path"), ["value", { type: types.dyn, key: "value" }]]),
);

/** The types that mutations may make. */
export function patchTypes(name: string): CelType | undefined {
  if (name === jsonPatchType.name) return jsonPatchType;
  if (name === objectType.name) return objectType;
  if (!name.startsWith(`${objectType.name}.`)) return undefined;
  let type = objectTypes.get(name);
  if (!type) {
    type = types.objectOf(name, new AnyField());
    // Names come from whoever writes policies: they are few, but nothing else bounds them.
    if (objectTypes.size < 10_000) objectTypes.set(name, type);
  }
  return type;
}

export class StructValue extends CelObject {
  readonly type: CelType;
  readonly fields: ReadonlyMap<string, CelValue>;

  constructor(type: CelType, fields: ReadonlyMap<string, CelValue>) {
    super();
    this.type = type;
    this.fields = fields;
  }

  equals(other: CelValue): boolean {
    if (!(other instanceof StructValue) || other.type.name !== this.type.name) return false;
    if (this.fields.size !== other.fields.size) return false;
    for (const [name, value] of this.fields) {
      const theirs = other.fields.get(name);
      if (theirs === undefined || !equalValues(value, theirs)) return false;
    }
    return true;
  }

  /** Texts of patches are empty when they are not there. */
  get(name: string): CelValue {
    const value = this.fields.get(name);
    if (value !== undefined) return value;
    return this.type === jsonPatchType && name !== "value" ? "" : null;
  }

  has(name: string): boolean {
    const value = this.fields.get(name);
    return value !== undefined && (this.type !== jsonPatchType || value !== "");
  }
}

/** A new object. Throws {@link CelError} when a field whose type is known is of another. */
export function makeStruct(type: CelType, fields: ReadonlyMap<string, CelValue>): StructValue {
  for (const [name, value] of fields) {
    if (type.fields?.get(name)?.type !== types.string || typeof value === "string") continue;
    const found = typeof value === "number" || typeof value === "bigint" ? "int64" : formatType(typeOfValue(value));
    throw new CelError(`unexpected type ${found} for ${type.name}Type '${name}' field`);
  }
  return new StructValue(type, fields);
}

/** What is wrong with names of types inside: each must be the path to where it stands. */
export function misplacedTypes(value: CelValue, path = objectType.name): string[] {
  if (value instanceof StructValue) {
    const { name } = value.type;
    const wrong =
      name === path
        ? []
        : [
            `unexpected type name ${JSON.stringify(name)}, expected ${JSON.stringify(path)}, which matches field name path from root Object type`,
          ];
    return [...wrong, ...[...value.fields].flatMap(([field, inner]) => misplacedTypes(inner, `${path}.${field}`))];
  }
  if (Array.isArray(value)) return value.flatMap((inner) => misplacedTypes(inner as CelValue, path));
  if (value === null || !isMap(value)) return [];
  return mapKeys(value).flatMap((key) => misplacedTypes(mapGet(value, key)!, path));
}
