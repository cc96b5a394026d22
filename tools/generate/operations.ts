import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Group } from "./groups.ts";
import { groups } from "./groups.ts";
import type { Model } from "./models.ts";

/** A served resource, read from the paths that the official client library knows. */
export interface ServedResource {
  readonly group: Group;
  readonly resource: string;
  readonly model: Model;
  namespaced: boolean;
  readonly verbs: Set<string>;
  /** By name: verbs and the library's class of the body. */
  readonly subresources: Map<string, { verbs: Set<string>; body: string | undefined }>;
}

interface Operation {
  readonly name: string;
  readonly path: string;
  readonly method: string;
  readonly body: string | undefined;
  readonly result: string | undefined;
  readonly watch: boolean;
}

/** All resources of a group-version with their verbs and subresources. */
export function readResources(genDir: string, models: ReadonlyMap<string, Model>): ServedResource[] {
  const resources: ServedResource[] = [];
  for (const group of groups) {
    if (group.file === "meta-v1") continue;
    resources.push(...resourcesOf(group, readOperations(genDir, group), models));
  }
  return resources;
}

function apiClass(group: Group): string {
  const words = group.group === "" ? ["core"] : group.group.replace(/\.k8s\.io$/, "").split(".");
  const name = words.map((word) => word[0]!.toUpperCase() + word.slice(1)).join("");
  return `${name}${group.version[0]!.toUpperCase()}${group.version.slice(1)}Api`;
}

function readOperations(genDir: string, group: Group): Operation[] {
  const text = readFileSync(join(genDir, "apis", `${apiClass(group)}.js`), "utf8");
  const operations: Operation[] = [];
  const results = new Map<string, string>();
  const factory = text.slice(0, text.indexOf("ApiResponseProcessor {"));
  for (const part of text.slice(factory.length).split(/\n {4}async /)) {
    const name = /^(\w+)WithHttpInfo\(/.exec(part)?.[1];
    const result = /deserialize\([^"]*, "([^"]+)"/.exec(part)?.[1];
    if (name && result) results.set(name, result);
  }
  for (const part of factory.split(/\n {4}async /).slice(1)) {
    const head = /^(\w+)\(([^)]*)\)/.exec(part);
    const path = /localVarPath = '([^']+)'/.exec(part)?.[1];
    const method = /HttpMethod\.(\w+)/.exec(part)?.[1];
    if (!head || !path || !method) continue;
    const name = head[1]!;
    operations.push({
      name,
      path,
      method,
      body: /serialize\(body, "([^"]+)"/.exec(part)?.[1],
      result: results.get(name),
      watch: /\bwatch\b/.test(head[2]!),
    });
  }
  return operations;
}

const pathShape =
  /^\/api(?:s\/[^/]+)?\/[^/]+(\/namespaces\/\{namespace\})?\/([a-z]+)(\/\{name\})?(?:\/([a-z]+))?(\/\{path\})?$/;

function resourcesOf(group: Group, operations: Operation[], models: ReadonlyMap<string, Model>): ServedResource[] {
  const found = new Map<string, ServedResource>();
  const shaped = operations
    .map((operation) => ({ operation, shape: pathShape.exec(operation.path) }))
    .filter(({ shape }) => shape !== null);
  for (const { operation, shape } of shaped) {
    const [, namespaced, resource, , subresource] = shape!;
    if (subresource) continue;
    let entry = found.get(resource!);
    if (!entry) {
      const model = kindOf(resource!, shaped, models);
      entry = { group, resource: resource!, model, namespaced: false, verbs: new Set(), subresources: new Map() };
      found.set(resource!, entry);
    }
    entry.namespaced ||= namespaced !== undefined;
    for (const verb of verbsOf(operation)) entry.verbs.add(verb);
  }
  for (const { operation, shape } of shaped) {
    const [, , resource, , subresource] = shape!;
    const entry = subresource ? found.get(resource!) : undefined;
    if (!entry) continue;
    const earlier = entry.subresources.get(subresource!) ?? { verbs: new Set<string>(), body: undefined };
    for (const verb of verbsOf(operation)) earlier.verbs.add(verb);
    const body = [operation.result, operation.body].find((name) => name && models.get(name));
    entry.subresources.set(subresource!, { verbs: earlier.verbs, body: earlier.body ?? body });
  }
  return [...found.values()];
}

function kindOf(
  resource: string,
  shaped: { operation: Operation; shape: RegExpExecArray | null }[],
  models: ReadonlyMap<string, Model>,
): Model {
  for (const { operation, shape } of shaped) {
    if (shape![2] !== resource || shape![4]) continue;
    if (!["POST", "PUT"].includes(operation.method) && !operation.name.startsWith("read")) continue;
    const model = models.get(operation.result ?? operation.body ?? "");
    if (model) return model;
  }
  throw new Error(`Find the kind of resource "${resource}": no operation takes or gives it`);
}

function verbsOf(operation: Operation): string[] {
  const byMethod: Record<string, string> = {
    GET: "get",
    POST: "create",
    PUT: "update",
    PATCH: "patch",
    DELETE: "delete",
  };
  if (operation.name.startsWith("deleteCollection")) return ["deletecollection"];
  if (operation.name.startsWith("list")) return operation.watch ? ["list", "watch"] : ["list"];
  const verb = byMethod[operation.method];
  return verb ? [verb] : [];
}
