import type { Client } from "../../client/client.ts";
import type { Clock } from "../../machinery/clock.ts";
import type { Logger } from "../../machinery/log.ts";
import type { Authorizer } from "../request.ts";
import { reconcileBootstrapPolicy } from "./bootstrap-policy.ts";
import { nodeAuthorizer } from "./node.ts";
import { createRbac, type Rbac } from "./rbac.ts";
import { startRoleAggregation } from "./role-aggregation.ts";
import { mastersAuthorizer, unionAuthorizer } from "./union.ts";

export interface Authorization {
  /** system:masters, then the node authorizer, then RBAC. Waits for the first state of roles where it needs them. */
  readonly authorize: Authorizer;
  readonly rbac: Rbac;
  /** Resolves when the default policy stands in the store and all roles are known; rejects when it cannot be written. */
  ready(): Promise<void>;
}

/**
 * Starts all that decides who may do what. `client` speaks as system:masters without admission; `clock` is the cluster
 * clock. Ends with the signal.
 */
export function startAuthorization(options: {
  readonly client: Client;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}): Authorization {
  const rbac = createRbac(options);
  const policy = reconcileBootstrapPolicy(options.client, options.logger);
  policy.then(
    () => startRoleAggregation({ ...options, roles: rbac.clusterRoles }),
    () => {},
  );
  return {
    authorize: unionAuthorizer([mastersAuthorizer, nodeAuthorizer(options), rbac.authorize]),
    rbac,
    ready: async () => {
      await Promise.all([policy, rbac.ready()]);
    },
  };
}
