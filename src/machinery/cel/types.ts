/** The types of expressions, and the rules by which one stands for another. Source: cel-go's checker. */

export interface CelType {
  readonly kind:
    | "bool"
    | "int"
    | "uint"
    | "double"
    | "string"
    | "bytes"
    | "null"
    | "timestamp"
    | "duration"
    | "dyn"
    | "error"
    | "list"
    | "map"
    | "type"
    | "opaque" // optional_type and the libraries' own
    | "object"
    | "wrapper" // a scalar or null
    | "param";
  readonly name: string;
  readonly params: readonly CelType[];
  /** The checker takes it for this type, but values may be of others: they are looked at before each call. */
  readonly loose?: boolean;
  /** Of a list whose order does not count: a set, or a map by these keys of its elements. */
  readonly keyed?: { readonly set: boolean; readonly keys?: readonly string[] };
  /** Of an object: by the name that expressions use. */
  readonly fields?: ReadonlyMap<string, ObjectField>;
}

export interface ObjectField {
  readonly type: CelType;
  /** The key in JSON; expressions see keywords and dashes escaped. */
  readonly key: string;
  /** Brings a JSON value into the form of its type; absent where JSON is that form. */
  readonly convert?: (json: unknown) => unknown;
}

const none: readonly CelType[] = [];
const simple = (kind: CelType["kind"], name: string = kind): CelType => ({ kind, name, params: none });

export const bool = simple("bool");
export const int = simple("int");
export const uint = simple("uint");
export const double = simple("double");
export const string = simple("string");
export const bytes = simple("bytes");
export const nullType = simple("null", "null_type");
export const timestamp = simple("timestamp", "google.protobuf.Timestamp");
export const duration = simple("duration", "google.protobuf.Duration");
export const dyn = simple("dyn");
export const error = simple("error");

export const listOf = (item: CelType): CelType => ({ kind: "list", name: "list", params: [item] });
export const mapOf = (key: CelType, value: CelType): CelType => ({ kind: "map", name: "map", params: [key, value] });
export const typeOf = (of: CelType): CelType => ({ kind: "type", name: "type", params: [of] });
/** The type of types. */
export const typeType = simple("type");
export const opaque = (name: string, ...params: CelType[]): CelType => ({ kind: "opaque", name, params });
export const optionalOf = (of: CelType): CelType => opaque("optional_type", of);
export const wrapperOf = (of: CelType): CelType => ({ kind: "wrapper", name: "wrapper", params: [of] });
export const param = (name: string): CelType => simple("param", name);
export const objectOf = (name: string, fields: ReadonlyMap<string, ObjectField>): CelType => ({
  kind: "object",
  name,
  params: none,
  fields,
});

export const isOptional = (type: CelType) => type.kind === "opaque" && type.name === "optional_type";
const isLoose = (type: CelType) => type.kind === "dyn" || type.kind === "error";

/** As cel-go names types in errors: "list(int)", "map(string, dyn)", "timestamp". */
export function formatType(type: CelType): string {
  switch (type.kind) {
    case "timestamp":
    case "duration":
      return type.kind;
    case "null":
      return "null";
    case "error":
      return "!error!";
    default:
      return type.params.length === 0 ? type.name : `${type.name}(${type.params.map(formatType).join(", ")})`;
  }
}

/** Are they the same type, down to their parameters? */
export function sameType(a: CelType, b: CelType): boolean {
  return (
    a === b ||
    (a.kind === b.kind &&
      a.name === b.name &&
      a.params.length === b.params.length &&
      a.params.every((inner, i) => sameType(inner, b.params[i]!)))
  );
}

/** What type parameters stand for, found while checking. */
export class Substitutions {
  #found: Map<string, CelType>;

  constructor(found: ReadonlyMap<string, CelType> = new Map()) {
    this.#found = new Map(found);
  }

  set(variable: CelType, type: CelType): void {
    this.#found.set(variable.name, type);
  }

  /** The type with its parameters replaced; free ones stay, or become dyn. */
  apply(type: CelType, freeToDyn = false): CelType {
    if (type.kind === "param") {
      const found = this.#found.get(type.name);
      if (found) return this.apply(found, freeToDyn);
      return freeToDyn ? dyn : type;
    }
    if (type.params.length === 0) return type;
    const params = type.params.map((inner) => this.apply(inner, freeToDyn));
    return params.every((inner, i) => inner === type.params[i]) ? type : { ...type, params };
  }

  /** Can values of `from` be used where `to` is wanted? Remembers what parameters stand for when so. */
  assign(from: readonly CelType[], to: readonly CelType[]): boolean {
    const before = new Map(this.#found);
    if (from.length === to.length && from.every((type, i) => this.#assignable(type, to[i]!))) return true;
    this.#found = before;
    return false;
  }

  #assignable(a: CelType, b: CelType): boolean {
    if (b.kind === "param") {
      const { valid, known } = this.#substitute(a, b);
      if (valid) return true;
      if (known) return false;
    }
    if (a.kind === "param") return this.#substitute(b, a).valid;
    if (isLoose(a) || isLoose(b)) return true;
    if (a.kind === "null") return isNullable(b);
    if (b.kind === "null") return isNullable(a);
    if (a.kind === "wrapper" || b.kind === "wrapper") {
      const inner = (type: CelType) => (type.kind === "wrapper" ? type.params[0]! : type);
      return sameType(inner(a), inner(b));
    }
    if (a.kind === "type") return b.kind === "type";
    if (a.kind !== b.kind || a.name !== b.name || a.params.length !== b.params.length) return false;
    return a.params.every((inner, i) => this.#assignable(inner, b.params[i]!));
  }

  /** May `type` be what the parameter stands for? `known`: it stood for something already. */
  #substitute(type: CelType, variable: CelType): { valid: boolean; known: boolean } {
    if (sameType(type, variable)) return { valid: true, known: true };
    const present = this.#found.get(variable.name);
    if (present) {
      if (sameType(type, present)) return { valid: true, known: true };
      if (!this.#assignable(type, present)) return { valid: false, known: true };
      const general = mostGeneral(type, present);
      if (!this.#mentions(general, variable)) this.#found.set(variable.name, general);
      return { valid: true, known: true };
    }
    if (this.#mentions(type, variable)) return { valid: false, known: false };
    this.#found.set(variable.name, type);
    return { valid: true, known: false };
  }

  #mentions(type: CelType, variable: CelType): boolean {
    if (type.kind === "param") {
      if (type.name === variable.name) return true;
      const found = this.#found.get(type.name);
      return found !== undefined && this.#mentions(found, variable);
    }
    return type.params.some((inner) => this.#mentions(inner, variable));
  }
}

function isNullable(type: CelType): boolean {
  return ["null", "object", "opaque", "timestamp", "duration", "wrapper"].includes(type.kind);
}

/** The looser of two types that agree. */
export function mostGeneral(a: CelType, b: CelType): CelType {
  return isEquallyLoose(a, b) ? a : b;
}

function isEquallyLoose(a: CelType, b: CelType): boolean {
  if (a.kind === "dyn" || a.kind === "param") return true;
  if (b.kind === "dyn" || b.kind === "param" || a.kind !== b.kind) return false;
  if (a.kind === "type") return true;
  if (a.name !== b.name || a.params.length !== b.params.length) return false;
  return a.params.every((inner, i) => isEquallyLoose(inner, b.params[i]!));
}
