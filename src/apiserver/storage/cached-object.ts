import type { ResourceFacts } from "../../api/resource.ts";
import type { KubeObject } from "../../machinery/object.ts";
import type { Entry } from "../../store/store.ts";
import { encodeMessage } from "../protobuf/encode-message.ts";
import { encodeObject, fromStored, headOf } from "./codec.ts";

/** Beginnings of encoded objects, by the facts they are made from. */
const heads = new WeakMap<ResourceFacts, { readonly text: string; readonly length: number }>();

function head(facts: ResourceFacts): { text: string; length: number } {
  let known = heads.get(facts);
  if (!known) {
    const text = headOf(facts);
    known = { text, length: Buffer.byteLength(text) };
    heads.set(facts, known);
  }
  return known;
}

/** An object as the watch cache holds it: parsed, shared by all readers, never changed; and its bytes. */
export class CachedObject {
  readonly facts: ResourceFacts;
  readonly key: string;
  readonly revision: number;
  readonly object: KubeObject;
  /** What follows `"metadata":{` in the object's JSON, without a resourceVersion. */
  #fragment: Buffer | undefined;
  #protobuf: Buffer | undefined;

  constructor(facts: ResourceFacts, key: string, revision: number, object: KubeObject, fragment?: Buffer) {
    this.facts = facts;
    this.key = key;
    this.revision = revision;
    this.object = object;
    this.#fragment = fragment;
  }

  /** From an entry of the store, whose bytes are kept when they are in the served version. */
  static fromEntry(facts: ResourceFacts, entry: Entry): CachedObject {
    const { object, asStored } = fromStored(facts, entry);
    const { text, length } = head(facts);
    // In another version, or written by an earlier release, an entry begins otherwise; then its bytes are made anew.
    const same = asStored && entry.value.toString("latin1", 0, length) === text;
    const fragment = same ? entry.value.subarray(length) : undefined;
    return new CachedObject(facts, entry.key, entry.modRevision, object, fragment);
  }

  /** The same object as of another revision: what a DELETED event carries. */
  at(revision: number): CachedObject {
    const { metadata } = this.object;
    const object = { ...this.object, metadata: { ...metadata, resourceVersion: String(revision) } };
    return new CachedObject(this.facts, this.key, revision, object, this.fragment);
  }

  get namespace(): string | undefined {
    return this.object.metadata.namespace;
  }

  get name(): string {
    return this.object.metadata.name ?? "";
  }

  get fragment(): Buffer {
    this.#fragment ??= encodeObject(this.facts, this.object).subarray(head(this.facts).length);
    return this.#fragment;
  }

  /** What stands before the fragment in the object's own JSON. */
  get prefix(): string {
    return `${head(this.facts).text}"resourceVersion":"${this.revision}",`;
  }

  /** What stands before the fragment in a list, whose items carry no kind. */
  get listPrefix(): string {
    return `{"metadata":{"resourceVersion":"${this.revision}",`;
  }

  /** The object as a message of Kubernetes' protobuf, without envelope; made at first use, for built-in kinds only. */
  protobuf(): Buffer {
    this.#protobuf ??= encodeMessage(this.facts.schema, this.object);
    return this.#protobuf;
  }

  /** The object's JSON. */
  bytes(): Buffer {
    const { prefix, fragment } = this;
    // Prefixes are ASCII: types, group names and a number.
    const bytes = Buffer.allocUnsafe(prefix.length + fragment.length);
    bytes.write(prefix, 0, "latin1");
    bytes.set(fragment, prefix.length);
    return bytes;
  }
}
