/** What Kubernetes fills into pods and pod templates: everything that a creator may leave out (core/v1 defaults). */

import type {
  Container,
  EphemeralContainer,
  Lifecycle,
  Pod,
  PodSpec,
  PodTemplateSpec,
  Probe,
  Volume,
} from "../generated/core-v1.ts";
import { containerAmounts } from "./container-amounts.ts";

/** "host:5000/path/name:tag@sha256:…"; what is not such a reference has no tag. */
const imageName =
  /^([a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9])?(\.[a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9])?)*(:\d+)?\/)?[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(\/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*(:\w[\w.-]{0,127})?(@[A-Za-z][A-Za-z0-9]*([-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,})?$/;

/** The tag of an image reference: "latest" when it has neither tag nor digest, "" when it has only a digest. */
export function imageTag(reference: string): string {
  const at = reference.indexOf("@");
  const name = at < 0 ? reference : reference.slice(0, at);
  if (!imageName.test(reference)) return "";
  const colon = name.lastIndexOf(":");
  if (colon > name.lastIndexOf("/")) return name.slice(colon + 1);
  return at < 0 ? "latest" : "";
}

function pullPolicy(reference: string): string {
  return imageTag(reference) === "latest" ? "Always" : "IfNotPresent";
}

/** Defaults of a pod itself; a template gets those of {@link defaultPodTemplate} only. */
export function defaultPod(pod: Pod): void {
  const { spec } = pod;
  if (!spec) return;
  for (const container of [...(spec.containers ?? []), ...(spec.initContainers ?? [])]) defaultRequests(container);
  defaultPodLevelRequests(spec);
  spec.enableServiceLinks ??= true;
  if (spec.hostNetwork) defaultHostPorts(spec);
  // "As short as possible", in an old way to say it.
  if ((spec.terminationGracePeriodSeconds ?? 0) < 0) spec.terminationGracePeriodSeconds = 1;
  defaultPodSpec(spec);
  joinAddresses(pod);
}

/** podIP is the first of podIPs; who writes only one of them means both. */
function joinAddresses({ status }: Pod): void {
  if (!status) return;
  if (status.podIP && status.podIPs?.[0]?.ip !== status.podIP) status.podIPs = [{ ip: status.podIP }];
  else if (!status.podIP && status.podIPs?.[0]?.ip) status.podIP = status.podIPs[0].ip;
}

export function defaultPodTemplate(template: PodTemplateSpec | undefined): void {
  if (!template?.spec) return;
  if (template.spec.hostNetwork) defaultHostPorts(template.spec);
  defaultPodSpec(template.spec);
}

function defaultHostPorts(spec: PodSpec): void {
  for (const container of [...(spec.containers ?? []), ...(spec.initContainers ?? [])]) {
    for (const port of container.ports ?? []) port.hostPort ||= port.containerPort;
  }
}

function defaultRequests({ resources }: Container): void {
  if (!resources?.limits) return;
  const requests = { ...resources.limits, ...resources.requests };
  if (Object.keys(requests).length > 0) resources.requests = requests;
}

/** With limits for the whole pod, its requests follow from the containers' requests, else from its limits. */
function defaultPodLevelRequests(spec: PodSpec): void {
  const { resources } = spec;
  if (!resources?.limits || Object.keys(resources.limits).length === 0) return;
  const requests = { ...resources.requests };
  const supported = (name: string) => name === "cpu" || name === "memory" || name.startsWith("hugepages-");
  for (const [name, quantity] of Object.entries(containerAmounts(spec, "requests"))) {
    if (supported(name) && !name.startsWith("hugepages-")) requests[name] ??= quantity;
  }
  for (const [name, quantity] of Object.entries(resources.limits)) {
    if (supported(name)) requests[name] ??= quantity;
  }
  if (Object.keys(requests).length > 0) resources.requests = requests;
}

function defaultPodSpec(spec: PodSpec): void {
  spec.dnsPolicy ||= "ClusterFirst";
  spec.restartPolicy ||= "Always";
  spec.securityContext ??= {};
  spec.terminationGracePeriodSeconds ??= 30;
  spec.schedulerName ||= "default-scheduler";
  // The old name of the field is kept in step with the new one.
  const account = spec.serviceAccountName || spec.serviceAccount;
  if (account) {
    spec.serviceAccountName = account;
    spec.serviceAccount = account;
  }
  for (const volume of spec.volumes ?? []) defaultVolume(volume);
  for (const container of spec.initContainers ?? []) defaultContainer(container);
  for (const container of spec.containers ?? []) defaultContainer(container);
  for (const container of spec.ephemeralContainers ?? []) defaultContainer(container);
}

/** Defaults of one container; also for ephemeral ones. */
export function defaultContainer(container: Container | EphemeralContainer): void {
  container.imagePullPolicy ||= pullPolicy(container.image ?? "");
  container.terminationMessagePath ||= "/dev/termination-log";
  container.terminationMessagePolicy ||= "File";
  for (const port of container.ports ?? []) port.protocol ||= "TCP";
  for (const { valueFrom } of container.env ?? []) {
    if (valueFrom?.fieldRef) valueFrom.fieldRef.apiVersion ||= "v1";
    if (valueFrom?.fileKeyRef) valueFrom.fileKeyRef.optional ??= false;
  }
  for (const probe of [container.livenessProbe, container.readinessProbe, container.startupProbe]) defaultProbe(probe);
  defaultLifecycle(container.lifecycle);
}

function defaultProbe(probe: Probe | undefined): void {
  if (!probe) return;
  probe.timeoutSeconds ||= 1;
  probe.periodSeconds ||= 10;
  probe.successThreshold ||= 1;
  probe.failureThreshold ||= 3;
  if (probe.httpGet) defaultHttpGet(probe.httpGet);
  if (probe.grpc) probe.grpc.service ??= "";
}

function defaultLifecycle(lifecycle: Lifecycle | undefined): void {
  for (const handler of [lifecycle?.postStart, lifecycle?.preStop])
    if (handler?.httpGet) defaultHttpGet(handler.httpGet);
}

function defaultHttpGet(action: { path?: string; scheme?: string }): void {
  action.path ||= "/";
  action.scheme ||= "HTTP";
}

const defaultMode = 0o644;

function defaultVolume(volume: Volume): void {
  if (!Object.entries(volume).some(([field, value]) => field !== "name" && value !== null && value !== undefined)) {
    volume.emptyDir = {};
  }
  if (volume.secret) volume.secret.defaultMode ??= defaultMode;
  if (volume.configMap) volume.configMap.defaultMode ??= defaultMode;
  if (volume.downwardAPI) {
    volume.downwardAPI.defaultMode ??= defaultMode;
    for (const item of volume.downwardAPI.items ?? []) if (item.fieldRef) item.fieldRef.apiVersion ||= "v1";
  }
  if (volume.projected) {
    volume.projected.defaultMode ??= defaultMode;
    for (const source of volume.projected.sources ?? []) {
      if (source.serviceAccountToken) source.serviceAccountToken.expirationSeconds ??= 3600;
      for (const item of source.downwardAPI?.items ?? []) if (item.fieldRef) item.fieldRef.apiVersion ||= "v1";
    }
  }
  if (volume.hostPath) volume.hostPath.type ??= "";
  if (volume.image) volume.image.pullPolicy ||= pullPolicy(volume.image.reference ?? "");
  if (volume.ephemeral?.volumeClaimTemplate) volume.ephemeral.volumeClaimTemplate.spec.volumeMode ??= "Filesystem";
}
