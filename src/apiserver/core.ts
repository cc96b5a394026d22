import type { ResourceFacts } from "../api/resource.ts";
import type { Clock } from "../machinery/clock.ts";
import type { Logger } from "../machinery/log.ts";
import {
  badRequest,
  internalError,
  StatusError,
  serviceUnavailable,
  timeout,
  tooManyRequests,
} from "../machinery/status.ts";
import {
  CompactedError,
  OverloadedError,
  type Store,
  StoreClosedError,
  UnavailableError,
  UnknownOutcomeError,
} from "../store/store.ts";
import type { Equivalents } from "./admission/equivalents.ts";
import type { AdmissionPlugin, UserInfo } from "./request.ts";
import type { CacheSet } from "./storage/cache-set.ts";
import type { Gathering } from "./storage/gathering.ts";

/** What the verbs work with: one for the whole server. */
export interface Core {
  readonly store: Store;
  readonly caches: CacheSet;
  /** Mutating phases run in this order, then all validating ones. */
  readonly admission: readonly AdmissionPlugin[];
  readonly clusterClock: Clock;
  readonly ioClock: Clock;
  readonly logger: Logger;
  /** Holds back updates that are worth a common commit. */
  readonly gathering: Gathering;
  /** The other served versions of a resource. */
  readonly equivalents: Equivalents;
}

/** One request on a resource, whoever carries it: HTTP or the in-process client. */
export interface Call {
  readonly facts: ResourceFacts;
  /** As in the path; absent for cluster-scoped resources and for all namespaces. */
  readonly namespace: string | undefined;
  /** As in the path; "" for collections. */
  readonly name: string;
  readonly subresource: string | undefined;
  readonly user: UserInfo;
  /** The server's own client is not subject to admission. */
  readonly admission: boolean;
  readonly dryRun: boolean;
  readonly fieldManager: string;
  /** The object comes from server-side apply, its managedFields are set. */
  readonly applied?: boolean;
  /** meta/v1 CreateOptions and its like, as admission webhooks get them but for their kind; for CONNECT all of them. */
  readonly options?: object;
  /** Who asks takes it back: nothing is written after this has aborted. */
  readonly signal?: AbortSignal;
  /** Collects what becomes a Warning header. */
  readonly warn: (text: string) => void;
}

/** The name that error texts use for a call's resource. */
export function groupResource(facts: ResourceFacts): { group: string; resource: string } {
  return { group: facts.group, resource: facts.resource };
}

/** The name that validation errors use: the kind. */
export function groupKind(facts: ResourceFacts): { group: string; resource: string } {
  return { group: facts.group, resource: facts.kind };
}

/** The Status that an error of any layer is answered with. */
export function toStatusError(error: unknown): StatusError {
  if (error instanceof StatusError) return error;
  if (error instanceof OverloadedError) return tooManyRequests(error.message, 1);
  if (error instanceof UnavailableError || error instanceof StoreClosedError) return serviceUnavailable(error.message);
  if (error instanceof UnknownOutcomeError) return timeout(error.message);
  if (error instanceof CompactedError) return expiredContinue();
  if (error instanceof Error && error.name === "JsonError") return badRequest(error.message);
  return internalError(error);
}

/** What a list answers when the revision of its continue token is gone. */
export function expiredContinue(): StatusError {
  return new StatusError(
    410,
    "Expired",
    "The provided continue parameter is too old to display a consistent list result. You must start a new list without the continue parameter.",
  );
}
