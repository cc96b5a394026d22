import { apiPort } from "./node-spec.ts";

/** What a load balancer passes on, and to whom. */
export interface LoadBalancerPlan {
  /** Names of the servers' containers, which the engine's DNS knows. */
  readonly servers: readonly string[];
  /** TCP ports beside the API's that it listens on, and passes on to the same port of every server. */
  readonly ports: readonly number[];
}

/**
 * The part of the load balancer's configuration that is its cluster's own, `servers.cfg`. What all have in common is in
 * the image (`images/loadbalancer/haproxy.cfg`).
 */
export function loadBalancerConfig({ servers, ports }: LoadBalancerPlan): string {
  const section = (head: string, target: (server: string) => string) =>
    [head, ...servers.map((server) => `    server ${server} ${target(server)}`)].join("\n");
  const sections = [
    section("backend servers from checked", (server) => `${server}:${apiPort}`),
    // The same without checks, for as long as none of them is ready.
    section("backend starting from any", (server) => `${server}:${apiPort}`),
    // Whose API does not answer gets nothing else either.
    ...ports.map((port) =>
      section(
        `listen port-${port} from any\n    bind :${port}`,
        (server) => `${server}:${port} track servers/${server}`,
      ),
    ),
  ];
  return `${sections.join("\n\n")}\n`;
}
