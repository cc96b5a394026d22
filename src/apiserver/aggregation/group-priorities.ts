/** The priorities that Kubernetes gives its own groups, and all custom ones. */

/** Of a group, and of its versions where there are several. */
const groups: Readonly<Record<string, number>> = {
  // Served by the aggregator itself, which comes first.
  "apiregistration.k8s.io": 20001,
  "": 18000,
  apps: 17800,
  "events.k8s.io": 17750,
  "authentication.k8s.io": 17700,
  "authorization.k8s.io": 17600,
  autoscaling: 17500,
  batch: 17400,
  "certificates.k8s.io": 17300,
  "networking.k8s.io": 17200,
  policy: 17100,
  "rbac.authorization.k8s.io": 17000,
  "storage.k8s.io": 16800,
  "apiextensions.k8s.io": 16700,
  "admissionregistration.k8s.io": 16700,
  "scheduling.k8s.io": 16600,
  "coordination.k8s.io": 16500,
  "node.k8s.io": 16300,
  "discovery.k8s.io": 16200,
  "resource.k8s.io": 16200,
  "flowcontrol.apiserver.k8s.io": 16100,
};

const versions: Readonly<Record<string, number>> = {
  "/v1": 1,
  "autoscaling/v2": 30,
  "flowcontrol.apiserver.k8s.io/v1": 21,
  "resource.k8s.io/v1": 21,
};

const customGroup = 1000;
const customVersion = 100;
const builtInVersion = 15;

export function groupPriority(group: string): number {
  return Object.hasOwn(groups, group) ? groups[group]! : customGroup;
}

export function versionPriority(group: string, version: string): number {
  if (!Object.hasOwn(groups, group)) return customVersion;
  return versions[`${group}/${version}`] ?? builtInVersion;
}
