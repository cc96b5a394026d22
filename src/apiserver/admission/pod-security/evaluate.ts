/** The pod security standards: which checks make a level in which version. */
import type { Check, CheckedPod, PodCheck, Violation } from "./check.ts";
import {
  hostNamespaces,
  hostPorts,
  hostProbes,
  procMount,
  procMountOnHost,
  sysctlsSince,
  windowsHostProcess,
} from "./host-access.ts";
import type { LevelVersion } from "./policy.ts";
import {
  capabilitiesBaseline,
  capabilitiesRestricted,
  capabilitiesRestrictedButOnWindows,
  privileged,
  privilegeEscalation,
  privilegeEscalationButOnWindows,
  runAsNonRoot,
  runAsNonRootOnHost,
  runAsUser,
  runAsUserOnHost,
} from "./privileges.ts";
import {
  appArmorProfile,
  seccompAnnotations,
  seccompIfSet,
  seccompRequired,
  seccompRequiredButOnWindows,
  seLinuxOptions,
} from "./profiles.ts";
import { hostPathVolumes, restrictedVolumes } from "./volumes.ts";

const always = (check: PodCheck) => [{ since: 0, check }];

/** In the order in which violations are named. */
const baseline: readonly Check[] = [
  { id: "appArmorProfile", versions: always(appArmorProfile) },
  { id: "capabilities_baseline", versions: always(capabilitiesBaseline) },
  { id: "hostNamespaces", versions: always(hostNamespaces) },
  { id: "hostPathVolumes", versions: always(hostPathVolumes) },
  { id: "hostPorts", versions: always(hostPorts) },
  { id: "hostProbesAndHostLifecycle", versions: [{ since: 34, check: hostProbes }] },
  { id: "privileged", versions: always(privileged) },
  { id: "procMount", versions: [...always(procMount), { since: 35, check: procMountOnHost }] },
  {
    id: "seLinuxOptions",
    versions: [...always(seLinuxOptions()), { since: 31, check: seLinuxOptions("container_engine_t") }],
  },
  {
    id: "seccompProfile_baseline",
    versions: [...always(seccompAnnotations), { since: 19, check: seccompIfSet }],
  },
  { id: "sysctls", versions: [0, 27, 29, 32].map((since) => ({ since, check: sysctlsSince(since) })) },
  { id: "windowsHostProcess", versions: always(windowsHostProcess) },
];

const restricted: readonly Check[] = [
  {
    id: "allowPrivilegeEscalation",
    versions: [
      { since: 8, check: privilegeEscalation },
      { since: 25, check: privilegeEscalationButOnWindows },
    ],
  },
  {
    id: "capabilities_restricted",
    replaces: "capabilities_baseline",
    versions: [
      { since: 22, check: capabilitiesRestricted },
      { since: 25, check: capabilitiesRestrictedButOnWindows },
    ],
  },
  { id: "procMount_restricted", replaces: "procMount", versions: [{ since: 35, check: procMount }] },
  { id: "restrictedVolumes", replaces: "hostPathVolumes", versions: always(restrictedVolumes) },
  { id: "runAsNonRoot", versions: [...always(runAsNonRoot), { since: 35, check: runAsNonRootOnHost }] },
  {
    id: "runAsUser",
    versions: [
      { since: 23, check: runAsUser },
      { since: 35, check: runAsUserOnHost },
    ],
  },
  {
    id: "seccompProfile_restricted",
    replaces: "seccompProfile_baseline",
    versions: [
      { since: 19, check: seccompRequired },
      { since: 25, check: seccompRequiredButOnWindows },
    ],
  },
];

function checkIn({ versions }: Check, minor: number): PodCheck | undefined {
  return versions.findLast(({ since }) => since <= minor)?.check;
}

function checksOf({ level, minor }: LevelVersion): PodCheck[] {
  if (level === "privileged") return [];
  const version = minor === "latest" ? Number.POSITIVE_INFINITY : minor;
  const strict = level === "restricted" ? restricted.filter((check) => checkIn(check, version)) : [];
  const replaced = strict.map(({ replaces }) => replaces);
  return [...baseline.filter(({ id }) => !replaced.includes(id)), ...strict].flatMap(
    (check) => checkIn(check, version) ?? [],
  );
}

/** What is wrong with a pod by a level's rules; nothing: it is allowed. */
export function evaluate(policy: LevelVersion, pod: CheckedPod): Violation[] {
  return checksOf(policy).flatMap((check) => check(pod) ?? []);
}

/** `privileged (container "c" must not …), hostPort (…)`. */
export function detailed(violations: readonly Violation[]): string {
  return violations.map(({ reason, detail }) => `${reason} (${detail})`).join(", ");
}
