import { Readable } from "node:stream";
import type Docker from "dockerode";
import { pack } from "tar-stream";
import { labels } from "./cluster-names.ts";
import { getCluster } from "./inventory.ts";
import { type LoadBalancerPlan, loadBalancerConfig } from "./load-balancer-config.ts";

/** Gives the load balancer its configuration; it reads it when it is started or told to. */
export async function configureLoadBalancer(docker: Docker, container: string, plan: LoadBalancerPlan): Promise<void> {
  const archive = pack();
  archive.entry({ name: "servers.cfg", mode: 0o644 }, loadBalancerConfig(plan));
  archive.finalize();
  await docker.getContainer(container).putArchive(Readable.from(archive), { path: "/etc/haproxy" });
}

/**
 * Brings the load balancer of a cluster in line with its servers, `without` one that is about to go. Connections to the
 * others go on. Nothing happens where there is no load balancer.
 */
export async function updateLoadBalancer(docker: Docker, name: string, without?: string): Promise<void> {
  const { nodes, loadBalancer } = await getCluster(docker, name);
  if (!loadBalancer) return;
  const servers = nodes.filter((node) => node.role === "server" && node.name !== without).map((node) => node.name);
  const ports = (loadBalancer.labels[labels.ports] ?? "").split(",").filter(Boolean).map(Number);
  await configureLoadBalancer(docker, loadBalancer.name, { servers, ports });
  // The master reads the files anew, and a worker with them takes over its sockets.
  if (loadBalancer.state === "running") await docker.getContainer(loadBalancer.name).kill({ signal: "SIGUSR2" });
}
