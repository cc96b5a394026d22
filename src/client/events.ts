import { type Event, events } from "../api/generated/core-v1.ts";
import { type Clock, formatTime } from "../machinery/clock.ts";
import type { Logger } from "../machinery/log.ts";
import { apiVersionOf, type DeepReadonly, type KubeObject, type ResourceType } from "../machinery/object.ts";
import { StatusError } from "../machinery/status.ts";
import type { Client } from "./client.ts";
import { EventCorrelator } from "./event-correlator.ts";

export interface EventRecorderOptions {
  readonly client: Client;
  /** Who reports: "kubelet", "default-scheduler", "deployment-controller". */
  readonly component: string;
  /** Node that the reporter runs on, for agents. */
  readonly host?: string;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** The object that an event is about, when only its coordinates are known or a part of it is meant. */
export interface EventTarget {
  readonly namespace?: string | undefined;
  readonly name: string;
  readonly uid?: string | undefined;
  readonly resourceVersion?: string | undefined;
  /** Part of the object: "spec.containers{web}". */
  readonly fieldPath?: string;
}

/** Events that wait to be written; more are dropped, since events are no record that anything relies on. */
const maxWaiting = 1000;
const attempts = 3;

/**
 * Reports what happens to objects as core/v1 Events, one write at a time in the background. Never throws, and never
 * makes its caller wait. Equal events are counted on one object, floods are held back (see `EventCorrelator`).
 */
export class EventRecorder {
  readonly #options: EventRecorderOptions;
  readonly #correlator = new EventCorrelator();
  readonly #waiting: (() => Promise<void>)[] = [];
  #writing: Promise<void> | undefined;
  #sequence = 0;

  constructor(options: EventRecorderOptions) {
    this.#options = options;
  }

  /** Reports about `object`, which is of kind `type`. `message` may hold up to 1,024 bytes; longer ones are cut. */
  event(
    type: ResourceType,
    object: EventTarget | DeepReadonly<KubeObject>,
    severity: "Normal" | "Warning",
    reason: string,
    message: string,
  ): void {
    if (this.#waiting.length >= maxWaiting) return;
    const target = targetOf(object);
    const at = this.#options.clock.now();
    this.#waiting.push(() => this.#write(type, target, severity, reason, message.slice(0, 1024), at));
    this.#writing ??= this.#drain();
  }

  /** Resolves when everything reported so far is written or given up. */
  async flush(): Promise<void> {
    while (this.#writing) await this.#writing;
  }

  async #drain(): Promise<void> {
    // Let the caller's own work go first.
    await Promise.resolve();
    try {
      for (let write = this.#waiting.shift(); write; write = this.#waiting.shift()) await write();
    } finally {
      // In one turn with the last look: between them an event would wait for the next one.
      this.#writing = undefined;
    }
  }

  async #write(
    type: ResourceType,
    target: EventTarget,
    severity: "Normal" | "Warning",
    reason: string,
    text: string,
    atMs: number,
  ): Promise<void> {
    const { component, host = "", logger, clock } = this.#options;
    const apiVersion = apiVersionOf(type);
    const object = JSON.stringify([apiVersion, type.kind, target.namespace, target.name, target.uid, target.fieldPath]);
    const facts = { source: component, host, object, type: severity, reason, message: text };
    const correlated = this.#correlator.correlate(facts, atMs);
    if (!correlated) return;
    // Events about cluster-scoped objects live in "default".
    const namespace = target.namespace || "default";
    for (let attempt = 1; attempt <= attempts; attempt++) {
      try {
        if (correlated.name !== undefined && (await this.#countUp(correlated, correlated.name, atMs))) return;
        const time = formatTime(atMs);
        const event: Event = {
          metadata: { name: this.#name(target.name, atMs), namespace },
          involvedObject: {
            apiVersion,
            kind: type.kind,
            name: target.name,
            ...(target.namespace ? { namespace: target.namespace } : {}),
            ...(target.uid ? { uid: target.uid } : {}),
            ...(target.resourceVersion ? { resourceVersion: target.resourceVersion } : {}),
            ...(target.fieldPath ? { fieldPath: target.fieldPath } : {}),
          },
          type: severity,
          reason,
          message: correlated.message,
          source: { component, ...(host ? { host } : {}) },
          reportingComponent: component,
          ...(host ? { reportingInstance: host } : {}),
          firstTimestamp: time,
          lastTimestamp: time,
          count: correlated.count,
        };
        const written = await this.#options.client.create(events, event, { namespace });
        correlated.remember(written.metadata.name ?? "", namespace);
        return;
      } catch (error) {
        // The server's no is final: a namespace that is being deleted takes no events.
        if (error instanceof StatusError && error.code < 500) {
          logger.debug({ reason, object: target.name, error: error.message }, "Event was refused");
          return;
        }
        if (attempt === attempts) {
          logger.warn({ reason, object: target.name, error: (error as Error).message }, "Event could not be written");
          return;
        }
        await clock.sleep(1000 * attempt);
      }
    }
  }

  /** Raises the count of the event written before. False when it is gone. */
  async #countUp(event: { message: string; count: number; namespace?: string }, name: string, atMs: number) {
    const body = { count: event.count, message: event.message, lastTimestamp: formatTime(atMs) };
    try {
      await this.#options.client.patch(
        events,
        name,
        { type: "strategic", body },
        { ...(event.namespace ? { namespace: event.namespace } : {}) },
      );
      return true;
    } catch (error) {
      if (error instanceof StatusError && error.code === 404) return false;
      throw error;
    }
  }

  #name(object: string, atMs: number): string {
    // As client-go: the object's name and a time in hexadecimal nanoseconds; the sequence keeps names of one
    // millisecond apart.
    const stamp = BigInt(Math.floor(atMs)) * 1_000_000n + BigInt(this.#sequence++ % 1_000_000);
    return `${object}.${stamp.toString(16)}`;
  }
}

function targetOf(object: EventTarget | DeepReadonly<KubeObject>): EventTarget {
  if (!("metadata" in object)) return object;
  const { namespace, name = "", uid, resourceVersion } = object.metadata;
  return { namespace, name, uid, resourceVersion };
}
