import assert from "node:assert/strict";
import { existsSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { bury, isBuried, isInitialized, putAside } from "../../../../src/server/etcd/data-directory.ts";
import { memberName, nodeOfMember, nodeOfMemberIn } from "../../../../src/server/etcd/member-name.ts";
import { FakeClock } from "../../../support/fake-clock.ts";
import { temporaryDirectory } from "../../../support/temporary-directory.ts";

describe("the directory of a member of etcd", () => {
  test("holds the member's name: the node's and 8 hex digits, which stay", (context) => {
    const directory = temporaryDirectory(context);
    const name = memberName(directory, "server-1");
    assert.match(name, /^server-1-[0-9a-f]{8}$/);
    assert.equal(memberName(directory, "server-1"), name);
    assert.equal(nodeOfMemberIn(directory), "server-1");
    assert.equal(nodeOfMemberIn(temporaryDirectory(context)), undefined);
    assert.notEqual(memberName(temporaryDirectory(context), "server-1"), name);
    assert.equal(nodeOfMember(name), "server-1");
  });

  test("is initialized when it has a log", (context) => {
    const directory = temporaryDirectory(context);
    assert.equal(isInitialized(directory), false);
    mkdirSync(join(directory, "member", "wal"), { recursive: true });
    assert.equal(isInitialized(directory), true);
  });

  test("of a removed member is put aside whole, five of them at most", async (context) => {
    const parent = temporaryDirectory(context);
    const directory = join(parent, "etcd");
    const clock = new FakeClock();
    mkdirSync(directory);
    for (let round = 0; round < 7; round++) {
      writeFileSync(join(directory, "data"), String(round));
      bury(directory);
      assert.ok(isBuried(directory));
      const backup = putAside(directory, clock);
      assert.ok(existsSync(join(backup, "data")) && isBuried(backup));
      assert.deepEqual(readdirSync(directory), []);
      await clock.advance(60_000);
    }
    assert.equal(readdirSync(parent).filter((name) => name.startsWith("etcd-backup-")).length, 5);
  });
});
