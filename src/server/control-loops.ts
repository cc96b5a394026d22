import { randomUUID } from "node:crypto";
import { builtInResources } from "../api/registry.ts";
import type { Client } from "../client/client.ts";
import { fencedClient } from "../client/fenced-client.ts";
import { type Leadership, runAsLeader } from "../client/leader-election.ts";
import type { ControllerFactory, ControllersConfig } from "../controllers/controller.ts";
import { clusterClock, ioClock } from "../machinery/clock.ts";
import type { Logger } from "../machinery/log.ts";

export interface ControlLoopsOptions {
  /** Do other servers work with the store? Then the loops run where their Lease is. */
  readonly shared: boolean;
  /** Tells the servers of a cluster apart in the Leases. */
  readonly nodeName: string;
  readonly client: (name: string, groups: readonly string[]) => Client;
  readonly controllers: ControllersConfig;
  /** Beside Kubernetes' own: they look after the servers themselves, as the supervisor. */
  readonly clusterControllers: readonly ControllerFactory[];
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

/** Read and compiled before they are needed, in the time in which the store is opened. */
export interface LoadedLoops {
  readonly controllers: Promise<typeof import("../controllers/manager.ts")>;
  readonly scheduler: Promise<typeof import("../scheduler/scheduler.ts")> | undefined;
}

export function loadControlLoops(scheduler: boolean): LoadedLoops {
  return {
    controllers: import("../controllers/manager.ts"),
    scheduler: scheduler ? import("../scheduler/scheduler.ts") : undefined,
  };
}

const supervisor = ["system:k3s-supervisor", ["system:masters", "system:authenticated"]] as const;

/** Who leads when nobody else can: always, and until it is told to stop. */
const alone = (signal: AbortSignal): Leadership => ({ signal, lost: new AbortController().signal, holds: () => true });

/**
 * Runs controllers and scheduler until the signal: at once where this server is alone, otherwise each where its Lease in
 * kube-system is (Kubernetes' names), so that never two of them work.
 * @returns how to wait for their end after the signal
 */
export async function startControlLoops(
  options: ControlLoopsOptions,
  loaded: LoadedLoops,
): Promise<{ readonly stopped: Promise<void> }> {
  const { shared, nodeName, clusterControllers, logger, signal } = options;
  const identity = `${nodeName}_${randomUUID()}`;
  const run = (name: string, lead: (leadership: Leadership) => Promise<void>): Promise<void> => {
    if (!shared) return lead(alone(signal));
    const client = options.client(...supervisor);
    const election = { client, namespace: "kube-system", name, identity, clock: ioClock, logger };
    return runAsLeader(election, signal, lead);
  };
  // Where nobody else can lead, nothing has to be kept from writing.
  const clientOf = (leadership: Leadership, name: string, groups: readonly string[]): Client => {
    const client = options.client(name, groups);
    return shared ? fencedClient(client, leadership) : client;
  };

  const { startControllers } = await loaded.controllers;
  logger.info("Running kube-controller-manager");
  const running = [
    run("kube-controller-manager", (leadership) => {
      const controllers = startControllers({
        client: clientOf(leadership, "system:kube-controller-manager", ["system:authenticated"]),
        clientFor: (name) =>
          clusterControllers.some((factory) => factory.name === name)
            ? clientOf(leadership, ...supervisor)
            : clientOf(leadership, `system:serviceaccount:kube-system:${name}`, [
                "system:serviceaccounts",
                "system:serviceaccounts:kube-system",
                "system:authenticated",
              ]),
        additional: clusterControllers,
        clock: clusterClock,
        logger,
        config: options.controllers,
        resources: builtInResources.filter(({ verbs }) => verbs.includes("watch") && verbs.includes("delete")),
        signal: leadership.signal,
      });
      return controllers.stopped;
    }),
  ];
  if (loaded.scheduler) {
    const { startScheduler } = await loaded.scheduler;
    logger.info("Running kube-scheduler");
    running.push(
      run("kube-scheduler", async (leadership) => {
        const scheduler = startScheduler({
          client: clientOf(leadership, "system:kube-scheduler", ["system:authenticated"]),
          clock: clusterClock,
          logger,
          signal: leadership.signal,
        });
        await aborted(leadership.signal);
        await scheduler.stop();
      }),
    );
  }
  return { stopped: Promise.all(running).then(() => {}) };
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
