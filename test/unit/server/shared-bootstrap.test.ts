import assert from "node:assert/strict";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, type TestContext, test } from "node:test";
import { silentLogger } from "../../../src/machinery/log.ts";
import { bootstrapKey, openBootstrapData } from "../../../src/server/bootstrap-data.ts";
import { type SharedBootstrapOptions, shareBootstrapData } from "../../../src/server/shared-bootstrap.ts";
import type { Store } from "../../../src/store/store.ts";
import { FakeClock } from "../../support/fake-clock.ts";
import { openSharedStore } from "../../support/shared-store.ts";
import { temporaryDirectory } from "../../support/temporary-directory.ts";

let made = 0;

/** A server that makes an authority of its own where it finds none. */
function serverOn(test: TestContext, store: Store, more: Partial<SharedBootstrapOptions<string>> = {}) {
  const directory = temporaryDirectory(test);
  const file = join(directory, "tls", "server-ca.crt");
  const start = (then: Partial<SharedBootstrapOptions<string>> = {}) =>
    shareBootstrapData<string>({
      store,
      directory,
      password: "secret",
      settings: { "cluster-cidr": "10.42.0.0/16" },
      make: async () => {
        mkdirSync(join(directory, "tls"), { recursive: true });
        try {
          return readFileSync(file, "utf8");
        } catch {
          writeFileSync(file, `authority ${++made}`);
          return readFileSync(file, "utf8");
        }
      },
      othersRun: async () => false,
      clock: new FakeClock(),
      logger: silentLogger,
      ...more,
      ...then,
    });
  return { directory, start };
}

describe("bootstrap data in a shared store", () => {
  test("the first server brings its authorities, all others take them", async (t) => {
    const store = await openSharedStore(t);
    const authority = await serverOn(t, store).start();
    const entry = await store.get(bootstrapKey("secret"));
    assert.ok(entry, "sealed under the token's key");
    assert.ok(!entry.value.includes(authority));
    assert.equal(await serverOn(t, store).start(), authority);
    assert.equal(await serverOn(t, store).start(), authority);
  });

  test("of servers that are first at the same moment one wins, and the others are servers of its cluster", async (t) => {
    const store = await openSharedStore(t);
    const authorities = await Promise.all(Array.from({ length: 4 }, () => serverOn(t, store).start()));
    assert.equal(new Set(authorities).size, 1);
    assert.equal((await store.list("/bootstrap/")).entries.length, 1);
  });

  test("a token that opens nothing is refused with K3s' text, and writes nothing", async (t) => {
    const store = await openSharedStore(t);
    await serverOn(t, store).start();
    const other = serverOn(t, store, { password: "other" });
    await assert.rejects(other.start(), {
      name: "ConfigurationError",
      message: /^bootstrap data already found and encrypted with different token; .*--token/,
    });
    assert.equal((await store.list("/bootstrap/")).entries.length, 1);
  });

  test("of two tokens that come first at the same moment the earlier one is the cluster's", async (t) => {
    const store = await openSharedStore(t);
    const passwords = ["one", "two", "three"];
    const results = await Promise.allSettled(passwords.map((password) => serverOn(t, store, { password }).start()));
    assert.equal(results.filter(({ status }) => status === "fulfilled").length, 1);
    const { entries } = await store.list("/bootstrap/");
    assert.equal(entries.length, 1);
    const winner = passwords[results.findIndex(({ status }) => status === "fulfilled")]!;
    assert.ok(await openBootstrapData(winner, entries[0]!.value));
  });

  test("a critical setting that differs ends the start, naming it and both values", async (t) => {
    const store = await openSharedStore(t);
    await serverOn(t, store).start();
    const settings = { "cluster-cidr": "10.52.0.0/16" };
    const other = serverOn(t, store, { settings, othersRun: async () => true });
    await assert.rejects(other.start(), {
      name: "ConfigurationError",
      message:
        /critical configuration value mismatch.*--cluster-cidr is "10\.42\.0\.0\/16" there and "10\.52\.0\.0\/16" here/,
    });
  });

  test("settings can be changed while no server works, and count from then on", async (t) => {
    const store = await openSharedStore(t);
    const clock = new FakeClock();
    const server = serverOn(t, store, { clock });
    const authority = await server.start();
    const settings = { "cluster-cidr": "10.52.0.0/16" };
    await assert.rejects(server.start({ settings }), /mismatch/, "servers that start together are not there yet");
    await clock.advance(60_000);
    await assert.rejects(server.start({ settings, othersRun: async () => true }), /mismatch/);
    assert.equal(await server.start({ settings }), authority);
    await assert.rejects(serverOn(t, store, { clock, othersRun: async () => true }).start(), /mismatch/);
    assert.equal(await serverOn(t, store, { clock, settings }).start(), authority);
  });

  test("files of another cluster that are newer here end the start", async (t) => {
    const store = await openSharedStore(t);
    await serverOn(t, store).start();
    const other = serverOn(t, store);
    mkdirSync(join(other.directory, "tls"));
    const file = join(other.directory, "tls", "server-ca.crt");
    writeFileSync(file, "of another cluster");
    const later = new Date(Date.now() + 3_600_000);
    (await import("node:fs")).utimesSync(file, later, later);
    await assert.rejects(other.start(), /server-ca\.crt newer than datastore/);
    assert.equal(readFileSync(file, "utf8"), "of another cluster");
  });
});
