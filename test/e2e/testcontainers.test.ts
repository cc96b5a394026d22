import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { CoreV1Api, KubeConfig } from "@kubernetes/client-node";
import { K3sContainer, type StartedK3sContainer } from "@testcontainers/k3s";
import { serverImage } from "../../src/commands/images.ts";
import { run } from "../../tools/run.ts";
import { eventually } from "../support/eventually.ts";

/** The module of Testcontainers as it is in npm: only the image's name is ours. Needs TESTCONTAINERS_RYUK_DISABLED=true. */

let container: StartedK3sContainer;
let api: CoreV1Api;

before(async () => {
  container = await new K3sContainer(serverImage).start();
  const config = new KubeConfig();
  config.loadFromString(container.getKubeConfig());
  api = config.makeApiClient(CoreV1Api);
});
after(async () => {
  await container?.stop({ remove: true, removeVolumes: true });
});

test("the cluster has one node the moment the container is up, and it is Ready", async () => {
  const { items } = await api.listNode();
  assert.equal(items.length, 1);
  assert.equal(items[0]!.status?.conditions?.find(({ type }) => type === "Ready")?.status, "True");
});

test("a pod that is created right afterwards becomes Ready", async () => {
  // No registry: the pause image is in the node.
  const image = "rancher/mirrored-pause:3.6";
  const name = "testpod";
  await api.createNamespacedPod({
    namespace: "default",
    body: { metadata: { name }, spec: { containers: [{ name: "main", image, imagePullPolicy: "IfNotPresent" }] } },
  });
  await eventually(async () => {
    const pod = await api.readNamespacedPod({ namespace: "default", name });
    assert.equal(pod.status?.conditions?.find(({ type }) => type === "Ready")?.status, "True");
  }, 120_000);
});

test("plain commands work inside the container", async () => {
  const { output, exitCode } = await container.exec(["kubectl", "get", "pod", "testpod", "-o", "name"]);
  assert.equal(output, "pod/testpod\n");
  assert.equal(exitCode, 0);
  const [addressed] = (await run("docker", ["exec", container.getId(), "k3s", "--version"])).split("\n");
  assert.match(addressed!, /^k3s version v1\.36/);
});
