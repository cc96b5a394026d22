/** Checks of what a container's processes may do and who they are. */
import type { Container } from "../../../api/generated/core-v1.ts";
import {
  badContainers,
  containersOf,
  inUserNamespace,
  isWindows,
  named,
  type PodCheck,
  quoted,
  setters,
  sortedSet,
} from "./check.ts";

export const privileged: PodCheck = ({ spec }) => {
  const bad = badContainers(spec, ({ securityContext }) => securityContext?.privileged === true);
  if (bad.length === 0) return undefined;
  return { reason: "privileged", detail: `${named("container", bad)} must not set securityContext.privileged=true` };
};

export const privilegeEscalation: PodCheck = ({ spec }) => {
  const bad = badContainers(spec, ({ securityContext }) => securityContext?.allowPrivilegeEscalation !== false);
  if (bad.length === 0) return undefined;
  return {
    reason: "allowPrivilegeEscalation != false",
    detail: `${named("container", bad)} must set securityContext.allowPrivilegeEscalation=false`,
  };
};

/** Validation lets Windows pods set no such thing. */
export const privilegeEscalationButOnWindows: PodCheck = (pod) =>
  isWindows(pod.spec) ? undefined : privilegeEscalation(pod);

const defaultCapabilities = [
  "AUDIT_WRITE",
  "CHOWN",
  "DAC_OVERRIDE",
  "FOWNER",
  "FSETID",
  "KILL",
  "MKNOD",
  "NET_BIND_SERVICE",
  "SETFCAP",
  "SETGID",
  "SETPCAP",
  "SETUID",
  "SYS_CHROOT",
];

const addedBeyond =
  (allowed: readonly string[]) =>
  ({ securityContext }: Container): string[] =>
    (securityContext?.capabilities?.add ?? []).filter((one) => !allowed.includes(one));

/** `containers "a" must not include "X" in securityContext.capabilities.add`, if any of them does. */
function addition(spec: Parameters<PodCheck>[0]["spec"], allowed: readonly string[]): string | undefined {
  const added = addedBeyond(allowed);
  const bad = badContainers(spec, (container) => added(container).length > 0);
  if (bad.length === 0) return undefined;
  const capabilities = sortedSet(containersOf(spec).flatMap(added));
  return `${named("container", bad)} must not include ${quoted(capabilities)} in securityContext.capabilities.add`;
}

export const capabilitiesBaseline: PodCheck = ({ spec }) => {
  const detail = addition(spec, defaultCapabilities);
  return detail === undefined ? undefined : { reason: "non-default capabilities", detail };
};

export const capabilitiesRestricted: PodCheck = ({ spec }) => {
  const keeping = badContainers(spec, (one) => !one.securityContext?.capabilities?.drop?.includes("ALL"));
  const added = addition(spec, ["NET_BIND_SERVICE"]);
  if (keeping.length === 0 && added === undefined) return undefined;
  const dropped =
    keeping.length > 0 ? [`${named("container", keeping)} must set securityContext.capabilities.drop=["ALL"]`] : [];
  return { reason: "unrestricted capabilities", detail: [...dropped, ...(added ? [added] : [])].join("; ") };
};

export const capabilitiesRestrictedButOnWindows: PodCheck = (pod) =>
  isWindows(pod.spec) ? undefined : capabilitiesRestricted(pod);

export const runAsNonRoot: PodCheck = ({ spec }) => {
  const reason = "runAsNonRoot != true";
  const forPod = spec.securityContext?.runAsNonRoot;
  const asRoot = badContainers(spec, ({ securityContext }) => securityContext?.runAsNonRoot === false);
  const who = setters(forPod === false, asRoot);
  if (who) return { reason, detail: `${who} must not set securityContext.runAsNonRoot=false` };
  if (forPod) return undefined;
  const open = badContainers(spec, ({ securityContext }) => securityContext?.runAsNonRoot === undefined);
  if (open.length === 0) return undefined;
  return { reason, detail: `pod or ${named("container", open)} must set securityContext.runAsNonRoot=true` };
};

export const runAsUser: PodCheck = ({ spec }) => {
  const asRoot = badContainers(spec, ({ securityContext }) => securityContext?.runAsUser === 0);
  const who = setters(spec.securityContext?.runAsUser === 0, asRoot);
  return who ? { reason: "runAsUser=0", detail: `${who} must not set runAsUser=0` } : undefined;
};

export const runAsNonRootOnHost: PodCheck = (pod) => (inUserNamespace(pod.spec) ? undefined : runAsNonRoot(pod));
export const runAsUserOnHost: PodCheck = (pod) => (inUserNamespace(pod.spec) ? undefined : runAsUser(pod));
