/** The objects that the API server itself keeps: the first namespaces, and the Service that pods reach it by. */

import { isIPv6 } from "node:net";
import { endpoints, namespaces, services } from "../api/generated/core-v1.ts";
import { endpointSlices } from "../api/generated/discovery-v1.ts";
import { serviceCIDRs } from "../api/generated/networking-v1.ts";
import type { Client } from "../client/client.ts";
import { parseCidr } from "../machinery/cidr.ts";
import { type Clock, formatTime } from "../machinery/clock.ts";
import type { Logger } from "../machinery/log.ts";
import type { KubeObject, ResourceType } from "../machinery/object.ts";
import { StatusError } from "../machinery/status.ts";

const systemNamespaces = ["kube-system", "default", "kube-public", "kube-node-lease"];

/** Writes what is missing or has changed. Rejects when the store does not take it. */
export async function startSystemObjects(options: {
  readonly client: Client;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Where this server is reached. */
  readonly advertise: { readonly address: string; readonly port: number };
  readonly serviceCidr: string;
}): Promise<void> {
  const { client, advertise } = options;
  await Promise.all(
    systemNamespaces.map((name) => ensure(client, namespaces, { metadata: { name } } as KubeObject, () => false)),
  );
  await ensureServiceCidr(client, options.clock, options.serviceCidr.split(","));
  const clusterIP = parseCidr(options.serviceCidr.split(",")[0]!).nth(1);
  const own = { name: "kubernetes", namespace: "default" };
  const labels = { component: "apiserver", provider: "kubernetes" };
  const port = { name: "https", port: advertise.port, protocol: "TCP" };
  await ensure(
    client,
    services,
    {
      metadata: { ...own, labels },
      spec: {
        type: "ClusterIP",
        // Reserved: the first address of the range, which the allocator leaves alone.
        clusterIP,
        clusterIPs: [clusterIP],
        ipFamilies: [isIPv6(clusterIP) ? "IPv6" : "IPv4"],
        ipFamilyPolicy: "SingleStack",
        internalTrafficPolicy: "Cluster",
        ports: [{ name: "https", port: 443, protocol: "TCP", targetPort: advertise.port }],
        sessionAffinity: "None",
      },
    } as KubeObject,
    (service) => {
      const [first] = (service as unknown as { spec: { ports: { targetPort: unknown }[] } }).spec.ports;
      if (first?.targetPort === advertise.port) return false;
      first!.targetPort = advertise.port;
      return true;
    },
  );
  const subsets = [{ addresses: [{ ip: advertise.address }], ports: [port] }];
  await ensure(
    client,
    endpoints,
    { metadata: { ...own, labels: { "endpointslice.kubernetes.io/skip-mirror": "true" } }, subsets } as KubeObject,
    (object) => replaceField(object, "subsets", subsets),
  );
  const list = [{ addresses: [advertise.address], conditions: { ready: true } }];
  await ensure(
    client,
    endpointSlices,
    {
      metadata: { ...own, labels: { "kubernetes.io/service-name": "kubernetes" } },
      addressType: isIPv6(advertise.address) ? "IPv6" : "IPv4",
      endpoints: list,
      ports: [port],
    } as KubeObject,
    // Another address after a restart is ordinary; only one server writes here, so all of it is replaced.
    (object) => {
      const moved = replaceField(object, "endpoints", list);
      return replaceField(object, "ports", [port]) || moved;
    },
  );
}

/** The range that services come with, as clients see it. */
async function ensureServiceCidr(client: Client, clock: Clock, cidrs: readonly string[]): Promise<void> {
  const name = "kubernetes";
  const wanted = { metadata: { name }, spec: { cidrs } } as KubeObject;
  await ensure(client, serviceCIDRs, wanted, () => false);
  const { status } = await client.get(serviceCIDRs, name);
  if (status?.conditions?.some(({ type }) => type === "Ready")) return;
  const ready = {
    type: "Ready",
    status: "True",
    reason: "",
    message: "Kubernetes default Service CIDR is ready",
    lastTransitionTime: formatTime(clock.now()),
  };
  const body = { status: { conditions: [ready] } };
  await client.patch(serviceCIDRs, name, { type: "merge", body }, { subresource: "status" });
}

function replaceField(object: KubeObject, field: string, value: unknown): boolean {
  const body = object as unknown as Record<string, unknown>;
  if (JSON.stringify(body[field]) === JSON.stringify(value)) return false;
  body[field] = value;
  return true;
}

/** Creates an object, or lets `change` bring the present one up to date. */
async function ensure(
  client: Client,
  type: ResourceType,
  wanted: KubeObject,
  change: (present: KubeObject) => boolean,
): Promise<void> {
  const { name, namespace } = wanted.metadata;
  try {
    await client.create(type, wanted);
    return;
  } catch (error) {
    if (!(error instanceof StatusError) || error.reason !== "AlreadyExists") throw error;
  }
  const present = structuredClone(await client.get(type, name!, namespace ? { namespace } : {}));
  if (change(present)) await client.update(type, present);
}
