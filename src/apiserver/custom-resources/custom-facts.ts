/** The facts of a custom resource, from its CustomResourceDefinition: one for each served version. */
import { ageColumn, humanDuration, nameColumn } from "../../api/columns.ts";
import type {
  CustomResourceDefinition,
  CustomResourceDefinitionVersion,
} from "../../api/generated/apiextensions-v1.ts";
import type { Column, ResourceFacts, Strategy, SubresourceFacts } from "../../api/resource.ts";
import { builtInSchema } from "../../api/schemas.ts";
import { applyDefaults } from "../../machinery/canonical.ts";
import { deepEqual } from "../../machinery/equality.ts";
import { cloneJson } from "../../machinery/json.ts";
import { compileJsonPath } from "../../machinery/jsonpath.ts";
import type { KubeObject } from "../../machinery/object.ts";
import { pruneUnknown } from "../../machinery/pruning.ts";
import type { Schema } from "../../machinery/schema.ts";
import { type JsonSchemaProps, schemaFromOpenApi } from "../../machinery/schema-from-openapi.ts";
import { hasRules, type RuleValidator, validateBySchema } from "../../machinery/schema-validation.ts";
import type { FieldError } from "../../machinery/status.ts";
import { objectMetaSchemaName } from "../verbs/decode.ts";
import type { Convert } from "./conversion.ts";

const verbs = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"] as const;

/**
 * Facts of every served version; `convert` where versions differ in more than their names. Throws for a definition whose
 * paths or patterns cannot be read.
 */
export async function customFacts(definition: CustomResourceDefinition, convert?: Convert): Promise<ResourceFacts[]> {
  const factsIn = (served: boolean, unserved: readonly ResourceFacts[]) =>
    Promise.all(
      definition.spec.versions
        .filter((version) => version.served === served)
        .map((version) => factsOf(definition, version, convert, unserved)),
    );
  return await factsIn(true, await factsIn(false, []));
}

const schemaOf = ({ schema }: CustomResourceDefinitionVersion) =>
  schema?.openAPIV3Schema as JsonSchemaProps | undefined;

/** What checks objects by the schema's rules; undefined: it has none. */
async function rulesOf(props: JsonSchemaProps | undefined): Promise<RuleValidator | undefined> {
  if (!props || !hasRules(props)) return undefined;
  // Loaded at use: most definitions have no rules.
  const { compileRules } = await import("../../machinery/cel/rules.ts");
  return compileRules(props);
}

async function factsOf(
  { spec }: CustomResourceDefinition,
  version: CustomResourceDefinitionVersion,
  convert: Convert | undefined,
  unserved: readonly ResourceFacts[],
): Promise<ResourceFacts> {
  const { names, group } = spec;
  const props = schemaOf(version);
  const rules = await rulesOf(props);
  const hasStatus = version.subresources?.status !== undefined && version.subresources.status !== null;
  const scale = version.subresources?.scale;
  const stored = spec.versions.find(({ storage }) => storage)!;
  const schemaFrom = (source: JsonSchemaProps | undefined) =>
    schemaFromOpenApi(source, { objectMeta: builtInSchema(objectMetaSchemaName) });
  const schemas = new Map<string, Schema>();
  const schemaIn = (of: CustomResourceDefinitionVersion) => {
    const known = schemas.get(of.name) ?? schemaFrom(schemaOf(of));
    schemas.set(of.name, known);
    return known;
  };
  return {
    group,
    version: version.name,
    resource: names.plural,
    kind: names.kind,
    namespaced: spec.scope === "Namespaced",
    singular: names.singular || names.kind.toLowerCase(),
    listKind: names.listKind || `${names.kind}List`,
    shortNames: names.shortNames ?? [],
    categories: names.categories ?? [],
    verbs,
    subresources: subresourcesOf(hasStatus, scale !== undefined),
    custom: true,
    ...(props ? { customSchema: props } : {}),
    ...(scale
      ? {
          scalePaths: {
            spec: pathOf(scale.specReplicasPath),
            status: pathOf(scale.statusReplicasPath),
            selector: scale.labelSelectorPath ? pathOf(scale.labelSelectorPath) : undefined,
          },
        }
      : {}),
    get schema() {
      return schemaIn(version);
    },
    storage: {
      group,
      version: stored.name,
      prefix: `${group}/${names.plural}`,
      refresh(object) {
        // Objects stay in the version that they were written in; what another one does not know is not lost for this one.
        const from = spec.versions.find(({ name }) => object.apiVersion === `${group}/${name}`) ?? stored;
        const defaulted = applyDefaults(schemaIn(from), object);
        return pruned(schemaIn(version), object) || defaulted;
      },
      ...(convert ? { convert } : {}),
      ...(unserved.length > 0 ? { unserved } : {}),
    },
    strategy: customStrategy(props, rules, hasStatus, version),
    selectableFields: selectableFieldsOf(version),
    columns: columnsOf(version),
  };
}

/** Prunes an object by a schema, in place; metadata is not the schema's to say. True when that changed it. */
function pruned(schema: Schema, object: KubeObject): boolean {
  const { apiVersion: _apiVersion, kind: _kind, metadata: _metadata, ...rest } = object as Body;
  let changed = false;
  pruneUnknown(schema, rest, (path) => {
    changed = true;
    // What goes at the top goes from a copy only.
    delete (object as Body)[path];
  });
  return changed;
}

function subresourcesOf(hasStatus: boolean, hasScale: boolean): Record<string, SubresourceFacts> {
  return {
    ...(hasStatus ? { status: { verbs: ["get", "patch", "update"] } } : {}),
    ...(hasScale
      ? { scale: { verbs: ["get", "patch", "update"], group: "autoscaling", version: "v1", kind: "Scale" } }
      : {}),
  };
}

/** ".spec.replicas" as its parts. */
function pathOf(path: string): string[] {
  return path.replace(/^\./, "").split(".");
}

type Body = KubeObject & Record<string, unknown>;

/** Everything that counts as a change of what is wanted: all but metadata and, with a status subresource, the status. */
function countedPart(object: KubeObject, hasStatus: boolean): object {
  const { apiVersion: _apiVersion, kind: _kind, metadata: _metadata, ...rest } = object as Body;
  if (hasStatus) delete rest["status"];
  return rest;
}

function customStrategy(
  props: JsonSchemaProps | undefined,
  rules: RuleValidator | undefined,
  hasStatus: boolean,
  version: CustomResourceDefinitionVersion,
): Strategy {
  const check = (object: KubeObject, old?: KubeObject): FieldError[] =>
    props ? validateBySchema(props, object, { rules, ...(old ? { old } : {}) }) : [];
  return {
    prepareForCreate(object) {
      if (hasStatus) delete (object as Body)["status"];
      object.metadata.generation = 1;
    },
    prepareForUpdate(object, old) {
      if (hasStatus) copy(object as Body, old as Body, "status");
      const changed = !deepEqual(countedPart(object, hasStatus), countedPart(old, hasStatus));
      object.metadata.generation = (old.metadata.generation ?? 1) + (changed ? 1 : 0);
    },
    ...(hasStatus
      ? {
          prepareForStatusUpdate(object: KubeObject, old: KubeObject) {
            const keys = new Set([...Object.keys(object), ...Object.keys(old)]);
            for (const key of ["apiVersion", "kind", "metadata", "status"]) keys.delete(key);
            for (const key of keys) copy(object as Body, old as Body, key);
          },
        }
      : {}),
    validate: (object) => check(object),
    validateUpdate: check,
    ratchets: true,
    warnings: () =>
      version.deprecated ? [version.deprecationWarning || "this version of the custom resource is deprecated"] : [],
    allowUnconditionalUpdate: false,
  };
}

function copy(object: Body, old: Body, key: string): void {
  if (old[key] === undefined) delete object[key];
  else object[key] = cloneJson(old[key]);
}

function selectableFieldsOf(version: CustomResourceDefinitionVersion): ResourceFacts["selectableFields"] {
  return Object.fromEntries(
    (version.selectableFields ?? []).map(({ jsonPath }) => {
      const read = compileJsonPath(jsonPath);
      const text = (object: KubeObject) => {
        const [value] = read(object);
        return value === undefined || value === null ? "" : String(value);
      };
      return [jsonPath.replace(/^\./, ""), text];
    }),
  );
}

function columnsOf(version: CustomResourceDefinitionVersion): Column[] {
  const own = version.additionalPrinterColumns ?? [];
  if (own.length === 0) return [nameColumn, ageColumn];
  return [
    nameColumn,
    ...own.map(({ name, type, format, description, priority, jsonPath }): Column => {
      const read = compileJsonPath(jsonPath);
      return {
        name,
        type: type as Column["type"],
        ...(format ? { format } : {}),
        ...(description ? { description } : {}),
        ...(priority ? { priority } : {}),
        value: (object, nowMs) => cellOf(type, read(object)[0], nowMs),
      };
    }),
  ];
}

function cellOf(type: string, value: unknown, nowMs: number): string | number | boolean | null {
  if (value === undefined || value === null) return null;
  switch (type) {
    case "integer":
    case "number":
      return typeof value === "number" || typeof value === "bigint" ? Number(value) : null;
    case "boolean":
      return typeof value === "boolean" ? value : null;
    case "date": {
      const atMs = Date.parse(String(value));
      return Number.isNaN(atMs) ? "<invalid>" : humanDuration(nowMs - atMs);
    }
    default:
      return typeof value === "object" ? JSON.stringify(value) : String(value);
  }
}
