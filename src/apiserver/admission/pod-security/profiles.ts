/** Checks of the profiles that confine a process: AppArmor, seccomp, SELinux. */
import type { Container, PodSpec } from "../../../api/generated/core-v1.ts";
import {
  badContainers,
  containersOf,
  isWindows,
  named,
  type PodCheck,
  plural,
  quoted,
  setters,
  sortedSet,
  type Violation,
} from "./check.ts";

type Context = PodSpec["securityContext"] | Container["securityContext"];

const isConfined = (type: string | undefined) => type === "RuntimeDefault" || type === "Localhost";

/** Values that the pod's and the containers' security contexts have and should not; `read` gives undefined for "not set". */
function badValues(spec: PodSpec, read: (context: Context) => string | undefined) {
  const isBad = (context: Context) => {
    const value = read(context);
    return value !== undefined && !isConfined(value);
  };
  const pod = isBad(spec.securityContext);
  const containers = badContainers(spec, ({ securityContext }) => isBad(securityContext));
  const contexts: Context[] = [spec.securityContext, ...containersOf(spec).map((one) => one.securityContext)];
  return { who: setters(pod, containers), values: sortedSet(contexts.filter(isBad).map((context) => read(context)!)) };
}

const appArmorPrefix = "container.apparmor.security.beta.kubernetes.io/";

export const appArmorProfile: PodCheck = ({ metadata, spec }) => {
  const { who, values } = badValues(
    spec,
    (context) => context?.appArmorProfile && (context.appArmorProfile.type ?? ""),
  );
  const annotations = Object.entries(metadata?.annotations ?? {})
    .filter(([key]) => key.startsWith(appArmorPrefix))
    .filter(([, value]) => value !== "" && value !== "runtime/default" && !value.startsWith("localhost/"))
    .map(([key, value]) => `${key}=${JSON.stringify(value)}`)
    .sort();
  const all = [...values, ...annotations];
  if (all.length === 0) return undefined;
  const whoElse = annotations.length > 0 ? [plural("annotation", annotations.length)] : [];
  return {
    reason: plural("forbidden AppArmor profile", all.length),
    detail: `${[...(who ? [who] : []), ...whoElse].join(" and ")} must not set AppArmor profile type to ${quoted(all)}`,
  };
};

const seccompPod = "seccomp.security.alpha.kubernetes.io/pod";
const seccompContainerPrefix = "container.seccomp.security.alpha.kubernetes.io/";

/** Up to v1.18 the profile stood in annotations. */
export const seccompAnnotations: PodCheck = ({ metadata, spec }) => {
  const annotations = metadata?.annotations ?? {};
  const keys = [seccompPod, ...containersOf(spec).map(({ name }) => seccompContainerPrefix + name)];
  const bad = keys.filter((key) => {
    const value = annotations[key];
    const allowed = value === "runtime/default" || value === "docker/default" || value?.startsWith("localhost/");
    return value !== undefined && !allowed;
  });
  if (bad.length === 0) return undefined;
  const texts = sortedSet(bad.map((key) => `${key}=${JSON.stringify(annotations[key])}`));
  return { reason: "seccompProfile", detail: `forbidden ${plural("annotation", texts.length)} ${texts.join(", ")}` };
};

const seccompType = (context: Context) => context?.seccompProfile && (context.seccompProfile.type ?? "");

/** A profile that is named must confine. */
export const seccompIfSet: PodCheck = ({ spec }) => {
  const { who, values } = badValues(spec, seccompType);
  if (!who) return undefined;
  return {
    reason: "seccompProfile",
    detail: `${who} must not set securityContext.seccompProfile.type to ${quoted(values)}`,
  };
};

/** Every container needs a profile, of its own or from its pod. */
export const seccompRequired: PodCheck = (pod) => {
  const { spec } = pod;
  const wrong = seccompIfSet(pod);
  if (wrong || spec.securityContext?.seccompProfile) return wrong;
  const without = badContainers(spec, ({ securityContext }) => !securityContext?.seccompProfile);
  if (without.length === 0) return undefined;
  return {
    reason: "seccompProfile",
    detail: `pod or ${named("container", without)} must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost"`,
  };
};

export const seccompRequiredButOnWindows: PodCheck = (pod) => (isWindows(pod.spec) ? undefined : seccompRequired(pod));

const seLinuxTypes = ["", "container_t", "container_init_t", "container_kvm_t"];

/** `types`: those that v1.31 allowed in addition. */
export const seLinuxOptions =
  (...types: string[]): PodCheck =>
  ({ spec }): Violation | undefined => {
    const allowed = [...seLinuxTypes, ...types];
    const isBad = (context: Context) => {
      const { type = "", user = "", role = "" } = context?.seLinuxOptions ?? {};
      return !allowed.includes(type) || user !== "" || role !== "";
    };
    const pod = isBad(spec.securityContext);
    const containers = badContainers(spec, ({ securityContext }) => isBad(securityContext));
    if (!pod && containers.length === 0) return undefined;
    const options = [spec.securityContext, ...containersOf(spec).map((one) => one.securityContext)].flatMap(
      (context) => context?.seLinuxOptions ?? [],
    );
    const bad = sortedSet(options.map(({ type = "" }) => type).filter((type) => !allowed.includes(type)));
    const what = [
      ...(bad.length > 0 ? [named("type", bad)] : []),
      ...(options.some(({ user }) => user) ? ["user may not be set"] : []),
      ...(options.some(({ role }) => role) ? ["role may not be set"] : []),
    ];
    return {
      reason: "seLinuxOptions",
      detail: `${setters(pod, containers)} set forbidden securityContext.seLinuxOptions: ${what.join("; ")}`,
    };
  };
