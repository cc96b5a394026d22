import type { ContainerCreateOptions } from "dockerode";
import { labels, loadBalancerName, loadBalancerRole } from "./cluster-names.ts";
import { type ApiAddress, type PublishedPort, publish } from "./node-spec.ts";

/** A load balancer that is to be made. */
export interface LoadBalancerSpec {
  readonly cluster: string;
  readonly network: string;
  readonly image: string;
  /** With it servers say whether they are ready. */
  readonly token: string;
  /** Where the API appears on this machine. */
  readonly api: ApiAddress;
  /** Published, and passed on to the servers. TCP only. */
  readonly ports: readonly PublishedPort[];
}

/** The ports beside the API's that a load balancer listens on. */
export function forwardedPorts(ports: readonly PublishedPort[]): number[] {
  return [...new Set(ports.map(({ container }) => Number.parseInt(container, 10)))];
}

/** The load balancer's container: a plain one, without any privilege. */
export function loadBalancerOptions(spec: LoadBalancerSpec): ContainerCreateOptions & { name: string } {
  const name = loadBalancerName(spec.cluster);
  const { exposed, bindings } = publish(spec.ports, spec.api);
  return {
    name,
    Hostname: name,
    Image: spec.image,
    Env: [`K3S_TOKEN=${spec.token}`],
    Labels: {
      [labels.cluster]: spec.cluster,
      [labels.role]: loadBalancerRole,
      [labels.apiPort]: `${spec.api.host}:${spec.api.port}`,
      ...(spec.ports.length > 0 ? { [labels.ports]: forwardedPorts(spec.ports).join(",") } : {}),
    },
    ExposedPorts: exposed,
    HostConfig: {
      CapDrop: ["ALL"],
      SecurityOpt: ["no-new-privileges"],
      RestartPolicy: { Name: "unless-stopped" },
      NetworkMode: spec.network,
      PortBindings: bindings,
    },
  };
}
