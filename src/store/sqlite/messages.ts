import type { LogRow } from "./log-database.ts";

/** A write as it travels to the worker; `value` is a range of the message's bytes. */
export interface WireWrite {
  readonly key: string;
  readonly expected: number;
  readonly value?: readonly [offset: number, length: number];
  readonly expiresAtMs?: number;
}

/** A row as it travels from the worker. */
export interface WireRow {
  readonly revision: number;
  readonly key: string;
  readonly deleted: number;
  readonly createRevision: number;
  readonly value: readonly [offset: number, length: number];
}

export type WireWriteResult =
  | { readonly ok: true; readonly revision: number; readonly previous?: WireRow }
  | { readonly ok: false; readonly current?: WireRow };

export type Request =
  | { readonly do: "write"; readonly writes: readonly WireWrite[]; readonly bytes: ArrayBuffer }
  | { readonly do: "expire"; readonly nowMs: number }
  | { readonly do: "get"; readonly key: string }
  | {
      readonly do: "list";
      readonly prefix: string;
      readonly after?: string;
      readonly revision?: number;
      readonly limit: number;
    }
  | { readonly do: "history"; readonly prefix: string; readonly afterRevision: number; readonly limit: number }
  | { readonly do: "state" }
  | { readonly do: "compact"; readonly revision: number }
  | { readonly do: "sweep" }
  | { readonly do: "raise"; readonly above: number }
  | { readonly do: "probe" }
  | { readonly do: "copy"; readonly to: string }
  | { readonly do: "close" };

export interface Replies {
  write: { results: WireWriteResult[]; bytes: ArrayBuffer };
  /** The deletes that were written, each with the row that it removed. */
  expire: { deleted: { revision: number; previous: WireRow }[]; bytes: ArrayBuffer; nextExpiryMs: number | undefined };
  get: { row: WireRow | undefined; bytes: ArrayBuffer };
  list: { rows: WireRow[]; revision: number; bytes: ArrayBuffer };
  history: { rows: { row: WireRow; previous?: WireRow }[]; upTo: number; head: number; bytes: ArrayBuffer };
  state: { head: number; compacted: number; size: number; nextExpiryMs: number | undefined };
  compact: { compacted: number };
  sweep: { more: boolean };
  raise: { head: number };
  probe: Record<string, never>;
  copy: Record<string, never>;
  close: Record<string, never>;
}

/** How an error crosses the thread boundary: the classes do not survive it. */
export interface WireError {
  readonly kind: "compacted" | "future" | "unavailable" | "readonly" | "damaged" | "unknown" | "other";
  readonly message: string;
  readonly revision?: number;
  readonly at?: number;
}

/** `id` 0: the database could not be opened. */
export type Reply =
  | { readonly id: number; readonly ok: true; readonly reply: Replies[keyof Replies] }
  | { readonly id: number; readonly ok: false; readonly error: WireError };

/** Joins values into one buffer that is handed over instead of copied (a view would drag its whole pool along). */
export class Packer {
  readonly #values: Uint8Array[] = [];
  #length = 0;

  add(value: Uint8Array): readonly [number, number] {
    const at = this.#length;
    this.#values.push(value);
    this.#length += value.length;
    return [at, value.length];
  }

  row(row: LogRow): WireRow {
    const { revision, key, deleted, createRevision, value } = row;
    return { revision, key, deleted, createRevision, value: this.add(value) };
  }

  finish(): ArrayBuffer {
    const bytes = new Uint8Array(this.#length);
    let at = 0;
    for (const value of this.#values) {
      bytes.set(value, at);
      at += value.length;
    }
    return bytes.buffer;
  }
}
