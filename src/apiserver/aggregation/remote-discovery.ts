/** Discovery documents of other servers, in either form, as versions of the aggregated document. */
import { isRecord } from "../../machinery/json.ts";

/** apidiscovery.k8s.io/v2 APIVersionDiscovery; `resources` as the server gave them. */
export interface VersionDiscovery {
  readonly version: string;
  readonly resources?: readonly unknown[];
}

const listOf = (value: unknown): Record<string, unknown>[] => (Array.isArray(value) ? value.filter(isRecord) : []);
const textOf = (value: unknown): string => (typeof value === "string" ? value : "");

/** Is this media type an aggregated document? */
export function isAggregated(contentType = ""): boolean {
  const [, ...parameters] = contentType.split(";").map((part) => part.trim());
  const has = (text: string) => parameters.includes(text);
  return has("g=apidiscovery.k8s.io") && has("as=APIGroupDiscoveryList") && (has("v=v2") || has("v=v2beta1"));
}

/** By "<group>/<version>". */
export function readAggregated(document: unknown): Map<string, VersionDiscovery> {
  const found = new Map<string, VersionDiscovery>();
  for (const group of listOf(isRecord(document) ? document["items"] : undefined)) {
    const name = isRecord(group["metadata"]) ? textOf(group["metadata"]["name"]) : "";
    for (const one of listOf(group["versions"])) {
      const version = textOf(one["version"]);
      const resources = listOf(one["resources"]).map(withResponseKinds);
      found.set(`${name}/${version}`, { version, ...(resources.length > 0 ? { resources } : {}) });
    }
  }
  return found;
}

/** Clients of early versions read a kind where there may be none. */
function withResponseKinds(resource: Record<string, unknown>): Record<string, unknown> {
  const none = { group: "", version: "", kind: "" };
  const subresources = listOf(resource["subresources"]).map((one) => ({
    ...one,
    responseKind: one["responseKind"] ?? none,
  }));
  return {
    ...resource,
    responseKind: resource["responseKind"] ?? none,
    ...(subresources.length > 0 ? { subresources } : {}),
  };
}

/** Makes the aggregated form of an APIResourceList. */
export function fromResourceList(document: unknown, group: string, version: string): VersionDiscovery {
  const all = listOf(isRecord(document) ? document["resources"] : undefined);
  const kindOf = (one: Record<string, unknown>) => ({
    group: textOf(one["group"]) || group,
    version: textOf(one["version"]) || version,
    kind: textOf(one["kind"]),
  });
  const subresourcesOf = (name: string) =>
    all
      .filter((one) => textOf(one["name"]).startsWith(`${name}/`))
      .map((one) => ({
        subresource: textOf(one["name"]).slice(name.length + 1),
        responseKind: kindOf(one),
        verbs: one["verbs"] ?? [],
      }));
  const resources = all
    .filter((one) => !textOf(one["name"]).includes("/"))
    .map((one) => {
      const name = textOf(one["name"]);
      const subresources = subresourcesOf(name);
      return {
        resource: name,
        responseKind: kindOf(one),
        scope: one["namespaced"] === true ? "Namespaced" : "Cluster",
        singularResource: textOf(one["singularName"]),
        verbs: one["verbs"] ?? [],
        ...(one["shortNames"] ? { shortNames: one["shortNames"] } : {}),
        ...(one["categories"] ? { categories: one["categories"] } : {}),
        ...(subresources.length > 0 ? { subresources } : {}),
      };
    });
  return { version, ...(resources.length > 0 ? { resources } : {}) };
}
