/** AppArmor profiles that stand in annotations, as they did before there was a field. */
import { deepEqual } from "../../machinery/equality.ts";
import type { AppArmorProfile, Pod } from "../generated/core-v1.ts";
import { eachContainer } from "../validation/container.ts";
import { appArmorContainer } from "../validation/pod-annotations.ts";

/** The field that says the same as an annotation; undefined where none does. */
export function appArmorOf(annotation: string): AppArmorProfile | undefined {
  if (annotation === "unconfined") return { type: "Unconfined" };
  if (annotation === "runtime/default") return { type: "RuntimeDefault" };
  if (!annotation.startsWith("localhost/")) return undefined;
  const name = annotation.slice("localhost/".length);
  return name === "" || name.trim() !== name ? undefined : { type: "Localhost", localhostProfile: name };
}

/** Fills the fields of containers from their annotations. */
export function takeOverAppArmor(pod: Pod): void {
  const { annotations } = pod.metadata;
  const { spec } = pod;
  if (!annotations || !spec || spec.os?.name === "windows") return;
  for (const [container] of eachContainer(spec, "")) {
    const annotation = annotations[`${appArmorContainer}${container.name}`];
    if (annotation === undefined || container.securityContext?.appArmorProfile) continue;
    const profile = appArmorOf(annotation);
    if (!profile || deepEqual(profile, spec.securityContext?.appArmorProfile)) continue;
    container.securityContext = { ...container.securityContext, appArmorProfile: profile };
  }
}
