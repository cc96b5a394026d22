/** What the conformance tests ask of running pods: addresses, deadlines, generations, probes and streams. */
import assert from "node:assert/strict";
import { describe } from "node:test";
import { replicaSets } from "../../src/api/generated/apps-v1.ts";
import { jobs } from "../../src/api/generated/batch-v1.ts";
import { type Pod, pods, replicationControllers, services } from "../../src/api/generated/core-v1.ts";
import type { KubeObject, ResourceType } from "../../src/machinery/object.ts";
import { conformance, type Nodes, shell, testImage, useNodes } from "../conformance/on-nodes.ts";
import { soon } from "../conformance/waiting.ts";

useNodes();

const some = "[sig-node] Pods should";
const probe = "[sig-node] Probing container";
const generation = "[sig-node] Pods Extended (pod generation) Pod Generation";
const plain = "[NodeConformance] [Conformance]";

const sleep = { command: ["sleep", "10000"] };
const restarts = (pod: Pod) => pod.status?.containerStatuses?.[0]?.restartCount ?? 0;
const path = ({ namespace }: Nodes, subresource: string) => `/api/v1/namespaces/${namespace}/pods/p/${subresource}`;

/** Changes a pod as a client does: reads it, and writes it again until nobody else was faster. */
function change({ client, namespace }: Nodes, edit: (pod: Pod) => void): Promise<Pod> {
  return soon(async () => {
    const pod = structuredClone(await client.get(pods, "p", { namespace }));
    edit(pod);
    return client.update(pods, pod, { namespace });
  });
}

describe("pods", { concurrency: 6 }, () => {
  conformance(`${some} get a host IP ${plain}`, async (nodes) => {
    await nodes.create("p");
    const { status } = await nodes.becomes("p", (pod) => !!pod.status?.hostIP);
    assert.match(status!.hostIP!, /^\d+\.\d+\.\d+\.\d+$/);
  });
  conformance(`${some} allow activeDeadlineSeconds to be updated ${plain}`, async (nodes) => {
    const { client, namespace } = nodes;
    await nodes.create("p", {}, {}, { labels: { time: "now" } });
    await nodes.ready("p");
    assert.equal((await client.list(pods, { namespace, labelSelector: "time=now" })).items.length, 1);
    await change(nodes, ({ spec }) => {
      spec!.activeDeadlineSeconds = 5;
    });
    const { status } = await nodes.ended("p");
    assert.deepEqual([status!.phase, status!.reason], ["Failed", "DeadlineExceeded"]);
  });
  conformance(`${some} contain environment variables for services ${plain}`, async (nodes) => {
    const { client, namespace } = nodes;
    await nodes.create("server", {}, {}, { labels: { app: "server" } });
    await nodes.ready("server");
    const spec = { selector: { app: "server" }, ports: [{ port: 8765, targetPort: 80 }] };
    const service = await client.create(services, { metadata: { name: "fooservice", namespace }, spec });
    const ip = service.spec!.clusterIP!;
    const expected = [
      `FOOSERVICE_SERVICE_HOST=${ip}`,
      "FOOSERVICE_SERVICE_PORT=8765",
      `FOOSERVICE_PORT=tcp://${ip}:8765`,
      "FOOSERVICE_PORT_8765_TCP_PORT=8765",
      "FOOSERVICE_PORT_8765_TCP_PROTO=tcp",
      `FOOSERVICE_PORT_8765_TCP=tcp://${ip}:8765`,
      `FOOSERVICE_PORT_8765_TCP_ADDR=${ip}`,
    ];
    // The node hears of the service a moment later: a pod that starts before that does not have them.
    let attempt = 0;
    await soon(async () => {
      const name = `p-${++attempt}`;
      await nodes.create(name, shell("env"));
      await nodes.ended(name);
      const lines = (await nodes.logs(name)).split("\n");
      assert.deepEqual(
        expected.filter((line) => !lines.includes(line)),
        [],
      );
    });
  });
  conformance(`${some} support remote command execution over websockets ${plain}`, async (nodes) => {
    await nodes.create("p", sleep);
    await nodes.ready("p");
    const query = "stdout=1&stderr=1&container=p&command=echo&command=remote+execution+test";
    const messages = await nodes.listen(path(nodes, `exec?${query}`), "channel.k8s.io");
    // Empty messages open the channels.
    const said = messages.filter(({ length }) => length > 1);
    assert.deepEqual([...new Set(said.map(([channel]) => channel))], [1]);
    assert.equal(Buffer.concat(said.map((data) => data.subarray(1))).toString(), "remote execution test\n");
  });
  conformance(`${some} support retrieving logs from the container over websockets ${plain}`, async (nodes) => {
    await nodes.create("p", shell("echo container is alive; sleep 10000"));
    await nodes.becomes("p", (pod) => !!pod.status?.containerStatuses?.[0]?.state?.running);
    await soon(async () => {
      const messages = await nodes.listen(path(nodes, "log?container=p"), "binary.k8s.io");
      assert.equal(Buffer.concat(messages).toString(), "container is alive\n");
    });
  });

  conformance(
    `${generation} pod generation should start at 1 and increment per update [MinimumKubeletVersion:1.34] [Conformance]`,
    async (nodes) => {
      const initContainers = [{ name: "first", image: testImage, command: ["true"] }];
      await nodes.create("p", sleep, { initContainers });
      assert.equal((await nodes.ready("p")).metadata.generation, 1);
      let expected = 1;
      const updates: [edit: (pod: Pod) => void, counts: boolean][] = [
        [() => {}, false],
        [
          ({ spec }) => spec!.tolerations!.push({ key: "foo", operator: "Equal", value: "b", effect: "NoSchedule" }),
          true,
        ],
        [({ spec }) => Object.assign(spec!, { activeDeadlineSeconds: 5000 }), true],
        [({ spec }) => Object.assign(spec!.containers[0]!, { image: "k3ts/test-entry:1.0" }), true],
        [({ spec }) => Object.assign(spec!.initContainers![0]!, { image: "k3ts/test-entry:1.0" }), true],
        [({ metadata }) => Object.assign(metadata, { annotations: { key: "value" } }), false],
        [({ metadata }) => Object.assign(metadata, { generation: 1 }), false],
      ];
      for (const [edit, counts] of updates) {
        if (counts) expected++;
        assert.equal((await change(nodes, edit)).metadata.generation, expected);
        await nodes.becomes("p", ({ status }) => status?.observedGeneration === expected);
      }
    },
  );
  conformance(
    `${generation} issue 500 podspec updates and verify generation and observedGeneration eventually converge [MinimumKubeletVersion:1.34] [Conformance]`,
    async (nodes) => {
      await nodes.create("p", {}, { activeDeadlineSeconds: 5000 });
      await nodes.ready("p");
      for (let update = 0; update < 499; update++)
        await change(nodes, ({ spec }) => {
          spec!.activeDeadlineSeconds!--;
        });
      const pod = await nodes.becomes("p", ({ status }) => status?.observedGeneration === 500);
      assert.equal(pod.metadata.generation, 500);
    },
  );

  const restarted = (script: string, livenessProbe: object) => async (nodes: Nodes) => {
    const container = {
      ...shell(script),
      livenessProbe: { initialDelaySeconds: 5, failureThreshold: 1, ...livenessProbe },
    };
    await nodes.create("p", container, { restartPolicy: "Always" });
    await nodes.becomes("p", (pod) => !!pod.status?.containerStatuses?.[0]?.state?.running);
    await nodes.becomes("p", (pod) => restarts(pod) >= 1);
  };
  conformance(
    `${probe} should be restarted with a exec "cat /tmp/health" liveness probe ${plain}`,
    restarted("echo ok > /tmp/health; sleep 10; rm /tmp/health; sleep 600", {
      exec: { command: ["cat", "/tmp/health"] },
      timeoutSeconds: 5,
    }),
  );
  conformance(
    `${probe} should be restarted with a /healthz http liveness probe ${plain}`,
    restarted("echo ok > /www/healthz; (sleep 10; rm /www/healthz) & exec web", {
      httpGet: { path: "/healthz", port: 80 },
      timeoutSeconds: 5,
    }),
  );
  conformance(
    `${probe} with readiness probe should not be ready before initial delay and never restart ${plain}`,
    async (nodes) => {
      const delaySeconds = 30;
      const readinessProbe = { httpGet: { path: "/", port: 80 }, initialDelaySeconds: delaySeconds, timeoutSeconds: 5 };
      await nodes.create("p", { readinessProbe });
      const pod = await nodes.ready("p");
      const started = Date.parse(pod.status!.containerStatuses![0]!.state!.running!.startedAt!);
      const ready = Date.parse(pod.status!.conditions!.find(({ type }) => type === "Ready")!.lastTransitionTime!);
      assert.ok(ready - started >= delaySeconds * 1000, `it was ready after ${ready - started} ms`);
      assert.equal(restarts(pod), 0);
    },
  );

  conformance(
    `${probe} should be restarted with a GRPC liveness probe ${plain}`,
    // Nobody listens there.
    restarted("exec web", { grpc: { port: 2333 }, timeoutSeconds: 5 }),
  );

  conformance("[sig-node] PreStop should call prestop when killing a pod [Conformance]", async (nodes) => {
    const script = `mkdir /www/cgi-bin; cd /www/cgi-bin
      printf '#!/bin/sh\\ncat > /www/read; printf "Content-Type: text/plain\\\\n\\\\nthanks"\\n' > write
      chmod +x write; exec web`;
    const readinessProbe = { tcpSocket: { port: 80 }, periodSeconds: 1 };
    await nodes.create("server", { ...shell(script), readinessProbe });
    const { podIP } = (await nodes.ready("server")).status!;
    const send = ["wget", "-O-", "--post-data=prestop", `http://${podIP}/cgi-bin/write`];
    await nodes.create(
      "p",
      { lifecycle: { preStop: { exec: { command: send } } } },
      { terminationGracePeriodSeconds: 30 },
    );
    await nodes.ready("p");
    const at = `/api/v1/namespaces/${nodes.namespace}/pods/server/proxy/read`;
    assert.equal((await nodes.send(at)).code, 404);
    await nodes.remove("p");
    await soon(async () => assert.equal((await nodes.send(at)).text, "prestop"));
  });

  conformance(
    "[sig-apps] Job should run a job to completion when tasks sometimes fail and are locally restarted [Conformance]",
    async ({ client, namespace }) => {
      const once = "if [ -e /v/ran ]; then exit 0; fi; touch /v/ran; exit 1";
      const container = { name: "c", image: testImage, ...shell(once), volumeMounts: [{ name: "v", mountPath: "/v" }] };
      const volumes = [{ name: "v", emptyDir: {} }];
      const template = { spec: { restartPolicy: "OnFailure", volumes, containers: [container] } };
      const spec = { parallelism: 2, completions: 4, backoffLimit: 6, template };
      await client.create(jobs, { metadata: { name: "j", namespace }, spec });
      await soon(async () => {
        const { status } = await client.get(jobs, "j", { namespace });
        assert.equal(status?.succeeded, 4);
        const complete = status?.conditions?.find(({ type }) => type === "Complete");
        assert.deepEqual([complete?.status, complete?.reason], ["True", "CompletionsReached"]);
      });
    },
  );

  /** A pod's own names stand in its file of hosts. */
  const finds = (withService: boolean) => async (nodes: Nodes) => {
    const { client, namespace } = nodes;
    if (withService) {
      const spec = { clusterIP: "None", selector: { app: "p" }, ports: [{ port: 80 }] };
      await client.create(services, { metadata: { name: "sub", namespace }, spec });
    }
    await nodes.create("p", {}, { hostname: "host", subdomain: "sub" }, { labels: { app: "p" } });
    const { status } = await nodes.ready("p");
    for (const name of [`host.sub.${namespace}.svc.cluster.local`, "host"]) {
      const output = await nodes.exec("p", ["ping", "-c", "1", name]);
      assert.ok(output.startsWith(`PING ${name} (${status!.podIP}):`), output);
    }
  };
  conformance("[sig-network] DNS should provide /etc/hosts entries for the cluster [Conformance]", finds(false));
  conformance("[sig-network] DNS should provide DNS for pods for Hostname [Conformance]", finds(true));

  /** A set of web servers: each of its pods answers with its own name, through the API. */
  const serves = (type: ResourceType) => async (nodes: Nodes) => {
    const { client, namespace } = nodes;
    const template = {
      metadata: { labels: { app: "web" } },
      spec: { containers: [{ name: "web", image: testImage }] },
    };
    const matches = { app: "web" };
    const selector = type.kind === "ReplicaSet" ? { matchLabels: matches } : matches;
    const set = { metadata: { name: "web", namespace }, spec: { replicas: 1, selector, template } };
    await client.create(type, set as KubeObject);
    const names = await soon(async () => {
      const { items } = await client.list(pods, { namespace, labelSelector: "app=web" });
      assert.equal(items.length, 1);
      return items.map(({ metadata }) => metadata.name!);
    });
    for (const name of names) {
      await nodes.ready(name);
      await soon(async () => {
        const { text } = await nodes.send(`/api/v1/namespaces/${namespace}/pods/${name}/proxy/`);
        assert.equal(text.trim(), name);
      });
    }
  };
  conformance(
    "[sig-apps] ReplicaSet should serve a basic image on each replica with a public image [Conformance]",
    serves(replicaSets),
  );
  conformance(
    "[sig-apps] ReplicationController should serve a basic image on each replica with a public image [Conformance]",
    serves(replicationControllers),
  );
});
