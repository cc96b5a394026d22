/** Annotations of pods that once were the way to say what now stands in fields. */
import type { PodSpec } from "../generated/core-v1.ts";
import { eachContainer } from "./container.ts";
import type { Errors } from "./errors.ts";
import { checkRelativePath } from "./paths.ts";
import { checkTolerations } from "./placement.ts";

export const mirrorAnnotation = "kubernetes.io/config.mirror";
export const seccompPod = "seccomp.security.alpha.kubernetes.io/pod";
export const seccompContainer = "container.seccomp.security.alpha.kubernetes.io/";
export const appArmorContainer = "container.apparmor.security.beta.kubernetes.io/";
const tolerationsAnnotation = "scheduler.alpha.kubernetes.io/tolerations";
const deletionCost = "controller.kubernetes.io/pod-deletion-cost";

type Annotations = Readonly<Record<string, string>>;

export function checkPodAnnotations(errors: Errors, path: string, annotations: Annotations, spec: PodSpec): void {
  const mirror = annotations[mirrorAnnotation];
  if (mirror !== undefined && !spec.nodeName) {
    const text = "must set spec.nodeName if mirror pod annotation is set";
    errors.invalid(`${path}[${mirrorAnnotation}]`, mirror, text);
  }
  if (annotations[tolerationsAnnotation]) {
    checkTolerationsText(errors, path, annotations[tolerationsAnnotation]);
  }
  const cost = annotations[deletionCost];
  if (cost !== undefined && !isInt32(cost)) {
    errors.invalid(`${path}[${deletionCost}]`, cost, "must be a 32bit integer");
  }
  for (const [key, value] of Object.entries(annotations)) {
    if (key === seccompPod || key.startsWith(seccompContainer)) checkSeccompText(errors, `${path}.${key}`, value);
    else if (key.startsWith(appArmorContainer)) checkAppArmorText(errors, `${path}[${key}]`, key, value, spec);
  }
}

function checkTolerationsText(errors: Errors, path: string, text: string): void {
  try {
    const tolerations: unknown = JSON.parse(text);
    if (!Array.isArray(tolerations))
      throw new Error("json: cannot unmarshal object into Go value of type []core.Toleration");
    checkTolerations(errors, `${path}.${tolerationsAnnotation}`, tolerations);
  } catch (error) {
    errors.invalid(path, tolerationsAnnotation, (error as Error).message);
  }
}

function isInt32(text: string): boolean {
  return /^(0|-?[1-9]\d{0,9})$/.test(text) && Number(text) === (Number(text) | 0);
}

function checkSeccompText(errors: Errors, path: string, profile: string): void {
  if (["runtime/default", "docker/default", "unconfined"].includes(profile)) return;
  if (profile.startsWith("localhost/")) checkRelativePath(errors, path, profile.slice("localhost/".length));
  else errors.invalid(path, profile, "must be a valid seccomp profile");
}

function checkAppArmorText(errors: Errors, at: string, key: string, profile: string, spec: PodSpec): void {
  const name = key.slice(appArmorContainer.length);
  const known = [...eachContainer(spec, "")].some(([container]) => container.name === name);
  if (!known) errors.invalid(at, name, "container not found");
  if (["", "runtime/default", "unconfined"].includes(profile) || profile.startsWith("localhost/")) return;
  errors.invalid(at, profile, `invalid AppArmor profile name: ${JSON.stringify(profile)}`);
}

interface Profile {
  type: string;
  localhostProfile?: string;
}

const seccompTexts: Readonly<Record<string, readonly string[]>> = {
  Unconfined: ["unconfined"],
  RuntimeDefault: ["runtime/default", "docker/default"],
};
const appArmorTexts: Readonly<Record<string, readonly string[]>> = {
  Unconfined: ["unconfined"],
  RuntimeDefault: ["runtime/default"],
};

/** Where an annotation and a field say the same thing, they must agree. */
export function checkProfilesMatch(errors: Errors, path: string, annotations: Annotations, spec: PodSpec): void {
  if (Object.keys(annotations).length === 0) return;
  const agree = (
    at: string,
    word: string,
    annotation: string | undefined,
    profile: Profile | undefined,
    texts: Readonly<Record<string, readonly string[]>>,
  ) => {
    if (annotation === undefined || !profile) return;
    const typeText = `${word} type in annotation and field must match`;
    if (profile.type === "Localhost") {
      if (!annotation.startsWith("localhost/")) errors.forbidden(`${at}.type`, typeText);
      else if (profile.localhostProfile !== annotation.slice("localhost/".length)) {
        errors.forbidden(`${at}.localhostProfile`, `${word} profile in annotation and field must match`);
      }
    } else if (texts[profile.type] && !texts[profile.type]!.includes(annotation)) {
      errors.forbidden(`${at}.type`, typeText);
    }
  };
  const pod = spec.securityContext;
  agree(
    `${path}.securityContext.seccompProfile`,
    "seccomp",
    annotations[seccompPod],
    pod?.seccompProfile,
    seccompTexts,
  );
  for (const [container, at] of eachContainer(spec, path)) {
    const own = container.securityContext?.seccompProfile;
    const annotation = annotations[`${seccompContainer}${container.name}`];
    agree(`${at}.securityContext.seccompProfile`, "seccomp", annotation, own, seccompTexts);
  }
  if (spec.os?.name === "windows") return;
  for (const [container, at] of eachContainer(spec, path)) {
    const profile = container.securityContext?.appArmorProfile ?? pod?.appArmorProfile;
    const annotation = annotations[`${appArmorContainer}${container.name}`];
    agree(`${at}.securityContext.appArmorProfile`, "apparmor", annotation, profile, appArmorTexts);
  }
}

/** What annotations an update may not touch. */
export function checkAnnotationsUpdate(errors: Errors, path: string, now: Annotations, before: Annotations): void {
  for (const [key, value] of Object.entries(before)) {
    if (now[key] === value) continue;
    const at = `${path}[${key}]`;
    if (key.startsWith(appArmorContainer)) errors.forbidden(at, "may not remove or update AppArmor annotations");
    if (key === mirrorAnnotation) errors.forbidden(at, "may not remove or update mirror pod annotation");
  }
  for (const key of Object.keys(now)) {
    if (Object.hasOwn(before, key)) continue;
    const at = `${path}[${key}]`;
    if (key.startsWith(appArmorContainer)) errors.forbidden(at, "may not add AppArmor annotations");
    if (key === mirrorAnnotation) errors.forbidden(at, "may not add mirror pod annotation");
  }
}
