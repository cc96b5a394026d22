/** The structural schema of a custom resource as a {@link Schema}. Source: apiextensions/v1 JSONSchemaProps. */
import type { Field, Schema } from "./schema.ts";

/** apiextensions/v1 JSONSchemaProps, as far as the machinery reads it. */
export interface JsonSchemaProps {
  readonly type?: string;
  readonly format?: string;
  readonly description?: string;
  readonly title?: string;
  readonly default?: unknown;
  readonly nullable?: boolean;
  readonly enum?: readonly unknown[];
  readonly properties?: Readonly<Record<string, JsonSchemaProps>>;
  readonly additionalProperties?: boolean | JsonSchemaProps;
  readonly items?: JsonSchemaProps;
  readonly required?: readonly string[];
  readonly minimum?: number;
  readonly maximum?: number;
  readonly exclusiveMinimum?: boolean;
  readonly exclusiveMaximum?: boolean;
  readonly multipleOf?: number;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly pattern?: string;
  readonly minItems?: number;
  readonly maxItems?: number;
  readonly uniqueItems?: boolean;
  readonly minProperties?: number;
  readonly maxProperties?: number;
  readonly allOf?: readonly JsonSchemaProps[];
  readonly anyOf?: readonly JsonSchemaProps[];
  readonly oneOf?: readonly JsonSchemaProps[];
  readonly not?: JsonSchemaProps;
  readonly "x-kubernetes-preserve-unknown-fields"?: boolean;
  readonly "x-kubernetes-embedded-resource"?: boolean;
  readonly "x-kubernetes-int-or-string"?: boolean;
  readonly "x-kubernetes-list-type"?: "atomic" | "set" | "map";
  readonly "x-kubernetes-list-map-keys"?: readonly string[];
  readonly "x-kubernetes-map-type"?: "granular" | "atomic";
  readonly "x-kubernetes-validations"?: readonly unknown[];
}

export interface FromOpenApiOptions {
  /** The schema of metadata, for the resource itself and for resources embedded in it. */
  readonly objectMeta: Schema;
}

const text: Schema = { type: "string" };

const described = (props: JsonSchemaProps) => ({
  ...(props.description === undefined ? {} : { description: props.description }),
  ...(props.nullable ? { nullable: true } : {}),
  ...(props.enum === undefined ? {} : { enum: props.enum }),
  ...(props.format === undefined ? {} : { format: props.format }),
});

function convertObject(props: JsonSchemaProps, options: FromOpenApiOptions, resource: boolean): Schema {
  const preserve = props["x-kubernetes-preserve-unknown-fields"] === true || props.additionalProperties === true;
  const mapType = props["x-kubernetes-map-type"];
  const common = { ...described(props), ...(mapType ? { mapType } : {}) };
  if (typeof props.additionalProperties === "object" && !props.properties && !resource) {
    return { type: "map", items: convert(props.additionalProperties, options, false), ...common };
  }
  const required = new Set(props.required);
  const fields: Record<string, Field> = {};
  for (const [name, inner] of Object.entries(props.properties ?? {})) {
    fields[name] = {
      schema: convert(inner, options, false),
      empty: "pointer",
      ...(inner.description === undefined ? {} : { description: inner.description }),
      ...(required.has(name) ? { required: true } : {}),
      ...(inner.default === undefined ? {} : { default: inner.default }),
    };
  }
  if (resource) {
    fields["apiVersion"] ??= { schema: text, empty: "pointer" };
    fields["kind"] ??= { schema: text, empty: "pointer" };
    fields["metadata"] = { schema: options.objectMeta, empty: "pointer" };
  }
  return {
    type: "object",
    fields,
    ...(typeof props.additionalProperties === "object"
      ? { items: convert(props.additionalProperties, options, false) }
      : {}),
    ...(preserve ? { preserveUnknownFields: true } : {}),
    ...(props["x-kubernetes-embedded-resource"] ? { embeddedResource: true } : {}),
    ...common,
  };
}

function convert(props: JsonSchemaProps, options: FromOpenApiOptions, root: boolean): Schema {
  if (props["x-kubernetes-int-or-string"]) return { type: "int-or-string", ...described(props) };
  switch (props.type) {
    case "object":
      return convertObject(props, options, root || props["x-kubernetes-embedded-resource"] === true);
    case "array": {
      const listType = props["x-kubernetes-list-type"];
      const keys = props["x-kubernetes-list-map-keys"];
      return {
        type: "array",
        items: props.items ? convert(props.items, options, false) : { type: "raw" },
        ...(listType ? { listType } : {}),
        ...(keys ? { listMapKeys: keys } : {}),
        ...described(props),
      };
    }
    case "string":
    case "integer":
    case "number":
    case "boolean":
      return { type: props.type, ...described(props) };
    default:
      // No type: whatever stands there is kept; maps in it are tracked key by key, lists as a whole.
      return props["x-kubernetes-preserve-unknown-fields"]
        ? { type: "object", preserveUnknownFields: true, ...described(props) }
        : { type: "raw", ...described(props) };
  }
}

/** The schema of a custom resource. Absent properties (an old CRD without a schema) keep everything. */
export function schemaFromOpenApi(props: JsonSchemaProps | undefined, options: FromOpenApiOptions): Schema {
  return convert(
    props?.type === "object" ? props : { ...props, type: "object", "x-kubernetes-preserve-unknown-fields": true },
    options,
    true,
  );
}
