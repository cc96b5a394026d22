/**
 * OpenAPI v2 in protobuf: kubectl asks for nothing else when it validates a `kind: List` by itself. Only what it reads
 * is there: the definitions. Source: gnostic's OpenAPIv2.proto.
 */
import {
  encodeMessage,
  int64,
  type Message,
  message,
  nested,
  recursive,
  repeated,
  string,
} from "../../machinery/protobuf.ts";

import type { Breathe } from "./documents.ts";
import { fieldHeader } from "./kubernetes-protobuf.ts";

export const openApiProtobufType = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

const any = message("Any", { yaml: string(2) });
const namedAny = message("NamedAny", { name: string(1), value: nested(2, any) });
const typeItem = message("TypeItem", { value: repeated(string(1)) });
const itemsItem = message("ItemsItem", { schema: repeated(recursive<object>(1, () => schema)) });
const namedSchema = message("NamedSchema", { name: string(1), value: recursive<object>(2, () => schema) });
const properties = message("Properties", { additionalProperties: repeated(nested(1, namedSchema)) });
const additional = message("AdditionalPropertiesItem", { schema: recursive<object>(1, () => schema) });
const schema: Message = message("Schema", {
  ref: string(1),
  format: string(2),
  description: string(4),
  minLength: int64(12),
  required: repeated(string(19)),
  additionalProperties: nested(21, additional),
  type: nested(22, typeItem),
  items: nested(23, itemsItem),
  properties: nested(25, properties),
  vendorExtension: repeated(nested(31, namedAny)),
});
const info = message("Info", { title: string(1), version: string(2) });
const paths = message("Paths", {});
const document = message("Document", {
  swagger: string(1),
  info: nested(2, info),
  paths: nested(8, paths),
});
/** The document's last field, whose message is put together from those of each definition. */
const definitionsField = 9;

interface JsonSchema {
  readonly $ref?: string;
  readonly type?: string;
  readonly format?: string;
  readonly description?: string;
  readonly required?: readonly string[];
  readonly items?: JsonSchema;
  readonly additionalProperties?: JsonSchema | boolean;
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly allOf?: readonly JsonSchema[];
  readonly [extension: `x-${string}`]: unknown;
}

function schemaOf(json: JsonSchema): object {
  // A reference with a default or description beside it is wrapped; what it refers to is what counts.
  const [only] = json.allOf ?? [];
  if (only?.$ref && !json.type) return { ref: only.$ref };
  if (json.$ref) return { ref: json.$ref };
  const extensions = Object.entries(json).filter(([key]) => key.startsWith("x-kubernetes-"));
  const { additionalProperties } = json;
  return {
    ...(json.format ? { format: json.format } : {}),
    ...(json.description ? { description: json.description } : {}),
    ...(json.required ? { required: json.required } : {}),
    ...(json.type ? { type: { value: [json.type] } } : {}),
    ...(json.items ? { items: { schema: [schemaOf(json.items)] } } : {}),
    ...(typeof additionalProperties === "object"
      ? { additionalProperties: { schema: schemaOf(additionalProperties) } }
      : {}),
    ...(json.properties ? { properties: named(json.properties) } : {}),
    // JSON is YAML.
    vendorExtension: extensions.map(([name, value]) => ({ name, value: { yaml: JSON.stringify(value) } })),
  };
}

function named(schemas: Readonly<Record<string, JsonSchema>>) {
  return { additionalProperties: Object.entries(schemas).map(([name, value]) => ({ name, value: schemaOf(value) })) };
}

/**
 * Encodes the definitions of an OpenAPI v2 document, in parts of which the whole is the join. `breathe` is awaited after
 * each definition, since they are many.
 */
export async function encodeOpenApiV2(
  swagger: {
    readonly info?: { readonly title?: string; readonly version?: string };
    readonly definitions?: Readonly<Record<string, unknown>>;
  },
  breathe: Breathe,
): Promise<Buffer[]> {
  const { title, version } = swagger.info ?? {};
  const definitions: Buffer[] = [];
  let length = 0;
  for (const [name, definition] of Object.entries(swagger.definitions ?? {})) {
    const one = encodeMessage(properties, named({ [name]: definition as JsonSchema }));
    definitions.push(one);
    length += one.length;
    await breathe();
  }
  const head = encodeMessage(document, { swagger: "2.0", info: { title, version }, paths: {} });
  return [head, fieldHeader(definitionsField, length), ...definitions];
}
