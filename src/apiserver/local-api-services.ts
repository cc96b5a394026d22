/** APIService objects for what this server serves itself, as tools list them. */
import { type APIService, apiServices } from "../api/generated/apiregistration-v1.ts";
import type { ResourceFacts } from "../api/resource.ts";
import type { Client } from "../client/client.ts";
import type { Informer } from "../client/informer.ts";
import type { Clock } from "../machinery/clock.ts";
import { deepEqual } from "../machinery/equality.ts";
import { cloneJson } from "../machinery/json.ts";
import type { Logger } from "../machinery/log.ts";
import { StatusError } from "../machinery/status.ts";
import { groupPriority, versionPriority } from "./aggregation/group-priorities.ts";
import type { ResourceTable } from "./resource-table.ts";

/** "onstart": written when the server starts, and left alone after that; "true": kept as it is written. */
const automanaged = "kube-aggregator.kubernetes.io/automanaged";
/** Many definitions come at once (a chart's); their groups are written together. */
const settleMs = 1000;

function wantedOf(all: readonly ResourceFacts[]): Map<string, APIService> {
  const wanted = new Map<string, APIService>();
  for (const { group, version, custom } of all) {
    const name = `${version}.${group}`;
    // The group of APIServices is the aggregator's own, which registers no service for itself.
    if (group === "apiregistration.k8s.io" || wanted.has(name)) continue;
    wanted.set(name, {
      metadata: { name, labels: { [automanaged]: custom ? "true" : "onstart" } },
      spec: {
        ...(group === "" ? {} : { group }),
        version,
        groupPriorityMinimum: groupPriority(group),
        versionPriority: versionPriority(group, version),
      },
    });
  }
  return wanted;
}

const managed = ({ metadata }: Pick<APIService, "metadata">) => metadata.labels?.[automanaged];

/**
 * Writes an APIService for every served group-version, now and whenever the table changes; removes those of groups that
 * went, and puts back those of custom groups that somebody else changed or removed.
 */
export async function startLocalApiServices(options: {
  readonly client: Client;
  readonly resources: ResourceTable;
  /** Of all APIServices. */
  readonly informer: Informer<APIService>;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}): Promise<void> {
  const { client, resources, informer, clock, logger, signal } = options;
  let scheduled = false;
  /** What was written once, and is not again when an administrator removed or changed it. */
  const settled = new Set<string>();

  async function reconcile(): Promise<void> {
    const wanted = wantedOf(resources.all());
    const { items } = await client.list(apiServices);
    const present = new Map(items.map((item) => [item.metadata.name!, item]));
    const write = async (name: string, one: APIService): Promise<void> => {
      const found = present.get(name);
      if (managed(one) === "onstart" && settled.has(name)) return;
      if (!found) await client.create(apiServices, one).catch(ignore("AlreadyExists"));
      else if (managed(found) && !deepEqual(found.spec, one.spec)) {
        const next = { ...cloneJson(found), ...(one.spec ? { spec: one.spec } : {}) };
        // Another server of the cluster was faster, with the same.
        await client.update(apiServices, next).catch(ignore("Conflict"));
      }
      settled.add(name);
    };
    const gone = items.filter((item) => managed(item) && !wanted.has(item.metadata.name!));
    await Promise.all([
      ...[...wanted].map(([name, one]) => write(name, one)),
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
  const unlessOurs = (object: { readonly metadata: unknown }) => {
    if (managed(object as APIService) === "true") later();
  };
  informer.on({
    update: (next, old) => {
      if (!deepEqual(next.spec, old.spec)) unlessOurs(old);
    },
    delete: unlessOurs,
  });
}

function ignore(reason: string): (error: unknown) => undefined {
  return (error) => {
    if (error instanceof StatusError && error.reason === reason) return undefined;
    throw error;
  };
}
