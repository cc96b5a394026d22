import assert from "node:assert/strict";
import { test } from "node:test";
import { type Deployment, deployments, replicaSets } from "../../../src/api/generated/apps-v1.ts";
import {
  configMaps,
  endpoints,
  namespaces,
  pods,
  serviceAccounts,
  services,
} from "../../../src/api/generated/core-v1.ts";
import { endpointSlices } from "../../../src/api/generated/discovery-v1.ts";
import { controllerFactories } from "../../../src/controllers/list.ts";
import { startControlPlane } from "../../support/control-plane.ts";
import { eventually } from "../../support/eventually.ts";
import { startHollowNodes } from "../../support/hollow-nodes.ts";

const namespace = "default";

function deployment(name: string, replicas: number, image = "web:1"): Deployment {
  const labels = { app: name };
  return {
    metadata: { name, namespace },
    spec: {
      replicas,
      selector: { matchLabels: labels },
      template: { metadata: { labels }, spec: { containers: [{ name: "web", image }] } },
    },
  };
}

test("a Deployment becomes pods behind a Service, rolls to another image, and is collected with all that it owns", async (t) => {
  const { client, signal } = await startControlPlane(t, { controllers: controllerFactories });
  await startHollowNodes(client, { names: ["one", "two", "three"], signal });
  await eventually(() => client.get(serviceAccounts, "default", { namespace }));
  await eventually(() => client.get(configMaps, "kube-root-ca.crt", { namespace }));

  await client.create(deployments, deployment("web", 3));
  await client.create(services, {
    metadata: { name: "web", namespace },
    spec: { selector: { app: "web" }, ports: [{ port: 80, targetPort: 8080 }] },
  });
  const available = async (replicas: number, updated = replicas) => {
    const { status } = await client.get(deployments, "web", { namespace });
    assert.deepEqual(
      [status?.availableReplicas, status?.updatedReplicas, status?.replicas],
      [replicas, updated, replicas],
    );
  };
  await eventually(() => available(3));
  await eventually(async () => {
    const { items } = await client.list(endpointSlices, { namespace, labelSelector: "kubernetes.io/service-name=web" });
    assert.equal(
      items.flatMap((slice) => slice.endpoints ?? []).filter(({ conditions }) => conditions?.ready).length,
      3,
    );
    const { subsets } = await client.get(endpoints, "web", { namespace });
    assert.equal(subsets?.[0]?.addresses?.length, 3);
    assert.equal(subsets?.[0]?.ports?.[0]?.port, 8080);
  });

  const patch = { spec: { template: { spec: { containers: [{ name: "web", image: "web:2" }] } } } };
  await client.patch(deployments, "web", { type: "strategic", body: patch }, { namespace });
  await eventually(async () => {
    await available(3);
    const { items } = await client.list(pods, { namespace });
    assert.deepEqual(
      items.map((pod) => pod.spec?.containers[0]?.image),
      ["web:2", "web:2", "web:2"],
    );
    const { metadata, status } = await client.get(deployments, "web", { namespace });
    assert.equal(metadata.annotations?.["deployment.kubernetes.io/revision"], "2");
    assert.equal(status?.conditions?.find(({ type }) => type === "Progressing")?.reason, "NewReplicaSetAvailable");
  });
  assert.equal((await client.list(replicaSets, { namespace })).items.length, 2);

  await client.patch(deployments, "web", { type: "merge", body: { spec: { replicas: 5 } } }, { namespace });
  await eventually(() => available(5));

  await client.delete(deployments, "web", { namespace });
  await eventually(async () => {
    assert.deepEqual((await client.list(replicaSets, { namespace })).items, []);
    assert.deepEqual((await client.list(pods, { namespace })).items, []);
  });
});

test("a deleted namespace takes its content with it", async (t) => {
  const { client, signal } = await startControlPlane(t, { controllers: controllerFactories });
  await startHollowNodes(client, { names: ["one"], signal });
  await client.create(namespaces, { metadata: { name: "short" } });
  await eventually(() => client.get(serviceAccounts, "default", { namespace: "short" }));
  const template = deployment("web", 2);
  await client.create(deployments, { ...template, metadata: { name: "web", namespace: "short" } });
  await eventually(async () => assert.equal((await client.list(pods, { namespace: "short" })).items.length, 2));
  await client.delete(namespaces, "short");
  await eventually(() => assert.rejects(client.get(namespaces, "short"), { code: 404 }));
  assert.deepEqual((await client.list(deployments, { namespace: "short" })).items, []);
});
