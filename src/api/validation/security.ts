/** Security contexts of pods and containers. */
import { userId } from "../../machinery/names.ts";
import type { AppArmorProfile, PodSpec, SeccompProfile, SecurityContext } from "../generated/core-v1.ts";
import type { Errors } from "./errors.ts";
import { checkRelativePath } from "./paths.ts";
import { checkWindowsOptions } from "./windows.ts";

const profileTypes = ["Localhost", "RuntimeDefault", "Unconfined"];

function checkIds(errors: Errors, path: string, holder: object, fields: readonly string[]): void {
  for (const field of fields) {
    const id = (holder as Record<string, number | undefined>)[field];
    if (id !== undefined) errors.messages(`${path}.${field}`, id, userId(id));
  }
}

/** `hostUsers`: the container's users are those of the host. */
export function checkSecurity(
  errors: Errors,
  path: string,
  security: SecurityContext | undefined,
  hostUsers: boolean,
): void {
  if (!security) return;
  checkIds(errors, path, security, ["runAsUser", "runAsGroup"]);
  errors.setOneOf(`${path}.procMount`, security.procMount, ["Default", "Unmasked"]);
  if (hostUsers && security.procMount === "Unmasked") {
    errors.invalid(`${path}.procMount`, security.procMount, "`hostUsers` must be false to use `Unmasked`");
  }
  checkSeccomp(errors, `${path}.seccompProfile`, security.seccompProfile);
  if (security.allowPrivilegeEscalation === false) {
    if (security.privileged) {
      errors.invalid(path, security, "cannot set `allowPrivilegeEscalation` to false and `privileged` to true");
    }
    if (security.capabilities?.add?.includes("CAP_SYS_ADMIN")) {
      const text = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN";
      errors.invalid(path, security, text);
    }
  }
  checkWindowsOptions(errors, `${path}.windowsOptions`, security.windowsOptions);
  checkAppArmor(errors, `${path}.appArmorProfile`, security.appArmorProfile);
}

function checkSeccomp(errors: Errors, path: string, profile: SeccompProfile | undefined): void {
  if (!profile) return;
  if (!profile.type) errors.required(`${path}.type`, "type is required when seccompProfile is set");
  else errors.setOneOf(`${path}.type`, profile.type, profileTypes);
  const file = `${path}.localhostProfile`;
  if (profile.type !== "Localhost") {
    if (profile.localhostProfile !== undefined) {
      errors.invalid(file, profile, "can only be set when seccomp type is Localhost");
    }
  } else if (profile.localhostProfile === undefined) {
    errors.required(file, "must be set when seccomp type is Localhost");
  } else checkRelativePath(errors, file, profile.localhostProfile);
}

const longestPath = 4095;

export function checkAppArmor(errors: Errors, path: string, profile: AppArmorProfile | undefined): void {
  if (!profile) return;
  const { type, localhostProfile: name } = profile;
  const field = `${path}.localhostProfile`;
  if (type === "Localhost") {
    if (name === undefined || name === "") errors.required(field, "must be set when AppArmor type is Localhost");
    else if (name.trim() !== name) errors.invalid(field, name, "must not be padded with whitespace");
    if ((name ?? "").length > longestPath) errors.tooLong(field, longestPath);
  } else if (type === "RuntimeDefault" || type === "Unconfined") {
    if (name !== undefined) errors.invalid(field, name, "can only be set when AppArmor type is Localhost");
  } else if (!type) errors.required(`${path}.type`, "type is required when appArmorProfile is set");
  else errors.notSupported(`${path}.type`, type, profileTypes);
}

export function checkPodSecurity(errors: Errors, path: string, spec: PodSpec): void {
  const security = spec.securityContext ?? {};
  checkIds(errors, path, security, ["fsGroup", "runAsUser", "runAsGroup"]);
  for (const [index, id] of (security.supplementalGroups ?? []).entries()) {
    errors.messages(`${path}.supplementalGroups[${index}]`, id, userId(id));
  }
  if (spec.shareProcessNamespace && spec.hostPID) {
    const text = "ShareProcessNamespace and HostPID cannot both be enabled";
    errors.invalid(`${path}.shareProcessNamespace`, true, text);
  }
  checkSysctls(errors, `${path}.sysctls`, spec);
  errors.setOneOf(`${path}.fsGroupChangePolicy`, security.fsGroupChangePolicy, ["Always", "OnRootMismatch"]);
  checkSeccomp(errors, `${path}.seccompProfile`, security.seccompProfile);
  checkWindowsOptions(errors, `${path}.windowsOptions`, security.windowsOptions);
  checkAppArmor(errors, `${path}.appArmorProfile`, security.appArmorProfile);
  errors.setOneOf(`${path}.supplementalGroupsPolicy`, security.supplementalGroupsPolicy, ["Merge", "Strict"]);
  // SELinuxMount, which allows MountOption, is off by default.
  errors.setOneOf(`${path}.seLinuxChangePolicy`, security.seLinuxChangePolicy, ["Recursive"]);
}

const sysctlFormat = "^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$";
const sysctlMaxLength = 253;

/** Which namespace of the kernel a setting belongs to. */
function sysctlNamespace(name: string): "net" | "ipc" | undefined {
  const dotted = name.replaceAll("/", ".");
  if (dotted.startsWith("net.")) return "net";
  const ipc = dotted === "kernel.sem" || /^(kernel\.shm|kernel\.msg|fs\.mqueue\.)/.test(dotted);
  return ipc ? "ipc" : undefined;
}

function checkSysctls(errors: Errors, path: string, spec: PodSpec): void {
  const seen = new Set<string>();
  for (const [index, { name }] of (spec.securityContext?.sysctls ?? []).entries()) {
    const at = `${path}[${index}].name`;
    if (!name) errors.required(at);
    else if (name.length > sysctlMaxLength || !new RegExp(sysctlFormat).test(name)) {
      errors.invalid(at, name, `must have at most ${sysctlMaxLength} characters and match regex ${sysctlFormat}`);
    } else if (seen.has(name)) errors.duplicate(at, name);
    const namespace = sysctlNamespace(name);
    if (spec.hostNetwork && namespace === "net") {
      errors.invalid(at, name, "may not be specified when 'hostNetwork' is true");
    } else if (spec.hostIPC && namespace === "ipc") {
      errors.invalid(at, name, "may not be specified when 'hostIPC' is true");
    }
    seen.add(name);
  }
}
