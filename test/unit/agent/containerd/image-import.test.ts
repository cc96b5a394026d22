import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { rmSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";
import { type TestContext, test } from "node:test";
import { gzipSync, zstdCompressSync } from "node:zlib";
import type { Cri } from "../../../../src/agent/containerd/cri.ts";
import {
  archiveKind,
  importFiles,
  importImages,
  parseImportOutput,
  unpacked,
} from "../../../../src/agent/containerd/image-import.ts";
import { type Logger, silentLogger } from "../../../../src/machinery/log.ts";
import { temporaryDirectory } from "../../../support/temporary-directory.ts";

/** A runtime that has what it was told to pull. */
function rig(t: TestContext) {
  const directory = temporaryDirectory(t);
  const pulled: string[] = [];
  const present = new Set<string>();
  const errors: string[] = [];
  const cri = {
    listImages: async () => [...present].map((name) => ({ repoTags: [name], repoDigests: [] })),
    pullImage: async ({ image }: { image: { image: string } }) => {
      if (image.image.startsWith("bad/")) throw new Error("no such image");
      pulled.push(image.image);
      present.add(image.image);
      return image.image;
    },
  } as unknown as Cri;
  const logger: Logger = { ...silentLogger, error: (fields: object | string) => errors.push(JSON.stringify(fields)) };
  const options = { statePath: join(directory, "state.json"), socketPath: "/nowhere", cri, logger };
  const path = (name: string, content: string | Buffer) => {
    writeFileSync(join(directory, name), content);
    return join(directory, name);
  };
  return { directory, pulled, present, errors, path, options };
}

test("images named in a list are pulled, once while the file does not change", async (t) => {
  const { directory, pulled, path, options } = rig(t);
  path("a.txt", "# comment\nx/one:1\n\n x/two:2 \n");
  const all = { ...options, directories: [directory, join(directory, "missing")] };
  assert.deepEqual(await importImages(all), ["x/one:1", "x/two:2"]);
  await importImages(all);
  assert.deepEqual(pulled, ["x/one:1", "x/two:2"]);
});

test("a file is imported again when it changed, or when one of its images is gone", async (t) => {
  const { directory, pulled, present, path, options } = rig(t);
  const file = path("a.txt", "x/one:1\n");
  const all = { ...options, directories: [directory] };
  await importImages(all);
  present.delete("x/one:1");
  await importImages(all);
  utimesSync(file, 1, 1);
  await importImages(all);
  assert.deepEqual(pulled, ["x/one:1", "x/one:1", "x/one:1"]);
});

test("a file that is no use is told and keeps the others out of nothing", async (t) => {
  const { directory, pulled, errors, path, options } = rig(t);
  path("a.txt", "bad/image:1\n");
  path("b.txt", "x/one:1\n");
  path("README", "not for import");
  assert.deepEqual(await importImages({ ...options, directories: [directory] }), ["x/one:1"]);
  assert.deepEqual(pulled, ["x/one:1"]);
  assert.equal(errors.length, 1);
  assert.match(errors[0]!, /a\.txt.*no such image/);
});

test("files that come later are imported beside what is known; one that is gone again is no error", async (t) => {
  const { directory, pulled, errors, path, options } = rig(t);
  path("a.txt", "x/one:1\n");
  await importImages({ ...options, directories: [directory] });
  const later = path("b.txt", "x/two:2\n");
  const gone = path("c.txt", "x/three:3\n");
  rmSync(gone);
  await importFiles([later, gone], options);
  await importImages({ ...options, directories: [directory] });
  assert.deepEqual([pulled, errors], [["x/one:1", "x/two:2"], []]);
});

const magics: [kind: string, name: string, bytes: Buffer][] = [
  ["lz4", "a.tar.lz4", Buffer.from([0x04, 0x22, 0x4d, 0x18, 0])],
  ["bzip2", "a.tar.bz2", Buffer.from("BZh91AY")],
];
for (const [kind, name, bytes] of magics)
  test(`${kind} is refused with what to do instead`, async (t) => {
    const { errors, path, options } = rig(t);
    await importFiles([path(name, bytes)], options);
    assert.match(errors[0] ?? "", new RegExp(`${kind} archives are not supported; unpack it, or use gzip or zstd`));
  });

for (const [kind, compress] of [
  ["gzip", gzipSync],
  ["zstd", zstdCompressSync],
] as const)
  test(`${kind} is unpacked as it is read; one that is damaged fails`, async (t) => {
    const { path } = rig(t);
    const content = randomBytes(300_000);
    assert.deepEqual(await buffer(unpacked(path("whole", compress(content)), kind)), content);
    const damaged = compress(content).fill(0, 1000, 2000);
    await assert.rejects(buffer(unpacked(path("damaged", damaged.subarray(0, 100_000)), kind)));
    await assert.rejects(buffer(unpacked("/missing", kind)), { code: "ENOENT" });
  });

test("archives are told apart by their first bytes", async (t) => {
  const { path } = rig(t);
  const tar = Buffer.alloc(512);
  tar.write("ustar", 257);
  const rows: [want: string, bytes: Buffer][] = [
    ["plain", tar],
    ["gzip", Buffer.from([0x1f, 0x8b, 8, 0])],
    ["zstd", Buffer.from([0x28, 0xb5, 0x2f, 0xfd])],
    ["other", Buffer.from("text of something")],
    ["other", Buffer.alloc(0)],
  ];
  for (const [want, bytes] of rows) assert.equal(await archiveKind(path("file", bytes)), want);
});

test("the names of imported images are read from what ctr prints", () => {
  const output =
    "unpacking docker.io/x/one:1 (sha256:abc)...done\nunpacking x/two@sha256:d (sha256:d)...\nelapsed: 1s\n";
  assert.deepEqual(parseImportOutput(output), ["docker.io/x/one:1", "x/two@sha256:d"]);
});
