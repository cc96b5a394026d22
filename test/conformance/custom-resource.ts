import assert from "node:assert/strict";
import { type CustomResourceDefinition, customResourceDefinitions } from "../../src/api/generated/apiextensions-v1.ts";
import type { KubeObject, ResourceType } from "../../src/machinery/object.ts";
import type { Cluster } from "./conformance.ts";
import { soon } from "./waiting.ts";

type Version = NonNullable<CustomResourceDefinition["spec"]>["versions"][number];

/** Anything goes in it, and is kept. */
export const anySchema = { openAPIV3Schema: { type: "object", "x-kubernetes-preserve-unknown-fields": true } };

export interface DefinitionOptions {
  /** Each served with any content unless it says otherwise; the first is stored. */
  readonly versions: readonly (Partial<Version> & { name: string })[];
  /** Default: one of the case's own. */
  readonly group?: string;
  readonly plural?: string;
  readonly kind?: string;
  readonly scope?: "Namespaced" | "Cluster";
  readonly preserveUnknownFields?: boolean;
}

/** An object of a custom resource, whatever its fields. */
export type CustomObject = KubeObject & Record<string, unknown>;

/** A definition in a group of the case's own, and its type in each version. */
export function definitionOf(cluster: Cluster, options: DefinitionOptions) {
  // Names of the case's own, so that kubectl finds the resource by its name alone.
  const number = cluster.namespace.replace(/\D/g, "");
  const { plural = `gadgets${number}`, kind = `Gadget${number}`, scope = "Namespaced" } = options;
  const group = options.group ?? `${cluster.namespace}.example.com`;
  const name = `${plural}.${group}`;
  const body: CustomResourceDefinition = {
    metadata: { name },
    spec: {
      group,
      scope,
      names: { plural, singular: kind.toLowerCase(), kind, listKind: `${kind}List` },
      versions: options.versions.map((version, index) => ({
        served: true,
        storage: index === 0,
        schema: anySchema,
        ...version,
      })) as Version[],
    },
  };
  const typeOf = (version: string): ResourceType<CustomObject> => ({
    group,
    version,
    resource: plural,
    kind,
    namespaced: scope === "Namespaced",
  });
  return {
    name,
    body,
    typeOf,
    type: typeOf(options.versions[0]!.name),
    /** Creates it and waits until its objects can be listed. */
    create: async (): Promise<CustomResourceDefinition> => {
      await cluster.client.create(customResourceDefinitions, body);
      return isEstablished(cluster, name, () => cluster.client.list(typeOf(options.versions[0]!.name)));
    },
  };
}

/** Waits until a definition is served. */
export async function isEstablished(
  cluster: Cluster,
  name: string,
  probe: () => Promise<unknown>,
): Promise<CustomResourceDefinition> {
  const made = await soon(async () => {
    const definition = await cluster.client.get(customResourceDefinitions, name);
    const established = definition.status?.conditions?.find(({ type }) => type === "Established");
    assert.equal(established?.status, "True");
    return definition;
  });
  await soon(probe);
  return made;
}
