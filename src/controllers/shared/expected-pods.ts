import type { Pod } from "../../api/generated/core-v1.ts";
import type { Informer } from "../../client/informer.ts";
import type { Clock } from "../../machinery/clock.ts";
import type { Watch } from "../controller.ts";
import { Expectations } from "./expectations.ts";
import type { View } from "./owned.ts";
import { isNamespaceTerminating, type PodControl, slowStart } from "./pod-control.ts";
import type { PodView } from "./pod-facts.ts";

/**
 * Creates and deletes pods for the owners of one controller, and knows which of these writes its informer has not shown
 * yet: until then the owner must not be acted on again.
 */
export class ExpectedPods {
  readonly #expectations: Expectations;
  readonly #control: PodControl;

  constructor(clock: Clock, control: PodControl) {
    this.#expectations = new Expectations(clock);
    this.#control = control;
  }

  /**
   * Takes note of pods that appear and go, before their owner's key is worked on: attach it before the watch that
   * enqueues owners.
   * @param ownerKey the key of a pod's owner; undefined for pods of others
   * @param isGone does the pod count as deleted? Default: it has its deletion mark.
   */
  observe(
    informer: Informer<Pod>,
    ownerKey: (pod: PodView) => string | undefined,
    isGone: (pod: PodView) => boolean = (pod) => pod.metadata.deletionTimestamp !== undefined,
  ): Watch {
    const gone = (pod: PodView) => {
      const key = ownerKey(pod);
      if (key) this.#expectations.deletionObserved(key, pod.metadata.uid ?? "");
    };
    return {
      attach: () => {
        informer.on({
          add: (pod) => {
            const key = ownerKey(pod);
            if (pod.metadata.deletionTimestamp) gone(pod);
            else if (key) this.#expectations.creationObserved(key);
          },
          update: (pod) => {
            if (isGone(pod)) gone(pod);
          },
          delete: gone,
        });
      },
    };
  }

  /** May the owner be acted on? */
  satisfied(key: string): boolean {
    return this.#expectations.satisfied(key);
  }

  /** The owner is gone. */
  forget(key: string): void {
    this.#expectations.forget(key);
  }

  /** Creates `count` pods, slowly at first. @returns the first error, if any */
  async create(
    key: string,
    owner: View,
    count: number,
    podAt: (index: number) => Pod,
    signal: AbortSignal,
  ): Promise<unknown> {
    this.#expectations.expectCreations(key, count);
    let attempted = 0;
    const { error } = await slowStart(count, async (index) => {
      attempted++;
      try {
        await this.#control.create(podAt(index), owner, signal);
      } catch (failure) {
        this.#expectations.creationObserved(key);
        // The owner will go the same way; trying again would only make noise.
        if (!isNamespaceTerminating(failure)) throw failure;
      }
    });
    for (let index = attempted; index < count; index++) this.#expectations.creationObserved(key);
    return error;
  }

  /** Deletes pods, all at once. @returns the first error, if any */
  async delete(key: string, owner: View, which: readonly PodView[], signal: AbortSignal): Promise<unknown> {
    const uids = which.map(({ metadata }) => metadata.uid ?? "");
    this.#expectations.expectDeletions(key, uids);
    const results = await Promise.allSettled(
      which.map(async (pod, index) => {
        try {
          await this.#control.delete(pod, owner, signal);
        } catch (failure) {
          this.#expectations.deletionObserved(key, uids[index]!);
          throw failure;
        }
      }),
    );
    return results.find((result) => result.status === "rejected")?.reason as unknown;
  }
}
