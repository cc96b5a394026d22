import { isIPv6 } from "node:net";
import type { EndpointSubset, Endpoints } from "../../api/generated/core-v1.ts";
import type { EndpointSlice } from "../../api/generated/discovery-v1.ts";

/** Where an API server is reached by pods. */
export interface ServerAddress {
  readonly address: string;
  readonly port: number;
}

export const serviceName = "kubernetes";
export const serviceNamespace = "default";

const own = { name: serviceName, namespace: serviceNamespace };

/** Those that share a port, in the order of their ports; addresses in the order of their text. */
function byPort(servers: readonly ServerAddress[]): [port: number, addresses: string[]][] {
  const ports = new Map<number, string[]>();
  for (const { address, port } of servers) ports.set(port, [...(ports.get(port) ?? []), address]);
  return [...ports].sort(([a], [b]) => a - b).map(([port, addresses]) => [port, addresses.sort()]);
}

const portOf = (port: number) => ({ name: "https", port, protocol: "TCP" });

/** The Endpoints of the Service `kubernetes` with these servers behind it. */
export function endpointsOf(servers: readonly ServerAddress[]): Endpoints {
  const subsets: EndpointSubset[] = byPort(servers).map(([port, addresses]) => ({
    addresses: addresses.map((ip) => ({ ip })),
    ports: [portOf(port)],
  }));
  // Mirrored by nobody: its slices are written beside it.
  return { metadata: { ...own, labels: { "endpointslice.kubernetes.io/skip-mirror": "true" } }, subsets };
}

/** Its EndpointSlices: `kubernetes`, and further ones for servers of another port or family. */
export function endpointSlicesOf(servers: readonly ServerAddress[]): EndpointSlice[] {
  const labels = { "kubernetes.io/service-name": serviceName };
  const slices: EndpointSlice[] = [];
  for (const addressType of ["IPv4", "IPv6"] as const) {
    const family = servers.filter(({ address }) => isIPv6(address) === (addressType === "IPv6"));
    for (const [port, addresses] of byPort(family)) {
      const name = slices.length === 0 ? serviceName : `${serviceName}-${addressType.toLowerCase()}-${port}`;
      slices.push({
        metadata: { ...own, name, labels },
        addressType,
        endpoints: addresses.map((address) => ({ addresses: [address], conditions: { ready: true } })),
        ports: [portOf(port)],
      });
    }
  }
  return slices;
}
