import assert from "node:assert/strict";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { ConfigurationError } from "../../../../src/machinery/configuration-error.ts";
import { assertUnused, holdData } from "../../../../src/server/etcd/data-hold.ts";
import { temporaryDirectory } from "../../../support/temporary-directory.ts";

test("the data of a member is one server's, until that one ends", async (t) => {
  const directory = temporaryDirectory(t);
  mkdirSync(join(directory, "db"));
  await assertUnused(directory);
  // What is left of a server that was killed says nothing.
  writeFileSync(join(directory, "db/etcd-running"), "");
  await assertUnused(directory);
  for (let round = 0; round < 2; round++) {
    const release = await holdData(directory);
    const inUse = {
      name: new ConfigurationError().name,
      message: /etcd runs, on the data in .*; stop the server first/,
    };
    await assert.rejects(assertUnused(directory), inUse);
    await assert.rejects(holdData(directory), inUse);
    release();
    await assertUnused(directory);
    assert.ok(!existsSync(join(directory, "db/etcd-running")));
  }
});

test("a path that is too long for a socket keeps no server from starting", async (t) => {
  const directory = join(temporaryDirectory(t), "deep".repeat(40));
  mkdirSync(join(directory, "db"), { recursive: true });
  const release = await holdData(directory);
  await assertUnused(directory);
  release();
});
