/** What the worker answers, as the store's callers get it. */
import {
  CompactedError,
  DamagedError,
  type Entry,
  FutureRevisionError,
  type StoreEvent,
  UnavailableError,
  UnknownOutcomeError,
  type WriteResult,
} from "../store.ts";
import type { Replies, WireError, WireRow, WireWriteResult } from "./messages.ts";

/** The file cannot be written, and will not be by itself. */
export class ReadOnlyError extends UnavailableError {}

export function toEntry({ key, revision, createRevision, value }: WireRow, bytes: ArrayBuffer): Entry {
  return { key, value: Buffer.from(bytes, value[0], value[1]), createRevision, modRevision: revision };
}

export function toResult(result: WireWriteResult, bytes: ArrayBuffer): WriteResult {
  if (!result.ok) return { ok: false, current: result.current && toEntry(result.current, bytes) };
  const { revision, previous } = result;
  return { ok: true, revision, ...(previous ? { previous: toEntry(previous, bytes) } : {}) };
}

export function pageEvents({ rows, bytes }: Replies["history"]): StoreEvent[] {
  return rows.map(({ row, previous }) => rowEvent(row, bytes, previous && toEntry(previous, bytes)));
}

function rowEvent(row: WireRow, bytes: ArrayBuffer, previous: Entry | undefined): StoreEvent {
  const before = previous ? { previous } : {};
  if (row.deleted) return { type: "delete", key: row.key, revision: row.revision, ...before };
  return { type: "put", key: row.key, revision: row.revision, entry: toEntry(row, bytes), ...before };
}

export function toError({ kind, message, revision, at }: WireError): Error {
  switch (kind) {
    case "compacted":
      return new CompactedError(revision!, at!);
    case "future":
      return Object.assign(new FutureRevisionError(0, 0), { message });
    case "unavailable":
      return new UnavailableError(message);
    case "readonly":
      return new ReadOnlyError(message);
    case "damaged":
      return new DamagedError(message);
    case "unknown":
      return new UnknownOutcomeError(message);
    default:
      return new Error(message);
  }
}
