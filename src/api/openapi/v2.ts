import type { ResourceFacts } from "../resource.ts";
import { Definitions, type JsonSchema } from "./definitions.ts";
import { loadDescriptions } from "./descriptions.ts";
import { type Operation, operationsOf } from "./operations.ts";

const contentTypes = ["application/json", "application/yaml", "application/vnd.kubernetes.protobuf"];
const patchContentTypes = [
  "application/json-patch+json",
  "application/merge-patch+json",
  "application/strategic-merge-patch+json",
  "application/apply-patch+yaml",
];
/** kubectl reads from here whether it may send a strategic merge, which custom resources do not know. */
const patchTypesOf = (custom: boolean) =>
  custom ? patchContentTypes.filter((type) => !type.includes("strategic")) : patchContentTypes;

/**
 * The one document of everything that is served (GET /openapi/v2). `version` is the server's; `breathe` is awaited after
 * each resource, since the whole takes long.
 */
export async function openApiV2(
  resources: readonly ResourceFacts[],
  version: string,
  breathe: () => Promise<void> | undefined = () => undefined,
): Promise<JsonSchema> {
  const definitions = new Definitions(2, await loadDescriptions());
  const paths: Record<string, JsonSchema> = {};
  for (const facts of resources) {
    for (const operation of operationsOf(facts, definitions)) {
      const item = paths[operation.path] ?? {};
      paths[operation.path] = item;
      item[operation.method] = render(operation, facts.custom === true);
    }
    await breathe();
  }
  return {
    swagger: "2.0",
    info: { title: "Kubernetes", version },
    paths,
    definitions: definitions.schemas,
    securityDefinitions: {
      BearerToken: { type: "apiKey", name: "authorization", in: "header", description: "Bearer Token authentication" },
    },
    security: [{ BearerToken: [] }],
  };
}

function render(operation: Operation, custom: boolean): JsonSchema {
  const parameters: JsonSchema[] = operation.parameters.map(({ name, in: place, type, description }) => ({
    name,
    in: place,
    description,
    type,
    uniqueItems: true,
    ...(place === "path" && { required: true }),
  }));
  if (operation.body) {
    parameters.push({ name: "body", in: "body", schema: operation.body, required: operation.method !== "delete" });
  }
  const ok = { description: "OK", schema: operation.response };
  return {
    description: operation.description,
    operationId: operation.id,
    consumes: operation.method === "patch" ? patchTypesOf(custom) : ["*/*"],
    produces: operation.response["type"] === "string" ? ["text/plain"] : contentTypes,
    schemes: ["https"],
    parameters,
    responses: {
      "200": ok,
      ...(["post", "put", "patch"].includes(operation.method) && { "201": { ...ok, description: "Created" } }),
      ...(operation.method === "delete" && { "202": { ...ok, description: "Accepted" } }),
      "401": { description: "Unauthorized" },
    },
    "x-kubernetes-action": operation.action,
    "x-kubernetes-group-version-kind": operation.kind,
  };
}
