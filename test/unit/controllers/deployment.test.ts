import assert from "node:assert/strict";
import { test } from "node:test";
import { deployments, replicaSets } from "../../../src/api/generated/apps-v1.ts";
import { deploymentController } from "../../../src/controllers/deployment.ts";
import { startControlPlane } from "../../support/control-plane.ts";
import { eventually } from "../../support/eventually.ts";

// Kubernetes: oldPodsRunning asks the sets, too. The caches of pods and of sets do not move together.
test("Recreate makes no new set while the status of an old one counts pods, though none is to be seen", async (t) => {
  const { client } = await startControlPlane(t, { controllers: [deploymentController] });
  const scope = { namespace: "default" };
  const labels = { app: "d" };
  const sets = async () => (await client.list(replicaSets, scope)).items;
  /** Waits until the controller has acted on the deployment as it was last changed. */
  const isObserved = () =>
    eventually(async () => {
      const { metadata, status } = await client.get(deployments, "d", scope);
      assert.equal(status?.observedGeneration, metadata.generation);
    }, 60_000);
  // Nobody else is here who would write a set's status.
  const count = (name: string, replicas: number) =>
    client.patch(
      replicaSets,
      name,
      { type: "merge", body: { status: { replicas } } },
      { ...scope, subresource: "status" },
    );
  const change = (spec: object) => client.patch(deployments, "d", { type: "strategic", body: { spec } }, scope);

  const containers = [{ name: "c", image: "old" }];
  await client.create(deployments, {
    metadata: { name: "d", ...scope },
    spec: {
      strategy: { type: "Recreate" },
      selector: { matchLabels: labels },
      template: { metadata: { labels }, spec: { containers } },
    },
  });
  await isObserved();
  const [old] = await sets();
  const name = old?.metadata.name ?? "";
  await count(name, 1);
  await change({ template: { spec: { containers: [{ name: "c", image: "new" }] } } });
  await eventually(async () => assert.equal((await client.get(replicaSets, name, scope)).spec?.replicas, 0), 60_000);
  // What it does with that is done when it has observed what came later.
  await change({ progressDeadlineSeconds: 700 });
  await isObserved();
  assert.deepEqual(
    (await sets()).map(({ metadata }) => metadata.name),
    [name],
  );
  await count(name, 0);
  await eventually(async () => assert.equal((await sets()).length, 2), 60_000);
});
