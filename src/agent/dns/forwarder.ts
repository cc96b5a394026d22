import { randomInt } from "node:crypto";
import { createSocket } from "node:dgram";
import { connect, isIPv6 } from "node:net";
import type { Clock } from "../../machinery/clock.ts";
import { headerBytes, skipName, timesToLive } from "./message.ts";

export interface ForwarderOptions {
  /** Name servers to ask, in order of preference; asked anew for each question, since the file may change. */
  readonly upstreams: () => Promise<readonly string[]>;
  /** Default 53. */
  readonly port?: number;
  readonly clock: Clock;
}

export type Transport = "udp" | "tcp";

/** No name server gave an answer. */
export class ForwardError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "ForwardError";
  }
}

const attemptMs = 1500;
const rounds = 2;
const maxInFlight = 1000;
const maxCached = 5000;
const maxCacheSeconds = 30;

interface Cached {
  readonly bytes: Buffer;
  readonly ttlOffsets: readonly number[];
  readonly storedMs: number;
  readonly untilMs: number;
}

/**
 * Passes questions on to the node's name servers and remembers the answers for as long as these say, at most 30 s.
 * Packets go through unchanged but for their id, so that everything that clients and servers agree on stays true.
 */
export class Forwarder {
  readonly #options: ForwarderOptions;
  readonly #cache = new Map<string, Cached>();
  readonly #inFlight = new Map<string, Promise<Buffer>>();

  constructor(options: ForwarderOptions) {
    this.#options = options;
  }

  /** The answer's bytes, with the question's id. Throws {@link ForwardError}. */
  async forward(query: Buffer, transport: Transport): Promise<Buffer> {
    const key = `${transport} ${query.toString("latin1", 2)}`;
    const cached = this.#fromCache(key);
    if (cached) return withId(cached, query);
    let asked = this.#inFlight.get(key);
    if (!asked) {
      if (this.#inFlight.size >= maxInFlight)
        throw new ForwardError(`more than ${maxInFlight} questions wait for name servers`);
      asked = this.#ask(query, transport).finally(() => this.#inFlight.delete(key));
      this.#inFlight.set(key, asked);
      const answer = await asked;
      this.#remember(key, answer);
      return withId(Buffer.from(answer), query);
    }
    return withId(Buffer.from(await asked), query);
  }

  async #ask(query: Buffer, transport: Transport): Promise<Buffer> {
    const servers = await this.#options.upstreams();
    if (!servers.length) throw new ForwardError("the node's resolv.conf names no name server");
    let last: unknown;
    let refused: Buffer | undefined;
    for (let round = 0; round < rounds; round++) {
      for (const server of servers) {
        try {
          const sent = Buffer.from(query);
          sent.writeUInt16BE(randomInt(0x10000), 0);
          const answer = await (transport === "udp" ? this.#udp(sent, server) : this.#tcp(sent, server));
          // Another server may do better than "server failure" or "refused".
          const code = answer[3]! & 0x0f;
          if (code !== 2 && code !== 5) return answer;
          refused = answer;
        } catch (error) {
          last = error;
        }
      }
      if (refused) return refused;
    }
    throw new ForwardError(`no answer from name servers ${servers.join(", ")}: ${(last as Error).message}`, {
      cause: last,
    });
  }

  #udp(query: Buffer, server: string): Promise<Buffer> {
    const { clock, port = 53 } = this.#options;
    return new Promise((resolve, reject) => {
      // A socket of its own for each question: an unforeseeable port, and only this server's packets come in.
      const socket = createSocket(isIPv6(server) ? "udp6" : "udp4");
      const settle = (then: () => void) => {
        timer.cancel();
        socket.removeAllListeners();
        socket.on("error", () => {});
        socket.close();
        then();
      };
      const timer = clock.after(attemptMs, () => settle(() => reject(new Error(`${server} did not answer`))));
      socket.on("error", (error) => settle(() => reject(error)));
      socket.on("message", (answer) => {
        if (answersTo(query, answer)) settle(() => resolve(answer));
      });
      socket.connect(port, server, () => socket.send(query));
    });
  }

  #tcp(query: Buffer, server: string): Promise<Buffer> {
    const { clock, port = 53 } = this.#options;
    return new Promise((resolve, reject) => {
      const socket = connect({ host: server, port });
      const settle = (then: () => void) => {
        timer.cancel();
        socket.removeAllListeners();
        socket.on("error", () => {});
        socket.destroy();
        then();
      };
      const timer = clock.after(attemptMs, () => settle(() => reject(new Error(`${server} did not answer`))));
      let received = Buffer.alloc(0);
      socket.on("error", (error) => settle(() => reject(error)));
      socket.on("end", () => settle(() => reject(new Error(`${server} closed the connection`))));
      socket.on("data", (chunk) => {
        received = Buffer.concat([received, chunk]);
        if (received.length < 2 || received.length < 2 + received.readUInt16BE(0)) return;
        const answer = received.subarray(2, 2 + received.readUInt16BE(0));
        if (answersTo(query, answer)) settle(() => resolve(answer));
        else settle(() => reject(new Error(`${server} answered another question`)));
      });
      socket.on("connect", () => {
        const length = Buffer.alloc(2);
        length.writeUInt16BE(query.length);
        socket.write(Buffer.concat([length, query]));
      });
    });
  }

  #fromCache(key: string): Buffer | undefined {
    const cached = this.#cache.get(key);
    if (!cached) return undefined;
    const nowMs = this.#options.clock.now();
    if (nowMs >= cached.untilMs) {
      this.#cache.delete(key);
      return undefined;
    }
    const bytes = Buffer.from(cached.bytes);
    const ageSeconds = Math.floor((nowMs - cached.storedMs) / 1000);
    for (const offset of cached.ttlOffsets) {
      bytes.writeUInt32BE(Math.max(0, bytes.readUInt32BE(offset) - ageSeconds), offset);
    }
    return bytes;
  }

  #remember(key: string, answer: Buffer): void {
    const code = answer[3]! & 0x0f;
    const truncated = (answer[2]! & 2) !== 0;
    if ((code !== 0 && code !== 3) || truncated) return;
    try {
      const { offsets, shortest } = timesToLive(answer);
      if (!shortest) return;
      // The oldest entry goes: a Map keeps the order of insertion.
      if (this.#cache.size >= maxCached) this.#cache.delete(this.#cache.keys().next().value!);
      const storedMs = this.#options.clock.now();
      const untilMs = storedMs + Math.min(shortest, maxCacheSeconds) * 1000;
      this.#cache.set(key, { bytes: answer, ttlOffsets: offsets, storedMs, untilMs });
    } catch {
      // Passed on as it is, but not kept.
    }
  }
}

/** Is it an answer, to this id and this question? */
function answersTo(query: Buffer, answer: Buffer): boolean {
  if (answer.length < headerBytes || (answer[2]! & 0x80) === 0 || answer.readUInt16BE(0) !== query.readUInt16BE(0)) {
    return false;
  }
  // Errors may come without the question.
  if (answer.readUInt16BE(4) === 0) return (answer[3]! & 0x0f) !== 0;
  try {
    const question = (bytes: Buffer) =>
      bytes.toString("latin1", headerBytes, skipName(bytes, headerBytes) + 4).toLowerCase();
    return question(answer) === question(query);
  } catch {
    return false;
  }
}

function withId(answer: Buffer, query: Buffer): Buffer {
  query.copy(answer, 0, 0, 2);
  return answer;
}
