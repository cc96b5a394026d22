import {
  type ClusterRole,
  type ClusterRoleBinding,
  clusterRoleBindings,
  clusterRoles,
  type Role,
  type RoleBinding,
  roleBindings,
  roles,
  type Subject,
} from "../../api/generated/rbac-v1.ts";
import type { Client } from "../../client/client.ts";
import type { Logger } from "../../machinery/log.ts";
import { type KubeObject, keyOf, type ResourceType } from "../../machinery/object.ts";
import { StatusError } from "../../machinery/status.ts";
import { controllerRoles, namespacedDefaults } from "./bootstrap-controller-roles.ts";
import { type DefaultRole, defaultClusterRoleBindings, defaultClusterRoles } from "./bootstrap-roles.ts";
import { uncovered } from "./rbac-rules.ts";
import { aggregatedRules } from "./role-aggregation.ts";

const autoUpdate = "rbac.authorization.kubernetes.io/autoupdate";
const rbacGroup = "rbac.authorization.k8s.io";
const aggregationLabel = (to: string) => `rbac.authorization.k8s.io/aggregate-to-${to}`;

type AnyRole = (ClusterRole | Role) & KubeObject;
type AnyBinding = (ClusterRoleBinding | RoleBinding) & KubeObject;

/** All default roles and bindings, as objects. */
export function bootstrapPolicy(): {
  clusterRoles: ClusterRole[];
  clusterRoleBindings: ClusterRoleBinding[];
  roles: Role[];
  roleBindings: RoleBinding[];
} {
  const named = Object.entries(defaultClusterRoles()).map(([name, role]) => clusterRole(name, role));
  // Written with their rules at once, so that a first user of `edit` does not have to wait for the aggregation.
  // In the order in which one gathers the other.
  for (const name of ["view", "edit", "admin"]) {
    const role = named.find((one) => one.metadata.name === name)!;
    role.rules = aggregatedRules(role, named);
  }
  const controllers = Object.entries(controllerRoles());
  const namespaced = namespacedDefaults();
  return {
    clusterRoles: [
      ...named,
      ...controllers.map(([name, rules]) => clusterRole(`system:controller:${name}`, { rules })),
    ],
    clusterRoleBindings: [
      ...defaultClusterRoleBindings.map(([name, role, ...subjects]) => ({
        metadata: metadata(name),
        roleRef: { apiGroup: rbacGroup, kind: "ClusterRole", name: role },
        ...(subjects.length > 0 ? { subjects: subjects.map(subject) } : {}),
      })),
      ...controllers.map(([name]) => ({
        metadata: metadata(`system:controller:${name}`),
        roleRef: { apiGroup: rbacGroup, kind: "ClusterRole", name: `system:controller:${name}` },
        // All controllers run in one process here and share its user; the account is who they are in Kubernetes.
        subjects: [subject(`account:kube-system/${name}`), subject("user:system:kube-controller-manager")],
      })),
    ],
    roles: namespaced.map(({ namespace, name, rules }) => ({ metadata: metadata(name, namespace), rules })),
    roleBindings: namespaced.flatMap(({ namespace, name: role, bindings }) =>
      bindings.map(([name, ...subjects]) => ({
        metadata: metadata(name, namespace),
        roleRef: { apiGroup: rbacGroup, kind: "Role", name: role },
        subjects: subjects.map(subject),
      })),
    ),
  };
}

function clusterRole(name: string, { rules, aggregatesTo, aggregates }: DefaultRole): ClusterRole {
  const labels: Record<string, string> = {};
  if (aggregatesTo) labels[aggregationLabel(aggregatesTo)] = "true";
  // Whoever may edit may view, and an admin may do both.
  if (name === "edit") labels[aggregationLabel("admin")] = "true";
  if (name === "view") labels[aggregationLabel("edit")] = "true";
  return {
    metadata: metadata(name, undefined, labels),
    ...(aggregates
      ? {
          aggregationRule: {
            clusterRoleSelectors: aggregates.map((to) => ({ matchLabels: { [aggregationLabel(to)]: "true" } })),
          },
        }
      : {}),
    rules,
  };
}

function metadata(name: string, namespace?: string, labels: Record<string, string> = {}) {
  return {
    name,
    ...(namespace ? { namespace } : {}),
    labels: { "kubernetes.io/bootstrapping": "rbac-defaults", ...labels },
    annotations: { [autoUpdate]: "true" },
  };
}

function subject(text: string): Subject {
  const colon = text.indexOf(":");
  const kind = text.slice(0, colon);
  const rest = text.slice(colon + 1);
  if (kind === "user") return { apiGroup: rbacGroup, kind: "User", name: rest };
  if (kind === "group") return { apiGroup: rbacGroup, kind: "Group", name: rest };
  const [namespace, name] = rest.split("/") as [string, string];
  return { kind: "ServiceAccount", name, namespace };
}

/**
 * Brings the default roles and bindings into the store: missing ones are made, and those that still carry the
 * autoupdate annotation get what is missing in them; nothing is taken away. One list a kind, and all writes at once,
 * so that the store can batch them. `client` must be able to write without admission.
 */
export async function reconcileBootstrapPolicy(client: Client, logger: Logger): Promise<void> {
  const policy = bootstrapPolicy();
  await Promise.all([
    reconcileKind(client, clusterRoles, policy.clusterRoles, mergeRole, logger),
    reconcileKind(client, roles, policy.roles, mergeRole, logger),
    reconcileKind(client, clusterRoleBindings, policy.clusterRoleBindings, mergeBinding, logger),
    reconcileKind(client, roleBindings, policy.roleBindings, mergeBinding, logger),
  ]);
}

async function reconcileKind<T extends KubeObject>(
  client: Client,
  type: ResourceType<T>,
  wanted: readonly T[],
  merge: (live: T, wanted: T) => T | "replace" | undefined,
  logger: Logger,
): Promise<void> {
  const live = new Map((await client.list(type)).items.map((object) => [keyOf(object), object]));
  await Promise.all(
    wanted.map(async (object) => {
      try {
        await reconcileOne(client, type, object, live.get(keyOf(object)), merge);
      } catch (error) {
        // Another server of the cluster was faster.
        if (error instanceof StatusError && (error.code === 409 || error.code === 404)) return;
        logger.error({ resource: type.resource, name: object.metadata.name, err: error }, "Default policy not written");
        throw error;
      }
    }),
  );
}

async function reconcileOne<T extends KubeObject>(
  client: Client,
  type: ResourceType<T>,
  wanted: T,
  live: T | undefined,
  merge: (live: T, wanted: T) => T | "replace" | undefined,
): Promise<void> {
  const where = wanted.metadata.namespace ? { namespace: wanted.metadata.namespace } : {};
  if (!live) return void (await client.create(type, wanted, where));
  if (live.metadata.annotations?.[autoUpdate] !== "true") return;
  const next = merge(live, wanted);
  if (next === "replace") {
    // The role of a binding cannot be changed.
    await client.delete(type, wanted.metadata.name!, where);
    await client.create(type, wanted, where);
  } else if (next) await client.update(type, next, where);
}

function mergeRole<T extends AnyRole>(live: T, wanted: T): T | undefined {
  const labels = { ...wanted.metadata.labels, ...live.metadata.labels };
  const aggregated = (wanted as ClusterRole).aggregationRule !== undefined;
  const missing = aggregated ? [] : uncovered(live.rules ?? [], wanted.rules ?? []);
  const relabelled = Object.keys(labels).length !== Object.keys(live.metadata.labels ?? {}).length;
  if (missing.length === 0 && !relabelled) return undefined;
  const next = structuredClone(live);
  next.metadata.labels = labels;
  if (missing.length > 0) next.rules = [...(next.rules ?? []), ...missing];
  return next;
}

function mergeBinding<T extends AnyBinding>(live: T, wanted: T): T | "replace" | undefined {
  if (live.roleRef.kind !== wanted.roleRef.kind || live.roleRef.name !== wanted.roleRef.name) return "replace";
  const same = (a: Subject, b: Subject) =>
    a.kind === b.kind && a.name === b.name && (a.namespace ?? "") === (b.namespace ?? "");
  const missing = (wanted.subjects ?? []).filter((one) => !live.subjects?.some((held) => same(held, one)));
  if (missing.length === 0) return undefined;
  const next = structuredClone(live);
  next.subjects = [...(next.subjects ?? []), ...missing];
  return next;
}
