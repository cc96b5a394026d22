import type { IncomingHttpHeaders, IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import type { ResourceFacts } from "../api/resource.ts";
import type { Client } from "../client/client.ts";
import type { Clock } from "../machinery/clock.ts";
import type { Logger } from "../machinery/log.ts";
import type { KubeObject, ResourceType } from "../machinery/object.ts";

/** Who a request comes from (authentication/v1 UserInfo). */
export interface UserInfo {
  readonly name: string;
  readonly uid?: string;
  readonly groups: readonly string[];
  readonly extra?: Readonly<Record<string, readonly string[]>>;
}

/** What of a connection and its headers decides who it is. */
export interface AuthenticationRequest {
  readonly headers: IncomingHttpHeaders;
  /** The peer's certificate, DER, when one was presented (its chain is checked by the authenticator). */
  readonly clientCertificate?: Buffer;
}

/** `undefined`: no credentials that this authenticator knows. Throws `unauthorized()` for credentials that are wrong. */
export type Authenticator = (request: AuthenticationRequest) => Promise<UserInfo | undefined>;

/** A request's path and method, understood (apiserver's RequestInfo). */
export interface RequestInfo {
  /** Below /api or /apis with a resource. */
  readonly isResource: boolean;
  readonly path: string;
  /** get, list, watch, create, update, patch, delete, deletecollection; for non-resource paths the lower-case method. */
  readonly verb: string;
  readonly group: string;
  readonly version: string;
  readonly namespace?: string;
  /** Plural: "pods". */
  readonly resource: string;
  readonly subresource?: string;
  readonly name?: string;
  /** What follows a proxy subresource: "/api/v1/namespaces/a/pods/b/proxy/x/y" → "x/y". */
  readonly rest?: string;
}

/** What an authorizer decides on. */
export interface AuthorizationAttributes {
  readonly user: UserInfo;
  readonly verb: string;
  readonly group: string;
  readonly version?: string;
  readonly resource: string;
  readonly subresource?: string;
  readonly namespace?: string;
  readonly name?: string;
  /** For non-resource requests. */
  readonly path?: string;
}

export interface AuthorizationDecision {
  readonly allowed: boolean;
  readonly reason: string;
}

export type Authorizer = (attributes: AuthorizationAttributes) => Promise<AuthorizationDecision>;

/** The mutating phase of one request: a webhook or policy that changes the object may want everything to run again, once. */
export interface MutationRounds {
  /** 1, or 2 while everything runs again. */
  round: number;
  /** Set by a plugin: the object was changed after others had seen it. */
  again: boolean;
  /** What a plugin notes for the second round, by its name. */
  readonly notes: Map<string, unknown>;
}

export interface AdmissionAttributes {
  readonly operation: "CREATE" | "UPDATE" | "DELETE" | "CONNECT";
  readonly facts: ResourceFacts;
  readonly subresource?: string;
  readonly namespace?: string;
  readonly name: string;
  /** The object to be written (private copy: `admit` may change it in place); absent for DELETE. */
  readonly object?: KubeObject;
  readonly oldObject?: KubeObject;
  readonly user: UserInfo;
  readonly dryRun: boolean;
  /** meta/v1 CreateOptions, UpdateOptions, PatchOptions or DeleteOptions of the request; for CONNECT the subresource's own. */
  readonly options?: object;
  /** Adds a Warning header to the answer. */
  readonly warn: (text: string) => void;
  /** Absent where nothing can run twice. */
  readonly rounds?: MutationRounds;
}

/** Both phases reject with a StatusError to refuse. Mutating ones all run before validating ones. */
export interface AdmissionPlugin {
  readonly name: string;
  /** `admit` runs after all others, and once: it takes something that others must not see yet or has to be given back. */
  readonly last?: boolean;
  admit?(attributes: AdmissionAttributes): Promise<void>;
  validate?(attributes: AdmissionAttributes): Promise<void>;
  /** The request that was admitted failed or was a dry run: give back what `admit` allocated. */
  release?(attributes: AdmissionAttributes): void;
  /** The request that was admitted is over, after `release` where it failed: what it kept others from doing they may do now. */
  done?(attributes: AdmissionAttributes): void;
}

/** What subresource handlers and admission plugins get to work with. */
export interface ServerContext {
  /** Speaks to this API server as system:apiserver (group system:masters), without admission. */
  readonly client: Client;
  readonly clusterClock: Clock;
  readonly ioClock: Clock;
  readonly logger: Logger;
  readonly authorize: Authorizer;
  /**
   * Opens a byte stream to `host:port`: a loopback address through the tunnel of `node`, any other from this server, which
   * is on the pod network. 502/503 StatusError when nothing answers.
   */
  readonly dialNode: NodeDialer;
  /**
   * Changes a stored object past its strategy, its validation and admission: what only a subresource may do (binding
   * sets spec.nodeName). `change` gets a private copy, is called again after a lost race, and throws to refuse.
   */
  readonly rewrite: <T extends KubeObject>(
    type: ResourceType<T>,
    target: { readonly namespace?: string; readonly name: string; readonly dryRun?: boolean },
    change: (object: T) => void,
  ) => Promise<T>;
}

export type NodeDialer = (node: string, target: string, signal?: AbortSignal) => Promise<Duplex>;

/** A subresource that takes one body and gives one back: token, binding, eviction. Returns the reply and its code. */
export type BodySubresource = (
  context: ServerContext,
  request: { readonly info: RequestInfo; readonly user: UserInfo; readonly body: KubeObject; readonly dryRun: boolean },
) => Promise<{ code: number; body: KubeObject | object }>;

/**
 * A subresource that streams: log, exec, attach, portforward, proxy. Called after authentication, authorization and
 * CONNECT admission, for plain requests (`response` is set) and for upgrades (`socket` is the raw connection).
 */
export type StreamSubresource = (
  context: ServerContext,
  request: {
    readonly info: RequestInfo;
    readonly user: UserInfo;
    readonly url: URL;
    readonly method: string;
    readonly headers: IncomingHttpHeaders;
    /** The request's body as a stream. */
    readonly incoming: IncomingMessage | import("node:http2").Http2ServerRequest;
    readonly upgrade?: { readonly socket: Duplex; readonly head: Buffer };
    readonly response?: import("node:http").ServerResponse | import("node:http2").Http2ServerResponse;
    readonly signal: AbortSignal;
  },
) => Promise<void>;
