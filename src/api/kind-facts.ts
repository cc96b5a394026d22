import type { KubeObject, ResourceType } from "../machinery/object.ts";
import type { FieldError } from "../machinery/status.ts";
import type { Column, Requestor, StorageFacts, Strategy, SubresourceFacts, Verb } from "./resource.ts";

/**
 * What one file a group-version says of a kind: only what cannot be derived. Names, verbs, subresources and the schema
 * come from generated data; registry.ts puts both together.
 */
export interface KindFacts<T extends KubeObject = KubeObject> {
  readonly shortNames?: readonly string[];
  /** Said with every reply. */
  readonly deprecation?: string;
  readonly categories?: readonly string[];
  /** Replaces the generated verbs, where the client library's paths say too much or too little. */
  readonly verbs?: readonly Verb[];
  /** Added to the generated ones. */
  readonly subresources?: Readonly<Record<string, SubresourceFacts>>;
  /** "none" for what is answered and never stored; the store's prefix is the resource's name unless given. */
  readonly storage?: "none" | Partial<StorageFacts>;
  readonly selectableFields?: Readonly<Record<string, (object: T) => string>>;
  /** All columns but the name, which comes first. Default: the age only. */
  readonly columns?: readonly KindColumn<T>[];
  readonly strategy?: KindStrategy<T>;
}

export interface KindColumn<T> extends Omit<Column, "value"> {
  readonly value: (object: T, nowMs: number) => ReturnType<Column["value"]>;
}

/** The rules of a kind beyond those that all share (see strategy.ts). */
export interface KindStrategy<T>
  extends Pick<Strategy, "validateName" | "defaultPropagation" | "warningWithoutPropagation"> {
  /** Does metadata.generation count changes? Of the spec, unless `counted` says of what. */
  readonly generation?: boolean;
  readonly counted?: (object: T) => unknown;
  /** A creator may set the status (nodes). */
  readonly statusOnCreate?: boolean;
  readonly applyDefaults?: (object: T) => void;
  readonly prepareForCreate?: (object: T, requestor?: Requestor) => void;
  readonly prepareForUpdate?: (object: T, old: T) => void;
  readonly prepareForStatusUpdate?: (object: T, old: T) => void;
  readonly validate?: (object: T) => FieldError[];
  readonly validateUpdate?: (object: T, old: T, subresource?: string) => FieldError[];
  /** `validateUpdate` looks at everything; `validate` is for new objects only. */
  readonly ratchets?: boolean;
  /** `old` is absent for a new object. */
  readonly warnings?: (object: T, old?: T) => string[];
  readonly allowCreateOnUpdate?: boolean;
  /** Default true, as for most kinds. */
  readonly allowUnconditionalUpdate?: boolean;
  readonly gracePeriodSeconds?: (object: T, requested: number | undefined) => number;
}

export interface KindEntry {
  readonly type: ResourceType;
  readonly facts: KindFacts;
}

/** Ties facts to their kind; inside, the object's type is the kind's own. */
export function kind<T extends KubeObject>(type: ResourceType<T>, facts: KindFacts<T>): KindEntry {
  return { type, facts: facts as unknown as KindFacts };
}
