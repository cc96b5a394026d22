import type { Client } from "../client/client.ts";
import { EventRecorder } from "../client/events.ts";
import { createInformer, type Informer } from "../client/informer.ts";
import { WorkQueue } from "../client/work-queue.ts";
import type { Clock } from "../machinery/clock.ts";
import type { Logger } from "../machinery/log.ts";
import type { KubeObject, ResourceType } from "../machinery/object.ts";
import { StatusError } from "../machinery/status.ts";
import {
  type Controller,
  type ControllerFactory,
  type ControllersConfig,
  type Informers,
  TerminalError,
} from "./controller.ts";
import { controllerFactories } from "./list.ts";

export interface ControllerManagerOptions {
  /** Fills the shared informers; has to be allowed to list and watch everything (system:kube-controller-manager). */
  readonly client: Client;
  /** The client of a controller's own service account: kube-system/<name>. */
  clientFor(controllerName: string): Client;
  /** Cluster time. */
  readonly clock: Clock;
  readonly logger: Logger;
  readonly config: ControllersConfig;
  /** Every built-in kind that can be listed, watched and deleted: what the garbage collector looks after. */
  readonly resources: readonly ResourceType[];
  /** Stops everything. */
  readonly signal: AbortSignal;
  /** Controllers to run; default: all. */
  readonly factories?: readonly ControllerFactory[];
  /** Controllers of others to run beside them. */
  readonly additional?: readonly ControllerFactory[];
}

export interface ControllerManager {
  /** Resolves when every controller has seen the whole state once and works; rejects when stopped before. */
  readonly synced: Promise<void>;
  /** Resolves when everything has stopped after the signal. */
  readonly stopped: Promise<void>;
}

/** Starts all controllers. One that cannot start or fails takes no other down: it is tried again. */
export function startControllers(options: ControllerManagerOptions): ControllerManager {
  const { signal, logger, clock, config } = options;
  const resources = oneVersionEach(options.resources);
  const informers = new SharedInformers(options);
  const running: Promise<void>[] = [];
  const syncing: Promise<void>[] = [];
  for (const { name, create } of [...(options.factories ?? controllerFactories), ...(options.additional ?? [])]) {
    const used = informers.recording();
    const client = options.clientFor(name);
    const log = logger.child({ controller: name });
    const events = new EventRecorder({ client, component: name, clock, logger: log });
    const controller = create({ client, informers: used, clock, logger: log, events, config, resources });
    const ready = Promise.all(used.types.map((informer) => informer.synced(signal))).then(() => {});
    syncing.push(ready);
    running.push(runController(controller, ready, { clock, logger: log, signal }));
  }
  running.push(...informers.startAll());
  const synced = Promise.all(syncing).then(() => {});
  // Whoever does not wait for it shall not be ended by its rejection at stop.
  synced.catch(() => {});
  return { synced, stopped: Promise.all(running).then(() => {}) };
}

/** Of a resource with several versions the first: it is the same objects. */
function oneVersionEach(types: readonly ResourceType[]): ResourceType[] {
  const seen = new Map<string, ResourceType>();
  for (const type of types) {
    const key = `${type.group}/${type.resource}`;
    if (!seen.has(key)) seen.set(key, type);
  }
  return [...seen.values()];
}

interface RunOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

/** Runs one controller once `ready` resolves, until the signal aborts. Never rejects. */
export async function runController(
  controller: Controller,
  ready: Promise<void>,
  { clock, logger, signal }: RunOptions,
): Promise<void> {
  const queue = new WorkQueue({ clock });
  for (const watch of controller.watches) {
    watch.attach((key, delayMs) => (delayMs ? queue.addAfter(key, delayMs) : queue.add(key)));
  }
  try {
    await ready;
  } catch {
    queue.close();
    return;
  }
  if (signal.aborted) {
    queue.close();
    return;
  }
  signal.addEventListener("abort", () => queue.close(), { once: true });
  const workers = Array.from({ length: controller.workers ?? 5 }, () =>
    work(controller, queue, { clock, logger, signal }),
  );
  const beside = controller.run?.(signal).catch((error: unknown) => {
    if (!signal.aborted) logger.error({ error: textOf(error) }, "Controller's own work failed");
  });
  await Promise.all([...workers, beside]);
}

async function work(controller: Controller, queue: WorkQueue, { logger, signal }: RunOptions): Promise<void> {
  for (let key = await queue.take(); key !== undefined; key = await queue.take()) {
    try {
      const result = await controller.reconcile(key, signal);
      queue.forget(key);
      if (result?.requeueAfterMs !== undefined) queue.addAfter(key, result.requeueAfterMs);
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof TerminalError) {
        queue.forget(key);
        logger.warn({ key, error: error.message }, "Reconcile failed; it waits for a change");
      } else {
        queue.addRateLimited(key);
        // Lost races and stale caches are everyday; the next attempt sees the newer state.
        const everyday = error instanceof StatusError && error.code === 409;
        if (everyday) logger.debug({ key, error: error.message }, "Reconcile lost a race; it is tried again");
        else logger.warn({ key, error: textOf(error) }, "Reconcile failed; it is tried again");
      }
    } finally {
      queue.done(key);
    }
  }
}

function textOf(error: unknown): string {
  if (error instanceof StatusError) return error.message;
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

interface RecordingInformers extends Informers {
  readonly types: Informer<KubeObject>[];
}

class SharedInformers {
  readonly #options: ControllerManagerOptions;
  readonly #informers = new Map<string, Informer<KubeObject>>();
  #started = false;

  constructor(options: ControllerManagerOptions) {
    this.#options = options;
  }

  /** A view that remembers which informers were asked for: a controller starts when these are synced. */
  recording(): RecordingInformers {
    const used = new Set<Informer<KubeObject>>();
    return {
      of: <T extends KubeObject>(type: ResourceType<T>) => {
        const informer = this.#of(type);
        used.add(informer as unknown as Informer<KubeObject>);
        return informer;
      },
      startDynamic: <T extends KubeObject>(type: ResourceType<T>, signal: AbortSignal) => {
        const informer = this.#create(type);
        void informer.start(AbortSignal.any([signal, this.#options.signal]));
        return informer;
      },
      get types() {
        return [...used];
      },
    };
  }

  startAll(): Promise<void>[] {
    this.#started = true;
    return [...this.#informers.values()].map((informer) => informer.start(this.#options.signal));
  }

  #create<T extends KubeObject>(type: ResourceType<T>): Informer<T> {
    const { client, clock, logger } = this.#options;
    return createInformer(client, type, { clock, logger });
  }

  #of<T extends KubeObject>(type: ResourceType<T>): Informer<T> {
    const key = `${type.group}/${type.version}/${type.resource}`;
    const known = this.#informers.get(key);
    if (known) return known as unknown as Informer<T>;
    if (this.#started) throw new Error(`informer of ${key} was asked for after the start`);
    const informer = this.#create(type);
    this.#informers.set(key, informer as unknown as Informer<KubeObject>);
    return informer;
  }
}
