import type { KubeObject, ResourceType } from "../machinery/object.ts";
import type { Schema } from "../machinery/schema.ts";
import type { JsonSchemaProps } from "../machinery/schema-from-openapi.ts";
import type { FieldError } from "../machinery/status.ts";

export type Verb = "create" | "delete" | "deletecollection" | "get" | "list" | "patch" | "update" | "watch";

/** All that the API server has to know of a resource. Discovery, routes, OpenAPI, storage and printing derive from it. */
export interface ResourceFacts extends ResourceType {
  readonly singular: string;
  readonly listKind: string;
  readonly shortNames: readonly string[];
  readonly categories: readonly string[];
  readonly verbs: readonly Verb[];
  /** By name: "status", "scale", "log", "exec", "binding", "eviction", "token", "approval", "finalize", … */
  readonly subresources: Readonly<Record<string, SubresourceFacts>>;
  readonly schema: Schema;
  /** Said with every reply: "v1 Endpoints is deprecated in v1.33+; use …". */
  readonly deprecation?: string;
  /** Defined by a CustomResourceDefinition: kept as written, without strategic merge. */
  readonly custom?: boolean;
  /** What its definition says of it, as OpenAPI publishes it. */
  readonly customSchema?: JsonSchemaProps;
  /** Where a custom resource keeps what its scale subresource shows; built-in ones use spec.replicas and so on. */
  readonly scalePaths?: {
    readonly spec: readonly string[];
    readonly status: readonly string[];
    readonly selector: readonly string[] | undefined;
  };
  /** Where objects live in the store; kinds with several served versions share one. Absent: never stored (reviews). */
  readonly storage?: StorageFacts;
  readonly strategy: Strategy;
  /** Field selectors beyond metadata.name and metadata.namespace, each with the value that it compares. */
  readonly selectableFields: Readonly<Record<string, (object: KubeObject) => string>>;
  /** Columns of `kubectl get`, all of them in order: name and age stand among them. */
  readonly columns: readonly Column[];
}

export interface SubresourceFacts {
  readonly verbs: readonly Verb[];
  /** Kind of the body when it is not the resource's own, with its group and version: Scale, Eviction, TokenRequest. */
  readonly group?: string;
  readonly version?: string;
  readonly kind?: string;
}

export interface StorageFacts {
  /** Storage version: objects are converted to it before they are written. */
  readonly version: string;
  readonly group: string;
  /** Path segment(s) in store keys: "/registry/<prefix>/<namespace>/<name>", Kubernetes' own: "pods", "services/specs". */
  readonly prefix: string;
  /** Converts an object of this served version to and from the storage version; absent when they are the same. */
  readonly toStorage?: (object: KubeObject) => KubeObject;
  readonly fromStorage?: (object: KubeObject) => KubeObject;
  /**
   * Converts objects of any version to one ("group/version"), where that is not for this process to do; those that are in
   * it already come back as they are. Absent: versions differ in what the two above say, or in their names only.
   */
  readonly convert?: (objects: readonly KubeObject[], apiVersion: string) => Promise<KubeObject[]>;
  /** Versions that exist, so that objects can be converted to them, but are not served. */
  readonly unserved?: readonly ResourceFacts[];
  /**
   * Brings an object that was stored under an earlier schema to the present one, in place: fields that it does not know
   * go, defaults come. True when that changed anything. For custom kinds.
   */
  readonly refresh?: (object: KubeObject) => boolean;
  /** Life time of each object after its last write, as for events. */
  readonly ttlSeconds?: number;
  /** Updates in this namespace wait for each other this long and are committed at once: many small ones at one moment. */
  readonly gather?: { readonly namespace: string; readonly windowMs: number };
}

/** Who a request comes from (authentication/v1 UserInfo). */
export interface Requestor {
  readonly name: string;
  readonly uid?: string;
  readonly groups: readonly string[];
  readonly extra?: Readonly<Record<string, readonly string[]>>;
}

/**
 * What a kind does to an object on its way in. All of these may change `object` in place: it is a private copy, in
 * canonical form. `old` must not be changed.
 */
export interface Strategy {
  /** Names that the kind accepts; default: DNS-1123 subdomain. Returns messages. */
  readonly validateName?: (name: string, prefix: boolean) => string[];
  /** Fills defaults that depend on other fields (static ones stand in the schema). */
  readonly applyDefaults?: (object: KubeObject) => void;
  /** Drops what a creator may not set (status), sets generation, and notes who asks where the kind keeps that. */
  readonly prepareForCreate?: (object: KubeObject, requestor?: Requestor) => void;
  /** Copies what the main resource may not change (status) from `old`, raises generation when the spec differs. */
  readonly prepareForUpdate?: (object: KubeObject, old: KubeObject) => void;
  /** The same for the status subresource: everything but status comes from `old`. */
  readonly prepareForStatusUpdate?: (object: KubeObject, old: KubeObject) => void;
  readonly validate?: (object: KubeObject) => FieldError[];
  /** `subresource` is absent for the object itself. */
  readonly validateUpdate?: (object: KubeObject, old: KubeObject, subresource?: string) => FieldError[];
  /** `validateUpdate` looks at everything and lets stand what was wrong before; `validate` is for new objects only. */
  readonly ratchets?: boolean;
  /** What a client should know of an object that is taken all the same; `old` is absent for a new one. */
  readonly warnings?: (object: KubeObject, old?: KubeObject) => string[];
  /** May a PUT create the object? (leases, …) */
  readonly allowCreateOnUpdate?: boolean;
  /** May an update omit resourceVersion? */
  readonly allowUnconditionalUpdate?: boolean;
  /** Propagation when DeleteOptions name none; default background. */
  readonly defaultPropagation?: "Orphan" | "Background" | "Foreground";
  /** What to warn of when DeleteOptions name no propagation. */
  readonly warningWithoutPropagation?: string;
  /** Grace period in seconds for a graceful deletion (pods); absent: objects are removed at once. */
  readonly gracePeriodSeconds?: (object: KubeObject, requested: number | undefined) => number;
}

export interface Column {
  readonly name: string;
  readonly type: "string" | "integer" | "number" | "boolean" | "date";
  readonly format?: string;
  readonly description?: string;
  /** 0 is shown always, 1 with `-o wide`. */
  readonly priority?: number;
  /** The cell; `nowMs` for ages. */
  readonly value: (object: KubeObject, nowMs: number) => string | number | boolean | null;
}
