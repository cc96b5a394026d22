import { keyOf } from "../machinery/object.ts";
import type { Snapshot } from "./framework.ts";
import { NodeState } from "./node-state.ts";
import type { PendingPod, SchedulableNode } from "./pending-pod.ts";

/** Pods that take nothing any more. */
export function isFinished(pod: PendingPod): boolean {
  return pod.status?.phase === "Succeeded" || pod.status?.phase === "Failed";
}

/**
 * Nodes and the pods on them, as the informers tell, and as decisions that are still being written have them: a pod is
 * assumed on its node from the moment it is chosen, so that the next pod does not take the same room.
 */
export class Cache {
  readonly #nodes = new Map<string, NodeState>();
  /** Where each counted pod stands, also on nodes that are not known (yet). */
  readonly #placed = new Map<string, { pod: PendingPod; node: string }>();

  snapshot(): Snapshot {
    return { nodes: [...this.#nodes.values()] };
  }

  get nodeCount(): number {
    return this.#nodes.size;
  }

  setNode(node: SchedulableNode): void {
    const name = node.metadata.name!;
    const known = this.#nodes.get(name);
    if (known) {
      known.update(node);
      return;
    }
    const state = new NodeState(node);
    for (const { pod, node } of this.#placed.values()) if (node === name) state.add(pod);
    this.#nodes.set(name, state);
  }

  removeNode(name: string): void {
    this.#nodes.delete(name);
  }

  /** Counts a pod on the node it is bound to, or assumed on. */
  setPod(pod: PendingPod, node = pod.spec?.nodeName ?? ""): void {
    if (isFinished(pod)) {
      this.removePod(pod);
      return;
    }
    const key = keyOf(pod);
    const before = this.#placed.get(key);
    if (before && before.node !== node) this.#nodes.get(before.node)?.remove(before.pod);
    this.#placed.set(key, { pod, node });
    this.#nodes.get(node)?.add(pod);
  }

  removePod(pod: PendingPod): void {
    const key = keyOf(pod);
    const before = this.#placed.get(key);
    if (!before) return;
    this.#placed.delete(key);
    this.#nodes.get(before.node)?.remove(before.pod);
  }

  isPlaced(key: string): boolean {
    return this.#placed.has(key);
  }
}
