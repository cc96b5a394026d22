import type { Container, EphemeralContainer, Pod } from "../../api/generated/core-v1.ts";
import { parseQuantity } from "../../machinery/quantity.ts";

/** Which list of the pod's spec a container stands in. */
export type ContainerKind = "init" | "regular" | "ephemeral";

/** An ephemeral container has the fields of an ordinary one that matter to a runtime. */
export type AnyContainer = Container | EphemeralContainer;

export const uidOf = (pod: Pod): string => pod.metadata.uid ?? "";

/** All containers of a pod with the list that each stands in, in the order in which they are started. */
export function allContainers(pod: Pod): { kind: ContainerKind; container: AnyContainer }[] {
  const spec = pod.spec!;
  return [
    ...(spec.initContainers ?? []).map((container) => ({ kind: "init" as const, container })),
    ...spec.containers.map((container) => ({ kind: "regular" as const, container })),
    ...(spec.ephemeralContainers ?? []).map((container) => ({ kind: "ephemeral" as const, container })),
  ];
}

/** An init container that keeps running beside the others (restartPolicy Always). */
export function isSidecar(container: AnyContainer): boolean {
  return "restartPolicy" in container && container.restartPolicy === "Always";
}

const kinds: Readonly<Record<string, string>> = {
  init: "spec.initContainers",
  regular: "spec.containers",
  ephemeral: "spec.ephemeralContainers",
};

/** How events name a container: "spec.containers{web}". */
export function fieldPathOf(kind: ContainerKind, name: string): string {
  return `${kinds[kind]}{${name}}`;
}

export type QosClass = "Guaranteed" | "Burstable" | "BestEffort";

/** The quality of service class, from the CPU and memory of every container. */
export function qosClassOf(pod: Pod): QosClass {
  let anything = false;
  let guaranteed = true;
  for (const { kind, container } of allContainers(pod)) {
    if (kind === "ephemeral") continue;
    for (const resource of ["cpu", "memory"]) {
      const limit = amount(container.resources?.limits?.[resource]);
      const request = amount(container.resources?.requests?.[resource]) || limit;
      if (limit > 0 || request > 0) anything = true;
      if (limit === 0 || request !== limit) guaranteed = false;
    }
  }
  return anything ? (guaranteed ? "Guaranteed" : "Burstable") : "BestEffort";
}

function amount(text: string | undefined): number {
  return text === undefined ? 0 : parseQuantity(text).toNumber();
}

/** Requests of a pod as the scheduler counts them: the sum of containers and sidecars, or an init container's, if larger. */
export function podRequest(pod: Pod, resource: string): number {
  const request = (container: AnyContainer) =>
    amount(container.resources?.requests?.[resource] ?? container.resources?.limits?.[resource]);
  let sum = 0;
  let sidecars = 0;
  let largestInit = 0;
  for (const container of pod.spec!.initContainers ?? []) {
    if (isSidecar(container)) sidecars += request(container);
    else largestInit = Math.max(largestInit, request(container) + sidecars);
  }
  for (const container of pod.spec!.containers) sum += request(container);
  return Math.max(sum + sidecars, largestInit) + amount(pod.spec!.overhead?.[resource]);
}
