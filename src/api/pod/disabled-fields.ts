/** Fields of features that v1.36 has, but not on by default: they are dropped as if they were unknown. */
import type { PodSpec } from "../generated/core-v1.ts";

export function dropDisabled(spec: PodSpec | undefined): void {
  if (!spec) return;
  // GenericWorkload.
  delete spec.schedulingGroup;
  // ContainerStopSignals.
  for (const list of [spec.containers, spec.initContainers, spec.ephemeralContainers]) {
    for (const container of list ?? []) {
      if (container.lifecycle?.stopSignal === undefined) continue;
      delete container.lifecycle.stopSignal;
      if (Object.keys(container.lifecycle).length === 0) delete container.lifecycle;
    }
  }
  // ClusterTrustBundleProjection and PodCertificateRequest: the empty source stays.
  for (const { projected } of spec.volumes ?? []) {
    for (const source of projected?.sources ?? []) {
      delete source.clusterTrustBundle;
      delete source.podCertificate;
    }
  }
}
