import { type Clock, ioClock } from "../../machinery/clock.ts";
import { ConfigurationError } from "../../machinery/configuration-error.ts";
import type { Logger } from "../../machinery/log.ts";
import type { DatastoreFiles } from "../datastore-endpoint.ts";
import {
  CompactedError,
  type Entry,
  FutureRevisionError,
  type ListOptions,
  type ListResult,
  type Store,
  StoreClosedError,
  type StoreEvent,
  type WatchOptions,
  type WriteResult,
} from "../store.ts";
import { readTlsFiles } from "../tls-files.ts";
import { untrustedReason, untrustedRemedy } from "../untrusted-certificate.ts";
import { WatchSet } from "../watch-set.ts";
import { WriteBound } from "../write-bound.ts";
import { Compactor, compactionKey, compactionTold, compactTo } from "./compactor.ts";
import { EtcdConnection, type EtcdServer } from "./etcd-connection.ts";
import { isCompacted, isFutureRevision, isLeaseNotFound, isOversize } from "./etcd-errors.ts";
import type { EtcdMembership } from "./etcd-membership.ts";
import { kv, leaseGrant, maintenance } from "./etcd-messages.ts";
import { prefixRange } from "./key-range.ts";
import { KeyTurns } from "./key-turns.ts";
import { Leases } from "./leases.ts";
import { MemberFollower } from "./member-follower.ts";
import { oldestRevision } from "./oldest-revision.ts";
import { replay } from "./replay.ts";
import { raiseTo } from "./revision-raise.ts";
import { writeSnapshot } from "./snapshot.ts";
import { snapshotRevision } from "./snapshot-revision.ts";
import { toEntry } from "./watch-events.ts";
import { WatchHub } from "./watch-hub.ts";

export interface EtcdStoreOptions {
  /** The members of one etcd cluster; one is used, and another when it fails. */
  readonly servers: readonly EtcdServer[];
  /** Where members come and go: `servers` are those at the start, and the first is gone back to. */
  readonly membership?: EtcdMembership | undefined;
  /** PEM files for those with TLS. */
  readonly files: DatastoreFiles;
  /** Cluster time: the compaction schedule follows it. Life times are counted by etcd. */
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Entries a page: large ones come in fewer. */
const pageSize = 500;
const pageBytes = 8 * 1024 * 1024;
/** Writes under way at a time: enough to fill etcd's own batches, few enough that each has its whole deadline. */
const writesAtOnce = 128;
/** How long a write waits for those before it when none of them succeeds, and at all. */
const writePatienceMs = 8000;
const longestWaitMs = 30_000;
/** How long the answer to a write waits for its event. */
const deliveryPatienceMs = 5000;

type Put = { readonly value: Buffer; readonly ttlSeconds: number | undefined };

/**
 * Opens a store on etcd, and asks it for its revision. Rejects with UnavailableError when no member answers, with
 * ConfigurationError when the files for TLS cannot be used or etcd's certificate is not accepted.
 */
export async function openEtcdStore(options: EtcdStoreOptions): Promise<Store> {
  const store = new EtcdStore(options);
  try {
    await store.open();
    return store;
  } catch (error) {
    await store.close();
    const reason = untrustedReason(error);
    if (reason === undefined) throw error;
    throw new ConfigurationError(`the certificate of etcd is not trusted: ${reason}; ${untrustedRemedy}`);
  }
}

/**
 * The store on etcd: keys, values and revisions are etcd's own. What it promises of its own writes: the answer comes after
 * the event was handed to the watches of this process. Only while the watch is broken, and that for longer than five
 * seconds, the answer comes without; it is true nevertheless, the event follows when the watch goes on, and `problem()`
 * tells that caches are behind. Writes on one key happen in the order in which they were asked for; those on several keys
 * go at once, and etcd orders them.
 */
class EtcdStore implements Store {
  readonly #connection: EtcdConnection;
  readonly #logger: Logger;
  readonly #watches: WatchSet;
  readonly #hub: WatchHub;
  readonly #leases: Leases;
  readonly #compactor: Compactor;
  readonly #members: MemberFollower | undefined;
  readonly #turns = new KeyTurns({
    atOnce: writesAtOnce,
    patienceMs: writePatienceMs,
    longestMs: longestWaitMs,
    clock: ioClock,
  });
  readonly #bound = new WriteBound("etcd");
  /** The newest revision that any answer or event told of. */
  #seen = 0;
  /** Revisions below are gone; undefined while etcd has to be asked. */
  #compacted: number | undefined;
  #closed = false;

  constructor({ servers, membership, files, clock, logger }: EtcdStoreOptions) {
    const tls = readTlsFiles(files);
    const onLeft = () => this.#members?.left();
    const connection = new EtcdConnection(servers, { tls, clock: ioClock, logger, onLeft });
    this.#connection = connection;
    this.#members = membership && new MemberFollower({ connection, membership, clock: ioClock, logger });
    this.#logger = logger;
    this.#watches = new WatchSet(logger);
    this.#hub = new WatchHub({
      connection,
      clock: ioClock,
      logger,
      onEvents: (events, progress) => this.#onEvents(events, progress),
      onLost: (error) => {
        this.#compacted = undefined;
        this.#watches.fail(error);
      },
    });
    this.#leases = new Leases(async (ttl) => (await connection.read(leaseGrant, { ttl })).id, ioClock);
    this.#compactor = new Compactor({
      connection,
      clock,
      logger,
      seen: () => this.#seen,
      onCompacted: (revision) => this.#learnCompacted(revision),
    });
  }

  async open(): Promise<void> {
    await this.currentRevision();
    await this.#compactor.start();
    this.#members?.look();
  }

  async get(key: string): Promise<Entry | undefined> {
    this.#assertOpen();
    const { kvs } = await this.#connection.read(kv.range, { key });
    return kvs[0] && toEntry(kvs[0]);
  }

  async list(prefix: string, options: ListOptions = {}): Promise<ListResult> {
    this.#assertOpen();
    const wanted = options.limit ?? Number.POSITIVE_INFINITY;
    const range = prefixRange(prefix);
    const entries: Entry[] = [];
    let { after, revision } = options;
    let limit = pageSize;
    for (;;) {
      // The smallest key above `after` is `after` with a zero byte.
      const key = after === undefined ? range.key.toString() : `${after}\0`;
      const asked = Math.min(limit, wanted - entries.length);
      const page = await this.#range({ key, rangeEnd: range.rangeEnd, limit: asked, revision });
      revision ??= page.header!.revision;
      let bytes = 0;
      for (const one of page.kvs) {
        bytes += one.value.length;
        entries.push(toEntry(one));
      }
      if (!page.more || entries.length >= wanted) return { entries, revision, more: page.more };
      after = entries.at(-1)!.key;
      limit = Math.min(pageSize, Math.max(1, Math.floor((pageBytes * page.kvs.length) / Math.max(1, bytes))));
    }
  }

  create(key: string, value: Buffer, { ttlSeconds }: { ttlSeconds?: number } = {}): Promise<WriteResult> {
    return this.#write(key, 0, { value, ttlSeconds });
  }

  update(
    key: string,
    value: Buffer,
    expectedRevision: number,
    { ttlSeconds }: { ttlSeconds?: number } = {},
  ): Promise<WriteResult> {
    return this.#write(key, expectedRevision, { value, ttlSeconds });
  }

  delete(key: string, expectedRevision: number): Promise<WriteResult> {
    return this.#write(key, expectedRevision, undefined);
  }

  async watch(prefix: string, options: WatchOptions): Promise<() => void> {
    this.#assertOpen();
    const head = await this.#assertKept(options.afterRevision);
    this.#hub.start(Math.min(head, options.afterRevision));
    return this.#watches.add(prefix, options, async (afterRevision) => {
      const upTo = this.#hub.delivered;
      const events: StoreEvent[] = [];
      for await (const piece of replay(this.#connection, ioClock, prefix, afterRevision, upTo)) events.push(...piece);
      return { events, upTo, complete: true };
    });
  }

  async *history(prefix: string, afterRevision: number): AsyncGenerator<readonly StoreEvent[], void> {
    this.#assertOpen();
    const head = await this.#assertKept(afterRevision);
    yield* replay(this.#connection, ioClock, prefix, afterRevision, head);
  }

  async currentRevision(): Promise<number> {
    this.#assertOpen();
    const { header } = await this.#connection.read(kv.range, { key: "\0", countOnly: true });
    this.#see(header!.revision);
    return header!.revision;
  }

  async compact(revision: number): Promise<void> {
    this.#assertOpen();
    try {
      await compactTo(this.#connection, revision);
    } catch (error) {
      throw isFutureRevision(error) ? new FutureRevisionError(revision, await this.currentRevision()) : error;
    }
    this.#learnCompacted(revision);
  }

  async compactedRevision(): Promise<number> {
    this.#assertOpen();
    await this.#compactor.settled();
    // Without a watch nobody tells what other servers compact.
    if (!this.#hub.running) this.#compacted = undefined;
    this.#compacted ??= await oldestRevision(this.#connection, ioClock);
    return this.#compacted;
  }

  async raiseRevision(above: number): Promise<void> {
    const current = await this.currentRevision();
    if (current >= above) return;
    await raiseTo(this.#connection, current, above, this.#logger);
    await this.compact(await this.currentRevision());
  }

  async size(): Promise<number> {
    this.#assertOpen();
    return (await this.#connection.read(maintenance.status, {})).dbSize;
  }

  problem(): string | undefined {
    if (this.#closed) return new StoreClosedError().message;
    return this.#connection.problem ?? this.#hub.problem;
  }

  async snapshot(path: string): Promise<{ readonly revision: number }> {
    // The member that is copied has come to every write that was answered when it has answered this.
    await this.currentRevision();
    await writeSnapshot(path, this.#connection.stream(maintenance.snapshot, {}));
    return { revision: await snapshotRevision(path) };
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#members?.stop();
    this.#compactor.stop();
    await this.#turns.drained();
    await this.#compactor.settled();
    if (this.#hub.running && !this.#hub.problem) await this.#hub.reached(this.#seen, deliveryPatienceMs);
    this.#hub.stop();
    this.#connection.close();
  }

  #assertOpen(): void {
    if (this.#closed) throw new StoreClosedError();
  }

  async #write(key: string, expected: number, put: Put | undefined): Promise<WriteResult> {
    this.#assertOpen();
    const bytes = put?.value.length ?? 0;
    this.#bound.enter(bytes);
    const result = await this.#turns
      .run(key, () => this.#send(key, expected, put))
      .finally(() => this.#bound.leave(bytes));
    if (result.ok && this.#hub.running && !(await this.#hub.reached(result.revision, deliveryPatienceMs)))
      this.#logger.warn(
        { key, revision: result.revision },
        "A write is answered before its event: the watch is behind",
      );
    return result;
  }

  async #send(key: string, expected: number, put: Put | undefined): Promise<WriteResult> {
    const seconds = put?.ttlSeconds;
    if (seconds === undefined) return this.#commit(key, expected, put?.value, 0n);
    try {
      return await this.#commit(key, expected, put?.value, await this.#leases.for(seconds));
    } catch (error) {
      if (!isLeaseNotFound(error)) throw error;
      // etcd refused the write for that; it was revoked by hand, or etcd was set back.
      this.#leases.forget(seconds);
      return this.#commit(key, expected, put?.value, await this.#leases.for(seconds));
    }
  }

  /** Writes, or deletes without a value, in a transaction of its own, if the key stands at the expected revision (0: not at all). */
  async #commit(key: string, expected: number, value: Buffer | undefined, lease: bigint): Promise<WriteResult> {
    const prevKv = expected > 0;
    const { succeeded, header, responses } = await this.#connection.write(kv.txn, {
      compare: [expected === 0 ? { target: "CREATE", key } : { target: "MOD", key, modRevision: expected }],
      success: [value ? { put: { key, value, lease, prevKv } } : { deleteRange: { key, prevKv } }],
      failure: [{ range: { key } }],
    });
    const answer = responses[0]!;
    this.#see(header!.revision);
    if (!succeeded) {
      const current = answer.range?.kvs[0];
      return { ok: false, current: current && toEntry(current) };
    }
    // A delete of what was not expected to be there, and is not.
    if (answer.deleteRange?.deleted === 0) return { ok: false, current: undefined };
    const { revision } = header!;
    const before = answer.put?.prevKv ?? answer.deleteRange?.prevKvs[0];
    const previous = before ? { previous: toEntry(before) } : {};
    const entry = value && { key, value, createRevision: before?.createRevision ?? revision, modRevision: revision };
    this.#hub.wrote({ key, revision, ...previous, ...(entry ? { type: "put", entry } : { type: "delete" }) });
    return { ok: true, revision, ...previous };
  }

  /** A page, in fewer entries where that many are more than one answer may hold. */
  async #range(request: { key: string; rangeEnd: Buffer; limit: number; revision: number | undefined }) {
    for (let { limit } = request; ; limit = Math.ceil(limit / 8)) {
      try {
        return await this.#connection.read(kv.range, { ...request, limit });
      } catch (error) {
        if (limit > 1 && isOversize(error)) continue;
        throw await this.#revisionError(error, request.revision ?? 0);
      }
    }
  }

  /** Throws CompactedError when changes after a revision are gone. Gives the newest revision. */
  async #assertKept(afterRevision: number): Promise<number> {
    try {
      const revision = Math.max(1, afterRevision);
      const { header } = await this.#connection.read(kv.range, { key: "\0", revision, countOnly: true });
      this.#see(header!.revision);
      return header!.revision;
    } catch (error) {
      if (isFutureRevision(error)) return this.currentRevision();
      throw await this.#revisionError(error, afterRevision);
    }
  }

  async #revisionError(error: unknown, revision: number): Promise<unknown> {
    if (isFutureRevision(error)) return new FutureRevisionError(revision, await this.currentRevision());
    if (!isCompacted(error)) return error;
    // Somebody else may have compacted it.
    if (revision >= (this.#compacted ?? 0)) this.#compacted = undefined;
    return new CompactedError(revision, await this.compactedRevision());
  }

  #onEvents(events: readonly StoreEvent[], progress: number): void {
    this.#see(progress);
    for (const { key, entry } of events) {
      // Another server compacts to what it writes here.
      if (key === compactionKey && entry) this.#learnCompacted(compactionTold(entry.value));
    }
    this.#watches.emit(events, progress);
  }

  #see(revision: number): void {
    if (revision > this.#seen) this.#seen = revision;
  }

  #learnCompacted(revision: number): void {
    if (this.#compacted !== undefined) this.#compacted = Math.max(this.#compacted, revision);
  }
}
