import type { Logger } from "../../machinery/log.ts";
import type { Alias, ClusterZone } from "./cluster-zone.ts";
import type { Forwarder, Transport } from "./forwarder.ts";
import { type DnsQuery, readAnswers, readQuery, writeAnswer, writeError, writeQuery } from "./message.ts";
import { bareAnswer, type DnsAnswer, type DnsRecord } from "./record.ts";

export interface ResponderOptions {
  readonly zone: ClusterZone;
  readonly forwarder: Forwarder;
  /** Resolves when the zone knows the whole cluster; rejects when that takes too long for a client. */
  readonly ready: () => Promise<void>;
  readonly logger: Logger;
}

/** One question's answer, in as many orders as it has addresses, so that clients that take the first spread out. */
interface Cached {
  readonly variants: readonly Buffer[];
  next: number;
}

const maxCached = 10_000;
const maxVariants = 16;
const maxAliases = 8;
const maxTcpBytes = 65_535;

/**
 * Turns a packet into its answer. Answers from the cluster's names are kept under the packet's bytes behind the id, so
 * that a question that was asked before costs one look-up.
 */
export class Responder {
  readonly #options: ResponderOptions;
  readonly #cache = new Map<string, Cached>();

  constructor(options: ResponderOptions) {
    this.#options = options;
  }

  /** Forgets all answers: something in the cluster has changed. */
  invalidate(): void {
    this.#cache.clear();
  }

  /** The kept answer to a packet, if there is one; for the way that must be fast. */
  cached(bytes: Buffer, transport: Transport): Buffer | undefined {
    const entry = this.#cache.get(transport + bytes.toString("latin1", 2));
    if (!entry) return undefined;
    const answer = Buffer.from(entry.variants[entry.next]!);
    entry.next = (entry.next + 1) % entry.variants.length;
    bytes.copy(answer, 0, 0, 2);
    return answer;
  }

  /** Answers a packet; undefined: it deserves none. Never rejects. */
  async answer(bytes: Buffer, transport: Transport): Promise<Buffer | undefined> {
    const query = readQuery(bytes);
    if (query === "ignore") return undefined;
    if (typeof query === "string") return writeError(bytes, query);
    const write = (answer: DnsAnswer) => writeAnswer(query, answer, transport === "udp" ? query.udpBytes : maxTcpBytes);
    if (query.class !== "IN") return write(bareAnswer("REFUSED"));
    try {
      await this.#options.ready();
      const found = this.#options.zone.resolve(query.name, query.type);
      if (found === undefined) return await this.#options.forwarder.forward(bytes, transport);
      if ("alias" in found) return write(await this.#follow(found, query));
      this.#remember(transport + bytes.toString("latin1", 2), found, write);
      return write(found);
    } catch (error) {
      const fields = {
        name: query.name,
        type: query.type,
        error: error instanceof Error ? error.message : String(error),
      };
      this.#options.logger.debug(fields, "Could not answer a DNS question");
      return write(bareAnswer("SERVFAIL"));
    }
  }

  #remember(key: string, answer: DnsAnswer, write: (answer: DnsAnswer) => Buffer): void {
    if (this.#cache.size >= maxCached) this.#cache.clear();
    const { answers } = answer;
    const variants = Array.from({ length: Math.min(Math.max(1, answers.length), maxVariants) }, (_, i) =>
      write({ ...answer, answers: [...answers.slice(i), ...answers.slice(0, i)] }),
    );
    this.#cache.set(key, { variants, next: variants.length > 1 ? 1 : 0 });
  }

  /** Resolvers in containers do not follow aliases themselves: what an alias leads to goes with it. */
  async #follow(first: Alias, query: DnsQuery): Promise<DnsAnswer> {
    const { zone, forwarder } = this.#options;
    const answers: DnsRecord[] = [];
    const done = (code: DnsAnswer["code"] = "NOERROR") => ({ ...bareAnswer(code), authoritative: true, answers });
    let found: Alias | DnsAnswer | undefined = first;
    for (let hops = 0; hops < maxAliases && found && "alias" in found; hops++) {
      answers.push(found.alias);
      if (query.type === "CNAME") return done();
      const { target } = found as Alias;
      found = zone.resolve(target, query.type);
      if (found) continue;
      const reply = await forwarder.forward(writeQuery(query.id, target, query.type), "udp");
      answers.push(...readAnswers(reply));
      return done();
    }
    if (!found || "alias" in found) return done("SERVFAIL");
    answers.push(...found.answers);
    return done();
  }
}
