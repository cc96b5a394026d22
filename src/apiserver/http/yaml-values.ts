/**
 * YAML as Kubernetes reads it (Go's yaml.v2): the scalars of YAML 1.1 without dates and base 60, merge keys, and the
 * first document of several. Aliases are followed here and not by the library, so that a few of them, each of many
 * others, cannot fill the memory.
 */
import { type Document, isAlias, isMap, isScalar, isSeq, LineCounter, type Node, type Pair, parseDocument } from "yaml";
import { maxJsonDepth, setKey } from "../../machinery/json.ts";
import { plainScalars } from "./yaml-scalars.ts";

/** Values that aliases may repeat, all together. */
const maxRepeatedValues = 400_000;

export interface YamlOptions {
  /** Called with the text of each key that a mapping repeats. The last one wins. */
  readonly onRepeatedKey?: (text: string) => void;
}

const minInt64 = -(2n ** 63n);
const maxUint64 = 2n ** 64n - 1n;

const prefix = "tag:yaml.org,2002:";

function wholeNumber(text: string): number | bigint {
  const plain = text.replaceAll("_", "");
  const negative = plain.startsWith("-");
  const digits = plain.replace(/^[-+]/, "").replace(/^0(?=[0-7]+$)/, "0o");
  const value = negative ? -BigInt(digits) : BigInt(digits);
  const number = Number(value);
  return Number.isSafeInteger(number) || value < minInt64 || value > maxUint64 ? number : value;
}

function fraction(text: string): number {
  const value = Number(text.replaceAll("_", ""));
  if (!Number.isFinite(value)) throw new Error(`json: unsupported value: ${value > 0 ? "+Inf" : "-Inf"}`);
  return value;
}

const scalar = (name: string, test: RegExp, resolve: (text: string) => unknown) => ({
  tag: prefix + name,
  default: true as const,
  test,
  resolve,
});

const scalars = [
  scalar("null", plainScalars.null, () => null),
  scalar("bool", plainScalars.true, () => true),
  scalar("bool", plainScalars.false, () => false),
  scalar("int", plainScalars.integer, wholeNumber),
  scalar("float", plainScalars.fraction, fraction),
  scalar("float", plainScalars.noNumber, (text) => {
    const name = /n$/i.test(text) ? "NaN" : text.startsWith("-") ? "-Inf" : "+Inf";
    throw new Error(`json: unsupported value: ${name}`);
  }),
];

/** Turns nodes into values. */
class Reader {
  readonly #lines: LineCounter;
  readonly #options: YamlOptions;
  readonly #anchors = new Map<string, { node: Node; open: boolean }>();
  #repeated = 0;
  #inAlias = 0;

  constructor(lines: LineCounter, options: YamlOptions) {
    this.#lines = lines;
    this.#options = options;
  }

  read(node: unknown, depth: number): unknown {
    if (depth > maxJsonDepth) throw new Error(`yaml: exceeded max depth of ${maxJsonDepth}`);
    if (this.#inAlias > 0 && ++this.#repeated > maxRepeatedValues) {
      throw new Error("yaml: document contains excessive aliasing");
    }
    if (isAlias(node)) {
      const target = this.#anchors.get(node.source);
      if (!target) throw new Error(`yaml: unknown anchor '${node.source}' referenced`);
      if (target.open) throw new Error(`yaml: anchor '${node.source}' value contains itself`);
      this.#inAlias++;
      const value = this.#content(target.node, depth);
      this.#inAlias--;
      return value;
    }
    const anchor = (node as { anchor?: string } | null)?.anchor;
    // Inside an alias the anchors are those of where they stand.
    if (anchor === undefined || this.#inAlias > 0) return this.#content(node, depth);
    const known = { node: node as Node, open: true };
    this.#anchors.set(anchor, known);
    const value = this.#content(node, depth);
    known.open = false;
    return value;
  }

  #content(node: unknown, depth: number): unknown {
    if (isScalar(node)) return node.value;
    if (isSeq(node)) return node.items.map((item) => this.read(item, depth + 1));
    if (isMap(node)) return this.#mapping(node.items, depth + 1);
    return null;
  }

  #mapping(pairs: readonly Pair[], depth: number): Record<string, unknown> {
    const own: Record<string, unknown> = {};
    const merged: unknown[] = [];
    for (const pair of pairs) {
      if (isScalar(pair.key) && pair.key.value === "<<" && pair.key.type === "PLAIN") {
        merged.push(this.read(pair.value, depth));
        continue;
      }
      const key = this.#key(pair.key, depth);
      if (Object.hasOwn(own, key)) {
        const line = this.#lines.linePos((pair.key as Node).range?.[0] ?? 0).line;
        this.#options.onRepeatedKey?.(`line ${line}: key ${JSON.stringify(key)} already set in map`);
      }
      setKey(own, key, this.read(pair.value, depth));
    }
    // What a mapping says itself goes before what it merges, wherever that stands.
    for (const other of merged.flat()) {
      if (typeof other !== "object" || other === null) {
        throw new Error("yaml: map merge requires map or sequence of maps as the value");
      }
      for (const [key, value] of Object.entries(other)) if (!Object.hasOwn(own, key)) setKey(own, key, value);
    }
    return own;
  }

  #key(node: unknown, depth: number): string {
    const value = this.read(node, depth);
    if (typeof value === "object" && value !== null) throw new Error("yaml: invalid map key: not a scalar");
    return String(value);
  }
}

/** The value of a YAML text. Throws Error with a text for the client. */
export function readYaml(text: string, options: YamlOptions = {}): unknown {
  const lines = new LineCounter();
  let document: Document;
  try {
    document = parseDocument(text, {
      schema: "failsafe",
      customTags: (tags) => [...scalars, ...tags] as typeof tags,
      uniqueKeys: false,
      lineCounter: lines,
      prettyErrors: false,
      logLevel: "silent",
    });
    const error = document.errors.find(({ code }) => code !== "MULTIPLE_DOCS");
    // The library tells of its own stack as of any other error.
    if (error?.message.includes("call stack")) throw new RangeError(error.message);
    if (error) throw new Error(`yaml: line ${lines.linePos(error.pos[0]).line}: ${error.message}`);
    return new Reader(lines, options).read(document.contents, 0);
  } catch (error) {
    if (error instanceof RangeError) throw new Error(`yaml: exceeded max depth of ${maxJsonDepth}`);
    throw error;
  }
}
