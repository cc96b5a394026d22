import { pathSegmentName } from "../machinery/names.ts";
import type { KubeObject } from "../machinery/object.ts";
import { ageColumn, text, wide } from "./columns.ts";
import {
  clusterRoleBindings,
  clusterRoles,
  type RoleRef,
  roleBindings,
  roles,
  type Subject,
} from "./generated/rbac-v1.ts";
import { type KindColumn, type KindEntry, kind } from "./kind-facts.ts";
import { validateBinding, validateBindingUpdate, validateClusterRole, validateRole } from "./validation/rbac.ts";

interface Binding {
  roleRef: RoleRef;
  subjects?: Subject[];
}

function subjects(kindName: string) {
  return (binding: Binding) =>
    (binding.subjects ?? [])
      .filter((subject) => subject.kind === kindName)
      .map((subject) => (kindName === "ServiceAccount" ? `${subject.namespace ?? ""}/${subject.name}` : subject.name))
      .join(", ");
}

function bindingColumns<T extends Binding & KubeObject>(): KindColumn<T>[] {
  return [
    text("Role", ({ roleRef }) => `${roleRef.kind}/${roleRef.name}`),
    ageColumn,
    wide("Users", subjects("User")),
    wide("Groups", subjects("Group")),
    wide("ServiceAccounts", subjects("ServiceAccount")),
  ];
}

const group = "rbac.authorization.k8s.io";

function defaultBinding(binding: Binding): void {
  if (binding.roleRef) binding.roleRef.apiGroup ||= group;
  for (const subject of binding.subjects ?? []) {
    if (subject.kind === "User" || subject.kind === "Group") subject.apiGroup ||= group;
  }
}

/** RBAC names may hold what a path segment may: "system:node". */
const common = { validateName: pathSegmentName, allowCreateOnUpdate: true };

function bindingStrategy(namespaced: boolean) {
  return {
    ...common,
    applyDefaults: defaultBinding,
    validate: validateBinding(namespaced),
    validateUpdate: validateBindingUpdate,
  };
}

export const rbacV1: readonly KindEntry[] = [
  kind(roles, { strategy: { ...common, validate: validateRole } }),
  kind(clusterRoles, { strategy: { ...common, validate: validateClusterRole } }),
  kind(roleBindings, { columns: bindingColumns(), strategy: bindingStrategy(true) }),
  kind(clusterRoleBindings, { columns: bindingColumns(), strategy: bindingStrategy(false) }),
];
