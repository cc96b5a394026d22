import assert from "node:assert/strict";
import { test } from "node:test";
import type { Cri } from "../../../../src/agent/containerd/cri.ts";
import { ImageCollector } from "../../../../src/agent/kubelet/image-collector.ts";
import { silentLogger } from "../../../../src/machinery/log.ts";
import { FakeClock } from "../../../support/fake-clock.ts";

test("a full disk loses unused images, the longest unused first, until it has room; used and pinned ones stay", async () => {
  const clock = new FakeClock();
  let images = ["old", "recent", "used", "pinned"].map((id) => ({
    id,
    repoTags: [id],
    size: 1,
    pinned: id === "pinned",
  }));
  let inUse = ["used", "recent"];
  let percent = 50;
  const cri = {
    listImages: async () => images,
    listContainers: async () => inUse.map((imageId) => ({ imageId })),
    removeImage: async (name: string) => {
      images = images.filter(({ id }) => id !== name);
      percent -= 5;
    },
  } as unknown as Cri;
  const collector = new ImageCollector({ cri, clock, logger: silentLogger, used: async () => percent });
  await collector.collect();
  await clock.advance(300_000);
  await collector.collect();
  inUse = ["used"];
  percent = 86;
  await collector.collect();
  assert.deepEqual(
    images.map(({ id }) => id),
    ["recent", "used", "pinned"],
    "one was enough at first",
  );
  await clock.advance(300_000);
  percent = 99;
  await collector.collect();
  assert.deepEqual(
    images.map(({ id }) => id),
    ["used", "pinned"],
  );
});

test("below the mark nothing is removed, and an image that was just left stays a while", async () => {
  const clock = new FakeClock();
  const removed: string[] = [];
  let percent = 10;
  const cri = {
    listImages: async () => [{ id: "a", repoTags: [], size: 1, pinned: false }],
    listContainers: async () => [],
    removeImage: async (name: string) => void removed.push(name),
  } as unknown as Cri;
  const collector = new ImageCollector({ cri, clock, logger: silentLogger, used: async () => percent });
  await collector.collect();
  percent = 90;
  await collector.collect();
  assert.deepEqual(removed, []);
  await clock.advance(120_000);
  await collector.collect();
  assert.deepEqual(removed, ["a"]);
});
