/** The objects that the API server itself keeps: the first namespaces, and the Service that pods reach it by. */

import { isIPv6 } from "node:net";
import { endpoints, namespaces, services } from "../api/generated/core-v1.ts";
import { endpointSlices } from "../api/generated/discovery-v1.ts";
import { flowSchemas, priorityLevelConfigurations } from "../api/generated/flowcontrol-v1.ts";
import { serviceCIDRs } from "../api/generated/networking-v1.ts";
import type { Client } from "../client/client.ts";
import { parseCidr } from "../machinery/cidr.ts";
import { type Clock, formatTime } from "../machinery/clock.ts";
import { deepEqual } from "../machinery/equality.ts";
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
  await Promise.all([
    ensureServiceCidr(client, options.clock, options.serviceCidr.split(",")),
    ensureFlowControl(client),
  ]);
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

interface FlowControlObject extends KubeObject {
  readonly spec?: object;
}

/**
 * The flow schemas and priority levels of every cluster: clients read them, nothing here does. The mandatory ones are
 * kept as they must be; the others too, unless their owner has taken them over.
 */
async function ensureFlowControl(client: Client): Promise<void> {
  const [levels, schemas] = await Promise.all([client.list(priorityLevelConfigurations), client.list(flowSchemas)]);
  // Loaded here, where all of it is used, and not with the API server.
  const facts = await import("../api/flow-control-objects.ts");
  const keep = async (
    type: ResourceType,
    present: readonly KubeObject[],
    wanted: FlowControlObject,
    fixed: boolean,
  ) => {
    const known: FlowControlObject | undefined = present.find(({ metadata }) => metadata.name === wanted.metadata.name);
    if (!known) return ensure(client, type, structuredClone(wanted), () => false);
    const ours = fixed || known.metadata.annotations?.[facts.autoUpdate] === "true";
    // The shares of the exempt level are for people to choose, and there is nothing else in it.
    if (!ours || "exempt" in (wanted.spec ?? {}) || deepEqual(known.spec, wanted.spec)) return;
    await client.update(type, structuredClone({ ...known, spec: wanted.spec }));
  };
  await Promise.all([
    ...facts.mandatoryLevels.map((level) => keep(priorityLevelConfigurations, levels.items, level, true)),
    ...facts.suggestedLevels.map((level) => keep(priorityLevelConfigurations, levels.items, level, false)),
    ...facts.mandatorySchemas.map((schema) => keep(flowSchemas, schemas.items, schema, true)),
    ...facts.suggestedSchemas.map((schema) => keep(flowSchemas, schemas.items, schema, false)),
  ]);
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
