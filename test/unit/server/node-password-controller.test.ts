import assert from "node:assert/strict";
import { describe, type TestContext, test } from "node:test";
import { nodes, secrets } from "../../../src/api/generated/core-v1.ts";
import { builtInResources } from "../../../src/api/registry.ts";
import type { Client } from "../../../src/client/client.ts";
import type { ControllerFactory } from "../../../src/controllers/controller.ts";
import { garbageCollector } from "../../../src/controllers/garbage-collector.ts";
import { startControllers } from "../../../src/controllers/manager.ts";
import { type Clock, clusterClock } from "../../../src/machinery/clock.ts";
import { silentLogger } from "../../../src/machinery/log.ts";
import { StatusError } from "../../../src/machinery/status.ts";
import { nodePasswordController } from "../../../src/server/node-password-controller.ts";
import { ensureNodePassword, nodePasswordSecretName } from "../../../src/server/node-passwords.ts";
import { startControlPlane } from "../../support/control-plane.ts";
import { eventually } from "../../support/eventually.ts";
import { FakeClock } from "../../support/fake-clock.ts";

/** A control plane in which the server's own controllers are who the server is. */
async function start(
  context: TestContext,
  { factories, clock = clusterClock }: { factories: readonly ControllerFactory[]; clock?: Clock },
): Promise<Client> {
  const { client, signal } = await startControlPlane(context);
  const { synced, stopped } = startControllers({
    client,
    clientFor: () => client,
    clock,
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
    resources: builtInResources.filter(({ verbs }) => verbs.includes("watch") && verbs.includes("delete")),
    signal,
    factories,
  });
  context.after(() => stopped);
  await synced;
  return client;
}

const patienceMs = 60_000;
const namespace = "kube-system";
const secretOf = (client: Client, node: string) => client.get(secrets, nodePasswordSecretName(node), { namespace });
const isForbidden = (error: unknown) => error instanceof StatusError && error.code === 403;
const isNotFound = (error: unknown) => error instanceof StatusError && error.code === 404;

describe("the password of a node (K3s' rules)", () => {
  test("goes with its Node, and another machine may come under the name then", async (context) => {
    const client = await start(context, { factories: [nodePasswordController, garbageCollector] });
    await ensureNodePassword(client, "one", "first");
    assert.equal((await secretOf(client, "one")).type, "k3s.cattle.io/node-password");
    const { metadata } = await client.create(nodes, { apiVersion: "v1", kind: "Node", metadata: { name: "one" } });
    await eventually(async () => {
      const owners = (await secretOf(client, "one")).metadata.ownerReferences ?? [];
      assert.deepEqual(owners, [{ apiVersion: "v1", kind: "Node", name: "one", uid: metadata.uid }]);
    }, patienceMs);
    await assert.rejects(ensureNodePassword(client, "one", "second"), isForbidden);
    await client.delete(nodes, "one");
    await eventually(() => ensureNodePassword(client, "one", "second"), patienceMs);
  });

  test("is kept for a node that has no Node yet, and forgotten after ten minutes when none has come", async (context) => {
    const clock = new FakeClock(Date.now());
    const client = await start(context, { factories: [nodePasswordController], clock });
    await ensureNodePassword(client, "never", "first");
    await ensureNodePassword(client, "late", "first");
    await eventually(() => assert.ok(clock.pending >= 2), patienceMs);
    await clock.advance(9 * 60_000);
    await client.create(nodes, { apiVersion: "v1", kind: "Node", metadata: { name: "late" } });
    await eventually(
      async () => assert.equal((await secretOf(client, "late")).metadata.ownerReferences?.length, 1),
      patienceMs,
    );
    await ensureNodePassword(client, "never", "first");
    await clock.advance(2 * 60_000);
    await eventually(() => assert.rejects(secretOf(client, "never"), isNotFound), patienceMs);
    await ensureNodePassword(client, "late", "first");
  });
});
