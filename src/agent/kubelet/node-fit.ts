import type { Pod } from "../../api/generated/core-v1.ts";
import { hostPortsCollide, podHostPorts } from "../../api/pod/host-ports.ts";
import { parseQuantity } from "../../machinery/quantity.ts";
import { podRequest } from "./pod-facts.ts";
import type { PendingResize } from "./pod-resize.ts";

/**
 * Why a pod that was bound to this node cannot run beside the others: the scheduler may have decided on old facts, or
 * was not asked. Gives the reason and message of the pod's failure, as the kubelet's admission names them; undefined
 * when it fits.
 */
export function whyUnfit(
  pod: Pod,
  others: readonly Pod[],
  allocatable: Readonly<Record<string, string>>,
): { reason: string; message: string } | undefined {
  const limit = Number(allocatable["pods"] ?? Number.POSITIVE_INFINITY);
  if (others.length + 1 > limit) return lacking("pods", 1, others.length, limit);
  for (const resource of ["cpu", "memory"]) {
    const wanted = podRequest(pod, resource);
    if (wanted === 0 || !allocatable[resource]) continue;
    const capacity = parseQuantity(allocatable[resource]).toNumber();
    const used = others.reduce((sum, other) => sum + podRequest(other, resource), 0);
    if (used + wanted <= capacity + 1e-9) continue;
    const unit = (value: number) => Math.ceil(resource === "cpu" ? value * 1000 : value);
    return lacking(resource, unit(wanted), unit(used), unit(capacity));
  }
  const ports = podHostPorts(pod);
  if (ports.length === 0) return undefined;
  const taken = others.flatMap(podHostPorts);
  if (!ports.some((port) => taken.some((other) => hostPortsCollide(port, other)))) return undefined;
  return {
    reason: "NodePorts",
    message: "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports",
  };
}

/** Why a pod that runs here cannot get these resources: never ("Infeasible"), or not beside the others ("Deferred"). */
export function whyNotResizable(
  pod: Pod,
  others: readonly Pod[],
  allocatable: Readonly<Record<string, string>>,
): PendingResize | undefined {
  for (const resource of ["cpu", "memory"]) {
    const wanted = podRequest(pod, resource);
    if (wanted === 0 || !allocatable[resource]) continue;
    const capacity = parseQuantity(allocatable[resource]).toNumber();
    const unit = (value: number) => Math.ceil(resource === "cpu" ? value * 1000 : value);
    if (wanted <= capacity + 1e-9) continue;
    return {
      reason: "Infeasible",
      message: `Node didn't have enough capacity: ${resource}, requested: ${unit(wanted)}, capacity: ${unit(capacity)}`,
    };
  }
  // It has its place and its ports already.
  const { pods: _, ...amounts } = allocatable;
  const lack = whyUnfit(withoutPorts(pod), others, amounts);
  return lack && { reason: "Deferred", message: lack.message };
}

function withoutPorts(pod: Pod): Pod {
  return { ...pod, spec: { ...pod.spec!, containers: pod.spec!.containers.map(({ ports: __, ...rest }) => rest) } };
}

function lacking(resource: string, requested: number, used: number, capacity: number) {
  return {
    reason: `OutOf${resource}`,
    message: `Node didn't have enough resource: ${resource}, requested: ${requested}, used: ${used}, capacity: ${capacity}`,
  };
}
