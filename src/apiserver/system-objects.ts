/** The objects that every cluster begins with: the first namespaces, the range of Services, flow control. */

import { namespaces } from "../api/generated/core-v1.ts";
import { flowSchemas, priorityLevelConfigurations } from "../api/generated/flowcontrol-v1.ts";
import { serviceCIDRs } from "../api/generated/networking-v1.ts";
import type { Client } from "../client/client.ts";
import { type Clock, formatTime } from "../machinery/clock.ts";
import { deepEqual } from "../machinery/equality.ts";
import type { Logger } from "../machinery/log.ts";
import type { KubeObject, ResourceType } from "../machinery/object.ts";
import { hasReason } from "../machinery/status.ts";
import { ensure } from "./ensure.ts";

const systemNamespaces = ["kube-system", "default", "kube-public", "kube-node-lease"];

/** Writes what is missing or has changed. Rejects when the store does not take it. */
export async function startSystemObjects(options: {
  readonly client: Client;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly serviceCidr: string;
}): Promise<void> {
  const { client } = options;
  await Promise.all(
    systemNamespaces.map((name) => ensure(client, namespaces, { metadata: { name } } as KubeObject, () => false)),
  );
  await Promise.all([
    ensureServiceCidr(client, options.clock, options.serviceCidr.split(",")),
    ensureFlowControl(client),
  ]);
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
    await client.update(type, structuredClone({ ...known, spec: wanted.spec })).catch((error) => {
      // Another server of the cluster was faster, with the same.
      if (!hasReason(error, "Conflict")) throw error;
    });
  };
  await Promise.all([
    ...facts.mandatoryLevels.map((level) => keep(priorityLevelConfigurations, levels.items, level, true)),
    ...facts.suggestedLevels.map((level) => keep(priorityLevelConfigurations, levels.items, level, false)),
    ...facts.mandatorySchemas.map((schema) => keep(flowSchemas, schemas.items, schema, true)),
    ...facts.suggestedSchemas.map((schema) => keep(flowSchemas, schemas.items, schema, false)),
  ]);
}
