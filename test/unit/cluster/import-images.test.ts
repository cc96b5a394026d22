import assert from "node:assert/strict";
import { PassThrough, Readable } from "node:stream";
import { test } from "node:test";
import type Docker from "dockerode";
import { importImages } from "../../../src/cluster/import-images.ts";
import type { Cluster } from "../../../src/cluster/inventory.ts";

const node = {
  id: "1",
  name: "n",
  cluster: "c",
  network: "c",
  role: "server",
  state: "running",
  image: "i",
  labels: {},
} as const;
const cluster: Cluster = { name: "c", nodes: [node] };

/** An engine whose `ctr` reads an archive and says something; `codes` are what it tells of its end, one by one. */
function engine(output: string, codes: (number | null)[]): { docker: Docker; asked: () => number } {
  let asked = 0;
  const exec = {
    async start() {
      const stream = new PassThrough();
      return stream;
    },
    inspect: async () => ({ ExitCode: codes[asked++] }),
  };
  const docker = {
    getImage: () => ({ inspect: async () => ({}) }),
    getImages: async () => Readable.from([Buffer.from("archive")]),
    getContainer: () => ({ exec: async () => exec }),
    modem: {
      demuxStream(stream: Readable, out: PassThrough) {
        stream.resume();
        out.write(output);
      },
    },
  };
  return { docker: docker as unknown as Docker, asked: () => asked };
}

test("an import whose end the engine does not know yet is asked for again", async () => {
  const { docker, asked } = engine("done\n", [null, null, 0]);
  await importImages(docker, cluster, ["web:1"]);
  assert.equal(asked(), 3);
});

test("an import that fails says what was said last", async () => {
  const { docker } = engine("unpacking\nctr: no space left\n", [null, 1]);
  await assert.rejects(importImages(docker, cluster, ["web:1"]), /importing into n failed: ctr: no space left/);
});
