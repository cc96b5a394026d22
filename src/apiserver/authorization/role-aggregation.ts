import { isDeepStrictEqual as equal } from "node:util";
import { type ClusterRole, clusterRoles, type PolicyRule } from "../../api/generated/rbac-v1.ts";
import type { Client } from "../../client/client.ts";
import type { Informer } from "../../client/informer.ts";
import { fromLabelSelector } from "../../machinery/label-selector.ts";
import type { Logger } from "../../machinery/log.ts";
import type { DeepReadonly } from "../../machinery/object.ts";
import { StatusError } from "../../machinery/status.ts";

type CachedRole = DeepReadonly<ClusterRole>;

/** The rules that an aggregated role should have: those of all roles that its selectors match, in order of names. */
export function aggregatedRules(role: CachedRole, all: readonly CachedRole[]): PolicyRule[] {
  const selectors = (role.aggregationRule?.clusterRoleSelectors ?? []).map((selector) =>
    fromLabelSelector(structuredClone(selector) as Parameters<typeof fromLabelSelector>[0]),
  );
  const rules: PolicyRule[] = [];
  const sorted = [...all].sort((a, b) => (a.metadata.name! < b.metadata.name! ? -1 : 1));
  for (const selector of selectors) {
    for (const other of sorted) {
      if (other.metadata.name === role.metadata.name || !selector.matches(other.metadata.labels ?? {})) continue;
      for (const rule of other.rules ?? []) {
        if (!rules.some((held) => equal(held, rule))) rules.push(structuredClone(rule) as PolicyRule);
      }
    }
  }
  return rules;
}

/**
 * Keeps the rules of aggregated ClusterRoles (admin, edit, view, and those of users) equal to what their selectors
 * gather, whenever a ClusterRole changes. Ends with the signal.
 */
export function startRoleAggregation(options: {
  readonly client: Client;
  readonly roles: Informer<ClusterRole>;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}): void {
  const { client, roles, logger, signal } = options;
  let wanted = false;
  let running = false;

  const run = async () => {
    if (running) return;
    running = true;
    while (wanted && !signal.aborted) {
      wanted = false;
      const all = roles.list();
      for (const role of all) {
        if (!role.aggregationRule) continue;
        const rules = aggregatedRules(role, all);
        if (equal(rules, role.rules ?? [])) continue;
        const next = { ...(structuredClone(role) as ClusterRole), rules };
        await client.update(clusterRoles, next).catch((error: unknown) => {
          // Changed or deleted meanwhile: the event of that change runs this again.
          if (error instanceof StatusError && (error.code === 404 || error.code === 409)) return;
          if (!signal.aborted)
            logger.error({ role: role.metadata.name, err: error }, "Aggregating a ClusterRole failed");
        });
      }
    }
    running = false;
  };
  const onChange = () => {
    if (wanted) return;
    wanted = true;
    // Start-up creates dozens of roles: one pass after the events of a turn.
    setImmediate(() => void run());
  };
  void roles.synced(signal).then(
    () => {
      roles.on({ add: onChange, update: onChange, delete: onChange });
      onChange();
    },
    () => {},
  );
}
