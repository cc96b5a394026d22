import type { Pod } from "../../api/generated/core-v1.ts";
import type { DeepReadonly } from "../../machinery/object.ts";
import { isIpv4, type Protocol, protocolOf } from "./service-port.ts";

/** A port of this node that leads to a pod of this node. */
export interface HostPort {
  readonly protocol: Protocol;
  readonly port: number;
  /** Absent: every address of the node. */
  readonly hostIp?: string;
  readonly podIp: string;
  readonly podPort: number;
}

/** The host ports of pods that run on this node. Pods on the host's network open their ports themselves. */
export function hostPortsOf(pods: readonly DeepReadonly<Pod>[]): HostPort[] {
  return pods.flatMap(({ spec, status }) => {
    const podIp = status?.podIP;
    const ended = status?.phase === "Succeeded" || status?.phase === "Failed";
    if (!spec || spec.hostNetwork || !podIp || !isIpv4(podIp) || ended) return [];
    // Init containers that keep running (sidecars) may have ports too.
    const containers = [...spec.containers, ...(spec.initContainers ?? []).filter((c) => c.restartPolicy === "Always")];
    return containers.flatMap((container) =>
      (container.ports ?? []).flatMap((port) => {
        const protocol = protocolOf(port.protocol);
        if (!protocol || !port.hostPort) return [];
        const anywhere = !port.hostIP || port.hostIP === "0.0.0.0" || port.hostIP === "::";
        if (!anywhere && !isIpv4(port.hostIP!)) return [];
        const hostIp = anywhere ? {} : { hostIp: port.hostIP! };
        return [{ protocol, port: port.hostPort, podIp, podPort: port.containerPort, ...hostIp }];
      }),
    );
  });
}
