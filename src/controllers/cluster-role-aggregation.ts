import { type ClusterRole, clusterRoles, type PolicyRule } from "../api/generated/rbac-v1.ts";
import { deepEqual } from "../machinery/equality.ts";
import type { DeepReadonly } from "../machinery/object.ts";
import { type ControllerFactory, watch } from "./controller.ts";
import { labelsOf, mutable, selectorOf } from "./shared/owned.ts";

type RoleView = DeepReadonly<ClusterRole>;

/** The rules of all roles that an aggregated role selects, by role name, each rule once. */
export function aggregatedRules(role: RoleView, all: readonly RoleView[]): PolicyRule[] {
  const selectors = (role.aggregationRule?.clusterRoleSelectors ?? []).map((selector) => selectorOf(selector));
  const chosen = all
    .filter((other) => other.metadata.name !== role.metadata.name)
    .filter((other) => selectors.some((selector) => selector.matches(labelsOf(other))))
    .sort((a, b) => ((a.metadata.name ?? "") < (b.metadata.name ?? "") ? -1 : 1));
  const rules: PolicyRule[] = [];
  for (const rule of chosen.flatMap((other) => other.rules ?? [])) {
    if (!rules.some((known) => deepEqual(known, rule))) rules.push(structuredClone(rule) as PolicyRule);
  }
  return rules;
}

/** Fills ClusterRoles that are made of others: admin, edit and view among them. */
export const clusterRoleAggregationController: ControllerFactory = {
  name: "clusterrole-aggregation-controller",
  create({ client, informers }) {
    const informer = informers.of(clusterRoles);
    const aggregated = () => informer.list().filter((role) => role.aggregationRule !== undefined);
    return {
      // Any role may become or cease to be part of any aggregated one.
      watches: [watch(informer, () => aggregated().map((role) => role.metadata.name ?? ""))],
      async reconcile(name, signal) {
        const role = informer.get(name);
        if (!role?.aggregationRule || role.metadata.deletionTimestamp) return undefined;
        const rules = aggregatedRules(role, informer.list());
        if (deepEqual(rules, role.rules ?? [])) return undefined;
        await client.update(clusterRoles, { ...mutable<ClusterRole>(role), rules }, { signal });
        return undefined;
      },
    };
  },
};
