import type { Node, Pod } from "../api/generated/core-v1.ts";
import type { DeepReadonly } from "../machinery/object.ts";

/** A pod as caches hold it: one that waits for a node, or one that has its node. */
export type PendingPod = DeepReadonly<Pod>;

/** A node as caches hold it. */
export type SchedulableNode = DeepReadonly<Node>;
