import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readdirSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { freePort } from "../../src/cluster/free-port.ts";
import { loopbackNetwork, provideEtcd } from "../support/etcd-programs.ts";
import { eventually } from "../support/eventually.ts";
import { type ServerProcess, startServerProcess } from "../support/server-process.ts";

/** Processes whose command line names this directory's etcd. */
function etcdsOf(directory: string): number[] {
  const config = join(directory, "data", "server", "db", "etcd", "config");
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, "utf8").startsWith(`etcd\0--config-file\0${config}`);
      } catch {
        return false;
      }
    })
    .map(Number);
}

const revisionOf = async (server: ServerProcess): Promise<number> =>
  Number(await server.kubectl(["get", "configmap", "kept", "-o", "jsonpath={.metadata.resourceVersion}"]));

describe("a server in embedded etcd", () => {
  let remove: () => void;
  before(async () => {
    remove = await provideEtcd();
  });
  after(() => remove());

  test("takes over what it had in SQLite, dies with its etcd, and goes on where it was", async () => {
    const directory = mkdtempSync(join(tmpdir(), "k3ts-embedded-"));
    const port = await freePort("127.0.0.1");
    const database = join(directory, "data", "server", "db", "state.db");
    const token = "a-token-of-a-test";
    const address = `${loopbackNetwork()}.1`;
    const embedded = ["--token", token, "--cluster-init", "--node-ip", address, "--advertise-address", "192.0.2.1"];
    let server = await startServerProcess({ directory, port, args: ["--token", token] });
    try {
      await server.kubectl(["create", "configmap", "kept", "--from-literal=a=1"]);
      const before = await revisionOf(server);
      const trusted = server.credentials.ca;
      await server.kill();

      server = await startServerProcess({ directory, port, args: embedded });
      assert.equal(await server.kubectl(["get", "configmap", "kept", "-o", "jsonpath={.data.a}"]), "1");
      assert.ok((await revisionOf(server)) > before, "clients see time go forward");
      assert.equal(server.credentials.ca, trusted, "it is the same cluster");
      assert.ok(!existsSync(database) && existsSync(`${database}.migrated`));
      assert.match(server.log(), /Managed etcd cluster initializing/);
      await server.kubectl(["create", "configmap", "later", "--from-literal=a=2"]);

      assert.equal(etcdsOf(directory).length, 1);
      await server.kill();
      await eventually(() => assert.deepEqual(etcdsOf(directory), []), 60_000);

      // Nothing but its data says any more where the cluster lives.
      server = await startServerProcess({ directory, port, args: embedded.filter((arg) => arg !== "--cluster-init") });
      assert.match(server.log(), /Managed etcd cluster bootstrap already complete and initialized/);
      assert.equal(await server.kubectl(["get", "configmap", "later", "-o", "jsonpath={.data.a}"]), "2");
    } finally {
      await server.stop();
    }
    assert.deepEqual(etcdsOf(directory), []);
  });
});
