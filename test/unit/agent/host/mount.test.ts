import assert from "node:assert/strict";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import {
  bindMount,
  findMount,
  makeShared,
  mount,
  parseMountInfo,
  umountTree,
} from "../../../../src/agent/host/mount.ts";

test("mountinfo lines are parsed, with escapes and any number of optional fields", () => {
  const text = [
    "36 35 98:0 /mnt1 /mnt\\040two rw,noatime shared:1 master:2 - ext3 /dev/root rw,errors=continue",
    "37 35 0:21 / /proc rw - proc proc rw",
    "",
  ].join("\n");
  assert.deepEqual(parseMountInfo(text), [
    {
      id: 36,
      parentId: 35,
      root: "/mnt1",
      target: "/mnt two",
      options: ["rw", "noatime"],
      propagation: ["shared:1", "master:2"],
      type: "ext3",
      source: "/dev/root",
      superOptions: ["rw", "errors=continue"],
    },
    {
      id: 37,
      parentId: 35,
      root: "/",
      target: "/proc",
      options: ["rw"],
      propagation: [],
      type: "proc",
      source: "proc",
      superOptions: ["rw"],
    },
  ]);
});

test("mounts are made, made shared, bound read-only and taken away", async () => {
  const folder = await mkdtemp(join(tmpdir(), "k3ts mount-"));
  const target = join(folder, "a");
  const bound = join(folder, "a", "b");
  try {
    await mkdir(target);
    await mount({ type: "tmpfs", source: "tmpfs", target, options: ["size=1m"] });
    assert.equal((await findMount(target))?.type, "tmpfs");
    await makeShared(target);
    assert.ok((await findMount(target))?.propagation.some((tag) => tag.startsWith("shared:")));
    await makeShared(target);

    const source = join(folder, "source");
    await mkdir(source);
    await mkdir(bound);
    await writeFile(join(source, "file"), "content");
    await bindMount(source, bound, { readOnly: true });
    assert.equal(await readFile(join(bound, "file"), "utf8"), "content");
    await assert.rejects(writeFile(join(bound, "file"), "other"), { code: "EROFS" });
  } finally {
    await umountTree(folder);
    assert.equal(await findMount(bound), undefined);
    assert.equal(await findMount(target), undefined);
    await rm(folder, { recursive: true });
  }
});
