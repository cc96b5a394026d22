/**
 * The group-versions that are served: all of Kubernetes v1.36 that are on by default (every GA version; beta and alpha
 * ones are off unless asked for). `file` names the generated file, `prefix` what the client library puts before a type
 * whose name two groups share, `package` the first part of the OpenAPI definition names.
 */
export interface Group {
  readonly file: string;
  readonly group: string;
  readonly version: string;
  readonly prefix: string;
  readonly package: string;
}

function group(short: string, group: string, prefix: string, version = "v1", root = "io.k8s.api."): Group {
  return { file: `${short}-${version}`, group, version, prefix, package: `${root}${short}.${version}` };
}

const metaPackage = "io.k8s.apimachinery.pkg.apis.";

export const groups: readonly Group[] = [
  group("meta", "meta.k8s.io", "Meta", "v1", metaPackage),
  group("core", "", "Core"),
  group("admissionregistration", "admissionregistration.k8s.io", "Admissionregistration"),
  group("apiextensions", "apiextensions.k8s.io", "Apiextensions", "v1", "io.k8s.apiextensions-apiserver.pkg.apis."),
  group("apiregistration", "apiregistration.k8s.io", "Apiregistration", "v1", "io.k8s.kube-aggregator.pkg.apis."),
  group("apps", "apps", "Apps"),
  group("authentication", "authentication.k8s.io", "Authentication"),
  group("authorization", "authorization.k8s.io", "Authorization"),
  group("autoscaling", "autoscaling", "Autoscaling"),
  group("autoscaling", "autoscaling", "Autoscaling", "v2"),
  group("batch", "batch", "Batch"),
  group("certificates", "certificates.k8s.io", "Certificates"),
  group("coordination", "coordination.k8s.io", "Coordination"),
  group("discovery", "discovery.k8s.io", "Discovery"),
  group("events", "events.k8s.io", "Events"),
  group("flowcontrol", "flowcontrol.apiserver.k8s.io", "Flowcontrol"),
  group("networking", "networking.k8s.io", "Networking"),
  group("node", "node.k8s.io", "Node"),
  group("policy", "policy", "Policy"),
  group("rbac", "rbac.authorization.k8s.io", "Rbac"),
  group("resource", "resource.k8s.io", "Resource"),
  group("scheduling", "scheduling.k8s.io", "Scheduling"),
  group("storage", "storage.k8s.io", "Storage"),
];
