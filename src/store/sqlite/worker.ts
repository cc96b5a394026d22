import { parentPort, workerData } from "node:worker_threads";
import { CompactedError, FutureRevisionError } from "../store.ts";
import { checkCopiedDatabase } from "./copied-database.ts";
import { LogDatabase, type LogWriteResult } from "./log-database.ts";
import { Packer, type Replies, type Reply, type Request, type WireError, type WireWriteResult } from "./messages.ts";
import { describeFailure, isDamage, type SqliteFailure } from "./sqlite-failure.ts";

/** Keys that one expiry transaction deletes. */
const expiryBatch = 200;

const { path, nativeBinding, check } = workerData as {
  path: string;
  nativeBinding?: string;
  /** Only checks the copy at `path`, tells its revision and ends. */
  check?: true;
};
const native = nativeBinding ? { nativeBinding } : {};
const port = parentPort!;

function wireResult(packer: Packer, result: LogWriteResult): WireWriteResult {
  if (!result.ok) return { ok: false, ...(result.current ? { current: packer.row(result.current) } : {}) };
  const previous = result.previous ? { previous: packer.row(result.previous) } : {};
  return { ok: true, revision: result.revision, ...previous };
}

function handle(db: LogDatabase, request: Exclude<Request, { do: "copy" }>): Replies[keyof Replies] {
  const packer = new Packer();
  switch (request.do) {
    case "write": {
      const results = db.write(
        request.writes.map(({ value, ...write }) => ({
          ...write,
          ...(value ? { value: new Uint8Array(request.bytes, value[0], value[1]) } : {}),
        })),
      );
      return { results: results.map((result) => wireResult(packer, result)), bytes: packer.finish() };
    }
    case "expire": {
      const results = db.write(db.expired(request.nowMs, expiryBatch));
      const deleted = results.flatMap((result) =>
        result.ok && result.previous ? [{ revision: result.revision, previous: packer.row(result.previous) }] : [],
      );
      return { deleted, bytes: packer.finish(), nextExpiryMs: db.nextExpiryMs() };
    }
    case "get": {
      const row = db.get(request.key);
      return { row: row && packer.row(row), bytes: packer.finish() };
    }
    case "list": {
      const { rows, revision } = db.list(request.prefix, request);
      return { rows: rows.map((row) => packer.row(row)), revision, bytes: packer.finish() };
    }
    case "history": {
      const { rows, upTo } = db.history(request.prefix, request.afterRevision, request.limit);
      const wire = rows.map(({ row, previous }) => ({
        row: packer.row(row),
        ...(previous ? { previous: packer.row(previous) } : {}),
      }));
      return { rows: wire, upTo, head: db.head, bytes: packer.finish() };
    }
    case "state":
      return { head: db.head, compacted: db.compacted, size: db.size(), nextExpiryMs: db.nextExpiryMs() };
    case "compact":
      db.compact(request.revision);
      return { compacted: db.compacted };
    case "sweep":
      return { more: db.sweep() };
    case "probe":
      db.probe();
      return {};
    case "raise":
      db.raise(request.above);
      return { head: db.head };
    case "close":
      db.close();
      return {};
  }
}

function wireError(error: unknown, file = path): WireError {
  if (error instanceof CompactedError) {
    return { kind: "compacted", message: error.message, revision: error.revision, at: error.compactedRevision };
  }
  if (error instanceof FutureRevisionError) return { kind: "future", message: error.message };
  return describeFailure(file, error as SqliteFailure);
}

/** These write nothing to the file. */
const reading: ReadonlySet<Request["do"]> = new Set(["get", "list", "history", "state", "close"]);

function serve(): void {
  const answer = (reply: Reply) =>
    port.postMessage(reply, reply.ok && "bytes" in reply.reply ? [reply.reply.bytes] : []);
  let database: LogDatabase;
  try {
    database = new LogDatabase(path, native);
  } catch (error) {
    answer({ id: 0, ok: false, error: wireError(error) });
    port.close();
    return;
  }
  let damage: WireError | undefined;
  const refuse = (id: number, failure: unknown, file = path) => {
    const error = wireError(failure, file);
    if (error.kind === "damaged") damage ??= error;
    answer({ id, ok: false, error });
  };

  port.on("message", ({ id, request }: { id: number; request: Request }) => {
    if (damage && !reading.has(request.do)) return answer({ id, ok: false, error: damage });
    if (request.do === "copy") {
      database.copy(request.to).then(
        () => answer({ id, ok: true, reply: {} }),
        (error: unknown) => refuse(id, error, isDamage((error as SqliteFailure).code) ? path : request.to),
      );
      return;
    }
    try {
      answer({ id, ok: true, reply: handle(database, request) });
    } catch (error) {
      refuse(id, error);
    }
    if (request.do === "close") port.close();
  });
}

if (check) port.postMessage(checkCopiedDatabase(path, native));
else serve();
