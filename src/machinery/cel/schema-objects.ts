/**
 * The schemas of built-in kinds as types of expressions, for checking what policies say of them. Types are made when they
 * are looked at: schemas refer to themselves. Source: apiserver's cel/common, on what Kubernetes publishes of its types.
 */
import type { Schema } from "../schema.ts";
import { escapeName, reserved } from "./schema-types.ts";
import type { CelType, ObjectField } from "./types.ts";
import * as types from "./types.ts";

class SchemaFields extends Map<string, ObjectField> {
  readonly #schema: Schema;
  readonly #path: string;
  readonly #known = new Map<string, ObjectField | undefined>();

  constructor(schema: Schema, path: string) {
    super();
    this.#schema = schema;
    this.#path = path;
  }

  override get(name: string): ObjectField | undefined {
    if (!this.#known.has(name)) this.#known.set(name, this.#make(name));
    return this.#known.get(name);
  }

  #make(name: string): ObjectField | undefined {
    for (const [key, field] of Object.entries(this.#schema.fields ?? {})) {
      if (escapeName(key) !== name && !(reserved.has(key) && key === name)) continue;
      const type = typeOfSchema(field.schema, `${this.#path}.${escapeName(key)}`);
      return type && { type, key };
    }
    return undefined;
  }
}

/** The type that a schema stands for; undefined: expressions cannot see it, since more than one type may stand there. */
export function typeOfSchema(schema: Schema, path: string): CelType | undefined {
  switch (schema.type) {
    case "object":
    case "raw":
      return types.objectOf(path, new SchemaFields(schema, path));
    case "map": {
      const value = schema.items && typeOfSchema(schema.items, `${path}.@elem`);
      return value && types.mapOf(types.string, value);
    }
    case "array": {
      const item = schema.items && typeOfSchema(schema.items, `${path}.@idx`);
      return item && types.listOf(item);
    }
    case "integer":
      return types.int;
    case "number":
      return types.double;
    case "boolean":
      return types.bool;
    case "time":
    case "micro-time":
      return types.timestamp;
    case "bytes":
      return types.bytes;
    case "int-or-string":
      return types.dyn;
    // Published as a text or a number.
    case "quantity":
      return undefined;
    default:
      return types.string;
  }
}
