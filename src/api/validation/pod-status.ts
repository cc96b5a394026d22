/** What kubelets and schedulers may say of a pod. */
import { userId } from "../../machinery/names.ts";
import type { Container, ContainerStatus, Pod, PodSpec } from "../generated/core-v1.ts";
import type { Errors } from "./errors.ts";
import { checkIp, ipFamily, isDualStack } from "./ip.ts";

const systemConditions = ["PodScheduled", "Ready", "Initialized"];
const noState = "may not be transitioned to non-terminated state";

export function checkPodStatus(errors: Errors, pod: Pod, old: Pod): void {
  const status = pod.status ?? {};
  const before = old.status ?? {};
  const spec = pod.spec ?? { containers: [] };
  for (const [index, condition] of (status.conditions ?? []).entries()) {
    const at = `status.conditions[${index}]`;
    if ((condition.observedGeneration ?? 0) < 0) {
      errors.invalid(`${at}.observedGeneration`, condition.observedGeneration, "must be a non-negative integer");
    }
    if (!systemConditions.includes(condition.type)) errors.qualified(`${at}.Type`, condition.type);
  }
  const nominated = status.nominatedNodeName;
  if (nominated && nominated !== before.nominatedNodeName) {
    errors.subdomain("status.nominatedNodeName", nominated);
    if (old.spec?.nodeName) {
      const text = "may not be set on pods that are already bound to a node";
      errors.forbidden("status.nominatedNodeName", text);
    }
  }
  if ((status.observedGeneration ?? 0) < 0) {
    errors.invalid("status.observedGeneration", status.observedGeneration, "must be a non-negative integer");
  }
  const quality = status.qosClass ?? "";
  errors.immutable("status.qosClass", quality, quality === (before.qosClass ?? ""));
  checkTransitions(errors, pod, old);
  checkClaims(errors, spec, status.resourceClaimStatuses ?? []);
  checkAddresses(errors, pod, old);
  for (const [field, containers] of [
    ["containerStatuses", spec.containers],
    ["initContainerStatuses", spec.initContainers],
    ["ephemeralContainerStatuses", undefined],
  ] as const) {
    for (const [index, one] of (status[field] ?? []).entries()) {
      checkUser(errors, `status.${field}[${index}].user.linux`, one, spec.os?.name ?? "linux");
    }
    for (const [index, one] of (status[field] ?? []).entries()) {
      checkDevices(errors, `status.${field}[${index}].allocatedResourcesStatus`, one, containers);
    }
  }
}

/** Would a container that ended with this code be run again? */
function restarts(container: Container, spec: PodSpec, exitCode: number): boolean {
  for (const { action, exitCodes } of container.restartPolicyRules ?? []) {
    const listed = exitCodes?.values?.includes(exitCode) ?? false;
    const matches = exitCodes?.operator === "In" ? listed : exitCodes?.operator === "NotIn" && !listed;
    if (matches && action === "Restart") return true;
  }
  const policy = container.restartPolicy ?? spec.restartPolicy;
  return policy === "Always" || (policy === "OnFailure" && exitCode !== 0);
}

/** What has ended for good stays ended. */
function checkTransitions(errors: Errors, pod: Pod, old: Pod): void {
  const spec = old.spec ?? { containers: [] };
  const all = [...(spec.containers ?? []), ...(spec.initContainers ?? [])];
  // One container's end may start all of them again.
  const anyone = all.some(({ restartPolicyRules }) =>
    restartPolicyRules?.some(({ action }) => action === "RestartAllContainers"),
  );
  for (const [field, containers] of [
    ["containerStatuses", spec.containers],
    ["initContainerStatuses", spec.initContainers],
    ["ephemeralContainerStatuses", undefined],
  ] as const) {
    if (containers && anyone) continue;
    for (const [index, before] of (old.status?.[field] ?? []).entries()) {
      const terminated = before.state?.terminated;
      const now = pod.status?.[field]?.find(({ name }) => name === before.name);
      if (!terminated || !now || now.state?.terminated) continue;
      const container = containers?.find(({ name }) => name === before.name);
      if (container && restarts(container, spec, terminated.exitCode ?? 0)) continue;
      errors.forbidden(`status.${field}[${index}].state`, noState);
    }
  }
}

function checkClaims(
  errors: Errors,
  spec: PodSpec,
  statuses: NonNullable<NonNullable<Pod["status"]>["resourceClaimStatuses"]>,
): void {
  const names = new Set<string>();
  for (const [index, { name, resourceClaimName }] of statuses.entries()) {
    const at = `status.resourceClaimStatuses[${index}]`;
    if (!spec.resourceClaims?.some((claim) => claim.name === name)) {
      errors.invalid(`${at}.name`, name, "must match the name of an entry in `spec.resourceClaims`");
    }
    if (names.has(name)) errors.duplicate(`${at}.name`, name);
    names.add(name);
    if (resourceClaimName !== undefined) errors.subdomain(`${at}.resourceClaimName`, resourceClaimName);
  }
}

function checkAddresses(errors: Errors, pod: Pod, old: Pod): void {
  for (const field of ["podIPs", "hostIPs"] as const) {
    const path = `status.${field}`;
    const addresses = pod.status?.[field] ?? [];
    if (addresses.length === 0) continue;
    if (field === "hostIPs" && (pod.status?.hostIP ?? "") !== addresses[0]!.ip) {
      errors.invalid(`${path}[0].ip`, addresses[0]!.ip, "must be equal to `hostIP`");
    }
    const known = (old.status?.[field] ?? []).map(({ ip }) => ip);
    for (const [index, { ip }] of addresses.entries())
      checkIp(errors, `${path}[${index}]`, ip ?? "", known as string[]);
    if (addresses.length < 2) continue;
    const families = addresses.map(({ ip }) => ipFamily(ip ?? ""));
    if (!isDualStack(families) || addresses.length > 2) {
      errors.invalid(path, addresses, "may specify no more than one IP for each IP family");
    }
  }
}

function checkUser(errors: Errors, path: string, status: ContainerStatus, os: string): void {
  const linux = status.user?.linux;
  if (!linux) return;
  if (os === "windows") {
    errors.forbidden(path, "cannot be set for a windows pod");
    return;
  }
  errors.messages(`${path}.uid`, linux.uid, userId(linux.uid));
  errors.messages(`${path}.gid`, linux.gid, userId(linux.gid));
  for (const [index, id] of (linux.supplementalGroups ?? []).entries()) {
    errors.messages(`${path}.supplementalGroups[${index}]`, id, userId(id));
  }
}

function checkDevices(
  errors: Errors,
  path: string,
  status: ContainerStatus,
  containers: readonly Container[] | undefined,
): void {
  const allocated = status.allocatedResourcesStatus ?? [];
  if (!containers) {
    if (allocated.length > 0) errors.forbidden(path, "must not be specified in container status");
    return;
  }
  const container = containers.find(({ name }) => name === status.name);
  for (const [index, { name, resources = [] }] of allocated.entries()) {
    const at = `${path}[${index}]`;
    const claimed = name.startsWith("claim:");
    const requests = container?.resources?.requests ?? {};
    const claims = (container?.resources?.claims ?? []).map(
      (claim) => `claim:${claim.name}${claim.request ? `/${claim.request}` : ""}`,
    );
    if (container && !(claimed ? claims.includes(name) : Object.hasOwn(requests, name))) {
      const text = claimed
        ? "must match one of the container's resource claims in a format 'claim:<claimName>/<request>' or 'claim:<claimName>' if request is empty"
        : "must match one of the container's resource requests";
      errors.invalid(`${at}.name`, name, text);
    }
    const seen = new Set<string>();
    for (const [place, { health, resourceID }] of resources.entries()) {
      const one = `${at}.resources[${place}]`;
      const states = ["Healthy", "Unhealthy", "Unknown"];
      if (!states.includes(health ?? "")) errors.notSupported(`${one}.health`, health ?? "", states);
      if (seen.has(resourceID)) errors.duplicate(`${one}.resourceID`, resourceID);
      seen.add(resourceID);
    }
  }
}
