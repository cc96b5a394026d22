import type { ConnectionOptions } from "node:tls";
import { isDeepStrictEqual } from "node:util";
import type { Clock, Timer } from "../../machinery/clock.ts";
import type { Logger } from "../../machinery/log.ts";
import type { Message, MessageInput, MessageOutput } from "../../machinery/protobuf.ts";
import {
  type BidiCall,
  type CallOptions,
  GrpcClient,
  GrpcError,
  type MethodDescriptor,
} from "../../rpc/grpc-client.ts";
import { StoreClosedError } from "../store.ts";
import { untrustedReason } from "../untrusted-certificate.ts";
import { isNoSpace, isOutage, isUnsent, storeError } from "./etcd-errors.ts";
import { leaseGrant } from "./etcd-messages.ts";

/** Where one member of etcd answers clients. */
export interface EtcdServer {
  readonly host: string;
  readonly port: number;
  readonly tls: boolean;
}

/** etcd itself gives a request up after 7 s with its own election time; its answer tells more than ours. */
const deadlineMs = 8000;
/** With several endpoints, a read that one does not answer is asked of the next after this long. */
const readAttemptMs = 3000;
const connectTimeoutMs = 2000;
const keepAliveMs = 10_000;
/** A connection on which a call got no answer has this long for a sign of life. */
const probePatienceMs = 2000;
/** How long a call that has not had any effect is tried again: about what an election or a restart takes. */
const patienceMs = 5000;
const firstPauseMs = 50;
const longestPauseMs = 500;
/** An endpoint that has failed is gone back to when it answers within this. */
const homeTimeoutMs = 2000;
/** While there is a problem, etcd is asked this often whether it is over. */
const probeIntervalMs = 1000;
/** A page of large values, or what was written while a watch was away, comes as one message. */
const largestMessageBytes = 1024 * 1024 * 1024;
/** A member that has lost the others says so at once, instead of leaving a watch without a word. */
const metadata = { hasleader: "true" };

interface Place {
  readonly server: EtcdServer;
  readonly client: GrpcClient;
}

/** Makes a client for one endpoint. The certificate has to be valid for the endpoint's host. */
export function etcdClient({ host, port, tls }: EtcdServer, tlsOptions: ConnectionOptions, clock: Clock): GrpcClient {
  const target = { host, port, ...(tls ? { tls: tlsOptions } : {}) };
  return new GrpcClient(target, { clock, connectTimeoutMs, keepAliveMs, largestMessageBytes });
}

/**
 * Calls to a cluster of etcd: one connection, to another endpoint when the present one fails. It knows what is wrong, and
 * while something is, asks whether it is over.
 */
export class EtcdConnection {
  readonly #tls: ConnectionOptions;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #onLeft: () => void;
  /** Never empty; the first one is preferred where somebody calls {@link comeHome}. */
  #places: readonly Place[];
  #current: Place;
  #moved = new AbortController();
  #problem: { readonly text: string; readonly writesOnly: boolean; readonly sinceMs: number } | undefined;
  #probe: Timer | undefined;
  #closed = false;

  /**
   * @param options.clock the io clock
   * @param options.onLeft called when the first endpoint was left because it failed
   */
  constructor(
    servers: readonly EtcdServer[],
    options: { tls: ConnectionOptions; clock: Clock; logger: Logger; onLeft: () => void },
  ) {
    this.#tls = options.tls;
    this.#clock = options.clock;
    this.#logger = options.logger;
    this.#onLeft = options.onLeft;
    this.#places = servers.map((server) => this.#placeOf(server));
    this.#current = this.#places[0]!;
  }

  /** Why calls fail at the moment. */
  get problem(): string | undefined {
    return this.#problem?.text;
  }

  /** A call that may be made twice without harm: it is tried again, and elsewhere, for a few seconds. */
  read<Req extends Message, Res extends Message>(
    method: MethodDescriptor<Req, Res>,
    request: MessageInput<Req>,
  ): Promise<MessageOutput<Res>> {
    return this.#call(method, request, false);
  }

  /** A call that must not happen twice: it is tried again only while it cannot have reached etcd. */
  write<Req extends Message, Res extends Message>(
    method: MethodDescriptor<Req, Res>,
    request: MessageInput<Req>,
  ): Promise<MessageOutput<Res>> {
    return this.#call(method, request, true);
  }

  /** Opens a stream at the present endpoint. Whoever reads it tells {@link failed} when it breaks. */
  bidi<Req extends Message, Res extends Message>(
    method: MethodDescriptor<Req, Res>,
    signal: AbortSignal,
  ): { readonly call: BidiCall<Req, Res>; failed(error: unknown): void } {
    const { client, failed } = this.#pick();
    return { call: client.bidi(method, { metadata, signal }), failed };
  }

  /** One request, many replies, from the present endpoint. */
  stream<Req extends Message, Res extends Message>(
    method: MethodDescriptor<Req, Res>,
    request: MessageInput<Req>,
    options: CallOptions = {},
  ): AsyncIterable<MessageOutput<Res>> {
    return this.#current.client.stream(method, request, options);
  }

  /** Aborted when calls go to another endpoint though the one before works: streams there had better begin anew. */
  get moved(): AbortSignal {
    return this.#moved.signal;
  }

  /** The endpoints from now on, the preferred one first; there has to be one. Calls to those that are left out end. */
  use(servers: readonly EtcdServer[]): void {
    const before = this.#places;
    if (this.#closed || isDeepStrictEqual(addressesOf(before), servers.map(addressOf))) return;
    const known = new Map(before.map((place) => [addressOf(place.server), place]));
    this.#places = servers.map((server) => known.get(addressOf(server)) ?? this.#placeOf(server));
    if (!this.#places.includes(this.#current)) this.#current = this.#places[0]!;
    for (const place of before) if (!this.#places.includes(place)) place.client.close();
    this.#logger.debug({ endpoints: addressesOf(this.#places) }, "The endpoints of etcd have changed");
  }

  /** Goes back to the first endpoint if it can do what a write needs. @returns whether calls go there */
  async comeHome(): Promise<boolean> {
    const home = this.#places[0]!;
    if (this.#current === home) return true;
    try {
      await home.client.unary(leaseGrant, { ttl: 1 }, { timeoutMs: homeTimeoutMs, metadata });
    } catch {
      return false;
    }
    if (this.#closed || home !== this.#places[0]) return false;
    this.#current = home;
    this.#logger.info({ endpoint: addressOf(home.server) }, "The preferred member of etcd answers again and is used");
    const moved = this.#moved;
    this.#moved = new AbortController();
    moved.abort();
    return true;
  }

  close(): void {
    this.#closed = true;
    this.#probe?.cancel();
    for (const { client } of this.#places) client.close();
  }

  #placeOf(server: EtcdServer): Place {
    return { server, client: etcdClient(server, this.#tls, this.#clock) };
  }

  /** The present endpoint; `failed` makes the next one the present, once for all who were using this one. */
  #pick(): { client: GrpcClient; failed: (error: unknown) => void } {
    const place = this.#current;
    const { client } = place;
    const failed = (error: unknown) => {
      if (this.#closed || !(error instanceof GrpcError) || !isOutage(error)) return;
      this.#worse(error);
      // The connection may be dead without a word, and a watch on it would wait.
      if (error.code === "DEADLINE_EXCEEDED") client.probe(probePatienceMs);
      const count = this.#places.length;
      if (place !== this.#current || count === 1) return;
      const index = this.#places.indexOf(place);
      this.#current = this.#places[(index + 1) % count]!;
      if (index === 0) this.#onLeft();
    };
    return { client, failed };
  }

  async #call<Req extends Message, Res extends Message>(
    method: MethodDescriptor<Req, Res>,
    request: MessageInput<Req>,
    write: boolean,
  ): Promise<MessageOutput<Res>> {
    const begunMs = this.#clock.now();
    const endpoints = this.#places.length;
    const attemptMs = !write && endpoints > 1 ? readAttemptMs : deadlineMs;
    // What is known to be away for longer is asked once, so that callers hear at once.
    const untilMs = (this.#problem?.sinceMs ?? begunMs) + patienceMs;
    for (let attempt = 1; ; attempt++) {
      const { client, failed } = this.#pick();
      const leftMs = deadlineMs - (this.#clock.now() - begunMs);
      try {
        const reply = await client.unary(method, request, { timeoutMs: Math.min(attemptMs, leftMs), metadata });
        if (this.#problem) this.#better(write);
        return reply;
      } catch (error) {
        if (this.#closed) throw new StoreClosedError();
        if (!(error instanceof GrpcError)) throw error;
        failed(error);
        const round = attempt / endpoints;
        const again = isOutage(error) && !isNoSpace(error) && (!write || isUnsent(error));
        const inTime = round < 1 || (this.#clock.now() < untilMs && untrustedReason(error) === undefined);
        if (!again || !inTime || this.#clock.now() - begunMs >= deadlineMs - firstPauseMs)
          throw storeError(error, write);
        if (round >= 1 && Number.isInteger(round))
          await this.#clock.sleep(Math.min(longestPauseMs, firstPauseMs * 2 ** (round - 1)));
      }
    }
  }

  #worse(error: GrpcError): void {
    const { message } = storeError(error, false);
    if (!this.#problem) this.#logger.warn({ err: error }, "etcd does not answer as it should");
    const sinceMs = this.#problem?.sinceMs ?? this.#clock.now();
    this.#problem = { text: message, writesOnly: isNoSpace(error), sinceMs };
    this.#armProbe();
  }

  #better(write: boolean): void {
    if (!this.#problem || (this.#problem.writesOnly && !write)) return;
    this.#problem = undefined;
    this.#probe?.cancel();
    this.#probe = undefined;
    this.#logger.info("etcd answers again");
  }

  /** A lease that nobody uses and that ends by itself: to grant it, etcd needs all that a write needs, and it has no revision. */
  #armProbe(): void {
    if (this.#probe || this.#closed) return;
    this.#probe = this.#clock.after(probeIntervalMs, async () => {
      try {
        await this.#call(leaseGrant, { ttl: 1 }, true);
      } catch {
        // It is not over yet.
      }
      this.#probe = undefined;
      if (this.#problem) this.#armProbe();
    });
  }
}

function addressOf({ host, port, tls }: EtcdServer): string {
  return `${tls ? "https" : "http"}://${host.includes(":") ? `[${host}]` : host}:${port}`;
}

function addressesOf(places: readonly Place[]): string[] {
  return places.map(({ server }) => addressOf(server));
}
