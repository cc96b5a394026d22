/** A range of keys in etcd's terms: from `key` up to, not with, `rangeEnd`. */
export interface KeyRange {
  readonly key: Buffer;
  readonly rangeEnd: Buffer;
}

/** A single zero byte stands for "from the first" and "to the last". */
const zero = Buffer.from([0]);

export const everyKey: KeyRange = { key: zero, rangeEnd: zero };

/** The first key after all that begin with `prefix`: its last byte that can be raised is, and what follows goes. */
export function prefixEnd(prefix: string): Buffer {
  const bytes = Buffer.from(prefix);
  for (let length = bytes.length; length > 0; length--) {
    const last = bytes[length - 1]!;
    if (last < 0xff) return Buffer.concat([bytes.subarray(0, length - 1), Buffer.from([last + 1])]);
  }
  return zero;
}

export function prefixRange(prefix: string): KeyRange {
  if (prefix === "") return everyKey;
  return { key: Buffer.from(prefix), rangeEnd: prefixEnd(prefix) };
}
