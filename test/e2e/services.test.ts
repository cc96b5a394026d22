import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { Node, Pod } from "../../src/api/generated/core-v1.ts";
import { createTestCluster, type TestCluster } from "../support/cluster.ts";
import { eventually } from "../support/eventually.ts";

/** Web servers, two on every node, reached in each way that a Service offers. */

let cluster: TestCluster;
/** Of each node, one of the Deployment's pods. */
const podOn = new Map<string, string>();
const podNames = new Set<string>();

const manifest = (replicas: number) => `
apiVersion: apps/v1
kind: Deployment
metadata: { name: web }
spec:
  replicas: ${replicas}
  selector: { matchLabels: { app: web } }
  template:
    metadata: { labels: { app: web } }
    spec:
      containers:
        - name: web
          image: k3ts/test-web:1.0
          ports: [{ containerPort: 80, name: http }]
          readinessProbe: { httpGet: { path: /, port: http }, periodSeconds: 1, timeoutSeconds: 10 }
---
apiVersion: v1
kind: Service
metadata: { name: web }
spec:
  type: NodePort
  selector: { app: web }
  ports: [{ name: http, port: 8000, targetPort: http, nodePort: 30080 }]
---
apiVersion: v1
kind: Service
metadata: { name: web-headless }
spec:
  clusterIP: None
  selector: { app: web }
  ports: [{ name: http, port: 80 }]
---
apiVersion: v1
kind: Service
metadata: { name: web-local }
spec:
  type: NodePort
  externalTrafficPolicy: Local
  selector: { app: single }
  ports: [{ port: 80, nodePort: 30081 }]
---
apiVersion: v1
kind: Service
metadata: { name: elsewhere }
spec: { type: ExternalName, externalName: web.default.svc.cluster.local }
`;

const single = (node: string) => `
apiVersion: v1
kind: Pod
metadata: { name: single, labels: { app: single } }
spec:
  nodeName: ${node}
  hostname: front
  subdomain: web-single
  containers:
    - name: web
      image: k3ts/test-web:1.0
      ports: [{ containerPort: 80, hostPort: 8081 }]
      readinessProbe: { httpGet: { path: /, port: 80 }, periodSeconds: 1, timeoutSeconds: 10 }
---
apiVersion: v1
kind: Service
metadata: { name: web-single }
spec:
  clusterIP: None
  selector: { app: single }
  ports: [{ name: http, port: 80 }]
---
apiVersion: v1
kind: Service
metadata: { name: sticky }
spec:
  sessionAffinity: ClientIP
  selector: { app: web }
  ports: [{ port: 80 }]
`;

before(async () => {
  cluster = await createTestCluster({ agents: 2, images: ["k3ts/test-web:1.0"] });
  const input = `${manifest(2 * cluster.nodes.length)}---${single(cluster.agents[0]!)}`;
  await cluster.kubectl(["apply", "-f", "-"], { input });
  await cluster.kubectl(["rollout", "status", "deployment/web", "--timeout=180s"]);
  await cluster.kubectl(["wait", "--for=condition=Ready", "pod/single", "--timeout=180s"]);
  const { items } = await cluster.kubectlJson<{ items: Pod[] }>(["get", "pods", "-l", "app=web"]);
  for (const pod of items) {
    podNames.add(pod.metadata.name!);
    podOn.set(pod.spec!.nodeName!, pod.metadata.name!);
  }
});
/** A pod is Ready a moment before every node's rules and names tell of it. */
const programmed = <T>(check: () => Promise<T>) => eventually(check, 60_000);
after(() => cluster?.remove());

/** What web servers answer to a program in a pod, one after the other. */
async function fetchFrom(pod: string, urls: readonly string[]): Promise<string[]> {
  const script = urls.map((url) => `wget -qO- -T 5 ${url} || echo failed`).join("; ");
  return (await cluster.kubectl(["exec", pod, "--", "sh", "-c", script])).trim().split("\n");
}

async function addressOf(node: string): Promise<string> {
  const { status } = await cluster.kubectlJson<Node>(["get", "node", node]);
  return status!.addresses!.find(({ type }) => type === "InternalIP")!.address;
}

/** What a node's port answers to another node. The words tell that nobody does; an exit code may be lost on the way. */
async function askNode(from: string, node: string, port: number): Promise<string> {
  const fetch = `wget -qO- -T 5 http://${await addressOf(node)}:${port}/ || echo nobody`;
  return (await cluster.exec(from, ["sh", "-c", fetch])).trim();
}

async function resolve(name: string): Promise<string[]> {
  const [pod] = podNames;
  const output = await cluster.kubectl(["exec", pod!, "--", "nslookup", "-type=a", name]);
  return [...output.matchAll(/^Name:.*\nAddress: (\S+)$/gm)].map(([, address]) => address!).sort();
}

test("replicas spread over all nodes, two on each", async () => {
  const { items } = await cluster.kubectlJson<{ items: Pod[] }>(["get", "pods", "-l", "app=web"]);
  const perNode = Map.groupBy(items, (pod) => pod.spec!.nodeName!);
  assert.deepEqual([...perNode.keys()].sort(), [...cluster.nodes].sort());
  for (const [node, pods] of perNode) assert.equal(pods.length, 2, `pods on ${node}`);
});

test("a Service answers pods of every node by its names and its address", async () => {
  const address = await cluster.kubectl(["get", "service", "web", "-o", "jsonpath={.spec.clusterIP}"]);
  const hosts = ["web", "web.default.svc", "web.default.svc.cluster.local", "elsewhere", address];
  for (const [node, pod] of podOn) {
    await programmed(async () => {
      const answers = await fetchFrom(
        pod,
        hosts.map((host) => `http://${host}:8000/`),
      );
      assert.equal(answers.length, hosts.length);
      for (const [index, answer] of answers.entries())
        assert.ok(podNames.has(answer), `${hosts[index]} answered "${answer}" on ${node}`);
    });
  }
});

test("a Service spreads connections over its pods, and keeps a client at one pod when told to", async () => {
  const [pod] = podNames;
  const times = 10 * podNames.size;
  const ask = async (url: string) => new Set(await fetchFrom(pod!, new Array<string>(times).fill(url)));
  await programmed(async () => {
    // With ten draws for each, one stays out by chance once in some thousand times, and hardly twice in a row.
    assert.deepEqual(await ask("http://web:8000/"), podNames);
  });
  await programmed(async () => {
    const kept = await ask("http://sticky/");
    assert.ok(kept.size === 1 && kept.isSubsetOf(podNames), [...kept].join());
  });
});

test("a pod reaches pods of other nodes under their own addresses, and itself through its Service", async () => {
  const { items } = await cluster.kubectlJson<{ items: Pod[] }>(["get", "pods", "-l", "app=web"]);
  for (const [node, pod] of podOn)
    await programmed(async () =>
      assert.deepEqual(
        await fetchFrom(
          pod,
          items.map(({ status }) => `http://${status!.podIP}/`),
        ),
        items.map(({ metadata }) => metadata.name),
        `from ${node}`,
      ),
    );
  const address = await cluster.kubectl(["get", "service", "web-local", "-o", "jsonpath={.spec.clusterIP}"]);
  await programmed(async () =>
    assert.deepEqual(await fetchFrom("single", ["http://web-single/", `http://${address}/`]), ["front", "front"]),
  );
});

test("a node port answers on every node, from every node, under loopback and the nodes' addresses", async () => {
  const targets = ["127.0.0.1", ...(await Promise.all(cluster.nodes.map(addressOf)))];
  for (const node of cluster.nodes)
    for (const target of targets)
      await programmed(async () => {
        const answer = await cluster.exec(node, ["wget", "-qO-", "-T", "5", `http://${target}:30080/`]);
        assert.ok(podNames.has(answer.trim()), `${target} answered "${answer}" to ${node}`);
      });
});

test("under externalTrafficPolicy Local only the pod's own node answers its node port to others", async () => {
  const [[server = ""], [agent = "", other = ""]] = [cluster.servers, cluster.agents];
  await programmed(async () => assert.equal(await askNode(server, agent, 30081), "front"));
  assert.equal(await askNode(server, other, 30081), "nobody");
});

test("a host port answers on the pod's node only", async () => {
  const [[server = ""], [agent = "", other = ""]] = [cluster.servers, cluster.agents];
  await programmed(async () => assert.equal(await askNode(server, agent, 8081), "front"));
  assert.equal(await askNode(server, other, 8081), "nobody");
});

test("a headless Service resolves to its pods, a pod with a host name to its address, both with SRV records", async () => {
  const { items } = await cluster.kubectlJson<{ items: Pod[] }>(["get", "pods", "-l", "app=web"]);
  await programmed(async () =>
    assert.deepEqual(
      await resolve("web-headless.default.svc.cluster.local"),
      items.map((pod) => pod.status!.podIP!).sort(),
    ),
  );
  const address = await cluster.kubectl(["get", "pod", "single", "-o", "jsonpath={.status.podIP}"]);
  const name = "front.web-single.default.svc.cluster.local";
  await programmed(async () => assert.deepEqual(await resolve(name), [address]));
  // Each node has its own names: this pod's may come after those of the node that was just asked.
  const lookUp = (...args: string[]) => cluster.kubectl(["exec", "single", "--", "nslookup", ...args]);
  await programmed(async () => {
    const srv = await lookUp("-type=srv", "_http._tcp.web-single.default.svc.cluster.local");
    assert.match(srv, /service = \d+ \d+ 80 front\.web-single\.default\.svc\.cluster\.local/);
    assert.match(await lookUp(address), /name = front\.web-single\.default\.svc\.cluster\.local/);
  });
});

test("the API answers inside pods under its name, with the pod's own token", async () => {
  const script = `
    token=$(cat /var/run/secrets/kubernetes.io/serviceaccount/token)
    wget -qO- --no-check-certificate --header "Authorization: Bearer $token" \
      https://kubernetes.default.svc/version`;
  await programmed(async () =>
    assert.match(await cluster.kubectl(["exec", "single", "--", "sh", "-c", script]), /"gitVersion": ?"v1\.36/),
  );
});

test("a pod's name leaves the Service with the pod", async () => {
  await cluster.kubectl(["delete", "pod", "single", "--wait", "--timeout=120s"]);
  const [pod] = podNames;
  const lookUp = `nslookup front.web-single.default.svc.cluster.local || echo no such name`;
  await programmed(async () =>
    assert.match(await cluster.kubectl(["exec", pod!, "--", "sh", "-c", lookUp]), /no such name/),
  );
  await cluster.kubectl(["scale", "deployment/web", "--replicas=1"]);
  const last = await eventually(async () => {
    const { items } = await cluster.kubectlJson<{ items: Pod[] }>(["get", "pods", "-l", "app=web"]);
    const staying = items.filter(({ metadata }) => !metadata.deletionTimestamp);
    assert.equal(staying.length, 1);
    return staying[0]!.metadata.name!;
  }, 60_000);
  // The rules of a node follow a moment later.
  await programmed(async () =>
    assert.deepEqual(new Set(await fetchFrom(last, new Array<string>(20).fill("http://web:8000/"))), new Set([last])),
  );
});
