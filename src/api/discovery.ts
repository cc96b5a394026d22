/** Discovery documents, made from the facts of the served resources. Pure: the caller decides what is served. */
import type { ResourceFacts, SubresourceFacts, Verb } from "./resource.ts";

export interface APIResource {
  readonly name: string;
  readonly singularName: string;
  readonly namespaced: boolean;
  readonly group?: string;
  readonly version?: string;
  readonly kind: string;
  readonly verbs: readonly Verb[];
  readonly shortNames?: readonly string[];
  readonly categories?: readonly string[];
}

export interface APIResourceList {
  readonly kind: "APIResourceList";
  readonly apiVersion: "v1";
  readonly groupVersion: string;
  readonly resources: readonly APIResource[];
}

interface GroupVersionForDiscovery {
  readonly groupVersion: string;
  readonly version: string;
}

export interface APIGroup {
  readonly kind?: "APIGroup";
  readonly apiVersion?: "v1";
  readonly name: string;
  readonly versions: readonly GroupVersionForDiscovery[];
  readonly preferredVersion: GroupVersionForDiscovery;
}

/**
 * The order in which Kubernetes lists its groups, which decides whose "events" a short name means; groups that do not
 * stand here (custom resources) follow by name.
 */
const groupOrder = [
  "",
  "apiregistration.k8s.io",
  "apps",
  "events.k8s.io",
  "authentication.k8s.io",
  "authorization.k8s.io",
  "autoscaling",
  "batch",
  "certificates.k8s.io",
  "networking.k8s.io",
  "policy",
  "rbac.authorization.k8s.io",
  "storage.k8s.io",
  "admissionregistration.k8s.io",
  "apiextensions.k8s.io",
  "scheduling.k8s.io",
  "coordination.k8s.io",
  "node.k8s.io",
  "discovery.k8s.io",
  "resource.k8s.io",
  "flowcontrol.apiserver.k8s.io",
];

/** Compares versions by priority: GA before beta before alpha, higher numbers first, anything else last by name. */
export function compareVersions(a: string, b: string): number {
  const shape = /^v(\d+)(?:(alpha|beta)(\d+))?$/;
  const [left, right] = [shape.exec(a), shape.exec(b)];
  if (!left || !right) return left ? -1 : right ? 1 : a < b ? -1 : a > b ? 1 : 0;
  const stage = (match: RegExpExecArray) => (match[2] === undefined ? 2 : match[2] === "beta" ? 1 : 0);
  return (
    stage(right) - stage(left) || Number(right[1]) - Number(left[1]) || Number(right[3] ?? 0) - Number(left[3] ?? 0)
  );
}

function groupVersionText(group: string, version: string): string {
  return group === "" ? version : `${group}/${version}`;
}

/** Groups in order, each with its versions in order. */
export function groupVersions(resources: readonly ResourceFacts[]): { group: string; versions: string[] }[] {
  const versions = new Map<string, Set<string>>();
  for (const { group, version } of resources) {
    const known = versions.get(group) ?? new Set();
    versions.set(group, known.add(version));
  }
  const rank = (group: string) => {
    const index = groupOrder.indexOf(group);
    return index < 0 ? groupOrder.length : index;
  };
  return [...versions]
    .map(([group, known]) => ({ group, versions: [...known].sort(compareVersions) }))
    .sort((a, b) => rank(a.group) - rank(b.group) || (a.group < b.group ? -1 : 1));
}

function groupEntry(group: string, versions: readonly string[]): APIGroup {
  const entries = versions.map((version) => ({ groupVersion: groupVersionText(group, version), version }));
  return { name: group, versions: entries, preferredVersion: entries[0]! };
}

/** The answer of GET /apis: every group but the core one. */
export function apiGroupList(resources: readonly ResourceFacts[]) {
  const groups = groupVersions(resources).filter(({ group }) => group !== "");
  return {
    kind: "APIGroupList",
    apiVersion: "v1",
    groups: groups.map(({ group, versions }) => groupEntry(group, versions)),
  } as const;
}

/** The answer of GET /apis/<group>; undefined when nothing of the group is served. */
export function apiGroup(resources: readonly ResourceFacts[], group: string): APIGroup | undefined {
  const entry = groupVersions(resources).find((candidate) => candidate.group === group);
  return entry && { kind: "APIGroup", apiVersion: "v1", ...groupEntry(group, entry.versions) };
}

/** The answer of GET /api. `serverAddress` is "host:port" as clients reach it. */
export function apiVersions(serverAddress: string) {
  return {
    kind: "APIVersions",
    versions: ["v1"],
    serverAddressByClientCIDRs: [{ clientCIDR: "0.0.0.0/0", serverAddress }],
  } as const;
}

/** The answer of GET /api/v1 and /apis/<group>/<version>; undefined when nothing of it is served. */
export function apiResourceList(
  resources: readonly ResourceFacts[],
  group: string,
  version: string,
): APIResourceList | undefined {
  const own = resources.filter((facts) => facts.group === group && facts.version === version);
  if (own.length === 0) return undefined;
  const entries = own.flatMap((facts) => [
    resourceEntry(facts),
    ...Object.entries(facts.subresources).map(([name, subresource]) => subresourceEntry(facts, name, subresource)),
  ]);
  return {
    kind: "APIResourceList",
    apiVersion: "v1",
    groupVersion: groupVersionText(group, version),
    resources: entries.sort((a, b) => (a.name < b.name ? -1 : 1)),
  };
}

function resourceEntry(facts: ResourceFacts): APIResource {
  return {
    name: facts.resource,
    singularName: facts.singular,
    namespaced: facts.namespaced,
    kind: facts.kind,
    verbs: facts.verbs,
    ...(facts.shortNames.length > 0 && { shortNames: facts.shortNames }),
    ...(facts.categories.length > 0 && { categories: facts.categories }),
  };
}

function subresourceEntry(facts: ResourceFacts, name: string, subresource: SubresourceFacts): APIResource {
  const group = subresource.group ?? facts.group;
  const version = subresource.version ?? facts.version;
  const other = group !== facts.group || version !== facts.version;
  return {
    name: `${facts.resource}/${name}`,
    singularName: "",
    namespaced: facts.namespaced,
    ...(other && { group, version }),
    kind: subresource.kind ?? facts.kind,
    verbs: subresource.verbs,
  };
}

/**
 * The aggregated document (apidiscovery.k8s.io/v2 APIGroupDiscoveryList): all in one request. `root` is the path that
 * was asked: "/api" has the core group only, "/apis" all others.
 */
export function aggregatedDiscovery(resources: readonly ResourceFacts[], root: "/api" | "/apis") {
  const groups = groupVersions(resources).filter(({ group }) => (group === "") === (root === "/api"));
  return {
    kind: "APIGroupDiscoveryList",
    apiVersion: "apidiscovery.k8s.io/v2",
    metadata: {},
    items: groups.map(({ group, versions }) => ({
      metadata: group === "" ? {} : { name: group },
      versions: versions.map((version) => ({
        version,
        freshness: "Current",
        resources: resources
          .filter((facts) => facts.group === group && facts.version === version)
          .sort((a, b) => (a.resource < b.resource ? -1 : 1))
          .map(aggregatedResource),
      })),
    })),
  } as const;
}

function aggregatedResource(facts: ResourceFacts) {
  const { group, version, kind } = facts;
  const subresources = Object.entries(facts.subresources).map(([name, subresource]) => ({
    subresource: name,
    responseKind: {
      group: subresource.group ?? group,
      version: subresource.version ?? version,
      kind: subresource.kind ?? kind,
    },
    verbs: subresource.verbs,
  }));
  return {
    resource: facts.resource,
    responseKind: { group, version, kind },
    scope: facts.namespaced ? "Namespaced" : "Cluster",
    singularResource: facts.singular,
    verbs: facts.verbs,
    ...(facts.shortNames.length > 0 && { shortNames: facts.shortNames }),
    ...(facts.categories.length > 0 && { categories: facts.categories }),
    ...(subresources.length > 0 && { subresources }),
  };
}
