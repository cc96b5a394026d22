/** The operations of a resource, as both versions of OpenAPI describe them. */
import type { ResourceFacts, SubresourceFacts, Verb } from "../resource.ts";
import { builtInSchemaNames } from "../schemas.ts";
import type { Definitions, JsonSchema } from "./definitions.ts";

export interface Parameter {
  readonly name: string;
  readonly in: "path" | "query";
  readonly type: "string" | "integer" | "boolean";
  readonly description: string;
}

export interface Operation {
  readonly path: string;
  readonly method: "get" | "put" | "post" | "patch" | "delete";
  readonly id: string;
  readonly description: string;
  /** x-kubernetes-action. */
  readonly action: string;
  readonly kind: { readonly group: string; readonly version: string; readonly kind: string };
  readonly parameters: readonly Parameter[];
  /** What the body holds; patches take any of the four patch types. */
  readonly body?: JsonSchema;
  readonly response: JsonSchema;
}

function query(name: string, type: Parameter["type"], description: string): Parameter {
  return { name, in: "query", type, description };
}

const pretty = query("pretty", "string", "If 'true', the answer is indented for people.");
const dryRun = query("dryRun", "string", "'All' runs every stage of the request and persists nothing.");
const fieldManager = query("fieldManager", "string", "Name of who makes the change; apply requires it.");
const fieldValidation = query(
  "fieldValidation",
  "string",
  "What to do with unknown and duplicate fields: 'Ignore' drops them, 'Warn' (default) also warns, 'Strict' refuses.",
);
const force = query("force", "boolean", "Apply takes fields over that other managers own.");
const deletion = [
  query("gracePeriodSeconds", "integer", "Seconds before the object is deleted; 0 deletes at once."),
  query("orphanDependents", "boolean", "Deprecated: use propagationPolicy. Whether dependents are orphaned."),
  query("propagationPolicy", "string", "What becomes of dependents: 'Orphan', 'Background' or 'Foreground'."),
];
const selection = [
  query("allowWatchBookmarks", "boolean", "Asks a watch for BOOKMARK events."),
  query("continue", "string", "Token of the next part of a list that limit cut."),
  query("fieldSelector", "string", "Restricts the list by the objects' fields; default everything."),
  query("labelSelector", "string", "Restricts the list by the objects' labels; default everything."),
  query("limit", "integer", "Greatest number of objects in one answer."),
  query("resourceVersion", "string", "Which state to serve, or where a watch starts."),
  query("resourceVersionMatch", "string", "How resourceVersion is meant in a list: 'Exact' or 'NotOlderThan'."),
  query("sendInitialEvents", "boolean", "A watch begins with the present objects and then a bookmark."),
  query("timeoutSeconds", "integer", "How long a list or watch may take."),
  query("watch", "boolean", "Watches for changes of the objects instead of listing them."),
];

const namespaceParameter: Parameter = {
  name: "namespace",
  in: "path",
  type: "string",
  description: "Namespace of the object.",
};

/** All operations of a resource; adds the schemas that they mention to `definitions`. */
export function operationsOf(facts: ResourceFacts, definitions: Definitions): Operation[] {
  const root = facts.group === "" ? `/api/${facts.version}` : `/apis/${facts.group}/${facts.version}`;
  const scope = facts.namespaced ? "/namespaces/{namespace}" : "";
  const inScope = facts.namespaced ? [namespaceParameter] : [];
  const collection = `${root}${scope}/${facts.resource}`;
  const groupName = idOf(facts.group, facts.version);
  const scoped = `${facts.namespaced ? "Namespaced" : ""}${facts.kind}`;
  const kind = { group: facts.group, version: facts.version, kind: facts.kind };
  const whole = () => definitions.kind(facts);
  const deleted = () => definitions.builtIn("io.k8s.apimachinery.pkg.apis.meta.v1.Status");
  const deleteBody = () => definitions.builtIn("io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions");
  const named: Parameter[] = [
    { name: "name", in: "path", type: "string", description: `Name of the ${facts.kind}.` },
    ...inScope,
  ];
  const operations: Operation[] = [];
  const add = (operation: Omit<Operation, "kind">) => operations.push({ ...operation, kind });

  const byVerb: Partial<Record<Verb, () => void>> = {
    list: () => {
      const response = definitions.list(facts);
      const description = `list or watch objects of kind ${facts.kind}`;
      const parameters = [...inScope, pretty, ...selection];
      add({
        path: collection,
        method: "get",
        id: `list${groupName}${scoped}`,
        description,
        action: "list",
        parameters,
        response,
      });
      if (!facts.namespaced) return;
      const everywhere = { id: `list${groupName}${facts.kind}ForAllNamespaces`, parameters: [pretty, ...selection] };
      add({ path: `${root}/${facts.resource}`, method: "get", description, action: "list", response, ...everywhere });
    },
    create: () =>
      add({
        path: collection,
        method: "post",
        id: `create${groupName}${scoped}`,
        description: `create ${article(facts.kind)} ${facts.kind}`,
        action: "post",
        parameters: [...inScope, pretty, dryRun, fieldManager, fieldValidation],
        body: whole(),
        response: whole(),
      }),
    deletecollection: () =>
      add({
        path: collection,
        method: "delete",
        id: `delete${groupName}Collection${scoped}`,
        description: `delete collection of ${facts.kind}`,
        action: "deletecollection",
        parameters: [...inScope, pretty, dryRun, ...deletion, ...selection.filter(({ name }) => name !== "watch")],
        body: deleteBody(),
        response: deleted(),
      }),
    get: () =>
      add({
        path: `${collection}/{name}`,
        method: "get",
        id: `read${groupName}${scoped}`,
        description: `read the specified ${facts.kind}`,
        action: "get",
        parameters: [...named, pretty],
        response: whole(),
      }),
    update: () =>
      add({
        path: `${collection}/{name}`,
        method: "put",
        id: `replace${groupName}${scoped}`,
        description: `replace the specified ${facts.kind}`,
        action: "put",
        parameters: [...named, pretty, dryRun, fieldManager, fieldValidation],
        body: whole(),
        response: whole(),
      }),
    patch: () =>
      add({
        path: `${collection}/{name}`,
        method: "patch",
        id: `patch${groupName}${scoped}`,
        description: `partially update the specified ${facts.kind}`,
        action: "patch",
        parameters: [...named, pretty, dryRun, fieldManager, fieldValidation, force],
        body: definitions.patch(),
        response: whole(),
      }),
    delete: () =>
      add({
        path: `${collection}/{name}`,
        method: "delete",
        id: `delete${groupName}${scoped}`,
        description: `delete ${article(facts.kind)} ${facts.kind}`,
        action: "delete",
        parameters: [...named, pretty, dryRun, ...deletion],
        body: deleteBody(),
        response: deleted(),
      }),
  };
  for (const verb of facts.verbs) byVerb[verb]?.();
  for (const [name, subresource] of Object.entries(facts.subresources)) {
    const path = `${collection}/{name}/${name}`;
    operations.push(...subresourceOperations(facts, name, subresource, path, groupName, scoped, named, definitions));
  }
  return operations;
}

const connected = new Set(["attach", "exec", "portforward", "proxy"]);

function subresourceOperations(
  facts: ResourceFacts,
  name: string,
  subresource: SubresourceFacts,
  path: string,
  groupName: string,
  scoped: string,
  named: readonly Parameter[],
  definitions: Definitions,
): Operation[] {
  const group = subresource.group ?? facts.group;
  const version = subresource.version ?? facts.version;
  const kindName = subresource.kind ?? facts.kind;
  const kind = { group, version, kind: kindName };
  const suffix = name[0]!.toUpperCase() + name.slice(1);
  const text: JsonSchema = { type: "string" };
  const schema = (): JsonSchema => {
    if (name === "log" || connected.has(name)) return text;
    if (kindName === facts.kind) return definitions.kind(facts);
    const typeName = typeNameOf(group, version, kindName);
    return typeName ? definitions.other(group, version, kindName, typeName) : { type: "object" };
  };
  const methods: Partial<Record<Verb, [Operation["method"], string, string]>> = {
    get: ["get", "read", "get"],
    create: ["post", "create", "post"],
    update: ["put", "replace", "put"],
    patch: ["patch", "patch", "patch"],
    delete: ["delete", "delete", "delete"],
  };
  return subresource.verbs.flatMap((verb) => {
    const entry = methods[verb];
    if (!entry) return [];
    const [method, word, action] = entry;
    const writes = verb === "create" || verb === "update" || verb === "patch";
    const connects = connected.has(name);
    const id = connects
      ? `connect${groupName}${method[0]!.toUpperCase()}${method.slice(1)}${scoped}${suffix}`
      : `${word}${groupName}${scoped}${suffix}`;
    const changes = writes && !connects ? [dryRun, fieldManager, fieldValidation] : [];
    const response = schema();
    return [
      {
        path,
        method,
        id,
        description: `${connects ? "connect" : word} ${name} of the specified ${facts.kind}`,
        action: connects ? "connect" : action,
        kind,
        parameters: [...named, pretty, ...changes, ...(verb === "patch" && !connects ? [force] : [])],
        ...(changes.length > 0 && { body: verb === "patch" ? definitions.patch() : response }),
        response,
      },
    ];
  });
}

let typeNames: Map<string, string> | undefined;

/** The definition name of a built-in kind of another group: "policy", "v1", "Eviction". */
function typeNameOf(group: string, version: string, kind: string): string | undefined {
  if (!typeNames) {
    typeNames = new Map();
    for (const name of builtInSchemaNames()) {
      const [type, typeVersion, packageGroup] = name.split(".").reverse();
      typeNames.set(`${packageGroup}/${typeVersion}/${type}`, name);
    }
  }
  const short = group === "" ? "core" : group.split(".")[0];
  return typeNames.get(`${short}/${version}/${kind}`);
}

/** "apps", "v1" → "AppsV1"; "rbac.authorization.k8s.io" → "RbacAuthorizationV1". */
function idOf(group: string, version: string): string {
  const words = group === "" ? ["core"] : group.replace(/\.k8s\.io$/, "").split(/[.-]/);
  return [...words, version].map((word) => word[0]!.toUpperCase() + word.slice(1)).join("");
}

function article(kind: string): string {
  return /^[AEIOU]/.test(kind) ? "an" : "a";
}
