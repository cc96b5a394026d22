import { type HostPort, podHostPorts } from "../api/pod/host-ports.ts";
import { keyOf } from "../machinery/object.ts";
import type { PendingPod, SchedulableNode } from "./pending-pod.ts";
import { type Amounts, addAmounts, amountOf, podRequests } from "./pod-resources.ts";

interface Placed {
  readonly pod: PendingPod;
  readonly requests: Amounts;
  readonly assumedRequests: Amounts;
  readonly ports: readonly HostPort[];
}

/** A node with the pods on it, kept up to date in place so that no cycle has to add everything up. */
export class NodeState {
  node: SchedulableNode;
  /** What pods may ask for. */
  allocatable: Amounts = {};
  /** What the pods on it ask for. */
  readonly requested: Amounts = {};
  /** The same with a little assumed for containers that ask for nothing. */
  readonly assumedRequested: Amounts = {};
  readonly #pods = new Map<string, Placed>();

  constructor(node: SchedulableNode) {
    this.node = node;
    this.update(node);
  }

  get name(): string {
    return this.node.metadata.name ?? "";
  }

  get labels(): Readonly<Record<string, string>> {
    return this.node.metadata.labels ?? {};
  }

  get pods(): PendingPod[] {
    return [...this.#pods.values()].map(({ pod }) => pod);
  }

  get podCount(): number {
    return this.#pods.size;
  }

  get ports(): HostPort[] {
    return [...this.#pods.values()].flatMap(({ ports }) => ports);
  }

  update(node: SchedulableNode): void {
    this.node = node;
    this.allocatable = {};
    for (const [name, quantity] of Object.entries(node.status?.allocatable ?? {})) {
      this.allocatable[name] = amountOf(name, quantity as string);
    }
  }

  add(pod: PendingPod): void {
    this.remove(pod);
    const placed: Placed = {
      pod,
      requests: podRequests(pod),
      assumedRequests: podRequests(pod, true),
      ports: podHostPorts(pod),
    };
    this.#pods.set(keyOf(pod), placed);
    addAmounts(this.requested, placed.requests);
    addAmounts(this.assumedRequested, placed.assumedRequests);
  }

  remove(pod: PendingPod): boolean {
    const key = keyOf(pod);
    const placed = this.#pods.get(key);
    if (!placed) return false;
    this.#pods.delete(key);
    addAmounts(this.requested, placed.requests, -1);
    addAmounts(this.assumedRequested, placed.assumedRequests, -1);
    return true;
  }

  /** A copy on which a preemption can be tried out. */
  copy(): NodeState {
    const copy = new NodeState(this.node);
    for (const { pod } of this.#pods.values()) copy.add(pod);
    return copy;
  }
}
