import assert from "node:assert/strict";
import { buffer } from "node:stream/consumers";
import { describe, test } from "node:test";
import type Docker from "dockerode";
import { extract } from "tar-stream";
import { foundersOf, foundingFilesOf, giveFoundingFiles } from "../../../src/cluster/founding.ts";
import type { NodeSpec } from "../../../src/cluster/node-spec.ts";
import { FakeClock } from "../../support/fake-clock.ts";

const server = (index: number, change: Partial<NodeSpec> = {}): NodeSpec => ({
  cluster: "c",
  network: "n",
  role: "server",
  index,
  image: "i",
  token: "t",
  datastore: "etcd",
  address: `10.0.0.${index + 1}`,
  ...change,
});
const agent: NodeSpec = { cluster: "c", network: "n", role: "agent", index: 0, image: "i", token: "t" };

describe("servers that found a cluster together", () => {
  test("are all of a new cluster with embedded etcd, by their containers' names and addresses", () => {
    assert.deepEqual(foundersOf([server(0), server(1), server(2), agent]), [
      { nodeName: "k3ts-c-server-0", address: "10.0.0.1" },
      { nodeName: "k3ts-c-server-1", address: "10.0.0.2" },
      { nodeName: "k3ts-c-server-2", address: "10.0.0.3" },
    ]);
    const volumes = ["/images:/var/lib/rancher/k3s/agent/images:ro", "/other:/var/lib/other", "/x:/var/lib/rancher-x"];
    assert.equal(foundersOf([server(0, { volumes }), server(1, { volumes })]).length, 2);
  });

  const others: readonly [why: string, change: Partial<NodeSpec>][] = [
    ["another datastore has them", { datastore: "external" }],
    ["its address is the engine's to choose", { address: undefined as never }],
    ["data may be there", { volumes: ["/data:/var/lib/rancher/k3s"] }],
    ["data may be there, from further above", { volumes: ["/data:/var/lib/"] }],
    ["data may be there, in a part", { volumes: ["etcd:/var/lib/rancher/k3s/server/db/etcd"] }],
    ["its data is elsewhere", { args: ["--data-dir", "/data"] }],
    ["its data is elsewhere, by the environment", { environment: ["K3S_DATA_DIR=/data"] }],
  ];
  for (const [why, change] of others) {
    test(`are none where of one server ${why}`, () => {
      assert.deepEqual(foundersOf([server(0), server(1), server(2, change)]), []);
    });
  }

  test("are none where there is one server", () => {
    assert.deepEqual(foundersOf([server(0), agent]), []);
  });

  test("find the same authorities and list of members, and a name of their own, in directories that only root reads", async () => {
    const nodes = [server(0), server(1), agent];
    const found = await foundingFilesOf(nodes, new FakeClock());
    assert.deepEqual([...found.keys()], ["k3ts-c-server-0", "k3ts-c-server-1"]);
    const given: { container: string; path: string; entries: Map<string, { mode: number; text: string }> }[] = [];
    const docker = {
      getContainer: (container: string) => ({
        putArchive: async (archive: NodeJS.ReadableStream, { path }: { path: string }) => {
          const entries = new Map<string, { mode: number; text: string }>();
          for await (const entry of archive.pipe(extract()))
            entries.set(entry.header.name, { mode: entry.header.mode ?? 0, text: (await buffer(entry)).toString() });
          given.push({ container, path, entries });
        },
      }),
    } as unknown as Docker;
    for (const name of ["k3ts-c-server-0", "k3ts-c-server-1", "k3ts-c-agent-0"])
      await giveFoundingFiles(docker, name, found.get(name));
    const [first, second] = given;
    assert.equal(given.length, 2, "an agent has none");
    assert.equal(first!.path, "/var/lib/rancher/k3s");
    const text = (from: typeof first, path: string) => from!.entries.get(`server/${path}`)?.text;
    const pairs = ["etcd/server-ca", "etcd/peer-ca", "server-ca", "client-ca", "request-header-ca"];
    const files = [...pairs.flatMap((pair) => [`${pair}.crt`, `${pair}.key`]), "service.key"];
    for (const file of files) {
      assert.match(text(first, `tls/${file}`)!, /^-----BEGIN (CERTIFICATE|PRIVATE KEY)-----/);
      assert.equal(text(first, `tls/${file}`), text(second, `tls/${file}`));
      assert.equal(first!.entries.get(`server/tls/${file}`)?.mode, 0o600);
    }
    assert.equal(new Set(files.map((file) => text(first, `tls/${file}`))).size, files.length);
    const names = given.map((one) => text(one, "db/etcd/name")!);
    assert.match(names[0]!, /^k3ts-c-server-0-[0-9a-f]{8}$/);
    const members = `${names[0]}=https://10.0.0.1:2380\n${names[1]}=https://10.0.0.2:2380\n`;
    assert.deepEqual([text(first, "db/etcd/founders"), text(second, "db/etcd/founders")], [members, members]);
    for (const name of ["server", "server/tls", "server/tls/etcd", "server/db", "server/db/etcd"])
      assert.equal((first!.entries.get(name) ?? first!.entries.get(`${name}/`))?.mode, 0o700, name);
  });
});
