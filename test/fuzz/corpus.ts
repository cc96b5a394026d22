/** What can be asked of a server, found by discovery. */
import { findResource } from "../../src/api/registry.ts";
import type { Schema } from "../../src/machinery/schema.ts";
import { seeds } from "./seeds.ts";

type Json = Record<string, unknown>;

export interface Target {
  readonly group: string;
  readonly version: string;
  readonly resource: string;
  readonly kind: string;
  readonly namespaced: boolean;
  readonly verbs: readonly string[];
  readonly subresources: readonly string[];
  /** Such as /apis/apps/v1. */
  readonly root: string;
  /** A valid object; absent where nothing is written. */
  readonly seed: Json | undefined;
  /** How its protobuf is written; custom resources have none. */
  readonly schema: Schema | undefined;
}

export interface Corpus {
  readonly targets: readonly Target[];
  /** Paths that are no resources. */
  readonly plainPaths: readonly string[];
}

interface DiscoveredList {
  items: {
    metadata: { name?: string };
    versions: {
      version: string;
      resources: {
        resource: string;
        responseKind: { kind: string };
        scope: string;
        verbs: string[];
        subresources?: { subresource: string }[];
      }[];
    }[];
  }[];
}

export const namespaces = ["fuzz-1", "fuzz-2"] as const;
export const names = ["fuzz-a", "fuzz-b", "fuzz-c"] as const;

/** The name under which a target's seed is stored. */
export function seedName({ seed }: Target): string {
  return (seed?.["metadata"] as { name?: string } | undefined)?.name ?? names[0];
}

/** A target's seed for a namespace. */
export function seedIn({ seed, kind }: Target, namespace: string): Json {
  const text = JSON.stringify(seed ?? { apiVersion: "v1", kind });
  return JSON.parse(namespace ? text.replaceAll(JSON.stringify(namespaces[0]), JSON.stringify(namespace)) : text);
}

/** Reads aggregated discovery. Throws for a kind that can be created and has no seed: it would go untested. */
export async function readCorpus(get: (path: string, accept: string) => Promise<unknown>): Promise<Corpus> {
  const accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
  const targets: Target[] = [];
  const plainPaths = ["/", "/api", "/apis", "/version", "/healthz", "/livez", "/readyz", "/metrics", "/openapi/v2"];
  plainPaths.push("/openapi/v3", "/openid/v1/jwks", "/.well-known/openid-configuration");
  for (const prefix of ["/api", "/apis"]) {
    const { items } = (await get(prefix, accept)) as DiscoveredList;
    for (const { metadata, versions } of items) {
      const group = metadata.name ?? "";
      for (const { version, resources } of versions) {
        const root = prefix === "/api" ? `/api/${version}` : `/apis/${group}/${version}`;
        plainPaths.push(root, `/openapi/v3${root}`, `${prefix}/${group}`);
        for (const { resource, responseKind, scope, verbs, subresources = [] } of resources) {
          const seed = seeds[`${group}/${version}/${resource}`];
          const isBinding = resource === "bindings";
          if (
            !seed &&
            verbs.includes("create") &&
            !isBinding &&
            group !== "k3s.cattle.io" &&
            group !== "helm.cattle.io"
          ) {
            throw new Error(`test/fuzz/seeds.ts has no object of ${group}/${version} ${resource}`);
          }
          targets.push({
            group,
            version,
            resource,
            kind: responseKind.kind,
            namespaced: scope === "Namespaced",
            verbs,
            subresources: subresources.map(({ subresource }) => subresource),
            root,
            seed: seed && { apiVersion: group ? `${group}/${version}` : version, kind: responseKind.kind, ...seed },
            schema: findResource(group, version, resource)?.schema,
          });
        }
      }
    }
  }
  return { targets, plainPaths };
}
