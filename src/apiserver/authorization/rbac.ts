import {
  type ClusterRoleBinding,
  clusterRoleBindings,
  clusterRoles,
  type RoleBinding,
  roleBindings,
  roles,
} from "../../api/generated/rbac-v1.ts";
import type { Client } from "../../client/client.ts";
import { createInformer, type Informer } from "../../client/informer.ts";
import type { Clock } from "../../machinery/clock.ts";
import type { Logger } from "../../machinery/log.ts";
import type { DeepReadonly, KubeObject } from "../../machinery/object.ts";
import type { Authorizer, UserInfo } from "../request.ts";
import { type Rule, ruleAllows } from "./rbac-rules.ts";

/** What a user may do, and what could not be resolved (bindings to roles that are not there). */
export interface ResolvedRules {
  readonly rules: readonly Rule[];
  readonly errors: readonly string[];
}

export interface Rbac {
  readonly authorize: Authorizer;
  /** All rules of a user: cluster-wide ones, and those of `namespace` when one is given. */
  rulesFor(user: UserInfo, namespace?: string): Promise<ResolvedRules>;
  /** The rules that a binding in `namespace` to this role would give; `undefined`: no such role. */
  rulesOfRole(ref: { kind: string; name: string }, namespace?: string): Promise<readonly Rule[] | undefined>;
  readonly clusterRoles: Informer<import("../../api/generated/rbac-v1.ts").ClusterRole>;
  /** Resolves when all roles and bindings are known. */
  ready(): Promise<void>;
}

/** How many users' rules are remembered. */
const remembered = 1_000;

const bySubject = "subject";

/**
 * Role-based access from watched roles and bindings. A user's rules are resolved once and remembered until any role or
 * binding changes: roles change rarely, and every request asks. Waits for the first full state before it answers.
 */
export function createRbac(options: {
  readonly client: Client;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}): Rbac {
  const { client, clock, logger, signal } = options;
  const bySubjects = { [bySubject]: (binding: DeepReadonly<RoleBinding | ClusterRoleBinding>) => subjectKeys(binding) };
  const roleInformer = createInformer(client, roles, { clock, logger });
  const clusterRoleInformer = createInformer(client, clusterRoles, { clock, logger });
  const bindingInformer = createInformer(client, roleBindings, { clock, logger, indexers: bySubjects });
  const clusterBindingInformer = createInformer(client, clusterRoleBindings, { clock, logger, indexers: bySubjects });
  const informers = [roleInformer, clusterRoleInformer, bindingInformer, clusterBindingInformer];

  let resolved = new Map<string, ResolvedRules>();
  /** The same by the user object, which authenticators give again for the same credentials, and the namespace. */
  let resolvedFor = new WeakMap<UserInfo, Map<string, ResolvedRules>>();
  const forget = () => {
    if (resolved.size > 0) resolved = new Map();
    resolvedFor = new WeakMap();
  };
  for (const informer of informers as Informer<KubeObject>[]) {
    informer.on({ add: forget, update: forget, delete: forget });
    void informer.start(signal);
  }
  let synced = false;
  const allSynced = Promise.all(informers.map((informer) => informer.synced(signal))).then(() => {
    synced = true;
  });
  allSynced.catch(() => {});

  const lookUp = (ref: { kind: string; name: string }, namespace?: string): readonly Rule[] | undefined => {
    const role =
      ref.kind === "ClusterRole" ? clusterRoleInformer.get(ref.name) : roleInformer.get(`${namespace}/${ref.name}`);
    return role && (role.rules ?? []);
  };

  const resolve = (user: UserInfo, namespace: string | undefined): ResolvedRules => {
    const key = [user.name, namespace ?? "", ...user.groups].join("\0");
    const known = resolved.get(key);
    if (known) return known;
    const rules: Rule[] = [];
    const errors: string[] = [];
    const add = (binding: DeepReadonly<RoleBinding | ClusterRoleBinding>, where?: string) => {
      const found = lookUp(binding.roleRef, where);
      if (found) rules.push(...found);
      else errors.push(missing(binding.roleRef));
    };
    const seen = new Set<object>();
    for (const subject of subjectsOf(user)) {
      for (const binding of clusterBindingInformer.byIndex(bySubject, subject)) {
        if (!seen.has(binding)) add(binding);
        seen.add(binding);
      }
      if (namespace === undefined) continue;
      for (const binding of bindingInformer.byIndex(bySubject, subject)) {
        if (binding.metadata.namespace === namespace && !seen.has(binding)) add(binding, namespace);
        seen.add(binding);
      }
    }
    const result = { rules, errors };
    if (resolved.size >= remembered) resolved.delete(resolved.keys().next().value!);
    resolved.set(key, result);
    return result;
  };

  const rulesOf = (user: UserInfo, namespace = ""): ResolvedRules => {
    let byNamespace = resolvedFor.get(user);
    if (!byNamespace || byNamespace.size > remembered) {
      byNamespace = new Map();
      resolvedFor.set(user, byNamespace);
    }
    let rules = byNamespace.get(namespace);
    if (!rules) {
      rules = resolve(user, namespace || undefined);
      byNamespace.set(namespace, rules);
    }
    return rules;
  };

  return {
    clusterRoles: clusterRoleInformer,
    ready: () => allSynced,
    authorize: async (attributes) => {
      if (!synced) await allSynced;
      const { rules, errors } = rulesOf(attributes.user, attributes.namespace);
      if (rules.some((rule) => ruleAllows(rule, attributes))) return { allowed: true, reason: "" };
      return { allowed: false, reason: errors.length > 0 ? `RBAC: ${printErrors(errors)}` : "" };
    },
    rulesFor: async (user, namespace) => {
      if (!synced) await allSynced;
      return resolve(user, namespace);
    },
    rulesOfRole: async (ref, namespace) => {
      if (!synced) await allSynced;
      return lookUp(ref, namespace);
    },
  };
}

function missing({ kind, name }: { kind: string; name: string }): string {
  return `${kind.toLowerCase()}.rbac.authorization.k8s.io ${JSON.stringify(name)} not found`;
}

function printErrors(errors: readonly string[]): string {
  const distinct = [...new Set(errors)];
  return distinct.length === 1 ? distinct[0]! : `[${distinct.join(", ")}]`;
}

/** Under which names a binding is found: users, groups, and service accounts by their user name. */
function subjectKeys(binding: DeepReadonly<RoleBinding | ClusterRoleBinding>): string[] {
  const keys: string[] = [];
  for (const { kind, name, namespace } of binding.subjects ?? []) {
    if (kind === "Group") keys.push(`group:${name}`);
    else if (kind === "User") keys.push(`user:${name}`);
    else if (kind === "ServiceAccount") {
      keys.push(`user:system:serviceaccount:${namespace || (binding.metadata.namespace ?? "")}:${name}`);
    }
  }
  return keys;
}

function subjectsOf(user: UserInfo): string[] {
  return [`user:${user.name}`, ...user.groups.map((group) => `group:${group}`)];
}
