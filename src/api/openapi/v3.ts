import { createHash } from "node:crypto";
import { groupVersions } from "../discovery.ts";
import type { ResourceFacts } from "../resource.ts";
import { Definitions, type JsonSchema } from "./definitions.ts";
import { loadDescriptions } from "./descriptions.ts";
import { type Operation, operationsOf, type Parameter } from "./operations.ts";

const contentTypes = ["application/json", "application/yaml", "application/vnd.kubernetes.protobuf"];
const patchContentTypes = [
  "application/apply-patch+yaml",
  "application/json-patch+json",
  "application/merge-patch+json",
  "application/strategic-merge-patch+json",
];
/** kubectl reads from here whether it may send a strategic merge, which custom resources do not know. */
const patchTypesOf = (custom: boolean) =>
  custom ? patchContentTypes.filter((type) => !type.includes("strategic")) : patchContentTypes;

/** "api/v1" or "apis/apps/v1": the name of a group-version's document. */
export function documentPath(group: string, version: string): string {
  return group === "" ? `api/${version}` : `apis/${group}/${version}`;
}

/**
 * The answer of GET /openapi/v3: where each group-version's document is. The hash in the address changes with what is
 * served, so that clients may keep a document for ever.
 */
export function openApiV3Index(resources: readonly ResourceFacts[], version: string) {
  const paths: Record<string, { serverRelativeURL: string }> = {};
  for (const { group, versions } of groupVersions(resources)) {
    for (const groupVersion of versions) {
      const path = documentPath(group, groupVersion);
      const own = resources.filter((facts) => facts.group === group && facts.version === groupVersion);
      const hash = createHash("sha256").update(version);
      for (const facts of own)
        hash.update(
          `${facts.resource} ${facts.kind} ${facts.verbs.join()} ${Object.keys(facts.subresources).join()}\n`,
        );
      for (const facts of own) hash.update(facts.schema.name ?? JSON.stringify(facts.schema));
      paths[path] = { serverRelativeURL: `/openapi/v3/${path}?hash=${hash.digest("hex").toUpperCase()}` };
    }
  }
  return { paths };
}

/**
 * The document of one group-version; undefined when nothing of it is served. `version` is the server's; `breathe` is
 * awaited after each resource.
 */
export async function openApiV3(
  resources: readonly ResourceFacts[],
  group: string,
  groupVersion: string,
  version: string,
  breathe: () => Promise<void> | undefined = () => undefined,
): Promise<JsonSchema | undefined> {
  const own = resources.filter((facts) => facts.group === group && facts.version === groupVersion);
  if (own.length === 0) return undefined;
  const definitions = new Definitions(3, await loadDescriptions());
  const paths: Record<string, JsonSchema> = {};
  const tag = `${group === "" ? "core" : group.replace(/\.k8s\.io$/, "").replaceAll(".", "")}_${groupVersion}`;
  for (const facts of own) {
    for (const operation of operationsOf(facts, definitions)) {
      const item = paths[operation.path] ?? {};
      paths[operation.path] = item;
      item[operation.method] = render(operation, tag, facts.custom === true);
    }
    await breathe();
  }
  return {
    openapi: "3.0.0",
    info: { title: "Kubernetes", version },
    paths,
    components: {
      schemas: definitions.schemas,
      securitySchemes: {
        BearerToken: {
          type: "apiKey",
          name: "authorization",
          in: "header",
          description: "Bearer Token authentication",
        },
      },
    },
  };
}

function render(operation: Operation, tag: string, custom: boolean): JsonSchema {
  const content = (types: readonly string[], schema: JsonSchema) =>
    Object.fromEntries(types.map((type) => [type, { schema }]));
  const bodyTypes = operation.method === "patch" ? patchTypesOf(custom) : ["*/*"];
  const plain = operation.response["type"] === "string";
  const responseTypes = plain ? ["text/plain"] : contentTypes;
  const ok = { description: "OK", content: content(responseTypes, operation.response) };
  return {
    tags: [tag],
    description: operation.description,
    operationId: operation.id,
    parameters: operation.parameters.map(renderParameter),
    ...(operation.body && {
      requestBody: { content: content(bodyTypes, operation.body), required: operation.method !== "delete" },
    }),
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

function renderParameter({ name, in: place, type, description }: Parameter): JsonSchema {
  return {
    name,
    in: place,
    description,
    ...(place === "path" && { required: true }),
    schema: { type, uniqueItems: true },
  };
}
