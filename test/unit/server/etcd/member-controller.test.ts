import assert from "node:assert/strict";
import { describe, type TestContext, test } from "node:test";
import { type Node, nodes } from "../../../../src/api/generated/core-v1.ts";
import type { Client } from "../../../../src/client/client.ts";
import { startControllers } from "../../../../src/controllers/manager.ts";
import { clusterClock, ioClock } from "../../../../src/machinery/clock.ts";
import { silentLogger } from "../../../../src/machinery/log.ts";
import { StatusError } from "../../../../src/machinery/status.ts";
import { GrpcError } from "../../../../src/rpc/grpc-client.ts";
import type { Member, MemberClient } from "../../../../src/server/etcd/member-client.ts";
import { memberController } from "../../../../src/server/etcd/member-controller.ts";
import { keepNodeMetadata } from "../../../../src/server/etcd/node-metadata.ts";
import { startControlPlane } from "../../../support/control-plane.ts";
import { eventually } from "../../../support/eventually.ts";

const patienceMs = 60_000;
const member = (id: bigint, name: string, address: string): Member => ({
  id,
  name,
  peerUrls: [`https://${address}:2380`],
  clientUrls: [`https://${address}:2379`],
  isLearner: false,
});

/** A cluster of etcd that refuses the first removal, as a cluster does that has just changed. */
class FakeMembers implements MemberClient {
  members: Member[];
  refusals = 1;
  constructor(members: Member[]) {
    this.members = members;
  }
  list = async () => this.members;
  remove = async (id: bigint) => {
    if (this.refusals-- > 0) throw new GrpcError("UNAVAILABLE", "etcdserver: unhealthy cluster");
    this.members = this.members.filter((each) => each.id !== id);
  };
  addLearner = () => Promise.reject(new Error("not asked for"));
  promote = () => Promise.reject(new Error("not asked for"));
  move = () => Promise.reject(new Error("not asked for"));
  moveLeader = () => Promise.reject(new Error("not asked for"));
  status = () => Promise.reject(new Error("not asked for"));
  close = () => {};
}

async function start(context: TestContext, members: Member[]): Promise<{ client: Client; etcd: FakeMembers }> {
  const { client, signal } = await startControlPlane(context);
  const etcd = new FakeMembers(members);
  startControllers({
    client,
    clientFor: () => client,
    clock: clusterClock,
    logger: silentLogger,
    config: {
      clusterName: "kubernetes",
      clusterCidrs: [],
      nodeCidrMaskSizeIpv4: 24,
      nodeCidrMaskSizeIpv6: 64,
      rootCa: "",
      nodeMonitorGracePeriodMs: 50_000,
      terminatedPodThreshold: 0,
    },
    resources: [],
    signal,
    factories: [memberController(etcd)],
  });
  for (const { name, peerUrls } of members) {
    const nodeName = name.split("-")[0]!;
    void keepNodeMetadata({
      client,
      nodeName,
      member: { name, address: new URL(peerUrls[0]!).hostname },
      clock: ioClock,
      logger: silentLogger,
      signal,
    });
    await client.create<Node>(nodes, { apiVersion: "v1", kind: "Node", metadata: { name: nodeName } });
  }
  for (const { name } of members) await eventually(async () => assert.ok(await isGuarded(client, name)), patienceMs);
  return { client, etcd };
}

async function isGuarded(client: Client, memberName: string): Promise<boolean> {
  const { metadata } = await client.get(nodes, memberName.split("-")[0]!);
  return metadata.finalizers?.includes("wrangler.cattle.io/managed-etcd-controller") ?? false;
}

const isGone = (client: Client, name: string) =>
  assert.rejects(client.get(nodes, name), (error) => error instanceof StatusError && error.code === 404);

describe("members of etcd and their Nodes", () => {
  test("a server's Node has K3s' label and annotations, and goes with its member when it is deleted", async (context) => {
    const { client, etcd } = await start(context, [
      member(1n, "one-aaaaaaaa", "10.0.0.1"),
      member(2n, "two-bbbbbbbb", "10.0.0.2"),
    ]);
    const { metadata } = await client.get(nodes, "two");
    assert.equal(metadata.labels?.["node-role.kubernetes.io/etcd"], "true");
    assert.equal(metadata.annotations?.["etcd.k3s.cattle.io/node-name"], "two-bbbbbbbb");
    assert.equal(metadata.annotations?.["etcd.k3s.cattle.io/node-address"], "10.0.0.2");
    await client.delete(nodes, "two");
    await eventually(() => isGone(client, "two"), patienceMs);
    assert.deepEqual(
      etcd.members.map(({ name }) => name),
      ["one-aaaaaaaa"],
    );
  });

  test("K3s' annotation removes a member while its Node stays, but never the only one", async (context) => {
    const { client, etcd } = await start(context, [
      member(1n, "one-aaaaaaaa", "10.0.0.1"),
      member(2n, "two-bbbbbbbb", "10.0.0.2"),
    ]);
    const body = { metadata: { annotations: { "etcd.k3s.cattle.io/remove": "true" } } };
    const removedOf = async (name: string) =>
      (await client.get(nodes, name)).metadata.annotations?.["etcd.k3s.cattle.io/removed-node-name"];
    await client.patch(nodes, "two", { type: "merge", body });
    await eventually(async () => assert.equal(await removedOf("two"), "two-bbbbbbbb"), patienceMs);
    assert.equal(etcd.members.length, 1);
    await client.patch(nodes, "one", { type: "merge", body });
    await client.delete(nodes, "one");
    await eventually(() => isGone(client, "one"), patienceMs);
    assert.equal(etcd.members.length, 1);
  });

  test("the only member stays when its Node is deleted, since all data is there", async (context) => {
    const { client, etcd } = await start(context, [member(1n, "one-aaaaaaaa", "10.0.0.1")]);
    await client.delete(nodes, "one");
    await eventually(() => isGone(client, "one"), patienceMs);
    assert.equal(etcd.members.length, 1);
  });
});
