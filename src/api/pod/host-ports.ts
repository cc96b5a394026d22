import type { DeepReadonly } from "../../machinery/object.ts";
import type { Pod } from "../generated/core-v1.ts";

/** A port of the node that a pod takes. */
export interface HostPort {
  readonly ip: string;
  readonly protocol: string;
  readonly port: number;
}

const anyAddress = new Set(["", "0.0.0.0", "::"]);

/** The node's ports that a pod takes, also those of its sidecars. */
export function podHostPorts({ spec }: DeepReadonly<Pick<Pod, "spec">>): HostPort[] {
  const sidecars = (spec?.initContainers ?? []).filter((container) => container.restartPolicy === "Always");
  return [...(spec?.containers ?? []), ...sidecars].flatMap((container) =>
    (container.ports ?? [])
      .filter((port) => (port.hostPort ?? 0) > 0)
      .map((port) => ({ ip: port.hostIP || "0.0.0.0", protocol: port.protocol ?? "TCP", port: port.hostPort! })),
  );
}

/** Whether two pods cannot have both of these. */
export function hostPortsCollide(a: HostPort, b: HostPort): boolean {
  if (a.port !== b.port || a.protocol !== b.protocol) return false;
  return a.ip === b.ip || anyAddress.has(a.ip) || anyAddress.has(b.ip);
}
