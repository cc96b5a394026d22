import assert from "node:assert/strict";
import { test } from "node:test";
import type { Cri } from "../../../../src/agent/containerd/cri.ts";
import type { PodWorker } from "../../../../src/agent/kubelet/pod-worker.ts";
import { renderMetrics, renderResourceMetrics, statsSummary } from "../../../../src/agent/kubelet/stats.ts";
import { pod, sandbox, seen } from "./pod-fixture.ts";

const atMs = Date.parse("2026-01-01T00:00:00Z");

/** What the runtime says of one container: 2 s of CPU and some memory. */
const figures = (name: string, uid: string) => ({
  attributes: {
    id: `${name}-0`,
    labels: { "io.kubernetes.pod.uid": uid, "io.kubernetes.container.name": name },
  },
  cpu: { timestamp: atMs * 1e6, usageCoreNanoSeconds: { value: 2e9 }, usageNanoCores: { value: 1e6 } },
  memory: { workingSetBytes: { value: 1000 }, usageBytes: { value: 1500 }, rssBytes: { value: 800 } },
  writableLayer: { usedBytes: { value: 42 } },
});
const cri = {
  listContainerStats: async () => [
    figures("a", "uid-1"),
    figures("b", "uid-1"),
    figures("stranger", "uid-of-nobody"),
    { ...figures("ended", "uid-1"), cpu: undefined },
  ],
} as unknown as Cri;
const worker = {
  pod: pod({}, { metadata: { name: 'p"1', namespace: "ns", uid: "uid-1" } }),
  observed: { sandboxes: [sandbox()], containers: [seen("a", { startedAtMs: atMs - 5000 }), seen("b")] },
} as unknown as PodWorker;
const workers = new Map([["uid-1", worker]]);

interface Summary {
  node: { nodeName: string; cpu: { usageCoreNanoSeconds: number }; memory: { workingSetBytes: number } };
  pods: {
    podRef: object;
    containers: { name: string; startTime: string; rootfs: { usedBytes: number } }[];
    cpu: { usageCoreNanoSeconds: number };
    memory: { workingSetBytes: number };
  }[];
}

test("the summary has the node, and of each known pod the sum and every container that has figures", async () => {
  const { node, pods } = (await statsSummary(cri, workers, "n", atMs)) as Summary;
  assert.equal(node.nodeName, "n");
  assert.ok(node.cpu.usageCoreNanoSeconds > 0 && node.memory.workingSetBytes > 0);
  assert.equal(pods.length, 1);
  assert.deepEqual(pods[0]?.podRef, { name: 'p"1', namespace: "ns", uid: "uid-1" });
  assert.deepEqual(
    pods[0]?.containers.map(({ name }) => name),
    ["a", "b"],
  );
  assert.deepEqual([pods[0]?.cpu.usageCoreNanoSeconds, pods[0]?.memory.workingSetBytes], [4e9, 2000]);
  assert.equal(pods[0]?.containers[0]?.startTime, "2025-12-31T23:59:55.000Z");
  assert.equal(pods[0]?.containers[0]?.rootfs.usedBytes, 42);
});

test("/metrics/resource has what metrics-server reads, with quotes in labels escaped", async () => {
  const lines = (await renderResourceMetrics(cri, workers, atMs)).split("\n");
  const of = String.raw`container="a",namespace="ns",pod="p\"1"`;
  assert.ok(lines.includes(`container_cpu_usage_seconds_total{${of}} 2 ${atMs}`));
  assert.ok(lines.includes(`container_memory_working_set_bytes{${of}} 1000 ${atMs}`));
  assert.ok(lines.includes(`container_start_time_seconds{${of}} ${(atMs - 5000) / 1000}`));
  assert.ok(lines.includes(String.raw`pod_memory_working_set_bytes{namespace="ns",pod="p\"1"} 2000 ${atMs}`));
  assert.ok(lines.includes("scrape_error 0"));
  assert.ok(lines.some((line) => /^node_cpu_usage_seconds_total \d/.test(line)));
  assert.equal(lines.filter((line) => line.includes("stranger")).length, 0);
});

test("every family of metrics is described before its rows", async () => {
  for (const text of [
    await renderResourceMetrics(cri, workers, atMs),
    await renderMetrics(cri, workers, true),
    await renderMetrics(cri, workers, false),
  ]) {
    let family = "";
    for (const line of text.split("\n").filter((row) => row !== "")) {
      if (line.startsWith("# TYPE ")) family = line.split(" ")[2]!;
      else if (!line.startsWith("#")) assert.match(line, new RegExp(`^${family}[{ ]`));
    }
  }
});

test("/metrics counts pods and containers that run", async () => {
  const text = await renderMetrics(cri, workers, false);
  assert.match(text, /^kubelet_running_pods 1$/m);
  assert.match(text, /^kubelet_running_containers\{container_state="running"\} 2$/m);
});
