import type { Container, PodSpec } from "../../../api/generated/core-v1.ts";

/** A pod, or what a workload makes pods of. */
export interface CheckedPod {
  readonly metadata?: { readonly annotations?: Readonly<Record<string, string>> } | undefined;
  readonly spec: PodSpec;
}

/** `reason` says what is not allowed ("hostPort"), `detail` who does it: `container "c" uses hostPort 80`. */
export interface Violation {
  readonly reason: string;
  readonly detail: string;
}

/** Undefined: nothing is wrong. */
export type PodCheck = (pod: CheckedPod) => Violation | undefined;

/** A rule of the pod security standards, as its versions read. */
export interface Check {
  /** Kubernetes' own name of it. */
  readonly id: string;
  /** By rising minor version: the last one whose `since` is not beyond the version asked for holds. */
  readonly versions: readonly { readonly since: number; readonly check: PodCheck }[];
  /** The check of the baseline that this restricted one includes. */
  readonly replaces?: string;
}

/** All containers of a pod, whatever their kind, in the order in which violations name them. */
export function containersOf({ initContainers = [], containers = [], ephemeralContainers = [] }: PodSpec): Container[] {
  return [...initContainers, ...containers, ...(ephemeralContainers as Container[])];
}

/** Names of the containers that `isBad` is true of. */
export function badContainers(spec: PodSpec, isBad: (container: Container) => boolean): string[] {
  return containersOf(spec)
    .filter(isBad)
    .map(({ name }) => name);
}

/** `"a", "b"`. */
export function quoted(items: readonly string[]): string {
  return items.map((item) => `"${item}"`).join(", ");
}

/** `container "a"`, `containers "a", "b"`. */
export function named(word: string, names: readonly string[]): string {
  return `${plural(word, names.length)} ${quoted(names)}`;
}

export function plural(word: string, count: number): string {
  return count === 1 ? word : `${word}s`;
}

/** Sorted as Go sorts strings, each once. */
export function sortedSet(items: Iterable<string>): string[] {
  return [...new Set(items)].sort();
}

/** Who does something that is not allowed: `pod and container "c"`. Empty: nobody. */
export function setters(pod: boolean, containers: readonly string[]): string {
  return [...(pod ? ["pod"] : []), ...(containers.length > 0 ? [named("container", containers)] : [])].join(" and ");
}

export function isWindows(spec: PodSpec): boolean {
  return spec.os?.name === "windows";
}

/** Root in a user namespace is nobody outside of it. */
export function inUserNamespace(spec: PodSpec): boolean {
  return spec.hostUsers === false;
}
