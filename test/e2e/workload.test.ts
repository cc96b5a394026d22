import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { createTestCluster, type TestCluster } from "../support/cluster.ts";

/** One cluster of three nodes for all tests of this file: what people do with kubectl on a fresh cluster. */
let cluster: TestCluster;

before(async () => {
  cluster = await createTestCluster({ agents: 2, images: ["k3ts/test-web"] });
});
after(() => cluster?.remove());

interface PodList {
  items: { metadata: { name: string }; spec: { nodeName: string }; status: { podIP: string } }[];
}

const deployment = `
apiVersion: apps/v1
kind: Deployment
metadata: { name: web }
spec:
  replicas: 6
  selector: { matchLabels: { app: web } }
  template:
    metadata: { labels: { app: web } }
    spec:
      containers:
        - name: web
          image: k3ts/test-web
          imagePullPolicy: IfNotPresent
          ports: [{ containerPort: 80 }]
          readinessProbe: { httpGet: { path: /, port: 80 }, periodSeconds: 1 }
---
apiVersion: v1
kind: Service
metadata: { name: web }
spec:
  type: NodePort
  selector: { app: web }
  ports: [{ port: 80, nodePort: 30080 }]
`;

test("all nodes are Ready under the names of their containers", async () => {
  const names = (await cluster.kubectl(["get", "nodes", "-o", "name"])).trim().split("\n").sort();
  assert.deepEqual(names, cluster.nodes.map((node) => `node/${node}`).sort());
  await cluster.kubectl(["wait", "--for=condition=Ready", "nodes", "--all", "--timeout=10s"]);
});

test("six replicas spread over three nodes, and their Service answers from each by name, cluster address and node port", async () => {
  await cluster.kubectl(["apply", "-f", "-"], { input: deployment });
  await cluster.kubectl(["rollout", "status", "deployment/web", "--timeout=60s"]);
  const pods = await cluster.kubectlJson<PodList>(["get", "pods", "-l", "app=web"]);
  assert.equal(pods.items.length, 6);
  const perNode = Map.groupBy(pods.items, (pod) => pod.spec.nodeName);
  assert.deepEqual([...perNode.keys()].sort(), [...cluster.nodes].sort());
  for (const [node, there] of perNode) assert.equal(there.length, 2, `pods on ${node}`);

  const podNames = new Set(pods.items.map((pod) => pod.metadata.name));
  const address = await cluster.kubectl(["get", "service", "web", "-o", "jsonpath={.spec.clusterIP}"]);
  for (const [node, [pod]] of perNode) {
    for (const host of ["web.default.svc.cluster.local", "web", address]) {
      const answer = await cluster.kubectl([
        "exec",
        pod!.metadata.name,
        "--",
        "wget",
        "-qO-",
        "-T5",
        `http://${host}/`,
      ]);
      assert.ok(podNames.has(answer.trim()), `${host} from ${node} answered "${answer}"`);
    }
    const answer = await cluster.exec(node, ["wget", "-qO-", "-T5", "http://127.0.0.1:30080/"]);
    assert.ok(podNames.has(answer), `the node port on ${node} answered "${answer}"`);
  }
});

test("a server that is killed with -9 starts again with the same objects and the same running containers", async () => {
  const [server] = cluster.nodes;
  const containers = async () => (await cluster.exec(server!, ["ctr", "tasks", "ls"])).split("\n").sort();
  const objects = () => cluster.kubectl(["get", "deployments,services,configmaps", "-A", "-o", "name"]);
  const before = { containers: await containers(), objects: await objects() };
  await cluster.exec(server!, ["sh", "-c", "kill -9 $(pidof node)"]);
  await cluster.exec(server!, [
    "sh",
    "-c",
    "for i in $(seq 100); do kubectl get --raw /readyz && exit; sleep 0.2; done; exit 1",
  ]);
  await cluster.kubectl(["wait", "--for=condition=Ready", "nodes", "--all", "--timeout=30s"]);
  assert.equal(await objects(), before.objects);
  assert.deepEqual(await containers(), before.containers);
});
