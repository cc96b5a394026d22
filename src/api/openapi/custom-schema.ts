/**
 * The schema of a custom resource as OpenAPI publishes it: what its definition says, with the fields that every object
 * has. Version 2 lacks words for some of it, and kubectl takes what version 2 says literally.
 */
import { isRecord } from "../../machinery/json.ts";
import type { JsonSchemaProps } from "../../machinery/schema-from-openapi.ts";
import type { JsonSchema, OpenApiVersion } from "./definitions.ts";

/** What stands in every object: kind and apiVersion as texts, metadata as a reference, each with its description. */
export interface ObjectFields {
  readonly apiVersion: JsonSchema;
  readonly kind: JsonSchema;
  readonly metadata: JsonSchema;
}

const preserve = "x-kubernetes-preserve-unknown-fields";
const embedded = "x-kubernetes-embedded-resource";
const intOrString = "x-kubernetes-int-or-string";

/** What a structural schema keeps of a definition's: the rest is for people who write definitions. */
const kept = [
  ..."title description type default nullable format enum pattern multipleOf".split(" "),
  ..."minimum maximum exclusiveMinimum exclusiveMaximum minLength maxLength".split(" "),
  ..."minItems maxItems uniqueItems minProperties maxProperties".split(" "),
  ...[preserve, embedded, intOrString],
  ...["list-type", "list-map-keys", "map-type", "validations"].map((name) => `x-kubernetes-${name}`),
] as const;

const junctors = ["allOf", "anyOf", "oneOf"] as const;

/** Publishes a definition's schema; absent: it has none. */
export function customSchema(
  props: JsonSchemaProps | undefined,
  version: OpenApiVersion,
  fields: ObjectFields,
): JsonSchema {
  // With properties, kubectl would take all others for wrong.
  if (!props || (version === 2 && props[preserve])) return { type: "object" };
  const schema = publish(props, version, fields);
  return { ...schema, properties: { ...(schema["properties"] as object), ...fields } };
}

function publish(props: JsonSchemaProps, version: OpenApiVersion, fields: ObjectFields): JsonSchema {
  const inner = (below: JsonSchemaProps) => publish(below, version, fields);
  const schema: JsonSchema = {};
  for (const name of kept) {
    const value = props[name as keyof JsonSchemaProps];
    if (value !== undefined && value !== null && value !== false) schema[name] = value;
  }
  let required = [...(props.required ?? [])];
  if (props.items) schema["items"] = inner(props.items);
  if (props.properties) {
    schema["properties"] = Object.fromEntries(Object.entries(props.properties).map(([key, of]) => [key, inner(of)]));
  }
  const { additionalProperties } = props;
  if (additionalProperties !== undefined) {
    schema["additionalProperties"] = isRecord(additionalProperties)
      ? inner(additionalProperties)
      : additionalProperties;
  }
  if (version === 3) {
    for (const junctor of junctors) if (props[junctor]) schema[junctor] = props[junctor];
    if (props.not) schema["not"] = props.not;
    if (props[intOrString] && !props.anyOf && !props.allOf) schema["anyOf"] = [{ type: "integer" }, { type: "string" }];
  } else {
    const { properties = {} } = props;
    required = required.filter((name) => !properties[name]?.nullable);
    if (isRecord(additionalProperties) && (additionalProperties as JsonSchemaProps).nullable) required = [];
    if (props.nullable) for (const name of ["type", "nullable", "items", "properties"]) delete schema[name];
    if (props[preserve]) for (const name of ["items", "properties"]) delete schema[name];
    const isOpen = props[preserve] && schema["type"] === "object";
    if (isOpen || (schema["type"] === "array" && !schema["items"])) delete schema["type"];
  }
  if (props[embedded] && !(version === 2 && props[preserve])) {
    schema["properties"] = { ...(schema["properties"] as object), ...fields };
    for (const name of ["kind", "apiVersion"]) if (!required.includes(name)) required.push(name);
  }
  if (required.length > 0) schema["required"] = required;
  return schema;
}
