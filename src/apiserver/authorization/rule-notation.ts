import type { PolicyRule } from "../../api/generated/rbac-v1.ts";

/**
 * A rule in one line: "verbs | groups | resources | names", blanks between the items of a part. The core group is
 * written "core". A line of two parts, "verbs | /urls", is about paths that are no resources. "read" and "write" stand
 * for their usual verbs.
 */
export function rule(line: string): PolicyRule {
  const [verbs = [], ...rest] = line.split("|").map((part) => part.trim().split(/\s+/));
  const allVerbs = verbs.flatMap((verb) => shorthand[verb] ?? [verb]);
  if (rest.length === 1) return { verbs: allVerbs, nonResourceURLs: rest[0]! };
  const [groups = [], resources = [], names] = rest;
  return {
    verbs: allVerbs,
    apiGroups: groups.map((group) => (group === "core" ? "" : group)),
    resources,
    ...(names ? { resourceNames: names } : {}),
  };
}

const shorthand: Record<string, string[]> = {
  read: ["get", "list", "watch"],
  write: ["create", "delete", "deletecollection", "patch", "update"],
};

/** Several lines. */
export function rules(...lines: string[]): PolicyRule[] {
  return lines.map(rule);
}

/** Writing events, which nearly everyone does. */
export const eventsLine = "create patch update | core events.k8s.io | events";
