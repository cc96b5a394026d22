import assert from "node:assert/strict";
import { test } from "node:test";
import { type ConfigMap, configMaps } from "../../src/api/generated/core-v1.ts";
import { clientOf } from "../../src/cluster/kubeconfig-client.ts";
import { readKubeconfigFile } from "../../src/cluster/kubeconfig-file.ts";
import { type ServerProcess, startServerProcess } from "../support/server-process.ts";

const writers = 32;
const rounds = 3;
/** Enough that batches are under way whenever the kill comes. */
const acknowledgedBeforeKill = 400;
const namespace = "default";

/** What a writer was told: the object's last acknowledged state, and the one that it asked for last. */
interface Told {
  uid: string;
  acknowledged: number;
  asked: number;
  resourceVersion: number;
}

/**
 * 32 clients create and then update objects as fast as they are answered, until the server is killed in the middle.
 */
async function writeUntilKilled(server: ServerProcess, round: number): Promise<Map<string, Told>> {
  const client = clientOf(readKubeconfigFile(server.kubeconfig));
  const told = new Map<string, Told>();
  let count = 0;
  let over = false;
  const reached = Promise.withResolvers<void>();
  const acknowledge = () => {
    count += 1;
    if (count === acknowledgedBeforeKill) reached.resolve();
  };
  const write = async (writer: number) => {
    for (let index = 0; !over; index++) {
      const name = `r${round}-w${writer}-${index}`;
      let object = await client.create<ConfigMap>(configMaps, { metadata: { name, namespace }, data: { step: "0" } });
      const { uid = "", resourceVersion } = object.metadata;
      const entry: Told = { uid, acknowledged: 0, asked: 0, resourceVersion: Number(resourceVersion) };
      told.set(name, entry);
      acknowledge();
      for (let step = 1; step <= 3 && !over; step++) {
        entry.asked = step;
        object = await client.update<ConfigMap>(configMaps, { ...object, data: { step: String(step) } });
        entry.acknowledged = step;
        entry.resourceVersion = Number(object.metadata.resourceVersion);
        acknowledge();
      }
    }
  };
  const ended = Promise.allSettled(Array.from({ length: writers }, (_, writer) => write(writer)));
  const early = ended.then((results) => {
    throw new Error("the writers ended before the server was killed", { cause: results });
  });
  early.catch(() => {});
  await Promise.race([reached.promise, early]);
  await server.kill();
  over = true;
  client.close();
  await ended;
  return told;
}

test("kill -9 while 32 clients write loses nothing that was acknowledged", async (t) => {
  let server = await startServerProcess();
  t.after(() => server.stop());
  const port = Number(new URL(server.url).port);
  const all = new Map<string, Told>();
  let newestRevision = 0;
  for (let round = 0; round < rounds; round++) {
    for (const [name, told] of await writeUntilKilled(server, round)) {
      all.set(name, told);
      newestRevision = Math.max(newestRevision, told.resourceVersion);
    }
    server = await startServerProcess({ directory: server.directory, port });

    const client = clientOf(readKubeconfigFile(server.kubeconfig));
    const list = await client.list(configMaps, { namespace });
    client.close();
    assert.ok(Number(list.metadata.resourceVersion) >= newestRevision, "revisions do not go back");
    const found = new Map(list.items.map((item) => [item.metadata.name ?? "", item]));
    for (const [name, { uid, acknowledged, asked }] of all) {
      const object = found.get(name);
      assert.ok(object, `${name} was acknowledged and is lost`);
      assert.equal(object.metadata.uid, uid);
      // A write that was asked for and not answered may have been made or not; nothing else.
      const step = Number(object.data?.["step"]);
      assert.ok(step === acknowledged || step === asked, `${name} is at ${step}, acknowledged ${acknowledged}`);
    }
  }
  assert.ok(all.size >= writers * rounds);
});
