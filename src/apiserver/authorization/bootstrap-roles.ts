import type { PolicyRule } from "../../api/generated/rbac-v1.ts";
import { nodeRoleRules } from "./node-rules.ts";
import { eventsLine, rules } from "./rule-notation.ts";

/** A default ClusterRole. `aggregatesTo` puts its rules into admin, edit or view; `aggregates` gathers them. */
export interface DefaultRole {
  readonly rules: PolicyRule[];
  readonly aggregatesTo?: string;
  readonly aggregates?: readonly string[];
}

const kubernetesSigner = (name: string) => rules(`approve | certificates.k8s.io | signers | kubernetes.io/${name}`);

const legacyWorkloads =
  "daemonsets deployments deployments/scale ingresses networkpolicies replicasets replicasets/scale";

/** The default ClusterRoles of Kubernetes v1.36 that are for people and components (controllers have their own file). */
export function defaultClusterRoles(): Record<string, DefaultRole> {
  const health = "/healthz /livez /readyz";
  return {
    "cluster-admin": { rules: rules("* | * | *", "* | *") },
    "system:discovery": {
      rules: rules(`get | /api /api/* /apis /apis/* ${health} /openapi /openapi/* /version /version/`),
    },
    "system:monitoring": {
      rules: rules(`get | /healthz /healthz/* /livez /livez/* /metrics /metrics/slis /readyz /readyz/*`),
    },
    "system:basic-user": {
      rules: rules(
        "create | authorization.k8s.io | selfsubjectaccessreviews selfsubjectrulesreviews",
        "create | authentication.k8s.io | selfsubjectreviews",
      ),
    },
    "system:public-info-viewer": { rules: rules(`get | ${health} /version /version/`) },
    admin: { rules: [], aggregates: ["admin"] },
    edit: { rules: [], aggregates: ["edit"] },
    view: { rules: [], aggregates: ["view"] },
    "system:aggregate-to-admin": {
      aggregatesTo: "admin",
      rules: rules(
        "create | authorization.k8s.io | localsubjectaccessreviews",
        "read write | rbac.authorization.k8s.io | roles rolebindings",
      ),
    },
    "system:aggregate-to-edit": {
      aggregatesTo: "edit",
      rules: rules(
        "read | core | pods/attach pods/proxy pods/exec pods/portforward secrets services/proxy",
        "impersonate | core | serviceaccounts",
        "write | core | pods pods/attach pods/proxy pods/exec pods/portforward",
        "create | core | pods/eviction",
        "write | core | configmaps events persistentvolumeclaims replicationcontrollers replicationcontrollers/scale secrets serviceaccounts services services/proxy",
        "create | core | serviceaccounts/token",
        "write | apps | daemonsets deployments deployments/rollback deployments/scale replicasets replicasets/scale statefulsets statefulsets/scale",
        "write | autoscaling | horizontalpodautoscalers",
        "write | batch | cronjobs jobs",
        `write | extensions | ${legacyWorkloads} deployments/rollback replicationcontrollers/scale`,
        "write | policy | poddisruptionbudgets",
        "write | networking.k8s.io | ingresses networkpolicies",
        "read write | coordination.k8s.io | leases",
        "write | resource.k8s.io | resourceclaims resourceclaimtemplates",
      ),
    },
    "system:aggregate-to-view": {
      aggregatesTo: "view",
      rules: rules(
        "read | core | configmaps endpoints persistentvolumeclaims persistentvolumeclaims/status pods replicationcontrollers replicationcontrollers/scale serviceaccounts services services/status",
        "read | core | bindings events limitranges namespaces/status pods/log pods/status replicationcontrollers/status resourcequotas resourcequotas/status",
        "read | core | namespaces",
        "read | discovery.k8s.io | endpointslices",
        "read | apps | controllerrevisions daemonsets daemonsets/status deployments deployments/scale deployments/status replicasets replicasets/scale replicasets/status statefulsets statefulsets/scale statefulsets/status",
        "read | autoscaling | horizontalpodautoscalers horizontalpodautoscalers/status",
        "read | batch | cronjobs cronjobs/status jobs jobs/status",
        `read | extensions | ${legacyWorkloads} daemonsets/status deployments/status ingresses/status replicasets/status replicationcontrollers/scale`,
        "read | policy | poddisruptionbudgets poddisruptionbudgets/status",
        "read | networking.k8s.io | ingresses ingresses/status networkpolicies",
        "read | resource.k8s.io | resourceclaims resourceclaims/status resourceclaimtemplates",
      ),
    },
    "system:heapster": {
      rules: rules("read | core | events namespaces nodes pods", "read | extensions | deployments"),
    },
    "system:node": { rules: nodeRoleRules() },
    "system:node-problem-detector": {
      rules: rules("get | core | nodes", "patch | core | nodes/status", eventsLine),
    },
    "system:kubelet-api-admin": {
      rules: rules(
        "read | core | nodes",
        "proxy | core | nodes",
        "* | core | nodes/checkpoint nodes/configz nodes/healthz nodes/log nodes/metrics nodes/pods nodes/proxy nodes/stats",
      ),
    },
    "system:node-bootstrapper": {
      rules: rules("create get list watch | certificates.k8s.io | certificatesigningrequests"),
    },
    "system:auth-delegator": {
      rules: rules(
        "create | authentication.k8s.io | tokenreviews",
        "create | authorization.k8s.io | subjectaccessreviews",
      ),
    },
    "system:kube-aggregator": { rules: rules("read | core | endpoints services") },
    "system:kube-controller-manager": {
      rules: rules(
        eventsLine,
        "create | coordination.k8s.io | leases",
        "get update | coordination.k8s.io | leases | kube-controller-manager",
        "create | core | secrets serviceaccounts",
        "delete | core | secrets",
        "get | core | configmaps namespaces secrets serviceaccounts",
        "update | core | secrets serviceaccounts",
        "create | authentication.k8s.io | tokenreviews",
        "create | authorization.k8s.io | subjectaccessreviews",
        "list watch | * | *",
        "create | core | serviceaccounts/token",
      ),
    },
    "system:kube-dns": { rules: rules("list watch | core | endpoints services") },
    "system:persistent-volume-provisioner": {
      rules: rules(
        "create delete get list watch | core | persistentvolumes",
        "get list update watch | core | persistentvolumeclaims",
        "read | storage.k8s.io | storageclasses",
        "watch | core | events",
        eventsLine,
      ),
    },
    "system:kube-scheduler": {
      rules: rules(
        eventsLine,
        "create | coordination.k8s.io | leases",
        "get list update watch | coordination.k8s.io | leases | kube-scheduler",
        "create | coordination.k8s.io | leasecandidates",
        "delete get list patch update watch | coordination.k8s.io | leasecandidates",
        "read | core | nodes",
        "delete get list watch | core | pods",
        "create | core | bindings pods/binding",
        "patch update | core | pods/status",
        "read | core | replicationcontrollers services",
        "read | apps extensions | replicasets",
        "read | apps | statefulsets",
        "read | policy | poddisruptionbudgets",
        "get list watch | core | persistentvolumeclaims persistentvolumes",
        "create | authentication.k8s.io | tokenreviews",
        "create | authorization.k8s.io | subjectaccessreviews",
        "read | storage.k8s.io | csinodes csidrivers csistoragecapacities storageclasses volumeattachments",
        "read | core | namespaces",
        "read | resource.k8s.io | deviceclasses resourceclaims resourceslices",
        "patch update | resource.k8s.io | resourceclaims resourceclaims/status",
      ),
    },
    "system:node-proxier": {
      rules: rules(
        "list watch | core | endpoints services",
        "get list watch | core | nodes",
        eventsLine,
        "list watch | discovery.k8s.io | endpointslices",
        "list watch | networking.k8s.io | servicecidrs",
      ),
    },
    "system:certificates.k8s.io:certificatesigningrequests:nodeclient": {
      rules: rules("create | certificates.k8s.io | certificatesigningrequests/nodeclient"),
    },
    "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient": {
      rules: rules("create | certificates.k8s.io | certificatesigningrequests/selfnodeclient"),
    },
    "system:certificates.k8s.io:legacy-unknown-approver": { rules: kubernetesSigner("legacy-unknown") },
    "system:certificates.k8s.io:kubelet-serving-approver": { rules: kubernetesSigner("kubelet-serving") },
    "system:certificates.k8s.io:kube-apiserver-client-approver": { rules: kubernetesSigner("kube-apiserver-client") },
    "system:certificates.k8s.io:kube-apiserver-client-kubelet-approver": {
      rules: kubernetesSigner("kube-apiserver-client-kubelet"),
    },
    "system:volume-scheduler": {
      rules: rules(
        "get list patch update watch | core | persistentvolumes",
        "read | storage.k8s.io | storageclasses",
        "get list patch update watch | core | persistentvolumeclaims",
      ),
    },
    "system:service-account-issuer-discovery": {
      rules: rules(
        "get | /.well-known/openid-configuration /.well-known/openid-configuration/ /openid/v1/jwks /openid/v1/jwks/",
      ),
    },
    // K3s' own: the controllers that run on a node (network, policies) share one certificate. K3s lets it write Nodes
    // and leases, too; here it only reads, so that a node that was broken into harms no other.
    "system:k3s-controller": {
      rules: rules(
        "get list watch | core | namespaces nodes pods services",
        "get list watch | networking.k8s.io | networkpolicies",
        "get list watch | discovery.k8s.io | endpointslices",
      ),
    },
  };
}

type Subject = `user:${string}` | `group:${string}`;

/** The default ClusterRoleBindings: name, role and subjects. */
export const defaultClusterRoleBindings: readonly (readonly [name: string, role: string, ...subjects: Subject[]])[] = [
  ["cluster-admin", "cluster-admin", "group:system:masters"],
  ["system:monitoring", "system:monitoring", "group:system:monitoring"],
  ["system:discovery", "system:discovery", "group:system:authenticated"],
  ["system:basic-user", "system:basic-user", "group:system:authenticated"],
  [
    "system:public-info-viewer",
    "system:public-info-viewer",
    "group:system:authenticated",
    "group:system:unauthenticated",
  ],
  ["system:node-proxier", "system:node-proxier", "user:system:kube-proxy"],
  ["system:kube-controller-manager", "system:kube-controller-manager", "user:system:kube-controller-manager"],
  ["system:kube-scheduler", "system:kube-scheduler", "user:system:kube-scheduler"],
  ["system:volume-scheduler", "system:volume-scheduler", "user:system:kube-scheduler"],
  [
    "system:service-account-issuer-discovery",
    "system:service-account-issuer-discovery",
    "group:system:serviceaccounts",
  ],
  // Kubelets are decided by the node authorizer; the binding is there without subjects, as in Kubernetes.
  ["system:node", "system:node"],
  ["kube-apiserver-kubelet-admin", "system:kubelet-api-admin", "user:kube-apiserver"],
  ["system:k3s-controller", "system:k3s-controller", "user:system:k3s-controller"],
];
