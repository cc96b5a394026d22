import { keyOf } from "../machinery/object.ts";
import type { Snapshot } from "./framework.ts";
import type { PendingPod } from "./pending-pod.ts";

interface Nomination {
  readonly pod: PendingPod;
  readonly node: string;
}

export const priorityOf = (pod: PendingPod) => pod.spec?.priority ?? 0;

/** Pods that others make room for: until they have their place, pods of lower priority must not take it. */
export class Nominations {
  readonly #byPod = new Map<string, Nomination>();

  set(pod: PendingPod, node: string): void {
    this.#byPod.set(keyOf(pod), { pod, node });
  }

  remove(key: string): void {
    this.#byPod.delete(key);
  }

  nodeOf(pod: PendingPod): string | undefined {
    return this.#byPod.get(keyOf(pod))?.node;
  }

  /** Pods of lower priority that the same node was promised to. */
  outdoneBy(pod: PendingPod, node: string): PendingPod[] {
    return [...this.#byPod.values()]
      .filter((other) => other.node === node && priorityOf(other.pod) < priorityOf(pod))
      .map((other) => other.pod);
  }

  /** The cluster as a pod has to see it: with those on their nodes that go before it. */
  applyTo(snapshot: Snapshot, pod: PendingPod): Snapshot {
    if (this.#byPod.size === 0) return snapshot;
    const key = keyOf(pod);
    const before = [...this.#byPod].filter(([of, other]) => of !== key && priorityOf(other.pod) >= priorityOf(pod));
    if (before.length === 0) return snapshot;
    return {
      nodes: snapshot.nodes.map((node) => {
        const coming = before.filter(([, other]) => other.node === node.name);
        if (coming.length === 0) return node;
        const copy = node.copy();
        for (const [, other] of coming) copy.add(other.pod);
        return copy;
      }),
    };
  }
}
