/**
 * The schema of a value, as a graph of plain objects (recursive types refer to themselves). Built-in ones are made from
 * the facts in `api/`, those of custom resources from their OpenAPI schema. Everything that walks an object by its
 * type — canonical form, defaults, strict decoding, strategic merge, server-side apply, protobuf, OpenAPI — takes this.
 */
export interface Schema {
  readonly type:
    | "object" // fixed fields
    | "map" // any keys, values of `items`
    | "array" // elements of `items`
    | "string"
    | "integer"
    | "number"
    | "boolean"
    | "quantity" // resource.Quantity: string on the wire, numbers accepted
    | "int-or-string"
    | "time" // metav1.Time
    | "micro-time" // metav1.MicroTime
    | "bytes" // base64 string
    | "raw"; // any JSON, kept as it is (RawExtension, FieldsV1, JSON)
  /** "int32", "int64", "double", "float", … */
  readonly format?: string;
  /** Definition name as in OpenAPI: "io.k8s.api.core.v1.PodSpec". */
  readonly name?: string;
  readonly description?: string;
  /** For "object". */
  readonly fields?: Readonly<Record<string, Field>>;
  /** For "array" (elements) and "map" (values). */
  readonly items?: Schema;
  /** x-kubernetes-list-type; absent means atomic. */
  readonly listType?: "atomic" | "set" | "map";
  readonly listMapKeys?: readonly string[];
  /** x-kubernetes-map-type of "object" and "map"; absent means granular. */
  readonly mapType?: "granular" | "atomic";
  /** Keep fields that the schema does not know (x-kubernetes-preserve-unknown-fields). */
  readonly preserveUnknownFields?: boolean;
  /** A whole embedded object with apiVersion, kind and metadata. */
  readonly embeddedResource?: boolean;
  readonly enum?: readonly unknown[];
  readonly nullable?: boolean;
}

/** A field of an object schema. */
export interface Field {
  readonly schema: Schema;
  readonly description?: string;
  readonly required?: boolean;
  /**
   * What Go's encoder does with a zero value. "omit": gone when empty ("", 0, false, [], {}, null) — a value with
   * omitempty; "pointer": gone when null or absent, zero values stay; "always": written even when zero (a missing
   * required string comes back as "").
   */
  readonly empty: "omit" | "pointer" | "always";
  /** Static default of the OpenAPI schema, applied when the field is absent. */
  readonly default?: unknown;
  /** Strategic merge: patchStrategy and patchMergeKey of the Go field. */
  readonly patchStrategy?: readonly ("merge" | "replace" | "retainKeys")[];
  readonly patchMergeKey?: string;
  /** Protobuf field number. */
  readonly proto?: number;
  /**
   * Numbers of the sub-messages, outermost first, that hold this field in protobuf while JSON inlines it (the source of a
   * Volume, the handler of a Probe). Encoders always write those sub-messages, even empty.
   */
  readonly protoPath?: readonly number[];
}
