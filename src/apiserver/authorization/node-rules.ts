import type { PolicyRule } from "../../api/generated/rbac-v1.ts";
import { eventsLine, rules } from "./rule-notation.ts";

let made: PolicyRule[] | undefined;

/** What every kubelet may do, whatever runs on it; also the default ClusterRole system:node. */
export function nodeRules(): readonly PolicyRule[] {
  made ??= rules(
    "create | authentication.k8s.io | tokenreviews",
    "create | authorization.k8s.io | subjectaccessreviews localsubjectaccessreviews",
    "read | core | services",
    "create get list watch | core | nodes",
    "patch update | core | nodes/status",
    "patch update | core | nodes",
    eventsLine,
    "read | core | pods",
    "create delete | core | pods",
    "patch update | core | pods/status",
    "create | core | pods/eviction",
    "get | core | persistentvolumeclaims persistentvolumes",
    "get | core | endpoints",
    "create get list watch | certificates.k8s.io | certificatesigningrequests",
    "get | storage.k8s.io | volumeattachments",
    "read | storage.k8s.io | csidrivers",
    "read | node.k8s.io | runtimeclasses",
    "read | discovery.k8s.io | endpointslices",
    "create delete get list watch patch update | resource.k8s.io | resourceslices",
    "get | resource.k8s.io | resourceclaims",
    "get list watch | certificates.k8s.io | clustertrustbundles",
    "get | /livez /readyz /healthz /version",
  );
  return made;
}

/** Rules that the role shows and that the node authorizer decides by relationship. */
export function nodeRoleRules(): PolicyRule[] {
  return [
    ...nodeRules(),
    ...rules(
      "get list watch | core | configmaps secrets",
      "create | core | serviceaccounts/token",
      "get patch update | core | persistentvolumeclaims/status",
      "create delete get patch update | coordination.k8s.io | leases",
      "create delete get patch update | storage.k8s.io | csinodes",
    ),
  ];
}
