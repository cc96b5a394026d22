import assert from "node:assert/strict";
import { test } from "node:test";
import { type Node, nodes } from "../../../../src/api/generated/core-v1.ts";
import { startControllers } from "../../../../src/controllers/manager.ts";
import { clusterClock } from "../../../../src/machinery/clock.ts";
import { silentLogger } from "../../../../src/machinery/log.ts";
import { GrpcError } from "../../../../src/rpc/grpc-client.ts";
import type { Member, MemberClient } from "../../../../src/server/etcd/member-client.ts";
import { voterConditionController } from "../../../../src/server/etcd/voter-condition.ts";
import { startControlPlane } from "../../../support/control-plane.ts";
import { eventually } from "../../../support/eventually.ts";

const patienceMs = 60_000;
const url = (name: string) => `https://${name}.invalid:2379`;
const member = (name: string, isLearner = false): Member => ({
  id: BigInt(name.length),
  name,
  peerUrls: [],
  clientUrls: [url(name)],
  isLearner,
});

test("the Node of a server with embedded etcd has K3s' condition that says whether its member votes and answers", async (context) => {
  const { client, signal } = await startControlPlane(context);
  const members = [member("voter"), member("learner", true), member("silent")];
  const silent = new Set([url("silent")]);
  const connect = (clientUrls: readonly string[]) =>
    ({
      list: async () => members,
      status: async () => {
        if (clientUrls.some((each) => silent.has(each))) throw new GrpcError("UNAVAILABLE", "connection refused");
        return { memberId: 1n, isLearner: false, appliedIndex: 1, errors: [] };
      },
      close: () => {},
    }) as unknown as MemberClient;
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
    factories: [voterConditionController(connect([]), connect)],
  });
  const create = (name: string, labels: Record<string, string>) =>
    client.create<Node>(nodes, {
      apiVersion: "v1",
      kind: "Node",
      metadata: { name, labels, annotations: { "etcd.k3s.cattle.io/node-name": name } },
    });
  const role = { "node-role.kubernetes.io/etcd": "true" };
  for (const { name } of members) await create(name, role);
  await create("stranger", role);
  await create("agent", {});

  const conditionOf = async (name: string) =>
    (await client.get(nodes, name)).status?.conditions?.find(({ type }) => type === "EtcdIsVoter");
  const becomes = (name: string, status: string, reason: string) =>
    eventually(async () => {
      const condition = await conditionOf(name);
      assert.deepEqual([condition?.status, condition?.reason], [status, reason]);
    }, patienceMs);
  await becomes("voter", "True", "MemberNotLearner");
  await becomes("learner", "False", "MemberIsLearner");
  await becomes("stranger", "False", "NotAMember");
  await becomes("silent", "False", "Unhealthy");
  assert.match((await conditionOf("silent"))?.message ?? "", /connection refused/);
  assert.equal(await conditionOf("agent"), undefined);

  // The Node of a server that comes back says so, and is looked at then.
  silent.clear();
  const body = { status: { conditions: [{ type: "Ready", status: "True" }] } };
  await client.patch(nodes, "silent", { type: "strategic", body }, { subresource: "status" });
  await becomes("silent", "True", "MemberNotLearner");
});
