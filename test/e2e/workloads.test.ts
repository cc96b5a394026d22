import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import type { Deployment, ReplicaSet } from "../../src/api/generated/apps-v1.ts";
import type { Job } from "../../src/api/generated/batch-v1.ts";
import type { Pod } from "../../src/api/generated/core-v1.ts";
import { createTestCluster, type TestCluster } from "../support/cluster.ts";
import { eventually } from "../support/eventually.ts";

/** Workloads on servers and two agents: roll-outs, jobs, a pod on every node, ordered sets. */

let cluster: TestCluster;

before(async () => {
  cluster = await createTestCluster({ agents: 2, images: ["k3ts/test-web:1.0"] });
});
after(() => cluster?.remove());

const apply = (input: string) => cluster.kubectl(["apply", "-f", "-"], { input });
const k = (line: string) => cluster.kubectl(line.split(" "));
const podsOf = async (selector: string) => {
  const { items } = await cluster.kubectlJson<{ items: Pod[] }>(["get", "pods", "-l", selector]);
  return items.filter(({ metadata }) => !metadata.deletionTimestamp);
};

const deployment = (name: string, version: string, more = "") => `
apiVersion: apps/v1
kind: Deployment
metadata: { name: ${name} }
spec:
  replicas: 3
  minReadySeconds: 0
  selector: { matchLabels: { app: ${name} } }
  ${more}
  template:
    metadata: { labels: { app: ${name} } }
    spec:
      terminationGracePeriodSeconds: 1
      containers:
        - name: web
          image: k3ts/test-web:1.0
          env: [{ name: VERSION, value: "${version}" }]
          readinessProbe: { httpGet: { path: /, port: 80 }, periodSeconds: 1, timeoutSeconds: 10 }
`;

const script = (text: string) => `
          containers:
            - { name: main, image: "k3ts/test-web:1.0", command: [sh, -c, ${JSON.stringify(text)}] }`;

describe("workloads", { concurrency: 4 }, () => {
  test("a Deployment rolls out, stays available, keeps its history and goes back", async () => {
    await apply(deployment("rolling", "one", "strategy: { rollingUpdate: { maxUnavailable: 0, maxSurge: 1 } }"));
    await k("rollout status deployment/rolling --timeout=180s");
    const watched = watchAvailable("rolling", 3);
    await k("set env deployment/rolling VERSION=two");
    await k("rollout status deployment/rolling --timeout=180s");
    assert.ok((await watched.stop()) >= 3, "fewer than three were available on the way");
    const versions = async () => (await podsOf("app=rolling")).map((pod) => pod.spec!.containers[0]!.env![0]!.value);
    await eventually(async () => assert.deepEqual(await versions(), ["two", "two", "two"]), 60_000);
    assert.match(await k("rollout history deployment/rolling"), /^1 .*\n2 /m);

    await k("rollout undo deployment/rolling");
    await k("rollout status deployment/rolling --timeout=180s");
    await eventually(async () => assert.deepEqual(await versions(), ["one", "one", "one"]), 60_000);
    const { items } = await cluster.kubectlJson<{ items: ReplicaSet[] }>(["get", "rs", "-l", "app=rolling"]);
    assert.deepEqual(items.map(({ spec }) => spec!.replicas).sort(), [0, 3]);
  });

  test("a roll-out that cannot work leaves the old pods serving and says that it does not progress", async () => {
    await apply(deployment("stuck", "one"));
    await k("rollout status deployment/stuck --timeout=180s");
    // The short time is for the roll-out that cannot work: one that can may need longer on a slow machine.
    const patch = (progressDeadlineSeconds: number, more = {}) =>
      k(`patch deployment stuck -p ${JSON.stringify({ spec: { progressDeadlineSeconds, ...more } })}`);
    await patch(3, { template: { spec: { containers: [{ name: "web", image: "k3ts/not-there:1" }] } } });
    await assert.rejects(k("rollout status deployment/stuck --timeout=180s"), /exceeded its progress deadline/);
    // A pod that is made only after the short time is progress again, for as long.
    await eventually(async () => {
      const { status } = await cluster.kubectlJson<Deployment>(["get", "deployment", "stuck"]);
      assert.ok(status!.availableReplicas! >= 3);
      const progressing = status!.conditions!.find(({ type }) => type === "Progressing");
      assert.equal(progressing?.reason, "ProgressDeadlineExceeded");
    }, 60_000);
    await patch(600);
    await k("rollout undo deployment/stuck");
    await k("rollout status deployment/stuck --timeout=180s");
  });

  test("a Deployment scales, replaces pods that are deleted, and takes its pods along when it goes", async () => {
    await apply(deployment("scaled", "one"));
    await k("rollout status deployment/scaled --timeout=180s");
    await k("scale deployment/scaled --replicas=5");
    await k("wait deployment/scaled --for=jsonpath={.status.readyReplicas}=5 --timeout=180s");
    const [pod] = await podsOf("app=scaled");
    await k(`delete pod ${pod!.metadata.name}`);
    await eventually(async () => {
      const ready = (await podsOf("app=scaled")).filter(({ status }) =>
        status?.conditions?.some(({ type, status }) => type === "Ready" && status === "True"),
      );
      assert.equal(ready.length, 5);
      assert.ok(!ready.some(({ metadata }) => metadata.uid === pod!.metadata.uid));
    }, 120_000);
    await k("scale deployment/scaled --replicas=1");
    await eventually(async () => assert.equal((await podsOf("app=scaled")).length, 1), 60_000);
    await k("delete deployment scaled");
    await k("wait pod -l app=scaled --for=delete --timeout=120s");
    await eventually(async () => assert.equal(await k("get rs -l app=scaled -o name"), ""), 60_000);
  });

  test("a DaemonSet runs one pod on every node that it may, and rolls over node by node", async () => {
    const daemon = (version: string) => `
apiVersion: apps/v1
kind: DaemonSet
metadata: { name: daemon }
spec:
  selector: { matchLabels: { app: daemon } }
  template:
    metadata: { labels: { app: daemon } }
    spec:
      terminationGracePeriodSeconds: 1
      containers: [{ name: web, image: "k3ts/test-web:1.0", env: [{ name: VERSION, value: ${version} }] }]
`;
    await apply(daemon("one"));
    await k("rollout status daemonset/daemon --timeout=180s");
    const nodesOf = async () => (await podsOf("app=daemon")).map(({ spec }) => spec!.nodeName!).sort();
    await eventually(async () => assert.deepEqual(await nodesOf(), [...cluster.nodes].sort()), 60_000);
    await apply(daemon("two"));
    await k("rollout status daemonset/daemon --timeout=180s");
    await eventually(async () => assert.deepEqual(await nodesOf(), [...cluster.nodes].sort()), 60_000);
    for (const pod of await podsOf("app=daemon")) assert.equal(pod.spec!.containers[0]!.env![0]!.value, "two");
  });

  test("Jobs run to completion in parallel, try again, give up, and index their pods", async () => {
    await apply(`
apiVersion: batch/v1
kind: Job
metadata: { name: parallel }
spec:
  completions: 5
  parallelism: 3
  completionMode: Indexed
  template:
    spec:
      restartPolicy: Never${script("echo index $JOB_COMPLETION_INDEX").replaceAll("\n    ", "\n")}
---
apiVersion: batch/v1
kind: Job
metadata: { name: hopeless }
spec:
  backoffLimit: 0
  template:
    spec:
      restartPolicy: Never${script("exit 7").replaceAll("\n    ", "\n")}
---
apiVersion: batch/v1
kind: Job
metadata: { name: again }
spec:
  template:
    spec:
      restartPolicy: OnFailure
      volumes: [{ name: v, emptyDir: {} }]
      containers:
        - name: main
          image: k3ts/test-web:1.0
          command: [sh, -c, "[ -f /v/seen ] || { touch /v/seen; exit 1; }"]
          volumeMounts: [{ name: v, mountPath: /v }]
`);
    await k("wait job/parallel --for=condition=Complete --timeout=180s");
    const { status } = await cluster.kubectlJson<Job>(["get", "job", "parallel"]);
    assert.equal(status!.succeeded, 5);
    assert.equal(status!.completedIndexes, "0-4");
    // That a container ended may be known before its last words are.
    await eventually(async () => {
      const logs = await k("logs -l job-name=parallel --tail=-1");
      assert.deepEqual(
        logs.trim().split("\n").sort(),
        [0, 1, 2, 3, 4].map((index) => `index ${index}`),
      );
    }, 60_000);
    await k("wait job/hopeless --for=condition=Failed --timeout=180s");
    const failed = (await cluster.kubectlJson<Job>(["get", "job", "hopeless"])).status!;
    assert.equal(failed.conditions!.find(({ type }) => type === "Failed")?.reason, "BackoffLimitExceeded");
    assert.equal(failed.failed, 1);
    await k("wait job/again --for=condition=Complete --timeout=180s");
    const [pod] = await podsOf("job-name=again");
    assert.equal(pod!.status!.containerStatuses![0]!.restartCount, 1);
  });

  test("a namespace that is deleted takes everything in it along", async () => {
    await k("create namespace passing");
    await k("create deployment web --image=k3ts/test-web:1.0 --replicas=2 -n passing");
    await k("create configmap settings --from-literal=a=b -n passing");
    await k("rollout status deployment/web -n passing --timeout=180s");
    await k("delete namespace passing --timeout=180s");
    assert.equal(await k("get pods,configmaps,deployments -n passing -o name --ignore-not-found"), "");
  });
});

/** Alone: a node that is tainted would be missing in the tests above. */
test("selectors, affinities, taints and priorities decide where pods go", async () => {
  const [agent, other] = cluster.agents as [string, string];
  await k(`taint node ${other} only=some:NoSchedule`);
  try {
    // After the taint: once a pod was put on this node for its label, the scheduler has heard of both.
    await k(`label node ${agent} disk=fast`);
    const pod = (name: string, spec: string) => `
apiVersion: v1
kind: Pod
metadata: { name: ${name}, labels: { set: placed } }
spec:
  terminationGracePeriodSeconds: 1
  containers: [{ name: web, image: "k3ts/test-web:1.0" }]
  ${spec}
---`;
    const near = (kind: string, on: string) =>
      `affinity: { ${kind}: { requiredDuringSchedulingIgnoredDuringExecution: [{ topologyKey: kubernetes.io/hostname, labelSelector: { matchLabels: { ${on} } } }] } }`;
    await apply(
      [
        pod("on-fast", "nodeSelector: { disk: fast }"),
        pod(
          "tolerant",
          `tolerations: [{ key: only, operator: Exists }]\n  nodeSelector: { kubernetes.io/hostname: ${other} }`,
        ),
      ].join(""),
    );
    await k("wait pod/on-fast pod/tolerant --for=condition=Ready --timeout=120s");
    await k("label pod on-fast friend=yes");
    await apply(
      pod("beside", near("podAffinity", 'friend: "yes"')) +
        pod("kept-out", `nodeSelector: { kubernetes.io/hostname: ${other} }`),
    );
    await k("wait pod/beside --for=condition=Ready --timeout=120s");
    // Now that one is beside it, the scheduler knows of the friend.
    await apply(pod("apart", near("podAntiAffinity", 'friend: "yes"')));
    await k("wait pod/apart --for=condition=Ready --timeout=120s");
    const { apart, ...on } = Object.fromEntries(
      (await podsOf("set=placed")).map(({ metadata, spec }) => [metadata.name, spec!.nodeName]),
    );
    assert.ok(cluster.servers.includes(apart ?? ""), apart);
    assert.deepEqual(on, {
      "on-fast": agent,
      tolerant: other,
      "kept-out": undefined,
      beside: agent,
    });
    const message = await eventually(async () => {
      const waiting = await cluster.kubectlJson<Pod>(["get", "pod", "kept-out"]);
      const scheduled = waiting.status?.conditions?.find(({ type }) => type === "PodScheduled");
      assert.ok(scheduled?.message);
      return scheduled.message;
    }, 60_000);
    const count = cluster.nodes.length;
    const expected =
      `0/${count} nodes are available: 1 node(s) had untolerated taint(s), ` +
      `${count - 1} node(s) didn't match Pod's node affinity/selector`;
    assert.ok(message.startsWith(expected), message);
  } finally {
    await k(`taint node ${other} only-`);
  }
  await k("wait pod/kept-out --for=condition=Ready --timeout=120s");
});

/** Watches how many pods of a Deployment are available until it is stopped, and then tells the smallest number. */
function watchAvailable(name: string, start: number) {
  let least = start;
  let running = true;
  const loop = (async () => {
    while (running) {
      const text = await k(`get deployment ${name} -o jsonpath={.status.availableReplicas}`);
      least = Math.min(least, Number(text || 0));
    }
  })();
  return {
    stop: async () => {
      running = false;
      await loop;
      return least;
    },
  };
}
