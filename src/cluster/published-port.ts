import type { Role } from "./cluster-names.ts";
import { type PublishedPort, parsePort } from "./node-spec.ts";

/** The container that publishes a port. */
export type PortTarget = "loadbalancer" | { readonly role: Role; readonly index: number };

export interface TargetedPort extends PublishedPort {
  readonly target: PortTarget;
}

const form = "[address:]host:container[/protocol][@loadbalancer|@server:N|@agent:N]";

/**
 * Reads where a port is to be published, with k3d's way to name the container. Without a name it is the load balancer,
 * which passes TCP on to every server, or else the first server.
 * @throws when the text is not written in that form, or asks the load balancer for another protocol than TCP
 */
export function parseTargetedPort(text: string, loadBalancer: boolean): TargetedPort {
  const [published = "", ...filters] = text.split("@");
  const port = parsePort(published);
  const tcp = port.container.endsWith("/tcp");
  if (filters.length === 0)
    return { ...port, target: loadBalancer && tcp ? "loadbalancer" : { role: "server", index: 0 } };
  const [filter = ""] = filters;
  if (filters.length === 1 && filter === "loadbalancer") {
    if (tcp) return { ...port, target: "loadbalancer" };
    throw new Error(
      `invalid port "${text}": the load balancer passes on TCP only; publish it on a node, as with @server:0`,
    );
  }
  const match = /^(server|agent):(\d+)$/.exec(filter);
  if (filters.length > 1 || !match) throw new Error(`invalid port "${text}": write it as ${form}`);
  return { ...port, target: { role: match[1] as Role, index: Number(match[2]) } };
}

/** Whether a port needs a load balancer. */
export function wantsLoadBalancer(text: string): boolean {
  return text.endsWith("@loadbalancer");
}
