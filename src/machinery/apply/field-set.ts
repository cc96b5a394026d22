/**
 * Sets of fields, in the encoding of FieldsV1: "f:name" a field or map key, "k:{…}" an element of a keyed list,
 * "v:…" an element of a set, "i:0" a place in a list. A member is owned itself; children hold what is owned below it.
 * Source: sigs.k8s.io/structured-merge-diff, fieldpath.
 */
import { isRecord, parseJson, setKey, stringifyJson } from "../json.ts";
import type { Schema } from "../schema.ts";

/** One step of a path, as FieldsV1 writes it. */
export type PathElement = string;
export type Path = readonly PathElement[];

export const fieldElement = (name: string): PathElement => `f:${name}`;
export const valueElement = (value: unknown): PathElement => `v:${stringifyJson(value)}`;

/** The element of a keyed list; keys come in alphabetical order. */
export function keyElement(keys: Readonly<Record<string, unknown>>): PathElement {
  const sorted: Record<string, unknown> = {};
  for (const key of Object.keys(keys).sort()) setKey(sorted, key, keys[key]);
  return `k:${stringifyJson(sorted)}`;
}

const noChildren: ReadonlyMap<PathElement, FieldSet> = new Map();

/** A set of paths. Treat as immutable once it is handed out; `insert` is for building. */
export class FieldSet {
  readonly members: Set<PathElement>;
  #children: Map<PathElement, FieldSet> | undefined;

  constructor(members: Iterable<PathElement> = [], children?: Map<PathElement, FieldSet>) {
    this.members = new Set(members);
    this.#children = children && children.size > 0 ? children : undefined;
  }

  static of(...paths: Path[]): FieldSet {
    const set = new FieldSet();
    for (const path of paths) set.insert(path);
    return set;
  }

  get children(): ReadonlyMap<PathElement, FieldSet> {
    return this.#children ?? noChildren;
  }

  get empty(): boolean {
    if (this.members.size > 0) return false;
    for (const child of this.children.values()) if (!child.empty) return false;
    return true;
  }

  /** Adds a path that is not empty. */
  insert(path: Path, from = 0): void {
    if (from === path.length - 1) this.members.add(path[from]!);
    else this.descend(path[from]!).insert(path, from + 1);
  }

  /** The child set below an element, made when it is not there. For building. */
  descend(element: PathElement): FieldSet {
    this.#children ??= new Map();
    let child = this.#children.get(element);
    if (!child) {
      child = new FieldSet();
      this.#children.set(element, child);
    }
    return child;
  }

  has(path: Path): boolean {
    let set: FieldSet | undefined = this;
    for (const element of path.slice(0, -1)) set = set?.children.get(element);
    return path.length > 0 && (set?.members.has(path.at(-1)!) ?? false);
  }

  union(other: FieldSet): FieldSet {
    const children = new Map(this.children);
    for (const [element, child] of other.children) {
      const mine = children.get(element);
      children.set(element, mine ? mine.union(child) : child);
    }
    return new FieldSet([...this.members, ...other.members], children);
  }

  intersection(other: FieldSet): FieldSet {
    const children = new Map<PathElement, FieldSet>();
    for (const [element, child] of this.children) {
      const theirs = other.children.get(element);
      const both = theirs && child.intersection(theirs);
      if (both && !both.empty) children.set(element, both);
    }
    return new FieldSet(
      [...this.members].filter((element) => other.members.has(element)),
      children,
    );
  }

  /** What is in this set and not in the other; `recursive` also drops all below the other's members. */
  difference(other: FieldSet, recursive = false): FieldSet {
    const children = new Map<PathElement, FieldSet>();
    for (const [element, child] of this.children) {
      if (recursive && other.members.has(element)) continue;
      const theirs = other.children.get(element);
      const rest = theirs ? child.difference(theirs, recursive) : child;
      if (!rest.empty) children.set(element, rest);
    }
    return new FieldSet(
      [...this.members].filter((element) => !other.members.has(element)),
      children,
    );
  }

  equals(other: FieldSet): boolean {
    return this.difference(other).empty && other.difference(this).empty;
  }

  /** Every path of the set, sorted, at each level the members before what is below them (kube-apiserver's order). */
  *paths(prefix: Path = []): Generator<Path> {
    for (const element of [...this.members].sort()) yield [...prefix, element];
    for (const element of [...this.children.keys()].sort())
      yield* this.children.get(element)!.paths([...prefix, element]);
  }

  /**
   * Makes struct fields with owned children members themselves, so that a whole struct goes when all that was applied
   * in it goes.
   */
  withNamedFields(schema: Schema | undefined): FieldSet {
    const members = new Set(this.members);
    const children = new Map<PathElement, FieldSet>();
    for (const [element, child] of this.children) {
      if (element.startsWith("f:") && schema?.fields && Object.hasOwn(schema.fields, element.slice(2))) {
        members.add(element);
      }
      children.set(element, child.withNamedFields(schemaBelow(schema, element)));
    }
    return new FieldSet(members, children);
  }

  /** FieldsV1. */
  toFields(): Record<string, unknown> {
    const fields: Record<string, unknown> = {};
    const elements = new Set([...this.members, ...this.children.keys()]);
    for (const element of [...elements].sort()) {
      const child = this.children.get(element);
      if (!child || child.empty) {
        if (this.members.has(element)) setKey(fields, element, {});
      } else {
        const below = child.toFields();
        setKey(fields, element, this.members.has(element) ? { ".": {}, ...below } : below);
      }
    }
    return fields;
  }

  /** From FieldsV1. Throws Error when it is malformed. */
  static fromFields(fields: unknown): FieldSet {
    if (!isRecord(fields)) throw new Error("fieldsV1 must be an object");
    const members: PathElement[] = [];
    const children = new Map<PathElement, FieldSet>();
    for (const element of Object.keys(fields)) {
      const below = fields[element];
      if (element === ".") continue;
      if (element.length < 2 || element[1] !== ":") {
        throw new Error(`fieldsV1 has the malformed key ${JSON.stringify(element)}`);
      }
      // What a later version may know is not ours to keep.
      if (!"fkvi".includes(element[0]!)) continue;
      if (!isRecord(below)) throw new Error(`fieldsV1 must have an object at ${JSON.stringify(element)}`);
      const child = FieldSet.fromFields(below);
      if (!child.empty) children.set(element, child);
      if (child.empty || Object.hasOwn(below, ".")) members.push(element);
    }
    return new FieldSet(members, children);
  }
}

/** The schema of what an element leads to. */
export function schemaBelow(schema: Schema | undefined, element: PathElement): Schema | undefined {
  if (!schema) return undefined;
  if (element.startsWith("f:") && schema.fields && Object.hasOwn(schema.fields, element.slice(2))) {
    return schema.fields[element.slice(2)]!.schema;
  }
  return schema.items;
}

/** `.spec.containers[name="web"].image`: how errors name a path. */
export function printPath(path: Path): string {
  return path
    .map((element) => {
      const text = element.slice(2);
      if (element.startsWith("f:")) return `.${text}`;
      if (element.startsWith("v:")) return `[=${text}]`;
      if (element.startsWith("i:")) return `[${text}]`;
      const keys = parseJson(text) as Record<string, unknown>;
      const pairs = Object.keys(keys).map((key) => `${key}=${stringifyJson(keys[key])}`);
      return `[${pairs.join(",")}]`;
    })
    .join("");
}
