/**
 * The flow schemas and priority levels that every cluster of v1.36 has: those that cannot be changed, and those that
 * Kubernetes suggests.
 */
import type {
  FlowSchema,
  PolicyRulesWithSubjects,
  PriorityLevelConfiguration,
  Subject,
} from "./generated/flowcontrol-v1.ts";

/** The annotation that says whether a suggested object is still ours to change. */
export const autoUpdate = "apf.kubernetes.io/autoupdate-spec";
const annotations = { [autoUpdate]: "true" };
const head = { apiVersion: "flowcontrol.apiserver.k8s.io/v1" } as const;

type LevelSpec = NonNullable<PriorityLevelConfiguration["spec"]>;

function level(name: string, spec: LevelSpec): PriorityLevelConfiguration {
  return { ...head, kind: "PriorityLevelConfiguration", metadata: { name, annotations }, spec };
}

function queued(name: string, shares: number, lendable: number, queues: number, handSize: number) {
  const queuing = { queues, handSize, queueLengthLimit: 50 };
  const limits = { nominalConcurrencyShares: shares, lendablePercent: lendable };
  return level(name, { type: "Limited", limited: { ...limits, limitResponse: { type: "Queue", queuing } } });
}

export const mandatoryLevels: readonly PriorityLevelConfiguration[] = [
  level("exempt", { type: "Exempt", exempt: { nominalConcurrencyShares: 0, lendablePercent: 0 } }),
  level("catch-all", {
    type: "Limited",
    limited: { nominalConcurrencyShares: 5, lendablePercent: 0, limitResponse: { type: "Reject" } },
  }),
];

export const suggestedLevels: readonly PriorityLevelConfiguration[] = [
  queued("system", 30, 33, 64, 6),
  queued("node-high", 40, 25, 64, 6),
  queued("leader-election", 10, 0, 16, 4),
  queued("workload-high", 40, 50, 128, 6),
  queued("workload-low", 100, 90, 128, 6),
  queued("global-default", 20, 50, 128, 6),
];

const groups = (...names: string[]): Subject[] => names.map((name) => ({ kind: "Group", group: { name } }));
const users = (...names: string[]): Subject[] => names.map((name) => ({ kind: "User", user: { name } }));
const systemAccounts: Subject = { kind: "ServiceAccount", serviceAccount: { name: "*", namespace: "kube-system" } };
const anybody = groups("system:unauthenticated", "system:authenticated");

function resources(verbs: string[], apiGroups: string[], names: string[], clusterScope: boolean) {
  return { verbs, apiGroups, resources: names, namespaces: ["*"], ...(clusterScope && { clusterScope }) };
}

/** Whatever these subjects ask. */
function everything(subjects: Subject[]): PolicyRulesWithSubjects {
  return {
    subjects,
    resourceRules: [resources(["*"], ["*"], ["*"], true)],
    nonResourceRules: [{ verbs: ["*"], nonResourceURLs: ["*"] }],
  };
}

type Distinguisher = "ByUser" | "ByNamespace" | undefined;

function schema(
  name: string,
  levelName: string,
  matchingPrecedence: number,
  type: Distinguisher,
  rule: PolicyRulesWithSubjects,
): FlowSchema {
  return {
    ...head,
    kind: "FlowSchema",
    metadata: { name, annotations },
    spec: {
      priorityLevelConfiguration: { name: levelName },
      matchingPrecedence,
      ...(type && { distinguisherMethod: { type } }),
      rules: [rule],
    },
  };
}

export const mandatorySchemas: readonly FlowSchema[] = [
  schema("exempt", "exempt", 1, undefined, everything(groups("system:masters"))),
  schema("catch-all", "catch-all", 10_000, "ByUser", everything(anybody)),
];

const leases = (verbs: string[]) => resources(verbs, ["coordination.k8s.io"], ["leases"], false);

export const suggestedSchemas: readonly FlowSchema[] = [
  schema("system-nodes", "system", 500, "ByUser", everything(groups("system:nodes"))),
  schema("system-node-high", "node-high", 400, "ByUser", {
    subjects: groups("system:nodes"),
    resourceRules: [resources(["*"], [""], ["nodes", "nodes/status"], true), leases(["*"])],
  }),
  schema("probes", "exempt", 2, undefined, {
    subjects: anybody,
    nonResourceRules: [{ verbs: ["get"], nonResourceURLs: ["/healthz", "/readyz", "/livez"] }],
  }),
  schema("system-leader-election", "leader-election", 100, "ByUser", {
    subjects: [...users("system:kube-controller-manager", "system:kube-scheduler"), systemAccounts],
    resourceRules: [leases(["get", "create", "update"])],
  }),
  schema(
    "kube-controller-manager",
    "workload-high",
    800,
    "ByNamespace",
    everything(users("system:kube-controller-manager")),
  ),
  schema("kube-scheduler", "workload-high", 800, "ByNamespace", everything(users("system:kube-scheduler"))),
  schema("kube-system-service-accounts", "workload-high", 900, "ByNamespace", everything([systemAccounts])),
  schema("service-accounts", "workload-low", 9000, "ByUser", everything(groups("system:serviceaccounts"))),
  schema("global-default", "global-default", 9900, "ByUser", everything(anybody)),
];
