import { type Pod, type PodTemplateSpec, pods } from "../../api/generated/core-v1.ts";
import type { Client } from "../../client/client.ts";
import type { EventRecorder } from "../../client/events.ts";
import type { DeepReadonly, ResourceType } from "../../machinery/object.ts";
import { StatusError } from "../../machinery/status.ts";
import { controllerReference, type View } from "./owned.ts";
import type { PodView } from "./pod-facts.ts";

/** Names are cut so that the random suffix still fits a label. */
function namePrefix(owner: string): string {
  return `${owner.slice(0, 57)}-`;
}

/** A pod from a template, controlled by `owner`; its name is made by the server. */
export function podFromTemplate(template: DeepReadonly<PodTemplateSpec>, ownerType: ResourceType, owner: View): Pod {
  const copy = structuredClone(template) as PodTemplateSpec;
  const { labels, annotations, finalizers } = copy.metadata ?? {};
  return {
    metadata: {
      generateName: namePrefix(owner.metadata.name ?? ""),
      ...(owner.metadata.namespace ? { namespace: owner.metadata.namespace } : {}),
      ...(labels ? { labels } : {}),
      ...(annotations ? { annotations } : {}),
      ...(finalizers ? { finalizers } : {}),
      ownerReferences: [controllerReference(ownerType, owner)],
    },
    ...(copy.spec ? { spec: copy.spec } : {}),
  };
}

/** Is the error that nothing can be created in a namespace that is being deleted? */
export function isNamespaceTerminating(error: unknown): boolean {
  return (
    error instanceof StatusError &&
    error.code === 403 &&
    (error.details?.causes?.some(({ reason }) => reason === "NamespaceTerminating") ?? false)
  );
}

/** Creates and deletes pods for an owner, and says so in events on it. */
export class PodControl {
  readonly #client: Client;
  readonly #events: EventRecorder;
  readonly #ownerType: ResourceType;

  constructor(client: Client, events: EventRecorder, ownerType: ResourceType) {
    this.#client = client;
    this.#events = events;
    this.#ownerType = ownerType;
  }

  async create(pod: Pod, owner: View, signal?: AbortSignal): Promise<Pod> {
    try {
      const { namespace } = owner.metadata;
      const call = { ...(namespace ? { namespace } : {}), ...(signal ? { signal } : {}) };
      const created = await this.#client.create(pods, pod, call);
      const text = `Created pod: ${created.metadata.name}`;
      this.#events.event(this.#ownerType, owner, "Normal", "SuccessfulCreate", text);
      return created;
    } catch (error) {
      if (!isNamespaceTerminating(error) && !signal?.aborted) {
        this.#events.event(
          this.#ownerType,
          owner,
          "Warning",
          "FailedCreate",
          `Error creating: ${(error as Error).message}`,
        );
      }
      throw error;
    }
  }

  /** Deletes a pod, if it is still the same one; one that is gone is no error. */
  async delete(pod: PodView, owner: View, signal?: AbortSignal): Promise<void> {
    const { name = "", namespace, uid } = pod.metadata;
    try {
      await this.#client.delete(pods, name, {
        ...(namespace ? { namespace } : {}),
        ...(uid ? { preconditions: { uid } } : {}),
        ...(signal ? { signal } : {}),
      });
      this.#events.event(this.#ownerType, owner, "Normal", "SuccessfulDelete", `Deleted pod: ${name}`);
    } catch (error) {
      if (error instanceof StatusError && (error.code === 404 || error.code === 409)) return;
      if (!signal?.aborted) {
        this.#events.event(
          this.#ownerType,
          owner,
          "Warning",
          "FailedDelete",
          `Error deleting: ${(error as Error).message}`,
        );
      }
      throw error;
    }
  }
}

/**
 * Calls `run` for `count` items in batches of 1, 2, 4, …; after a batch with an error no further one starts, so that a
 * template that is refused costs one request, not thousands. Gives how many succeeded and the first error.
 */
export async function slowStart(
  count: number,
  run: (index: number) => Promise<void>,
): Promise<{ readonly succeeded: number; readonly error?: unknown }> {
  let succeeded = 0;
  let started = 0;
  for (let size = 1; started < count; size *= 2) {
    const batch = Math.min(size, count - started);
    const results = await Promise.allSettled(Array.from({ length: batch }, (_, i) => run(started + i)));
    started += batch;
    succeeded += results.filter(({ status }) => status === "fulfilled").length;
    const failed = results.find((result) => result.status === "rejected");
    if (failed) return { succeeded, error: failed.reason };
  }
  return { succeeded };
}
