import assert from "node:assert/strict";
import { test } from "node:test";
import { silentLogger } from "../../../../src/machinery/log.ts";
import type { EtcdConnection, EtcdServer } from "../../../../src/store/etcd/etcd-connection.ts";
import { MemberFollower } from "../../../../src/store/etcd/member-follower.ts";
import { FakeClock } from "../../../support/fake-clock.ts";

test("a member that has not said yet where it answers is asked for until it has, and nobody is asked after that", async () => {
  const members = [
    { name: "one", clientUrls: ["https://one:2379"] },
    { name: "two", clientUrls: [] as string[] },
  ];
  const clock = new FakeClock();
  const used: string[][] = [];
  const connection = {
    read: async () => ({ members }),
    use: (servers: readonly EtcdServer[]) => used.push(servers.map(({ host }) => host)),
    comeHome: async () => true,
  } as unknown as EtcdConnection;
  const follower = new MemberFollower({
    connection,
    membership: {
      serversOf: (all) =>
        all.flatMap(({ clientUrls }) =>
          clientUrls.map((url) => ({ host: new URL(url).hostname, port: 2379, tls: true })),
        ),
      onChange: () => () => {},
    },
    clock,
    logger: silentLogger,
  });
  follower.look();
  await clock.advance(1);
  assert.deepEqual(used, [["one"]]);
  assert.equal(clock.pending, 1);
  members[1]!.clientUrls.push("https://two:2379");
  await clock.advance(1000);
  assert.deepEqual(used.at(-1), ["one", "two"]);
  assert.equal(clock.pending, 0, "idle costs nothing");
  follower.stop();
});
