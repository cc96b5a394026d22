import type { Client } from "../client/client.ts";
import type { EventRecorder } from "../client/events.ts";
import type { Informer } from "../client/informer.ts";
import type { Clock } from "../machinery/clock.ts";
import type { Logger } from "../machinery/log.ts";
import type { DeepReadonly, KubeObject, ResourceType } from "../machinery/object.ts";

/** How a controller is made. */
export interface ControllerFactory {
  /** Name of its service account in kube-system, which is who its writes come from. */
  readonly name: string;
  /** Asks the context for its informers; nothing runs before they are synced. */
  create(context: ControllerContext): Controller;
}

/** One loop from observed to desired state. Everything it needs is found again from `key` after a missed event. */
export interface Controller {
  /** Which changes make which keys due. */
  readonly watches: readonly Watch[];
  /** Keys worked on at the same time; default 5. */
  readonly workers?: number;
  /**
   * Brings one thing closer to what is wanted. A throw means: again after a back-off; `TerminalError`: not again until
   * something changes.
   */
  reconcile(key: string, signal: AbortSignal): Promise<Result | undefined>;
  /** Work beside the queue, for the controllers that need some; runs until the signal aborts. */
  run?(signal: AbortSignal): Promise<void>;
}

/** What to do after a reconcile that did not fail. */
export interface Result {
  /** Again after this time, though nothing may change until then. */
  readonly requeueAfterMs?: number;
}

/** Calls `enqueue` with the keys that a change makes due. Made by {@link watch}. */
export interface Watch {
  attach(enqueue: (key: string, delayMs?: number) => void): void;
}

/** What a certificate request asks for. */
export interface CertificateRequestFacts {
  readonly commonName: string;
  readonly organizations: readonly string[];
  readonly dnsNames: readonly string[];
  readonly ipAddresses: readonly string[];
  readonly emailAddresses: readonly string[];
  readonly uris: readonly string[];
}

/** Makes certificates with the cluster's authorities. */
export interface CertificateAuthority {
  /** Reads a PEM certificate request. Rejects when it is none, or is not signed by its own key. */
  inspect(request: string): Promise<CertificateRequestFacts>;
  /**
   * Signs a PEM certificate request word for word, with the key usages that Kubernetes' names in `usages` stand for.
   * @param authority which of the cluster's authorities: for who serves, or for who calls
   * @returns PEM
   */
  sign(
    request: string,
    options: {
      readonly authority: "server" | "client";
      readonly usages: readonly string[];
      readonly lifetimeMs: number;
    },
  ): Promise<string>;
}

/** Settings of the cluster that controllers need; all checked at the edge. */
export interface ControllersConfig {
  readonly clusterName: string;
  /** Ranges that node.spec.podCIDRs are cut from: one, or one of each IP family. */
  readonly clusterCidrs: readonly string[];
  readonly nodeCidrMaskSizeIpv4: number;
  readonly nodeCidrMaskSizeIpv6: number;
  /** PEM of the authorities that pods may trust the API server by. */
  readonly rootCa: string;
  /** Time without a heartbeat after which a node's conditions become Unknown. Kubernetes: 50 s. */
  readonly nodeMonitorGracePeriodMs: number;
  /** When a heartbeat was last refused because the store did not take it, in the controllers' time. */
  readonly heartbeatsRefusedMs?: () => number | undefined;
  /** Terminated pods that are kept. Kubernetes: 12,500. */
  readonly terminatedPodThreshold: number;
  /** Ranges of service addresses that the cluster was started with; absent: no object shows them. */
  readonly serviceCidrs?: readonly string[];
  /** Signs CertificateSigningRequests; absent: nobody does. */
  readonly certificateAuthority?: CertificateAuthority;
}

/** What a controller is made from. */
export interface ControllerContext {
  readonly client: Client;
  readonly informers: Informers;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly events: EventRecorder;
  readonly config: ControllersConfig;
  /** Every built-in kind that can be listed, watched and deleted. */
  readonly resources: readonly ResourceType[];
}

/** The informers that all controllers share, one a type. */
export interface Informers {
  of<T extends KubeObject>(type: ResourceType<T>): Informer<T>;
  /** An informer for a type that came up later (a CRD's): started at once, and stopped by `signal`. */
  startDynamic<T extends KubeObject>(type: ResourceType<T>, signal: AbortSignal): Informer<T>;
}

/** An error that trying again does not mend: it is logged, and the key waits for a change. */
export class TerminalError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "TerminalError";
  }
}

/** Makes due what `keysOf` gives for the new (on updates also the old) state of an object. */
export function watch<T extends KubeObject>(
  informer: Informer<T>,
  keysOf: (object: DeepReadonly<T>) => readonly string[],
  filter: (object: DeepReadonly<T>, old: DeepReadonly<T> | undefined) => boolean = () => true,
): Watch {
  return {
    attach(enqueue) {
      const addAll = (object: DeepReadonly<T>) => {
        for (const key of keysOf(object)) enqueue(key);
      };
      informer.on({
        add: (object) => {
          if (filter(object, undefined)) addAll(object);
        },
        update: (object, old) => {
          if (!filter(object, old)) return;
          addAll(old);
          addAll(object);
        },
        delete: addAll,
      });
    },
  };
}
