import type { PolicyRule } from "../../api/generated/rbac-v1.ts";
import { eventsLine, rules } from "./rule-notation.ts";

const pods = "create delete get list patch update watch | core | pods";
const revisions = "create delete get list patch update watch | apps | controllerrevisions";

/** What may be removed by controllers that remove anything. */
const anything = "delete get list patch update watch | * | *";

/**
 * The default roles of controllers: each is ClusterRole `system:controller:<name>`, bound to service account <name> in
 * kube-system.
 */
export function controllerRoles(): Record<string, PolicyRule[]> {
  return {
    "attachdetach-controller": rules(
      "list watch | core | persistentvolumeclaims persistentvolumes",
      "get list watch | core | nodes",
      "patch update | core | nodes/status",
      "list watch | core | pods",
      "create delete get list watch patch | storage.k8s.io | volumeattachments",
      "patch | storage.k8s.io | volumeattachments/status",
      "get list watch | storage.k8s.io | csidrivers csinodes",
      eventsLine,
    ),
    "certificate-controller": rules(
      "delete get list watch | certificates.k8s.io | certificatesigningrequests",
      "update | certificates.k8s.io | certificatesigningrequests/approval certificatesigningrequests/status",
      "approve | certificates.k8s.io | signers | kubernetes.io/kube-apiserver-client-kubelet",
      "sign | certificates.k8s.io | signers | kubernetes.io/legacy-unknown kubernetes.io/kubelet-serving kubernetes.io/kube-apiserver-client kubernetes.io/kube-apiserver-client-kubelet",
      "create | authorization.k8s.io | subjectaccessreviews",
      eventsLine,
    ),
    "clusterrole-aggregation-controller": rules(
      "escalate get list patch update watch | rbac.authorization.k8s.io | clusterroles",
    ),
    "cronjob-controller": rules(
      "get list patch update watch | batch | cronjobs",
      "create delete get list patch update watch | batch | jobs",
      "update | batch | cronjobs/finalizers cronjobs/status",
      "delete list | core | pods",
      eventsLine,
    ),
    "daemon-set-controller": rules(
      "get list watch | extensions apps | daemonsets",
      "update | extensions apps | daemonsets/finalizers daemonsets/status",
      "list watch | core | nodes",
      "create delete list patch watch | core | pods",
      "create | core | pods/binding",
      revisions,
      eventsLine,
    ),
    "deployment-controller": rules(
      "get list patch update watch | extensions apps | deployments",
      "update | extensions apps | deployments/finalizers deployments/status",
      "create delete get list patch update watch | extensions apps | replicasets",
      "get list update watch | core | pods",
      eventsLine,
    ),
    "device-taint-eviction-controller": rules(
      "delete get list watch | core | pods",
      "patch update | core | pods/status",
      "get list watch | resource.k8s.io | deviceclasses resourceclaims resourceslices",
      eventsLine,
    ),
    "disruption-controller": rules(
      "get list watch | extensions apps | deployments replicasets",
      "get list watch | core | replicationcontrollers",
      "get list watch | apps | statefulsets",
      "get list watch | policy | poddisruptionbudgets",
      "update | policy | poddisruptionbudgets/status",
      "get list watch | core | pods",
      "patch update | core | pods/status",
      "get | * | */scale",
      eventsLine,
    ),
    "endpoint-controller": rules(
      "get list watch | core | pods services",
      "create delete get list patch update watch | core | endpoints",
      "create | core | endpoints/restricted",
      eventsLine,
    ),
    "endpointslice-controller": rules(
      "get list watch | core | nodes pods services",
      "update | core | services/finalizers",
      "create delete get list patch update watch | discovery.k8s.io | endpointslices",
      "create | discovery.k8s.io | endpointslices/restricted",
      eventsLine,
    ),
    "endpointslicemirroring-controller": rules(
      "get list watch | core | endpoints services",
      "update | core | endpoints/finalizers services/finalizers",
      "create delete get list patch update watch | discovery.k8s.io | endpointslices",
      "create | discovery.k8s.io | endpointslices/restricted",
      eventsLine,
    ),
    "ephemeral-volume-controller": rules(
      "update | core | pods/finalizers",
      "get list watch | core | pods",
      "create get list watch | core | persistentvolumeclaims",
      eventsLine,
    ),
    "expand-controller": rules(
      "get list patch update watch | core | persistentvolumes",
      "patch update | core | persistentvolumeclaims/status",
      "get list watch | core | persistentvolumeclaims",
      "get list watch | storage.k8s.io | storageclasses",
      eventsLine,
    ),
    "generic-garbage-collector": rules(eventsLine, anything),
    "horizontal-pod-autoscaler": rules(
      "get list watch | autoscaling | horizontalpodautoscalers",
      "update | autoscaling | horizontalpodautoscalers/status",
      "get update | * | */scale",
      "list | core | pods",
      "get list | custom.metrics.k8s.io external.metrics.k8s.io | *",
      "list | metrics.k8s.io | pods",
      eventsLine,
    ),
    "job-controller": rules(
      "get list patch update watch | batch | jobs",
      "update | batch | jobs/finalizers jobs/status",
      "create delete list patch watch | core | pods",
      eventsLine,
    ),
    "legacy-service-account-token-cleaner": rules(
      "get | core | configmaps | kube-apiserver-legacy-service-account-token-tracking",
      "delete patch | core | secrets",
    ),
    "namespace-controller": rules(
      "delete get list watch | core | namespaces",
      "update | core | namespaces/finalize namespaces/status",
      "delete deletecollection get list | * | *",
    ),
    "node-controller": rules(
      "delete get list patch update watch | core | nodes",
      "patch update | core | nodes/status",
      "patch update | core | pods/status",
      "delete get list watch | core | pods",
      "get list update watch | networking.k8s.io | clustercidrs",
      "create get list update watch | coordination.k8s.io | leases",
      eventsLine,
    ),
    "persistent-volume-binder": rules(
      "create delete get list update watch | core | persistentvolumes",
      "update | core | persistentvolumes/status",
      "get list update watch | core | persistentvolumeclaims",
      "update | core | persistentvolumeclaims/status",
      "create delete get list watch | core | pods",
      "create delete get list watch | core | endpoints services",
      "get list | core | secrets",
      "get list watch | core | nodes",
      "get list watch | storage.k8s.io | csidrivers csinodes storageclasses",
      "watch | core | events",
      eventsLine,
    ),
    "pod-garbage-collector": rules(
      "delete list watch | core | pods",
      "get list watch | core | nodes",
      "patch | core | pods/status",
    ),
    "pv-protection-controller": rules("get list update watch | core | persistentvolumes", eventsLine),
    "pvc-protection-controller": rules(
      "get list update watch | core | persistentvolumeclaims",
      "get list watch | core | pods",
      eventsLine,
    ),
    "replicaset-controller": rules(
      "get list update watch | extensions apps | replicasets",
      "update | extensions apps | replicasets/finalizers replicasets/status",
      "create delete list patch watch | core | pods",
      eventsLine,
    ),
    "replication-controller": rules(
      "get list update watch | core | replicationcontrollers",
      "update | core | replicationcontrollers/finalizers replicationcontrollers/status",
      "create delete list patch watch | core | pods",
      eventsLine,
    ),
    "resource-claim-controller": rules(
      "get list watch | core | pods",
      "update | core | pods/finalizers",
      "patch update | core | pods/status",
      "create delete get list watch | resource.k8s.io | resourceclaims",
      "get list watch | resource.k8s.io | resourceclaimtemplates",
      "patch update | resource.k8s.io | resourceclaims resourceclaims/status",
      "patch update | resource.k8s.io | resourceclaims/binding",
      eventsLine,
    ),
    "resourcequota-controller": rules("list watch | * | *", "update | core | resourcequotas/status", eventsLine),
    "root-ca-cert-publisher": rules("create update | core | configmaps", eventsLine),
    "route-controller": rules("list watch | core | nodes", "patch | core | nodes/status", eventsLine),
    "service-account-controller": rules("create | core | serviceaccounts", eventsLine),
    // In Kubernetes the API server itself shows its addresses and ranges.
    "service-addresses-controller": rules(
      "list watch | core | services",
      "create delete get list watch | networking.k8s.io | ipaddresses",
      "create get list watch | networking.k8s.io | servicecidrs",
    ),
    "service-cidrs-controller": rules(
      "get list patch update watch | networking.k8s.io | servicecidrs",
      "patch update | networking.k8s.io | servicecidrs/finalizers servicecidrs/status",
      "get list watch | networking.k8s.io | ipaddresses",
      eventsLine,
    ),
    "service-controller": rules(
      "get list watch | core | services",
      "patch update | core | services/status",
      "list watch | core | nodes",
      eventsLine,
    ),
    "statefulset-controller": rules(
      "list watch | core | pods",
      "get list watch | apps | statefulsets",
      "update | apps | statefulsets/finalizers statefulsets/status",
      pods,
      revisions,
      "create delete get list patch update watch | core | persistentvolumeclaims",
      eventsLine,
    ),
    "ttl-after-finished-controller": rules("delete get list watch | batch | jobs", eventsLine),
    "ttl-controller": rules("list patch update watch | core | nodes", eventsLine),
    "validatingadmissionpolicy-status-controller": rules(
      "get list watch | admissionregistration.k8s.io | validatingadmissionpolicies",
      "get patch update | admissionregistration.k8s.io | validatingadmissionpolicies/status",
      eventsLine,
    ),
  };
}

/** A default Role with its bindings' subjects. */
export interface NamespacedDefault {
  readonly namespace: string;
  readonly name: string;
  readonly rules: PolicyRule[];
  /** Each binding: its name and subjects ("user:…" or "account:<namespace>/<name>"). */
  readonly bindings: readonly (readonly [name: string, ...subjects: string[]])[];
}

/** The default Roles of kube-system and kube-public. */
export function namespacedDefaults(): NamespacedDefault[] {
  const managers = ["user:system:kube-controller-manager", "user:system:kube-scheduler"];
  const account = (name: string) => `account:kube-system/${name}`;
  const simple = (namespace: string, name: string, subject: string, ...lines: string[]): NamespacedDefault => ({
    namespace,
    name,
    rules: rules(...lines),
    bindings: [[name, subject]],
  });
  const lock = (component: string): NamespacedDefault => ({
    namespace: "kube-system",
    name: `system::leader-locking-${component}`,
    rules: rules("watch | core | configmaps", `get update | core | configmaps | ${component}`),
    bindings: [[`system::leader-locking-${component}`, `user:system:${component}`, account(component)]],
  });
  return [
    {
      namespace: "kube-system",
      name: "extension-apiserver-authentication-reader",
      rules: rules("get list watch | core | configmaps | extension-apiserver-authentication"),
      bindings: [["system::extension-apiserver-authentication-reader", ...managers]],
    },
    simple("kube-system", "system:controller:bootstrap-signer", account("bootstrap-signer"), "read | core | secrets"),
    simple(
      "kube-system",
      "system:controller:cloud-provider",
      account("cloud-provider"),
      "create get list watch | core | configmaps",
    ),
    simple(
      "kube-system",
      "system:controller:token-cleaner",
      account("token-cleaner"),
      "delete get list watch | core | secrets",
      eventsLine,
    ),
    // The DNS of every node follows the names that tools add there.
    simple(
      "kube-system",
      "system:k3s-controller",
      "user:system:k3s-controller",
      "get list watch | core | configmaps | coredns",
    ),
    lock("kube-controller-manager"),
    lock("kube-scheduler"),
    simple(
      "kube-public",
      "system:controller:bootstrap-signer",
      account("bootstrap-signer"),
      "read | core | configmaps",
      "update | core | configmaps | cluster-info",
      eventsLine,
    ),
  ];
}
