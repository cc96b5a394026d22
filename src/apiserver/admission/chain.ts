import type { Store } from "../../store/store.ts";
import type { Rbac } from "../authorization/rbac.ts";
import type { AdmissionPlugin, ServerContext } from "../request.ts";
import type { ResourceTable } from "../resource-table.ts";
import { certificateApproval } from "./certificate-approval.ts";
import { defaultIngressClass, defaultStorageClass } from "./default-classes.ts";
import { defaultTolerationSeconds } from "./default-tolerations.ts";
import { equivalentsOf } from "./equivalents.ts";
import { limitRanger } from "./limit-ranger.ts";
import { namespaceLifecycle } from "./namespace-lifecycle.ts";
import { nodeRestriction } from "./node-restriction.ts";
import { podSecurity } from "./pod-security/pod-security.ts";
import { policies } from "./policies.ts";
import { ensureSystemPriorityClasses, priority } from "./priority.ts";
import { resourceQuota } from "./resource-quota.ts";
import { roleEscalation } from "./role-escalation.ts";
import { runtimeClass } from "./runtime-class.ts";
import { serviceAccountAdmission } from "./service-account.ts";
import { serviceAllocation } from "./service-allocation.ts";
import { storageObjectInUseProtection } from "./storage-protection.ts";
import { StoreTurn } from "./store-turn.ts";
import { taintNodesByCondition } from "./taint-nodes.ts";
import { conditionCheck } from "./webhooks/condition-check.ts";
import { webhooks } from "./webhooks.ts";

export interface AdmissionOptions {
  readonly context: ServerContext;
  readonly rbac: Rbac;
  readonly store: Store;
  /** One range, or one a family separated by a comma, the default one first. */
  readonly serviceCidr: string;
  readonly nodePortRange: { readonly from: number; readonly to: number };
  /** What is served, for webhooks and policies that judge a resource in another version than it was asked for. */
  readonly resources?: ResourceTable;
  /** Ends what the plugins follow. */
  readonly signal?: AbortSignal;
}

/** All admission plugins, in the order in which they run. */
export function admissionChain(options: AdmissionOptions): AdmissionPlugin[] {
  const { context, rbac } = options;
  const { client, authorize, clusterClock: clock, logger } = context;
  const signal = options.signal ?? new AbortController().signal;
  ensureSystemPriorityClasses(client).catch((error) => {
    // Their numbers are known without them: pods that name them are admitted all the same.
    if (!signal.aborted) logger.warn({ err: error }, "Writing the system's priority classes failed");
  });
  const equivalents = options.resources && equivalentsOf(options.resources);
  const policy = policies({ context, resources: options.resources, equivalents, signal });
  const { mutating, validating } = webhooks({ context, equivalents, signal });
  // What is decided by all that is stored, other servers must not decide at the same time.
  const turns = options.store.exclusive ? undefined : { store: options.store, clock: context.ioClock, logger };
  return [
    namespaceLifecycle(client),
    serviceAccountAdmission(client, context.ioClock, signal),
    nodeRestriction(client),
    taintNodesByCondition,
    priority(client),
    defaultTolerationSeconds,
    // After what adds to pods, before what counts them.
    runtimeClass(client),
    limitRanger(client),
    defaultStorageClass(client),
    defaultIngressClass(client),
    storageObjectInUseProtection,
    podSecurity(client, context.ioClock),
    certificateApproval(authorize),
    roleEscalation({ authorize, rbac }),
    serviceAllocation({
      client,
      serviceCidrs: options.serviceCidr.split(",").map((text) => text.trim()),
      nodePortRange: options.nodePortRange,
      clock,
      logger,
      signal,
      ...(turns ? { turns } : {}),
    }),
    policy.mutating,
    mutating,
    policy.check,
    conditionCheck,
    policy.validating,
    validating,
    // The last one: it counts what all others let pass.
    resourceQuota(context, turns && ((namespace) => new StoreTurn(`quota/${namespace}`, turns))),
  ];
}
