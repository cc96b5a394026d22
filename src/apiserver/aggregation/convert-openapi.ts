/** OpenAPI v2 as v3, for servers that are too old to speak of v3. */
import { isRecord } from "../../machinery/json.ts";
import { reachable } from "./merge-openapi.ts";

type Document = Record<string, unknown>;

const recordOf = (value: unknown): Document => (isRecord(value) ? value : {});
const listOf = (value: unknown): unknown[] => (Array.isArray(value) ? value : []);
const textsOf = (value: unknown): string[] => listOf(value).filter((one) => typeof one === "string");

/** References lead elsewhere in v3. */
function moved(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(moved);
  if (!isRecord(value)) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) =>
      key === "$ref" && typeof item === "string"
        ? [key, item.replace(/^#\/definitions\//, "#/components/schemas/")]
        : [key, moved(item)],
    ),
  );
}

function contentOf(types: readonly string[], schema: unknown): Document {
  const known = types.length > 0 ? types : ["application/json"];
  return Object.fromEntries(known.map((type) => [type, { schema: moved(schema) }]));
}

function parameterOf(parameter: Document): Document {
  const { name, in: place, description, required, ...schema } = parameter;
  return {
    name,
    in: place,
    ...(description === undefined ? {} : { description }),
    ...(required === undefined ? {} : { required }),
    schema: moved(schema),
  };
}

const split = (parameters: unknown) => {
  const all = listOf(parameters).filter(isRecord);
  return { body: all.find((one) => one["in"] === "body"), others: all.filter((one) => one["in"] !== "body") };
};

function operationOf(operation: Document): Document {
  const { parameters, responses, consumes, produces, schemes: _, ...rest } = operation;
  const { body, others } = split(parameters);
  return {
    ...rest,
    ...(others.length > 0 ? { parameters: others.map(parameterOf) } : {}),
    ...(body
      ? {
          requestBody: {
            content: contentOf(textsOf(consumes), body["schema"]),
            ...(body["required"] === undefined ? {} : { required: body["required"] }),
          },
        }
      : {}),
    responses: Object.fromEntries(
      Object.entries(recordOf(responses)).map(([code, response]) => {
        const { description = "", schema } = recordOf(response);
        const content = schema === undefined ? {} : { content: contentOf(textsOf(produces), schema) };
        return [code, { description, ...content }];
      }),
    ),
  };
}

/** The part of a document that is about one group-version; `path` is "/apis/<group>/<version>". */
export function openApiV3From(document: Document, path: string): Document {
  const paths: Document = {};
  for (const [key, item] of Object.entries(recordOf(document["paths"]))) {
    if (key !== path && !key.startsWith(`${path}/`)) continue;
    const { parameters, ...operations } = recordOf(item);
    const { others } = split(parameters);
    paths[key] = {
      ...(others.length > 0 ? { parameters: others.map(parameterOf) } : {}),
      ...Object.fromEntries(
        Object.entries(operations).map(([method, operation]) => [method, operationOf(recordOf(operation))]),
      ),
    };
  }
  const definitions = recordOf(document["definitions"]);
  const schemas: Document = {};
  const used = Object.keys(paths).map((key) => recordOf(document["paths"])[key]);
  for (const name of reachable(used, definitions)) {
    if (definitions[name] !== undefined) schemas[name] = moved(definitions[name]);
  }
  return { openapi: "3.0.0", info: document["info"] ?? {}, paths, components: { schemas } };
}
