import type { EndpointSlice } from "../api/generated/discovery-v1.ts";
import type { DeepReadonly } from "../machinery/object.ts";
import { joinHostPort } from "./load-balancer/dial-first.ts";

/** The addresses ("host:port") of the cluster's servers, from the slices of the Service `default/kubernetes`. */
export function serverAddresses(slices: readonly DeepReadonly<EndpointSlice>[]): string[] {
  const addresses = slices.flatMap(({ endpoints, ports }) => {
    const port = ports?.find(({ name }) => name === "https")?.port ?? ports?.[0]?.port;
    if (port === undefined) return [];
    const ready = (endpoints ?? []).filter(({ conditions }) => conditions?.ready !== false);
    return ready.flatMap(({ addresses }) => addresses.map((address) => joinHostPort(address, port)));
  });
  return [...new Set(addresses)].sort();
}
