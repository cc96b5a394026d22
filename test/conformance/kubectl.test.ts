/** What the real kubectl makes of the API, as the conformance tests of sig-cli ask that need no containers. */
import assert from "node:assert/strict";
import { request } from "node:http";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { endpoints, type Pod, pods, services } from "../../src/api/generated/core-v1.ts";
import { type Cluster, conformance, withHollowNodes } from "./conformance.ts";
import { isGone, soon } from "./waiting.ts";
import { areRunning } from "./workloads.ts";

withHollowNodes({ names: ["one", "two"] });

const area = "[sig-cli] Kubectl client";

/** kubectl in the case's namespace. */
const run = ({ server, namespace }: Cluster, args: readonly string[], input?: object): Promise<string> =>
  server.kubectl([...args, "-n", namespace], input ? { input: JSON.stringify(input) } : {});

const labels = { app: "primary", role: "primary" };
const template = (image = "i") => ({
  metadata: { labels },
  spec: { containers: [{ name: "c", image, ports: [{ containerPort: 6379, name: "server" }] }] },
});
const controller = {
  apiVersion: "v1",
  kind: "ReplicationController",
  metadata: { name: "primary", labels },
  spec: { replicas: 1, selector: labels, template: template() },
};

async function makeController(cluster: Cluster): Promise<Pod> {
  await run(cluster, ["create", "-f", "-"], controller);
  const [pod] = await areRunning(cluster, 1);
  return pod!;
}

/** Each line begins with the first part and holds the others. */
function says(output: string, expected: readonly (readonly string[])[]): void {
  const lines = output.split("\n");
  for (const [start = "", ...parts] of expected) {
    const found = lines.some((line) => line.includes(start) && parts.every((part) => line.includes(part)));
    assert.ok(found, `no line has ${JSON.stringify([start, ...parts])} in:\n${output}`);
  }
}

conformance(
  `${area} Kubectl api-versions should check if v1 is in available api versions [Conformance]`,
  async (_, cluster) => {
    const lines = (await run(cluster, ["api-versions"])).split("\n");
    assert.ok(lines.includes("v1"));
  },
);

conformance(
  `${area} Kubectl cluster-info should check if Kubernetes control plane services is included in cluster-info [Conformance]`,
  async (_, cluster) => {
    assert.match(await run(cluster, ["cluster-info"]), /Kubernetes control plane.*is running at/);
  },
);

conformance(`${area} Kubectl version should check is all data is printed [Conformance]`, async (_, cluster) => {
  const output = await run(cluster, ["version"]);
  for (const side of ["Client", "Server"]) assert.match(output, new RegExp(`${side} Version: v\\d\\.\\d+\\.[\\w.+-]+`));
});

conformance(
  `${area} Kubectl describe should check if kubectl describe prints relevant information for rc and pods [Conformance]`,
  async (_, cluster) => {
    const { namespace } = cluster;
    const pod = await makeController(cluster);
    const service = {
      apiVersion: "v1",
      kind: "Service",
      metadata: { name: "primary", labels },
      spec: { selector: labels, ports: [{ port: 6379, targetPort: "server" }] },
    };
    await run(cluster, ["create", "-f", "-"], service);
    const common = [["Namespace:", namespace], ["Labels:", "app=primary"], ["role=primary"], ["Annotations:"]];
    says(await run(cluster, ["describe", "pod", pod.metadata.name ?? ""]), [
      ["Name:", "primary-"],
      ...common,
      ["Node:"],
      ["Status:", "Running"],
      ["IP:"],
      ["Controlled By:", "ReplicationController/primary"],
      ["Image:", "i"],
      ["State:", "Running"],
      ["QoS Class:", "BestEffort"],
    ]);
    await soon(async () =>
      says(await run(cluster, ["describe", "rc", "primary"]), [
        ["Name:", "primary"],
        ...common,
        ["Selector:", "app=primary,role=primary"],
        ["Replicas:", "1 current", "1 desired"],
        ["Pods Status:", "1 Running", "0 Waiting", "0 Succeeded", "0 Failed"],
        ["Pod Template:"],
        ["Image:", "i"],
        ["Events:"],
      ]),
    );
    says(await run(cluster, ["describe", "service", "primary"]), [
      ["Name:", "primary"],
      ...common,
      ["Selector:", "app=primary", "role=primary"],
      ["Type:", "ClusterIP"],
      ["IP:"],
      ["Port:", "<unset>", "6379/TCP"],
      ["Endpoints:"],
      ["Session Affinity:", "None"],
    ]);
    says(await run(cluster, ["describe", "node", "one"]), [
      ["Name:", "one"],
      ["Labels:"],
      ["Annotations:"],
      ["CreationTimestamp:"],
      ["Conditions:"],
      ["Type", "Status", "LastHeartbeatTime", "LastTransitionTime", "Reason", "Message"],
      ...[
        "Addresses:",
        "Capacity:",
        "Kernel Version:",
        "OS Image:",
        "Container Runtime Version:",
        "Kubelet Version:",
        "Pods:",
      ].map((line) => [line]),
    ]);
    says(await run(cluster, ["describe", "namespace", namespace]), [
      ["Name:", namespace],
      ["Labels:"],
      ["Annotations:"],
      ["Status:", "Active"],
    ]);
  },
);

conformance(
  `${area} Kubectl diff should check if kubectl diff finds a difference for Deployments [Conformance]`,
  async (_, cluster) => {
    const deployment = (image: string) => ({
      apiVersion: "apps/v1",
      kind: "Deployment",
      metadata: { name: "d", labels },
      spec: { replicas: 1, selector: { matchLabels: labels }, template: template(image) },
    });
    await run(cluster, ["create", "-f", "-"], deployment("image-before"));
    const { server, namespace } = cluster;
    const result = await server.tryKubectl(["diff", "-n", namespace, "-f", "-"], {
      input: JSON.stringify(deployment("image-after")),
    });
    assert.equal(result.code, 1, result.stderr);
    assert.match(result.stdout, /^-\s.*image-before$/m);
    assert.match(result.stdout, /^\+\s.*image-after$/m);
  },
);

conformance(`${area} Kubectl expose should create services for rc [Conformance]`, async (_, cluster) => {
  const { client, namespace } = cluster;
  const pod = await makeController(cluster);
  const { status } = await soon(async () => {
    const present = await client.get(pods, pod.metadata.name ?? "", { namespace });
    assert.ok(present.status?.podIP);
    return present;
  });
  const leadsTo = (name: string, port: number) =>
    soon(async () => {
      const { spec } = await client.get(services, name, { namespace });
      assert.equal(spec?.ports?.[0]?.port, port);
      const { subsets } = await client.get(endpoints, name, { namespace });
      assert.deepEqual(
        subsets?.map(({ addresses, ports }) => [addresses?.[0]?.ip, ports?.[0]?.port]),
        [[status?.podIP, 6379]],
      );
    });
  await run(cluster, ["expose", "rc", "primary", "--name=rm2", "--port=1234", "--target-port=6379"]);
  await leadsTo("rm2", 1234);
  await run(cluster, ["expose", "service", "rm2", "--name=rm3", "--port=2345", "--target-port=6379"]);
  await leadsTo("rm3", 2345);
});

const pause = {
  apiVersion: "v1",
  kind: "Pod",
  metadata: { name: "pause", labels: { name: "pause" } },
  spec: { containers: [{ name: "c", image: "i" }] },
};

conformance(`${area} Kubectl label should update the label on a resource [Conformance]`, async (_, cluster) => {
  await run(cluster, ["create", "-f", "-"], pause);
  await areRunning(cluster, 1);
  const column = () => run(cluster, ["get", "pod", "pause", "-L", "testing-label", "--no-headers"]);
  await run(cluster, ["label", "pods", "pause", "testing-label=testing-label-value"]);
  assert.match(await column(), /testing-label-value\s*$/);
  await run(cluster, ["label", "pods", "pause", "testing-label-"]);
  assert.doesNotMatch(await column(), /testing-label-value/);
});

conformance(`${area} Kubectl patch should add annotations for pods in rc [Conformance]`, async (_, cluster) => {
  const { client, namespace } = cluster;
  const pod = await makeController(cluster);
  await run(cluster, ["patch", "pod", pod.metadata.name ?? "", "-p", '{"metadata":{"annotations":{"x":"y"}}}']);
  const { items } = await client.list(pods, { namespace, labelSelector: "app=primary" });
  assert.deepEqual(
    items.map(({ metadata }) => metadata.annotations?.["x"]),
    ["y"],
  );
});

conformance(
  `${area} Kubectl run pod should create a pod from an image when restart is Never [Conformance]`,
  async (_, cluster) => {
    await run(cluster, ["run", "one-off", "--restart=Never", "--image=some-image"]);
    const { spec } = await cluster.client.get(pods, "one-off", { namespace: cluster.namespace });
    assert.deepEqual([spec?.containers[0]?.image, spec?.restartPolicy], ["some-image", "Never"]);
  },
);

conformance(
  `${area} Kubectl replace should update a single-container pod's image [Conformance]`,
  async (_, cluster) => {
    const { client, namespace } = cluster;
    await run(cluster, ["run", "p", "--image=image-before", "--labels=run=p"]);
    await areRunning(cluster, 1, "run=p");
    // What it replaces is of one version, and controllers may write another in between.
    await soon(async () => {
      const present = await cluster.server.kubectlJson<Pod>(["get", "pod", "p", "-n", namespace]);
      await run(cluster, ["replace", "-f", "-"], {
        ...present,
        spec: {
          ...present.spec,
          containers: present.spec!.containers.map((container) => ({ ...container, image: "image-after" })),
        },
      });
    });
    assert.equal((await client.get(pods, "p", { namespace })).spec?.containers[0]?.image, "image-after");
    await run(cluster, ["delete", "pods", "p"]);
    await isGone(client, pods, "p", { namespace });
  },
);

conformance(
  `${area} Kubectl server-side dry-run should check if kubectl can dry-run update Pods [Conformance]`,
  async (_, cluster) => {
    const { client, namespace } = cluster;
    await run(cluster, ["run", "p", "--image=image-before", "--labels=run=p"]);
    const patch = JSON.stringify({ spec: { containers: [{ name: "p", image: "image-after" }] } });
    assert.match(await run(cluster, ["patch", "pod", "p", "-p", patch, "--dry-run=server"]), /pod\/p patched/);
    assert.equal((await client.get(pods, "p", { namespace })).spec?.containers[0]?.image, "image-before");
  },
);

/** What kubectl's proxy answers for /api/. */
function askProxy(options: { port: number } | { socketPath: string }): Promise<{ versions: string[] }> {
  return new Promise((resolve, reject) => {
    const call = request({ ...options, host: "localhost", path: "/api/" }, (response) => {
      let text = "";
      response.on("data", (chunk: Buffer) => {
        text += chunk.toString();
      });
      response.on("end", () => resolve(JSON.parse(text)));
    });
    call.on("error", reject);
    call.end();
  });
}

function startProxy(t: TestContext, { server }: Cluster, flag: string) {
  const proxy = server.startKubectl(["proxy", flag]);
  t.after(() => proxy.stop());
  return proxy;
}

conformance(`${area} Proxy server should support proxy with --port 0 [Conformance]`, async (t, cluster) => {
  // With what ends the line: a part of the number may arrive alone.
  const [, port] = await startProxy(t, cluster, "--port=0").waitFor(/Starting to serve on 127\.0\.0\.1:(\d+)\s/);
  assert.deepEqual((await askProxy({ port: Number(port) })).versions, ["v1"]);
});

conformance(`${area} Proxy server should support --unix-socket=/path [Conformance]`, async (t, cluster) => {
  const socketPath = join(cluster.server.directory, "proxy.sock");
  await startProxy(t, cluster, `--unix-socket=${socketPath}`).waitFor(/Starting to serve on/);
  assert.deepEqual((await askProxy({ socketPath })).versions, ["v1"]);
});
