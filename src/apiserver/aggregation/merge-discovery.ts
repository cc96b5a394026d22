/** Puts the group-versions of other servers among this server's own, in the order of their priorities. */
import type { APIGroup } from "../../api/discovery.ts";
import { groupPriority, versionPriority } from "./group-priorities.ts";
import { byVersionPriority, type RemoteApi } from "./remote-api.ts";
import type { VersionDiscovery } from "./remote-discovery.ts";

/** What of a remote group-version discovery knows. */
export interface RemoteVersion {
  readonly api: RemoteApi;
  readonly discovery: VersionDiscovery;
  /** False: the server could not be asked just now. */
  readonly current: boolean;
}

interface Ranked<T> {
  readonly version: string;
  readonly versionPriority: number;
  readonly entry: T;
}

/**
 * Merges into `own` groups; `T` is what a version looks like in the document at hand. A remote version takes the place of
 * an own one.
 */
function merge<T>(
  own: readonly { readonly group: string; readonly versions: readonly { version: string; entry: T }[] }[],
  remote: readonly { readonly api: RemoteApi; readonly entry: T }[],
): { group: string; versions: T[] }[] {
  const groups = own.map(({ group, versions }) => ({
    group,
    priority: groupPriority(group),
    versions: versions.map(
      ({ version, entry }): Ranked<T> => ({ version, versionPriority: versionPriority(group, version), entry }),
    ),
    mixed: false,
  }));
  for (const { api, entry } of remote) {
    const ranked = { version: api.version, versionPriority: api.versionPriority, entry };
    const known = groups.find(({ group }) => group === api.group);
    if (!known) {
      groups.push({ group: api.group, priority: api.groupPriority, versions: [ranked], mixed: true });
      continue;
    }
    known.versions = [...known.versions.filter(({ version }) => version !== api.version), ranked];
    known.priority = Math.max(known.priority, api.groupPriority);
    known.mixed = true;
  }
  return groups
    .sort((a, b) => b.priority - a.priority || (a.group < b.group ? -1 : 1))
    .map(({ group, versions, mixed }) => ({
      group,
      versions: (mixed ? versions.sort(byVersionPriority) : versions).map(({ entry }) => entry),
    }));
}

type GroupVersions = APIGroup["versions"];

function groupOf(name: string, versions: GroupVersions): APIGroup {
  return { name, versions, preferredVersion: versions[0]! };
}

/** The groups of GET /apis. */
export function mergeGroups(own: readonly APIGroup[], remote: readonly RemoteVersion[]): APIGroup[] {
  return merge(
    own.map(({ name, versions }) => ({
      group: name,
      versions: versions.map((entry) => ({ version: entry.version, entry })),
    })),
    remote
      .filter(({ api }) => api.group !== "")
      .map(({ api }) => ({
        api,
        entry: { groupVersion: `${api.group}/${api.version}`, version: api.version },
      })),
  ).map(({ group, versions }) => groupOf(group, versions));
}

interface AggregatedGroup {
  readonly metadata: { readonly name?: string };
  readonly versions: readonly { readonly version: string }[];
}

/** The items of the aggregated document of /apis. */
export function mergeAggregated(own: readonly AggregatedGroup[], remote: readonly RemoteVersion[]): object[] {
  return merge<object>(
    own.map(({ metadata, versions }) => ({
      group: metadata.name ?? "",
      versions: versions.map((entry) => ({ version: entry.version, entry })),
    })),
    remote
      .filter(({ api }) => api.group !== "")
      .map(({ api, discovery, current }) => ({
        api,
        entry: { ...discovery, freshness: current ? "Current" : "Stale" },
      })),
  ).map(({ group, versions }) => ({ metadata: { name: group }, versions }));
}
