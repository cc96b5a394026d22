import type { Pod } from "../../api/generated/core-v1.ts";
import type { Client } from "../../client/client.ts";
import type { EventRecorder } from "../../client/events.ts";
import type { Clock } from "../../machinery/clock.ts";
import type { Logger } from "../../machinery/log.ts";
import type { Cri } from "../containerd/cri.ts";
import type { DnsSettings } from "./dns-config.ts";
import type { ImageManager } from "./image-manager.ts";
import type { PendingResize } from "./pod-resize.ts";
import type { ReferencedObjects } from "./referenced-objects.ts";
import type { StatusWriter } from "./status-writer.ts";

/** What all workers share. */
export interface WorkerContext {
  readonly client: Client;
  readonly cri: Cri;
  readonly images: Pick<ImageManager, "ensure" | "forget">;
  readonly objects: ReferencedObjects;
  readonly statuses: StatusWriter;
  readonly events: Pick<EventRecorder, "event">;
  readonly nodeName: string;
  readonly hostIps: readonly string[];
  readonly rootDir: string;
  readonly logRoot: string;
  readonly dns: () => Promise<DnsSettings>;
  readonly memoryCapacityBytes: number;
  readonly allocatable: () => Readonly<Record<string, string>>;
  /** Back-off and times in statuses. */
  readonly clusterClock: Clock;
  /** Probes and hooks. */
  readonly ioClock: Clock;
  readonly logger: Logger;
  /** Why the node does not take this pod, though it was bound to it. */
  admit(pod: Pod): { reason: string; message: string } | undefined;
  /** Whether the node has room for a pod that it has already, once its resources are these. */
  fit(pod: Pod): PendingResize | undefined;
  /** The worker is done: nothing of the pod is left. */
  onFinished(uid: string): void;
}
