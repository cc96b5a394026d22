import { type FileHandle, open } from "node:fs/promises";

/**
 * The revision that a copy of etcd's database stands at, as etcd would begin at it: the newest that stands under a key, or
 * the one that was compacted last, whose own removal of a key may be gone.
 *
 * etcd's file is one of bbolt, a tree of pages of small-endian numbers: two meta pages, of which the one with the higher
 * transaction counts, name the root, whose leaf has a bucket for each kind of thing; bucket "key" is ordered by revision.
 * @throws Error when the file is none of bbolt
 */
export async function snapshotRevision(path: string): Promise<number> {
  const file = await open(path, "r");
  try {
    const tree = await openTree(file);
    const newest = await tree.last(await tree.bucket("key"));
    const meta = await tree.bucket("meta");
    const compacted = await Promise.all(
      ["scheduledCompactRev", "finishedCompactRev"].map((key) => tree.get(meta, key)),
    );
    // A revision is the number of the transaction, "_", and the place in it. etcd begins to count at 1.
    const revisions = [newest, ...compacted].map((bytes) => (bytes ? Number(bytes.readBigUInt64BE()) : 1));
    return Math.max(...revisions);
  } finally {
    await file.close();
  }
}

const headerBytes = 16;
const elementBytes = 16;
const magic = 0xed0cdaed;
const branchFlag = 1;
const leafFlag = 2;

/** A page that is there, or one that stands in the value of its bucket because it is small. */
type Root = { readonly page: number } | { readonly inline: Buffer } | undefined;

interface Element {
  readonly key: Buffer;
  /** Of a branch: the page below. */
  readonly page: number;
  /** Of a leaf. */
  readonly value: Buffer;
}

interface Tree {
  /** A bucket of the database; undefined when it has none of that name. */
  bucket(name: string): Promise<Root>;
  /** The value of a key in a bucket. */
  get(root: Root, key: string): Promise<Buffer | undefined>;
  /** The last key of a bucket. */
  last(root: Root): Promise<Buffer | undefined>;
}

async function openTree(file: FileHandle): Promise<Tree> {
  const read = async (at: number, length: number): Promise<Buffer> => {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, at);
    if (bytesRead < length) throw new Error(`the file ends at byte ${at + bytesRead}; it is no whole database`);
    return buffer;
  };
  const first = await read(0, headerBytes + 64);
  const pageSize = first.readUInt32LE(headerBytes + 8);
  const metas = [first, await read(pageSize, headerBytes + 64)].filter(
    (meta) => meta.readUInt32LE(headerBytes) === magic,
  );
  if (metas.length === 0) throw new Error("the file is no database of etcd");
  const newest = metas.sort((a, b) =>
    Number(b.readBigUInt64LE(headerBytes + 48) - a.readBigUInt64LE(headerBytes + 48)),
  )[0]!;
  const top: Root = { page: Number(newest.readBigUInt64LE(headerBytes + 16)) };

  const load = async (root: NonNullable<Root>): Promise<Buffer> => {
    if ("inline" in root) return root.inline;
    const overflow = (await read(root.page * pageSize, headerBytes)).readUInt32LE(12);
    return read(root.page * pageSize, (overflow + 1) * pageSize);
  };
  /** Goes down from a root, at each branch as `choose` says, and gives the elements of the leaf. */
  const leaf = async (root: Root, choose: (branch: readonly Element[]) => Element): Promise<readonly Element[]> => {
    for (let next = root; next; ) {
      const page = await load(next);
      const found = elements(page);
      if (page.readUInt16LE(8) & leafFlag || found.length === 0) return found;
      next = { page: choose(found).page };
    }
    return [];
  };
  const get = async (root: Root, key: string): Promise<Buffer | undefined> => {
    const wanted = Buffer.from(key);
    const found = await leaf(root, (branch) => branch.findLast((one) => one.key.compare(wanted) <= 0) ?? branch[0]!);
    return found.find((one) => one.key.equals(wanted))?.value;
  };
  return {
    get,
    async bucket(name) {
      const value = await get(top, name);
      if (!value) return undefined;
      const page = Number(value.readBigUInt64LE());
      return page === 0 ? { inline: value.subarray(headerBytes) } : { page };
    },
    async last(root) {
      return (await leaf(root, (branch) => branch.at(-1)!)).at(-1)?.key;
    },
  };
}

function elements(page: Buffer): Element[] {
  const isBranch = (page.readUInt16LE(8) & branchFlag) !== 0;
  return Array.from({ length: page.readUInt16LE(10) }, (_, index) => {
    const at = headerBytes + index * elementBytes;
    const [position, keyBytes, valueBytes] = (isBranch ? [0, 4] : [4, 8, 12]).map((field) =>
      page.readUInt32LE(at + field),
    );
    const keyAt = at + position!;
    const key = page.subarray(keyAt, keyAt + keyBytes!);
    if (isBranch) return { key, page: Number(page.readBigUInt64LE(at + 8)), value: Buffer.alloc(0) };
    return { key, page: 0, value: page.subarray(keyAt + keyBytes!, keyAt + keyBytes! + valueBytes!) };
  });
}
