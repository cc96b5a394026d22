import { isDeepStrictEqual } from "node:util";
import {
  type ClusterRole,
  clusterRoleBindings,
  clusterRoles,
  type Role,
  type RoleBinding,
  roleBindings,
  roles,
} from "../../api/generated/rbac-v1.ts";
import type { Rbac } from "../authorization/rbac.ts";
import { printRule, type Rule, uncovered } from "../authorization/rbac-rules.ts";
import type { AdmissionAttributes, AdmissionPlugin, Authorizer } from "../request.ts";
import { isAbout, refusedBy } from "./kinds.ts";

/**
 * Nobody grants what they do not hold: a role may only contain rules that its writer has (or needs the verb `escalate`),
 * and a binding may only give such rules (or needs the verb `bind` on the role).
 */
export function roleEscalation(options: { readonly authorize: Authorizer; readonly rbac: Rbac }): AdmissionPlugin {
  const { authorize, rbac } = options;
  const group = roles.group;

  const refuseUncovered = async (attributes: AdmissionAttributes, wanted: readonly Rule[]) => {
    const held = await rbac.rulesFor(attributes.user, attributes.namespace);
    const missing = uncovered(held.rules, wanted);
    if (missing.length === 0) return;
    const { name, groups } = attributes.user;
    const list = missing.map(printRule).join("\n");
    throw refusedBy(
      attributes,
      `user ${JSON.stringify(name)} (groups=${JSON.stringify(groups)}) is attempting to grant RBAC permissions not currently held:\n${list}`,
    );
  };

  const may = async ({ user, namespace }: AdmissionAttributes, verb: string, resource: string, name: string) =>
    (await authorize({ user, verb, group, version: "v1", resource, name, ...(namespace ? { namespace } : {}) }))
      .allowed;

  return {
    name: "RBACEscalation",
    async validate(attributes) {
      if (attributes.facts.group !== group) return;
      const aboutRole =
        isAbout(attributes, roles, "CREATE", "UPDATE") || isAbout(attributes, clusterRoles, "CREATE", "UPDATE");
      if (aboutRole) {
        const role = attributes.object as Role | ClusterRole;
        const old = attributes.oldObject as ClusterRole | undefined;
        const aggregation = (role as ClusterRole).aggregationRule;
        const aggregates = aggregation !== undefined && !isDeepStrictEqual(aggregation, old?.aggregationRule);
        if (old && !aggregates && isDeepStrictEqual(role.rules ?? [], old.rules ?? [])) return;
        if (await may(attributes, "escalate", attributes.facts.resource, attributes.name)) return;
        if (aggregates) await refuseUncovered(attributes, everything);
        return refuseUncovered(attributes, role.rules ?? []);
      }
      if (
        !isAbout(attributes, roleBindings, "CREATE", "UPDATE") &&
        !isAbout(attributes, clusterRoleBindings, "CREATE", "UPDATE")
      )
        return;
      const binding = attributes.object as RoleBinding;
      const old = attributes.oldObject as RoleBinding | undefined;
      const same =
        old &&
        isDeepStrictEqual(old.subjects ?? [], binding.subjects ?? []) &&
        isDeepStrictEqual(old.roleRef, binding.roleRef);
      if (same) return;
      const { kind, name } = binding.roleRef;
      if (await may(attributes, "bind", kind === "ClusterRole" ? "clusterroles" : "roles", name)) return;
      const given = await rbac.rulesOfRole(binding.roleRef, attributes.namespace);
      if (!given) {
        throw refusedBy(
          attributes,
          `${kind.toLowerCase()}.rbac.authorization.k8s.io ${JSON.stringify(name)} not found`,
        );
      }
      return refuseUncovered(attributes, given);
    },
  };
}

/** An aggregated role may come to contain anything. */
const everything: readonly Rule[] = [
  { verbs: ["*"], apiGroups: ["*"], resources: ["*"] },
  { verbs: ["*"], nonResourceURLs: ["*"] },
];
