import assert from "node:assert/strict";
import {
  mkdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { umount } from "../../../../src/agent/host/mount.ts";
import { bindSubPath, openInside } from "../../../../src/agent/kubelet/sub-path.ts";
import { temporaryDirectory } from "../../../support/temporary-directory.ts";

/** A volume with a file and a directory, and something beside it that it must not reach. */
function volume(directory: string): string {
  const root = join(directory, "volume");
  mkdirSync(join(root, "dir"), { recursive: true });
  writeFileSync(join(root, "dir/file"), "inside");
  mkdirSync(join(directory, "outside"));
  writeFileSync(join(directory, "outside/secret"), "outside");
  return root;
}

/** Where openInside arrives. */
async function reached(root: string, path: string): Promise<string> {
  const handle = await openInside(root, path);
  try {
    return realpathSync(`/proc/self/fd/${handle.fd}`);
  } finally {
    await handle.close();
  }
}

test("a sub-path names a file or a directory of the volume", async (t) => {
  const root = realpathSync(volume(temporaryDirectory(t)));
  assert.equal(await reached(root, "dir/file"), join(root, "dir/file"));
  assert.equal(await reached(root, "dir/"), join(root, "dir"));
});

test("missing directories are made, as open as the volume", async (t) => {
  const root = realpathSync(volume(temporaryDirectory(t)));
  assert.equal(await reached(root, "dir/new/deep"), join(root, "dir/new/deep"));
  assert.equal(statSync(join(root, "dir/new/deep")).mode & 0o777, statSync(root).mode & 0o777);
});

test("links that stay inside the volume are followed", async (t) => {
  const root = realpathSync(volume(temporaryDirectory(t)));
  symlinkSync("dir", join(root, "link"));
  assert.equal(await reached(root, "link/file"), join(root, "dir/file"));
});

const refused: [name: string, path: string, link?: string][] = [
  ["an absolute path", "/etc"],
  ["a path with ..", "dir/../../outside"],
  ["a link out of the volume", "link", "../outside"],
  ["a file behind a link out of the volume", "link/secret", "../outside"],
  ["a new directory behind a link out of the volume", "link/new", "../outside"],
  ["an absolute link", "link", "/etc"],
];
for (const [name, path, link] of refused)
  test(`refused: ${name}`, async (t) => {
    const root = volume(temporaryDirectory(t));
    if (link) symlinkSync(link, join(root, "link"));
    await assert.rejects(openInside(root, path), { name: "Error", message: /subPath/ });
  });

test("whatever a container swaps meanwhile, the path never arrives outside", async (t) => {
  const directory = temporaryDirectory(t);
  const root = realpathSync(volume(directory));
  symlinkSync(join(directory, "outside"), join(root, "trap"));
  const move = (from: string, to: string): void => {
    for (;;) {
      try {
        renameSync(join(root, from), join(root, to));
        return;
      } catch (error) {
        // While "dir" is away, a missing directory is made in its place, as asked; also while it is being removed.
        if (to !== "dir") throw error;
        const options = { recursive: true, force: true, maxRetries: 100, retryDelay: 1 };
        rmSync(join(root, to), options);
      }
    }
  };
  let stop = false;
  const swapping = (async () => {
    while (!stop) {
      for (const [from, to] of [
        ["dir", "kept"],
        ["trap", "dir"],
        ["dir", "trap"],
        ["kept", "dir"],
      ] as const)
        move(from, to);
      await new Promise((resolve) => setImmediate(resolve));
    }
  })();
  try {
    for (let round = 0; round < 200; round++) {
      const path = await reached(root, "dir/file").catch(() => root);
      assert.ok(path === root || path.startsWith(`${root}/`), path);
    }
  } finally {
    stop = true;
    await swapping;
  }
});

test("what was reached is bound, a file or a directory, and bound anew for the next container", async (t) => {
  const directory = temporaryDirectory(t);
  const root = volume(directory);
  const target = join(directory, "bound");
  try {
    await bindSubPath(root, "dir/file", target);
    assert.equal(readFileSync(target, "utf8"), "inside");
    await bindSubPath(root, "dir", target);
    assert.equal(readFileSync(join(target, "file"), "utf8"), "inside");
  } finally {
    await umount(target);
  }
});
