import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";
import { type TestContext, test } from "node:test";
import { gunzipSync, gzipSync } from "node:zlib";
import { extract } from "tar-stream";
import { writeOciLayout } from "../../../tools/oci-layout.ts";
import { temporaryDirectory } from "../../support/temporary-directory.ts";

/** Authority: the OCI image layout specification 1.1, and Docker's image specification 1.2 for `manifest.json`. */

const sha256 = (bytes: Buffer | string) => `sha256:${createHash("sha256").update(bytes).digest("hex")}`;

/** What `docker save` leaves of an image with these layers. */
function saved(directory: string, name: string, platform: object, layers: Buffer[], kept = layers): string {
  const folder = join(directory, name);
  mkdirSync(folder);
  const config = JSON.stringify({ ...platform, os: "linux", rootfs: { type: "layers", diff_ids: layers.map(sha256) } });
  writeFileSync(join(folder, "config"), config);
  for (const [at, layer] of kept.entries()) writeFileSync(join(folder, `layer-${at}`), layer);
  writeFileSync(
    join(folder, "manifest.json"),
    JSON.stringify([{ Config: "config", RepoTags: null, Layers: layers.map((_, at) => `layer-${at}`) }]),
  );
  return folder;
}

async function filesOf(archive: string): Promise<Map<string, Buffer>> {
  const files = new Map<string, Buffer>();
  const entries = extract();
  entries.end(readFileSync(archive));
  for await (const entry of entries) files.set(entry.header.name, await buffer(entry));
  return files;
}

const shared = Buffer.from("a layer that both have");
const own = Buffer.from("a layer of one");

async function twoPlatforms(context: TestContext) {
  const directory = temporaryDirectory(context);
  const file = join(directory, "out/image.tar");
  await writeOciLayout({
    file,
    names: ["k3ts/server:v1", "registry.example:5000/other:v2"],
    annotations: { "org.opencontainers.image.version": "v1" },
    scratch: join(directory, "scratch"),
    images: [
      { saved: saved(directory, "amd64", { architecture: "amd64" }, [shared]), names: ["k3ts/server:v1-amd64"] },
      {
        saved: saved(directory, "arm", { architecture: "arm", variant: "v7" }, [shared, own]),
        names: ["k3ts/server:v1-arm"],
      },
    ],
  });
  return { file, files: await filesOf(file) };
}

test("every name leads to one index, whose manifests say for which platform they are", async (context) => {
  const { files } = await twoPlatforms(context);
  const read = (digest: string) => JSON.parse(files.get(`blobs/${digest.replace(":", "/")}`)!.toString());
  assert.deepEqual(JSON.parse(files.get("oci-layout")!.toString()), { imageLayoutVersion: "1.0.0" });
  const top = JSON.parse(files.get("index.json")!.toString()).manifests;
  assert.deepEqual(
    top.map(({ annotations }: { annotations: object }) => annotations),
    [
      { "io.containerd.image.name": "docker.io/k3ts/server:v1", "org.opencontainers.image.ref.name": "v1" },
      { "io.containerd.image.name": "registry.example:5000/other:v2", "org.opencontainers.image.ref.name": "v2" },
    ],
  );
  assert.equal(top[0].digest, top[1].digest);
  const index = read(top[0].digest);
  assert.deepEqual(index.annotations, { "org.opencontainers.image.version": "v1" });
  assert.deepEqual(
    index.manifests.map(({ platform }: { platform: object }) => platform),
    [
      { architecture: "amd64", os: "linux" },
      { architecture: "arm", os: "linux", variant: "v7" },
    ],
  );
  for (const { digest } of index.manifests) {
    const { config, layers } = read(digest);
    const ids = read(config.digest).rootfs.diff_ids;
    const unpacked = layers.map((layer: { digest: string }) =>
      sha256(gunzipSync(files.get(`blobs/${layer.digest.replace(":", "/")}`)!)),
    );
    assert.deepEqual(unpacked, ids);
  }
});

test("each file is there once, and is what its digest and every descriptor of it say", async (context) => {
  const { files } = await twoPlatforms(context);
  const blobs = [...files].filter(([name]) => name.startsWith("blobs/"));
  // An index, and of two images a manifest and a configuration each; of three layers two are the same.
  assert.equal(blobs.length, 1 + 2 * 2 + 2);
  for (const [name, bytes] of blobs) assert.equal(sha256(bytes), name.replace("blobs/", "").replace("/", ":"));
  const described = [...files.values()].flatMap((bytes) =>
    bytes[0] === 0x7b ? [...bytes.toString().matchAll(/"digest":"(sha256):(\w+)","size":(\d+)/g)] : [],
  );
  assert.ok(described.length >= 8);
  for (const [, kind, hex, size] of described) assert.equal(files.get(`blobs/${kind}/${hex}`)?.length, Number(size));
});

test("an engine without containerd's store finds every image under its own name", async (context) => {
  const { files } = await twoPlatforms(context);
  const images = JSON.parse(files.get("manifest.json")!.toString());
  assert.deepEqual(
    images.map(({ RepoTags }: { RepoTags: string[] }) => RepoTags),
    [["k3ts/server:v1-amd64"], ["k3ts/server:v1-arm"]],
  );
  for (const { Config, Layers } of images) for (const path of [Config, ...Layers]) assert.ok(files.has(path), path);
});

test("the same images give the same bytes", async (context) => {
  const [first, second] = [await twoPlatforms(context), await twoPlatforms(context)];
  assert.equal(sha256(readFileSync(first.file)), sha256(readFileSync(second.file)));
});

test("a layer that the engine keeps packed is taken as it is", async (context) => {
  const directory = temporaryDirectory(context);
  const packed = gzipSync(own, { level: 1 });
  const folder = saved(directory, "packed", { architecture: "arm64" }, [own], [packed]);
  const file = join(directory, "image.tar");
  await writeOciLayout({ file, names: ["a:b"], images: [{ saved: folder, names: ["a:b"] }], scratch: directory });
  assert.deepEqual((await filesOf(file)).get(`blobs/${sha256(packed).replace(":", "/")}`), packed);
});

test("a layer that is not what the image's configuration says is refused", async (context) => {
  const directory = temporaryDirectory(context);
  const folder = saved(directory, "torn", { architecture: "arm64" }, [own], [shared]);
  const file = join(directory, "image.tar");
  const writing = writeOciLayout({ file, names: ["a:b"], images: [{ saved: folder, names: [] }], scratch: directory });
  await assert.rejects(writing, { message: `Save the image again: a layer is ${sha256(shared)}, not ${sha256(own)}.` });
});
