import { createHash } from "node:crypto";
import type { Clock } from "../../machinery/clock.ts";
import { isRecord, stringifyJson } from "../../machinery/json.ts";
import { chunksOf, Pace } from "./pieces.ts";

/** A document as it goes to clients; empty where there is none. */
export interface Document {
  readonly bytes: Buffer;
  /** Of its bytes, quoted as headers have it. */
  readonly etag: string;
}

/** Gives way to others where it is time: await what it gives, if that is anything. */
export type Breathe = () => Promise<void> | undefined;

/** What a document is made of: an object that becomes JSON, or its bytes in parts. */
export type DocumentSource = Readonly<Record<string, unknown>> | Iterable<Buffer>;

/** How deep objects are printed entry by entry: as deep as a document has thousands of entries. */
const depthInParts = 2;

/** Documents that are dear to make: made once, in turns of the loop, and good for one generation of what is served. */
export class Documents {
  readonly #clock: Clock;
  readonly #generationNow: () => number;
  readonly #made = new Map<string, Promise<Document>>();
  #generation: number;

  constructor(clock: Clock, generationNow: () => number) {
    this.#clock = clock;
    this.#generationNow = generationNow;
    this.#generation = generationNow();
  }

  /** The document of that name, made by `make` if it is not there. Rejects as that does, and tries again next time. */
  get(name: string, make: (breathe: Breathe) => DocumentSource | undefined | Promise<DocumentSource | undefined>) {
    const now = this.#generationNow();
    if (this.#generation !== now) this.#made.clear();
    this.#generation = now;
    let made = this.#made.get(name);
    if (!made) {
      made = this.#make(make);
      this.#made.set(name, made);
      made.catch(() => this.#made.delete(name));
    }
    return made;
  }

  /** Forgets one, so that it is made anew. */
  forget(name: string): void {
    this.#made.delete(name);
  }

  async #make(make: Parameters<Documents["get"]>[1]): Promise<Document> {
    const pace = new Pace(this.#clock);
    const breathe = () => (pace.overNow ? pace.pause() : undefined);
    const source = await make(breathe);
    const hash = createHash("sha512");
    const chunks: Buffer[] = [];
    for (const chunk of source === undefined ? [] : chunksOf(partsOf(source))) {
      hash.update(chunk);
      chunks.push(chunk);
      await breathe();
    }
    return { bytes: Buffer.concat(chunks), etag: `"${hash.digest("hex").toUpperCase()}"` };
  }
}

function partsOf(source: DocumentSource): Iterable<Buffer | string> {
  return Symbol.iterator in source ? (source as Iterable<Buffer>) : printInParts(source, depthInParts);
}

/** What `stringifyJson` gives, entry by entry. */
function* printInParts(value: Readonly<Record<string, unknown>>, depth: number): Generator<string> {
  let before = "{";
  for (const [key, entry] of Object.entries(value)) {
    if (entry === undefined) continue;
    const head = `${before}${JSON.stringify(key)}:`;
    before = ",";
    if (depth > 0 && isRecord(entry)) {
      yield head;
      yield* printInParts(entry, depth - 1);
    } else yield head + stringifyJson(entry);
  }
  yield before === "{" ? "{}" : "}";
}
