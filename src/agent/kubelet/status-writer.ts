import { type Pod, type PodStatus, pods } from "../../api/generated/core-v1.ts";
import type { Client } from "../../client/client.ts";
import { isOlder } from "../../client/resource-version.ts";
import type { Clock } from "../../machinery/clock.ts";
import { deepEqual } from "../../machinery/equality.ts";
import type { Logger } from "../../machinery/log.ts";
import { StatusError } from "../../machinery/status.ts";
import { uidOf } from "./pod-facts.ts";

/** Conditions that the kubelet writes; all others belong to someone else. */
const ownConditions = new Set([
  "PodReadyToStartContainers",
  "Initialized",
  "Ready",
  "ContainersReady",
  "PodScheduled",
  "PodResizePending",
  "PodResizeInProgress",
]);
const retryFirstMs = 500;
const retryMostMs = 30_000;

interface Pending {
  pod: Pod;
  status: PodStatus;
  running: Promise<void> | undefined;
  /** What the API holds as far as we know, after our last write. */
  written: Pod | undefined;
}

/** The patch that turns one status into another: what is gone becomes null. */
export function statusPatch(from: PodStatus | undefined, to: PodStatus): Record<string, unknown> {
  const patch: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(to))
    if (!deepEqual((from as Record<string, unknown>)?.[key], value)) patch[key] = value;
  for (const key of [
    "reason",
    "message",
    "podIP",
    "podIPs",
    "initContainerStatuses",
    "ephemeralContainerStatuses",
  ] as const)
    if (from?.[key] !== undefined && to[key] === undefined) patch[key] = null;
  return patch;
}

/** Writes pod statuses in the background: only when they differ, only the newest, and until the API has taken it. */
export class StatusWriter {
  readonly #client: Client;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #pending = new Map<string, Pending>();
  readonly #standIn: (pod: Pod) => Pod | undefined;

  /** `standIn` gives the object in the API that shows this pod, when it is another one (a static pod's mirror). */
  constructor(options: { client: Client; clock: Clock; logger: Logger; standIn?: (pod: Pod) => Pod | undefined }) {
    this.#standIn = options.standIn ?? ((pod) => pod);
    this.#client = options.client;
    this.#clock = options.clock;
    this.#logger = options.logger;
  }

  /** The pod with the status that was written last, which the watch may not have brought back yet. */
  latest(pod: Pod): Pod {
    const written = this.#pending.get(uidOf(pod))?.written;
    if (!written) return pod;
    return isOlder(pod, written) ? { ...pod, status: written.status! } : pod;
  }

  /** Asks for a status to be written. */
  set(pod: Pod, status: PodStatus): void {
    const uid = uidOf(pod);
    const entry: Pending = this.#pending.get(uid) ?? { pod, status, running: undefined, written: undefined };
    entry.pod = pod;
    entry.status = status;
    this.#pending.set(uid, entry);
    entry.running ??= this.#write(entry);
  }

  /** Resolves when everything set so far for a pod is written, or the pod is gone. */
  async flush(uid: string): Promise<void> {
    await this.#pending.get(uid)?.running;
  }

  forget(uid: string): void {
    this.#pending.delete(uid);
  }

  async #write(entry: Pending): Promise<void> {
    // Once `set` has noted this.
    await Promise.resolve();
    try {
      // The last look and the note that nobody writes come in one turn: between them a status would be forgotten.
      for (let status: PodStatus | undefined; status !== entry.status; ) {
        ({ status } = entry);
        await this.#writeNewest(entry);
      }
    } finally {
      entry.running = undefined;
    }
  }

  async #writeNewest(entry: Pending): Promise<void> {
    const uid = uidOf(entry.pod);
    let delayMs = retryFirstMs;
    let base: Pod | undefined;
    while (this.#pending.get(uid) === entry) {
      const { status } = entry;
      const pod = this.#standIn(entry.pod);
      if (!pod) return;
      const { name = "", namespace = "" } = pod.metadata;
      base ??= entry.written && isOlder(pod, entry.written) ? entry.written : pod;
      const foreign = (base.status?.conditions ?? []).filter(({ type }) => !ownConditions.has(type));
      const wanted: PodStatus = {
        ...status,
        conditions: [...(status.conditions ?? []).filter(({ type }) => ownConditions.has(type)), ...foreign],
      };
      const patch = statusPatch(base.status, wanted);
      if (Object.keys(patch).length === 0) return;
      try {
        const body = { metadata: { uid: uidOf(pod), resourceVersion: base.metadata.resourceVersion }, status: patch };
        const options = { namespace, subresource: "status" };
        entry.written = await this.#client.patch(pods, name, { type: "merge", body }, options);
        base = undefined;
        delayMs = retryFirstMs;
        if (entry.status === status) return;
      } catch (error) {
        if (error instanceof StatusError && error.code === 404) return;
        if (error instanceof StatusError && error.code === 409) {
          // Somebody else wrote the pod meanwhile: the same on top of theirs.
          try {
            const fresh = await this.#client.get(pods, name, { namespace });
            if (uidOf(fresh) !== uidOf(pod)) return;
            base = fresh;
            continue;
          } catch (again) {
            if (again instanceof StatusError && again.code === 404) return;
          }
        }
        this.#logger.warn(
          { pod: `${namespace}/${name}`, error: (error as Error).message },
          "Pod status could not be written",
        );
        base = undefined;
        await this.#clock.sleep(delayMs);
        delayMs = Math.min(retryMostMs, delayMs * 2);
      }
    }
  }
}
