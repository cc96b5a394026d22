import assert from "node:assert/strict";
import { describe, type TestContext, test } from "node:test";
import { type Deployment, deployments } from "../../../src/api/generated/apps-v1.ts";
import { type Lease, leases } from "../../../src/api/generated/coordination-v1.ts";
import { nodes, pods, serviceAccounts } from "../../../src/api/generated/core-v1.ts";
import type { Client } from "../../../src/client/client.ts";
import { silentLogger } from "../../../src/machinery/log.ts";
import { loadControlLoops, startControlLoops } from "../../../src/server/control-loops.ts";
import { eventually } from "../../support/eventually.ts";
import { type SharingServer, startSharingServer } from "../../support/shared-control-plane.ts";
import { openSharedStore } from "../../support/shared-store.ts";

const patienceMs = 60_000;
const namespace = "default";

/** A client that counts its calls. */
function counted(client: Client, calls: { count: number }): Client {
  return new Proxy(client, {
    get: (target, name: keyof Client) => {
      return (...args: unknown[]) => {
        calls.count++;
        return (target[name] as (...args: unknown[]) => unknown)(...args);
      };
    },
  });
}

/** Controllers and scheduler of one server of several. */
async function startLoops(t: TestContext, { server }: SharingServer, nodeName: string) {
  const stopping = new AbortController();
  const calls = { count: 0 };
  const loops = await startControlLoops(
    {
      shared: true,
      nodeName,
      client: (name, groups) => counted(server.client({ name, groups }), calls),
      controllers: {
        clusterName: "kubernetes",
        clusterCidrs: ["10.42.0.0/16"],
        nodeCidrMaskSizeIpv4: 24,
        nodeCidrMaskSizeIpv6: 64,
        rootCa: "-----BEGIN CERTIFICATE-----\ntest\n-----END CERTIFICATE-----\n",
        nodeMonitorGracePeriodMs: 50_000,
        terminatedPodThreshold: 12_500,
      },
      clusterControllers: [],
      logger: silentLogger,
      signal: stopping.signal,
    },
    loadControlLoops(true),
  );
  const stop = async () => {
    stopping.abort(new Error("the test stops it"));
    await loops.stopped;
  };
  t.after(stop);
  return { stop, calls };
}

async function leaderOf(client: Client, name: string): Promise<string> {
  const lease: Lease = await client.get(leases, name, { namespace: "kube-system" });
  return lease.spec?.holderIdentity?.replace(/_.*$/, "") ?? "";
}

async function runs(client: Client, name: string): Promise<void> {
  const labels = { app: name };
  const deployment: Deployment = {
    metadata: { name, namespace },
    spec: {
      replicas: 2,
      selector: { matchLabels: labels },
      template: { metadata: { labels }, spec: { containers: [{ name: "c", image: "none" }] } },
    },
  };
  await client.create(deployments, deployment);
  await eventually(async () => {
    const { items } = await client.list(pods, { namespace, labelSelector: `app=${name}` });
    assert.deepEqual(
      items.map(({ spec }) => spec?.nodeName),
      ["n", "n"],
    );
  }, patienceMs);
}

describe("the control loops of several servers", () => {
  test("run where the Leases are, go on elsewhere when they are given back, and leave nothing behind", async (t) => {
    const store = await openSharedStore(t);
    const one = await startSharingServer(t, store, { advertise: { address: "192.0.2.1", port: 6443 } });
    const two = await startSharingServer(t, store, { advertise: { address: "192.0.2.2", port: 6443 } });
    const { client } = one;
    await client.create(nodes, { metadata: { name: "n" } });
    const status = {
      conditions: [{ type: "Ready", status: "True" }],
      allocatable: { cpu: "4", memory: "4Gi", pods: "110" },
    };
    await client.patch(nodes, "n", { type: "merge", body: { status } }, { subresource: "status" });
    const first = await startLoops(t, one, "first");
    await eventually(async () => {
      await client.get(serviceAccounts, "default", { namespace });
      assert.equal(await leaderOf(client, "kube-controller-manager"), "first");
      assert.equal(await leaderOf(client, "kube-scheduler"), "first");
    }, patienceMs);
    const second = await startLoops(t, two, "second");
    await runs(client, "a");
    assert.equal(await leaderOf(client, "kube-controller-manager"), "first");

    await first.stop();
    const stopped = first.calls.count;
    await eventually(async () => {
      assert.equal(await leaderOf(client, "kube-controller-manager"), "second");
      assert.equal(await leaderOf(client, "kube-scheduler"), "second");
    }, patienceMs);
    await runs(client, "b");
    assert.equal(first.calls.count, stopped, "nothing of the first one calls any more");

    // The same process can lead again.
    const third = await startLoops(t, one, "third");
    await second.stop();
    await eventually(async () => assert.equal(await leaderOf(client, "kube-controller-manager"), "third"), patienceMs);
    await runs(client, "c");
    await third.stop();
    assert.equal(await leaderOf(client, "kube-scheduler"), "");
  });
});
