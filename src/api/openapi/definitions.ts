/** Schemas as OpenAPI writes them. Version 2 and 3 differ in how they refer to other schemas and name two types. */

import { zeroValue } from "../../machinery/canonical.ts";
import type { Field, Schema } from "../../machinery/schema.ts";
import type { ResourceFacts } from "../resource.ts";
import { builtInSchema } from "../schemas.ts";
import { customSchema, type ObjectFields } from "./custom-schema.ts";
import type { Descriptions } from "./descriptions.ts";

export type OpenApiVersion = 2 | 3;
export type JsonSchema = Record<string, unknown>;

/** Schemas of one document, by definition name; those that a schema refers to are added with it. */
export class Definitions {
  readonly schemas: Record<string, JsonSchema> = {};
  readonly #version: OpenApiVersion;
  readonly #descriptions: Descriptions;

  constructor(version: OpenApiVersion, descriptions: Descriptions) {
    this.#version = version;
    this.#descriptions = descriptions;
  }

  /** A reference to a built-in type by its name. */
  builtIn(name: string): JsonSchema {
    return this.#refer(builtInSchema(name));
  }

  /** A reference to the schema of a resource's kind; marks it with its group, version and kind. */
  kind(facts: ResourceFacts): JsonSchema {
    const name = definitionName(facts);
    if (facts.custom) {
      this.schemas[name] ??= customSchema(facts.customSchema, this.#version, this.#objectFields());
      const fields = Object.keys(facts.selectableFields);
      if (fields.length > 0) {
        this.schemas[name]["x-kubernetes-selectable-fields"] = fields.map((fieldPath) => ({ fieldPath }));
      }
    } else this.#refer(facts.schema);
    this.#mark(name, facts.group, facts.version, facts.kind);
    return this.#reference(name);
  }

  /** A reference to the schema of a resource's list. */
  list(facts: ResourceFacts): JsonSchema {
    const kindName = definitionName(facts);
    const name = `${kindName.slice(0, kindName.lastIndexOf("."))}.${facts.listKind}`;
    if (!this.schemas[name]) {
      const builtIn = tryBuiltIn(name);
      if (builtIn) this.#refer(builtIn);
      else {
        this.schemas[name] = {
          description: `${facts.listKind} is a list of ${facts.kind}`,
          type: "object",
          required: ["items"],
          properties: {
            apiVersion: { type: "string", description: this.#descriptions.field(metaList, "apiVersion") },
            items: { type: "array", items: this.kind(facts), description: `List of ${facts.resource}` },
            kind: { type: "string", description: this.#descriptions.field(metaList, "kind") },
            metadata: this.builtIn("io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta"),
          },
        };
      }
      this.#mark(name, facts.group, facts.version, facts.listKind);
    }
    return this.#reference(name);
  }

  /** A reference to the type that stands for the body of a patch, which has no fixed shape. */
  patch(): JsonSchema {
    this.schemas[patchName] ??= {
      description: "Patch stands for a change of an object, in the form that the content type says.",
      type: "object",
    };
    return this.#reference(patchName);
  }

  /** A reference to a kind of another group-version, as subresources take it. */
  other(group: string, version: string, kind: string, typeName: string): JsonSchema {
    const reference = this.#refer(builtInSchema(typeName));
    this.#mark(typeName, group, version, kind);
    return reference;
  }

  #objectFields(): ObjectFields {
    const text = (name: string) => ({ type: "string", description: this.#descriptions.field(metaKind, name) ?? "" });
    const objectMeta = this.builtIn("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta");
    const description = `Standard object's metadata. More info: ${conventions}#metadata`;
    const metadata = this.#version === 2 ? { ...objectMeta, description } : { allOf: [objectMeta], description };
    return { apiVersion: text("apiVersion"), kind: text("kind"), metadata };
  }

  #mark(name: string, group: string, version: string, kind: string): void {
    const schema = this.schemas[name]!;
    const marks = (schema["x-kubernetes-group-version-kind"] ?? []) as {
      group: string;
      version: string;
      kind: string;
    }[];
    if (!marks.some((mark) => mark.group === group && mark.version === version && mark.kind === kind)) {
      schema["x-kubernetes-group-version-kind"] = [...marks, { group, version, kind }];
    }
  }

  #reference(name: string): JsonSchema {
    return { $ref: this.#version === 3 ? `#/components/schemas/${name}` : `#/definitions/${name}` };
  }

  #refer(schema: Schema): JsonSchema {
    const name = schema.name!;
    if (!this.schemas[name]) {
      const target: JsonSchema = {};
      // Registered before its fields are looked at: types refer to themselves.
      this.schemas[name] = target;
      const description = schema.description ?? this.#descriptions.type(name);
      if (description) target["description"] = description;
      Object.assign(target, this.#body(schema));
    }
    return this.#reference(name);
  }

  /** The schema where it is used: a reference when it has a name. */
  #use(schema: Schema): JsonSchema {
    if (schema.name) return this.#refer(schema);
    const text = schema.description ? { description: schema.description } : {};
    return { ...text, ...this.#body(schema) };
  }

  #body(schema: Schema): JsonSchema {
    const body = this.#typeBody(schema);
    if (schema.mapType) body["x-kubernetes-map-type"] = schema.mapType;
    if (schema.listType) body["x-kubernetes-list-type"] = schema.listType;
    if (schema.listMapKeys) body["x-kubernetes-list-map-keys"] = schema.listMapKeys;
    if (schema.preserveUnknownFields) body["x-kubernetes-preserve-unknown-fields"] = true;
    if (schema.embeddedResource) body["x-kubernetes-embedded-resource"] = true;
    if (schema.enum) body["enum"] = schema.enum;
    if (schema.nullable && this.#version === 3) body["nullable"] = true;
    return body;
  }

  #typeBody(schema: Schema): JsonSchema {
    switch (schema.type) {
      case "object":
        return this.#objectBody(schema);
      case "map":
        return { type: "object", additionalProperties: this.#element(schema.items ?? { type: "raw" }) };
      case "array":
        return { type: "array", items: this.#element(schema.items ?? { type: "raw" }) };
      case "quantity":
        return this.#version === 3 ? { oneOf: [{ type: "string" }, { type: "number" }] } : { type: "string" };
      case "int-or-string":
        if (this.#version === 2) return { type: "string", format: "int-or-string" };
        return schema.name
          ? { format: "int-or-string", oneOf: [{ type: "integer" }, { type: "string" }] }
          : { "x-kubernetes-int-or-string": true };
      case "time":
      case "micro-time":
        return { type: "string", format: "date-time" };
      case "bytes":
        return { type: "string", format: "byte" };
      case "raw":
        return rawBody(schema.name);
      default:
        return { type: schema.type, ...(schema.format && { format: schema.format }) };
    }
  }

  #objectBody(schema: Schema): JsonSchema {
    const fields = Object.entries(schema.fields ?? {}).sort(([a], [b]) => (a < b ? -1 : 1));
    const required = fields.filter(([, field]) => field.required).map(([name]) => name);
    const properties: JsonSchema = {};
    for (const [name, field] of fields) properties[name] = this.#property(schema, name, field);
    return {
      type: "object",
      ...(fields.length > 0 && { properties }),
      ...(required.length > 0 && { required }),
    };
  }

  #property(owner: Schema, name: string, field: Field): JsonSchema {
    const { schema } = field;
    const use = this.#use(schema);
    const description =
      field.description ?? schema.description ?? (owner.name ? this.#descriptions.field(owner.name, name) : undefined);
    const extra: JsonSchema = {};
    if (description) extra["description"] = description;
    const value = this.#default(field);
    if (value !== undefined) extra["default"] = value;
    if (field.patchStrategy) extra["x-kubernetes-patch-strategy"] = field.patchStrategy.join(",");
    if (field.patchMergeKey) extra["x-kubernetes-patch-merge-key"] = field.patchMergeKey;
    if (!("$ref" in use)) return { ...use, ...extra };
    if (this.#version === 2) return { ...use, ...extra };
    return Object.keys(extra).length === 0 ? use : { allOf: [use], ...extra };
  }

  #element(schema: Schema): JsonSchema {
    const use = this.#use(schema);
    if (this.#version === 2) return use;
    if ("$ref" in use && schema.type === "object") return { allOf: [use], default: {} };
    return use;
  }

  /** The declared default, else (version 3) the zero value of what Go always writes. */
  #default(field: Field): unknown {
    if (field.default !== undefined) return field.default;
    if (this.#version === 2 || field.empty !== "always") return undefined;
    const { type } = field.schema;
    if (type === "object") return {};
    if (["string", "integer", "number", "boolean"].includes(type)) return zeroValue(field.schema);
    return undefined;
  }
}

const patchName = "io.k8s.apimachinery.pkg.apis.meta.v1.Patch";
const conventions = "https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md";
/** A type with the usual descriptions of what every object has. */
const metaKind = "io.k8s.api.core.v1.Pod";
const metaList = "io.k8s.api.core.v1.PodList";

/** The definition name of a resource's kind: built-in ones have their own, custom ones get theirs from the group. */
export function definitionName(facts: Pick<ResourceFacts, "group" | "version" | "kind" | "schema">): string {
  if (facts.schema.name) return facts.schema.name;
  return `${facts.group.split(".").reverse().join(".")}.${facts.version}.${facts.kind}`;
}

function tryBuiltIn(name: string): Schema | undefined {
  try {
    return builtInSchema(name);
  } catch {
    return undefined;
  }
}

function rawBody(name: string | undefined): JsonSchema {
  if (!name) return {};
  return /\.(RawExtension|FieldsV1|CustomResourceSubresourceStatus)$/.test(name) ? { type: "object" } : {};
}
