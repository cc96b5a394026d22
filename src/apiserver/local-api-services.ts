/** APIService objects for what this server serves itself, as tools list them; and refusal of those it cannot proxy. */
import { type APIService, apiServices } from "../api/generated/apiregistration-v1.ts";
import type { ResourceFacts } from "../api/resource.ts";
import type { Client } from "../client/client.ts";
import { type Clock, formatTime } from "../machinery/clock.ts";
import type { Logger } from "../machinery/log.ts";
import { notBuilt, StatusError } from "../machinery/status.ts";
import type { AdmissionPlugin } from "./request.ts";
import type { ResourceTable } from "./resource-table.ts";

const automanaged = "kube-aggregator.kubernetes.io/automanaged";
/** Many definitions come at once (a chart's); their groups are written together. */
const settleMs = 1000;

/** Kubernetes' own order of its groups; custom ones come after. */
const priorities: Readonly<Record<string, number>> = {
  "": 18000,
  apps: 17800,
  "events.k8s.io": 17750,
  "authentication.k8s.io": 17700,
  "authorization.k8s.io": 17600,
  autoscaling: 17500,
  batch: 17400,
  "certificates.k8s.io": 17300,
  "networking.k8s.io": 17200,
  policy: 17100,
  "rbac.authorization.k8s.io": 17000,
  "storage.k8s.io": 16800,
  "apiextensions.k8s.io": 16700,
  "admissionregistration.k8s.io": 16700,
  "scheduling.k8s.io": 16600,
  "coordination.k8s.io": 16500,
  "node.k8s.io": 16300,
  "discovery.k8s.io": 16200,
  "flowcontrol.apiserver.k8s.io": 16100,
  "resource.k8s.io": 16000,
};

interface Wanted {
  readonly name: string;
  readonly group: string;
  readonly version: string;
  readonly custom: boolean;
}

function wantedOf(all: readonly ResourceFacts[]): Map<string, Wanted> {
  const wanted = new Map<string, Wanted>();
  for (const { group, version, custom } of all) {
    // The group of APIServices is the aggregator's own, which registers no service for itself.
    if (group === "apiregistration.k8s.io") continue;
    const name = `${version}.${group}`;
    wanted.set(name, { name, group, version, custom: custom ?? false });
  }
  return wanted;
}

function serviceFor({ name, group, version, custom }: Wanted, nowMs: number): APIService {
  return {
    metadata: { name, labels: { [automanaged]: custom ? "true" : "onstart" } },
    spec: {
      ...(group === "" ? {} : { group }),
      version,
      groupPriorityMinimum: custom ? 1000 : (priorities[group] ?? 2000),
      versionPriority: custom ? 100 : version === "v1" ? 15 : 30,
    },
    status: {
      conditions: [
        {
          type: "Available",
          status: "True",
          reason: "Local",
          message: "Local APIServices are always available",
          lastTransitionTime: formatTime(nowMs),
        },
      ],
    },
  };
}

/** Writes an APIService for every served group-version, now and whenever the table changes; removes those of groups that went. */
export async function startLocalApiServices(options: {
  readonly client: Client;
  readonly resources: ResourceTable;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}): Promise<void> {
  const { client, resources, clock, logger, signal } = options;
  let scheduled = false;

  async function reconcile(): Promise<void> {
    const wanted = wantedOf(resources.all());
    const { items } = await client.list(apiServices);
    const present = new Set(items.map(({ metadata }) => metadata.name));
    const missing = [...wanted.values()].filter(({ name }) => !present.has(name));
    const gone = items.filter(({ metadata }) => metadata.labels?.[automanaged] && !wanted.has(metadata.name!));
    await Promise.all([
      ...missing.map(async (one) => {
        const service = serviceFor(one, clock.now());
        const { status } = service;
        const created = await client.create(apiServices, service).catch(ignore("AlreadyExists"));
        if (created)
          await client.update(apiServices, { ...created, ...(status ? { status } : {}) }, { subresource: "status" });
      }),
      ...gone.map(({ metadata }) => client.delete(apiServices, metadata.name!).catch(ignore("NotFound"))),
    ]);
  }

  function later(): void {
    if (scheduled) return;
    scheduled = true;
    clock.after(settleMs, () => {
      scheduled = false;
      if (signal.aborted) return;
      reconcile().catch((error) => {
        if (signal.aborted) return;
        logger.warn({ err: error }, "Writing the APIServices failed; it is tried again");
        later();
      });
    });
  }

  signal.addEventListener("abort", resources.onChange(later), { once: true });
  await reconcile();
}

function ignore(reason: string): (error: unknown) => undefined {
  return (error) => {
    if (error instanceof StatusError && error.reason === reason) return undefined;
    throw error;
  };
}

/** Refuses APIServices that point to another server: nothing would be served behind them. */
export const apiServiceCheck: AdmissionPlugin = {
  name: "APIServiceCheck",
  async validate({ facts, operation, object }) {
    if (facts.resource !== "apiservices" || facts.custom || operation === "DELETE") return;
    if ((object as APIService | undefined)?.spec?.service)
      throw notBuilt("an APIService that forwards to another API server");
  },
};
