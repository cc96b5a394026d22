import assert from "node:assert/strict";
import type { Node, Pod } from "../../src/api/generated/core-v1.ts";
import { run } from "../../tools/run.ts";
import type { TestCluster } from "./cluster.ts";
import { eventually } from "./eventually.ts";

/** What a cluster holds and does, for tests that take something away from it and look again. */

/** A web server on every node behind one Service, and objects that nothing watches over. */
export const webOnEveryNode = `
apiVersion: apps/v1
kind: DaemonSet
metadata: { name: web }
spec:
  selector: { matchLabels: { app: web } }
  template:
    metadata: { labels: { app: web } }
    spec:
      terminationGracePeriodSeconds: 1
      containers:
        - name: web
          image: k3ts/test-web:1.0
          readinessProbe: { httpGet: { path: /, port: 80 }, periodSeconds: 1 }
---
apiVersion: v1
kind: Service
metadata: { name: web }
spec: { selector: { app: web }, ports: [{ port: 80 }] }
---
apiVersion: v1
kind: ConfigMap
metadata: { name: keepsake }
data: { a: "1" }
---
apiVersion: v1
kind: Secret
metadata: { name: keepsake }
stringData: { a: "1" }
`;

const keptKinds = [
  "namespaces",
  "configmaps",
  "secrets",
  "serviceaccounts",
  "services",
  "daemonsets.apps",
  "nodes",
  "clusterroles",
  "clusterrolebindings",
  "priorityclasses",
].join(",");

/** "kind namespace/name uid" of everything that must outlive its nodes. */
export async function objectIds(cluster: TestCluster): Promise<string[]> {
  const path = '{range .items[*]}{.kind} {.metadata.namespace}/{.metadata.name} {.metadata.uid}{"\\n"}{end}';
  const text = await cluster.kubectl(["get", keptKinds, "-A", "-o", `jsonpath=${path}`]);
  return text.split("\n").filter(Boolean).sort();
}

/** {@link objectIds}, once what controllers and the server make by themselves is there; all of it comes after the nodes. */
export function settledObjectIds(cluster: TestCluster): Promise<string[]> {
  return eventually(async () => {
    const ids = await objectIds(cluster);
    const has = (object: string) =>
      assert.ok(
        ids.some((id) => id.startsWith(`${object} `)),
        `there is ${object}`,
      );
    for (const namespace of ["default", "kube-node-lease", "kube-public", "kube-system"]) {
      has(`Namespace /${namespace}`);
      has(`ServiceAccount ${namespace}/default`);
      has(`ConfigMap ${namespace}/kube-root-ca.crt`);
    }
    has("ConfigMap kube-system/extension-apiserver-authentication");
    has("Service default/kubernetes");
    // Of a manifest of the server's own, its last.
    has("Service kube-system/kube-dns");
    return ids;
  }, 60_000);
}

/** Address of a node's container. */
export function addressOf(node: string): Promise<string> {
  return run("docker", ["inspect", "-f", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", node]);
}

/** "container process" of everything that runs on a node: the same process was not started again. */
export async function runningTasks(cluster: TestCluster, node: string): Promise<string[]> {
  const lines = (await cluster.exec(node, ["ctr", "-n", "k8s.io", "tasks", "ls"])).split("\n").slice(1);
  return lines
    .filter((line) => line.includes("RUNNING"))
    .map((line) => line.split(/\s+/).slice(0, 2).join(" "))
    .sort();
}

/** `ps` of the image cuts lines. */
const commandLines = `for p in /proc/[0-9]*; do echo "\${p#/proc/} $(tr '\\0' ' ' < $p/cmdline)"; done`;

/** The first process of a node's container whose command line fits: k3ts itself, not its supervisor, or containerd. */
export async function processOf(cluster: TestCluster, node: string, program: "k3ts" | "containerd"): Promise<number> {
  const pattern = program === "k3ts" ? /^\s*(\d+) node .*\/k3ts\.mjs (?:server|agent)/m : /^\s*(\d+) containerd -c /m;
  const found = pattern.exec(await cluster.exec(node, ["sh", "-c", commandLines]))?.[1];
  if (found === undefined) throw new Error(`${program} does not run on ${node}`);
  return Number(found);
}

export async function podsOf(cluster: TestCluster, label: string): Promise<Pod[]> {
  return (await cluster.kubectlJson<{ items: Pod[] }>(["get", "pods", "-l", label])).items;
}

/**
 * Waits until all nodes are Ready under the addresses that they have now, and each has a Ready pod of
 * {@link webOnEveryNode}; then looks whether these reach each other, names and the API, and whether logs and exec reach
 * them.
 */
export async function assertClusterWorks(cluster: TestCluster, timeoutMs = 120_000): Promise<void> {
  const readyPods = async () => {
    const addresses = new Map(
      await Promise.all(cluster.nodes.map(async (name) => [name, await addressOf(name)] as const)),
    );
    const { items: nodes } = await cluster.kubectlJson<{ items: Node[] }>(["get", "nodes"]);
    assert.deepEqual(nodes.map(({ metadata }) => metadata.name).sort(), [...cluster.nodes].sort());
    for (const { metadata, status } of nodes) {
      const name = metadata.name ?? "";
      assert.equal(status?.conditions?.find(({ type }) => type === "Ready")?.status, "True", `${name} is Ready`);
      const internal = status?.addresses?.find(({ type }) => type === "InternalIP")?.address;
      assert.ok(internal, `${name} has an address`);
      assert.equal(internal, addresses.get(name), `the address of ${name}`);
    }
    const found = await podsOf(cluster, "app=web");
    assert.deepEqual(found.map(({ spec }) => spec?.nodeName ?? "").sort(), [...cluster.nodes].sort());
    for (const { metadata, status } of found) {
      const ready = status?.conditions?.find(({ type }) => type === "Ready")?.status;
      assert.equal(ready, "True", `${metadata.name} is Ready`);
    }
    return found;
  };
  await eventually(readyPods, timeoutMs);
  await eventually(async () => {
    // Read again each time: a pod whose sandbox is made anew has another address.
    const pods = await readyPods();
    const names = pods.map(({ metadata }) => metadata.name ?? "");
    const everyPod = pods.map(({ status }) => `wget -qO- -T 5 http://${status?.podIP}`);
    const service = ["wget -qO- -T 5 http://web", "nc -w 5 kubernetes.default 443 < /dev/null"];
    const script = [...everyPod, ...service].join(" && ");
    await Promise.all(
      names.map(async (name) => {
        const lines = (await cluster.kubectl(["exec", name, "--", "sh", "-c", script])).trim().split("\n");
        assert.deepEqual(lines.slice(0, -1), names, `from ${name}`);
        assert.ok(names.includes(lines.at(-1) ?? ""), `the Service's answer to ${name}`);
        assert.match(await cluster.kubectl(["logs", name]), new RegExp(`serving ${name} on port 80`));
      }),
    );
  }, timeoutMs);
}
