import type { KubeObject } from "../machinery/object.ts";
import { createdAtColumn, nameColumn } from "./columns.ts";
import { type ServedResource, servedResources } from "./generated/resources.ts";
import type { KindFacts } from "./kind-facts.ts";
import { kinds } from "./kinds.ts";
import type { Column, ResourceFacts, StorageFacts, Strategy, SubresourceFacts } from "./resource.ts";
import { builtInSchema } from "./schemas.ts";
import { makeStrategy } from "./strategy.ts";

const factsByKey = new Map(kinds.map(({ type, facts }) => [keyOf(type.group, type.version, type.resource), facts]));

/** Every built-in resource that is served: all of Kubernetes v1.36 that are on by default, in discovery's order. */
export const builtInResources: readonly ResourceFacts[] = servedResources.map(makeFacts);

const byKey = new Map(builtInResources.map((facts) => [keyOf(facts.group, facts.version, facts.resource), facts]));

/** The facts of a built-in resource, by its plural name. */
export function findResource(group: string, version: string, resource: string): ResourceFacts | undefined {
  return byKey.get(keyOf(group, version, resource));
}

function keyOf(group: string, version: string, resource: string): string {
  return `${group}/${version}/${resource}`;
}

function makeFacts(served: ServedResource): ResourceFacts {
  const facts: KindFacts = factsByKey.get(keyOf(served.group, served.version, served.resource)) ?? {};
  const schemaName = `${served.package}.${served.kind}`;
  const storage = storageOf(served, facts);
  const hasStatus = "status" in served.subresources;
  let strategy: Strategy | undefined;
  return {
    group: served.group,
    version: served.version,
    resource: served.resource,
    kind: served.kind,
    namespaced: served.namespaced,
    singular: served.kind.toLowerCase(),
    listKind: `${served.kind}List`,
    shortNames: facts.shortNames ?? [],
    categories: facts.categories ?? [],
    ...(facts.deprecation && { deprecation: facts.deprecation }),
    verbs: facts.verbs ?? served.verbs,
    subresources: { ...served.subresources, ...facts.subresources } as Record<string, SubresourceFacts>,
    get schema() {
      return builtInSchema(schemaName);
    },
    ...(storage && { storage }),
    get strategy() {
      strategy ??= makeStrategy(facts.strategy ?? {}, builtInSchema(schemaName), hasStatus);
      return strategy;
    },
    selectableFields: (facts.selectableFields ?? {}) as Record<string, (object: KubeObject) => string>,
    columns: columnsOf(facts),
  };
}

function columnsOf(facts: KindFacts): Column[] {
  const columns = facts.columns ?? [createdAtColumn];
  return columns.some((column) => column.format === "name") ? [...columns] : [nameColumn, ...columns];
}

function storageOf(served: ServedResource, facts: KindFacts): StorageFacts | undefined {
  if (facts.storage === "none" || !served.verbs.includes("update")) return undefined;
  return { version: served.version, group: served.group, prefix: served.resource, ...facts.storage };
}
