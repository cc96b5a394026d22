import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import type { Pod } from "../../src/api/generated/core-v1.ts";
import { soon } from "../conformance/waiting.ts";
import { createTestCluster, type TestCluster } from "../support/cluster.ts";
import { startKubectl } from "../support/kubectl.ts";

/** What a pod's spec may ask of a node, on a cluster of servers alone. */

let cluster: TestCluster;

before(async () => {
  cluster = await createTestCluster({ images: ["k3ts/test-web:1.0"] });
});
after(() => cluster?.remove());

const apply = (input: string) => cluster.kubectl(["apply", "-f", "-"], { input });
const getPod = (name: string) => cluster.kubectlJson<Pod>(["get", "pod", name]);
const waitFor = (name: string, condition: string) =>
  cluster.kubectl(["wait", `pod/${name}`, `--for=${condition}`, "--timeout=180s"]);
const succeeded = "jsonpath={.status.phase}=Succeeded";

/** A pod of one container that runs a script, with more of its spec and of its container below. */
function scriptPod(name: string, script: string, more: { pod?: string; container?: string } = {}): string {
  return `
apiVersion: v1
kind: Pod
metadata: { name: ${name}, labels: { app: ${name} }, annotations: { note: "a note" } }
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 1
${more.pod ?? ""}
  containers:
    - name: main
      image: k3ts/test-web:1.0
      command: [sh, -c, ${JSON.stringify(script)}]
${more.container ?? ""}
`;
}

describe("pods", { concurrency: 4 }, () => {
  test("a container finds its environment: values, references, keys, whole maps, the pod's own facts", async () => {
    await apply(`
apiVersion: v1
kind: ConfigMap
metadata: { name: settings }
data: { color: blue, size: "3" }
---
apiVersion: v1
kind: Secret
metadata: { name: keys }
stringData: { password: "s3cret" }
---
${scriptPod(
  "environment",
  "echo $GREETING; echo $COLOR $PASSWORD $MISSING; echo $C_color $C_size $password; echo $NAME $NAMESPACE $APP $CPU $MEMORY; [ $POD_IP = $(hostname -i) ] && echo own; echo $HOST_IP $NODE; echo $KUBERNETES_SERVICE_HOST:$KUBERNETES_SERVICE_PORT; echo $1",
  {
    container: `
      args: [ignored, "$(GREETING) $$(GREETING)"]
      resources: { requests: { cpu: 50m, memory: 16Mi }, limits: { cpu: 250m, memory: 32Mi } }
      envFrom:
        - { prefix: C_, configMapRef: { name: settings } }
        - { secretRef: { name: keys } }
        - { configMapRef: { name: absent, optional: true } }
      env:
        - { name: WHO, value: world }
        - { name: GREETING, value: "hello $(WHO) $(UNKNOWN) $$(WHO)" }
        - { name: COLOR, valueFrom: { configMapKeyRef: { name: settings, key: color } } }
        - { name: PASSWORD, valueFrom: { secretKeyRef: { name: keys, key: password } } }
        - { name: MISSING, valueFrom: { secretKeyRef: { name: keys, key: nothing, optional: true } } }
        - { name: NAME, valueFrom: { fieldRef: { fieldPath: metadata.name } } }
        - { name: NAMESPACE, valueFrom: { fieldRef: { fieldPath: metadata.namespace } } }
        - { name: APP, valueFrom: { fieldRef: { fieldPath: "metadata.labels['app']" } } }
        - { name: POD_IP, valueFrom: { fieldRef: { fieldPath: status.podIP } } }
        - { name: HOST_IP, valueFrom: { fieldRef: { fieldPath: status.hostIP } } }
        - { name: NODE, valueFrom: { fieldRef: { fieldPath: spec.nodeName } } }
        - { name: CPU, valueFrom: { resourceFieldRef: { resource: limits.cpu, divisor: 1m } } }
        - { name: MEMORY, valueFrom: { resourceFieldRef: { resource: limits.memory, divisor: 1Mi } } }`,
  },
)}`);
    await waitFor("environment", succeeded);
    const { spec, status } = await getPod("environment");
    assert.ok(cluster.nodes.includes(spec!.nodeName!));
    assert.deepEqual((await cluster.kubectl(["logs", "environment"])).trim().split("\n"), [
      "hello world $(UNKNOWN) $(WHO)",
      "blue s3cret",
      "blue 3 s3cret",
      "environment default environment 250 32",
      "own",
      `${status!.hostIP} ${spec!.nodeName}`,
      "10.43.0.1:443",
      "hello world $(UNKNOWN) $(WHO) $(GREETING)",
    ]);
  });

  test("volumes of each kind hold what they should, with their modes and owners", async () => {
    await apply(`
apiVersion: v1
kind: ConfigMap
metadata: { name: files }
data: { one: first, two: second }
binaryData: { raw: AAEC }
---
apiVersion: v1
kind: Secret
metadata: { name: hidden }
stringData: { key: hidden-value }
---
${scriptPod(
  "volumes",
  [
    "cd /v",
    "cat config/one config/sub/renamed; echo",
    "cat secret/key; echo; stat -L -c '%a %g' secret/key",
    "cat all/one all/labels all/cpu all/name all/ca/ca.crt | grep -c BEGIN",
    "cat all/name; echo; cat all/labels; echo; cat all/cpu; echo",
    'wc -c < all/raw; cut -d. -f2 all/token | base64 -d 2>/dev/null | grep -o \'"aud":\\["vault"\\]\'',
    "echo data > empty/file; cat again/below/file; touch config/one 2>&1 | grep -o Read-only",
    "grep ' /v/memory ' /proc/mounts | cut -d' ' -f3; stat -c %g empty",
    "cat host/host-name; cat single",
    "id -u; id -G",
    "cat /var/run/secrets/kubernetes.io/serviceaccount/namespace",
  ].join("\n"),
  {
    pod: `
  securityContext: { runAsUser: 1000, runAsGroup: 3000, fsGroup: 2000 }
  volumes:
    - { name: config, configMap: { name: files, items: [{ key: one, path: one }, { key: two, path: sub/renamed }] } }
    - { name: secret, secret: { secretName: hidden, defaultMode: 0400 } }
    - { name: empty, emptyDir: {} }
    - { name: memory, emptyDir: { medium: Memory, sizeLimit: 1Mi } }
    - { name: host, hostPath: { path: /etc, type: Directory } }
    - { name: not-there, configMap: { name: not-there, optional: true } }
    - name: all
      projected:
        sources:
          - { configMap: { name: files } }
          - { configMap: { name: kube-root-ca.crt, items: [{ key: ca.crt, path: ca/ca.crt }] } }
          - { serviceAccountToken: { path: token, audience: vault, expirationSeconds: 600 } }
          - downwardAPI:
              items:
                - { path: labels, fieldRef: { fieldPath: metadata.labels } }
                - { path: name, fieldRef: { fieldPath: metadata.name } }
                - { path: cpu, resourceFieldRef: { containerName: main, resource: requests.cpu, divisor: 1m } }`,
    container: `
      resources: { requests: { cpu: 20m } }
      volumeMounts:
        - { name: config, mountPath: /v/config }
        - { name: config, mountPath: /v/single, subPath: one }
        - { name: secret, mountPath: /v/secret }
        - { name: empty, mountPath: /v/empty, subPathExpr: below }
        - { name: empty, mountPath: /v/again }
        - { name: memory, mountPath: /v/memory }
        - { name: host, mountPath: /v/host/, readOnly: true }
        - { name: not-there, mountPath: /v/not-there }
        - { name: all, mountPath: /v/all, readOnly: true }`,
  },
).replace("cat host/host-name", "head -c 8 host/os-release; echo")}`);
    await waitFor("volumes", succeeded);
    assert.deepEqual((await cluster.kubectl(["logs", "volumes"])).trim().split("\n"), [
      "firstsecond",
      "hidden-value",
      "440 2000",
      "1",
      "volumes",
      'app="volumes"',
      "20",
      "3",
      '"aud":["vault"]',
      "data",
      "Read-only",
      "tmpfs",
      "2000",
      'NAME="K3',
      "first1000",
      "3000 2000",
      "default",
    ]);
  });

  test("a changed ConfigMap reaches the files of a running pod", async () => {
    const map = (value: string) => `
apiVersion: v1
kind: ConfigMap
metadata: { name: changing }
data: { key: ${value} }
`;
    await apply(
      `${map("before")}---${scriptPod("changing", "until grep -q after /v/key; do sleep 0.1; done", {
        pod: "  volumes: [{ name: v, configMap: { name: changing } }]",
        container: "      volumeMounts: [{ name: v, mountPath: /v }]",
      })}`,
    );
    await waitFor("changing", "condition=Ready");
    await apply(map("after"));
    await waitFor("changing", succeeded);
  });

  test("init containers run in order before the rest, a sidecar beside it, and the pod ends when its main part does", async () => {
    await apply(
      scriptPod("ordered", "cat /v/order; echo main; until wget -qO- http://127.0.0.1:8080; do sleep 0.1; done", {
        pod: `
  volumes: [{ name: v, emptyDir: {} }]
  initContainers:
    - { name: one, image: "k3ts/test-web:1.0", command: [sh, -c, echo one >> /v/order], volumeMounts: [{ name: v, mountPath: /v }] }
    - name: side
      image: k3ts/test-web:1.0
      restartPolicy: Always
      env: [{ name: PORT, value: "8080" }]
      startupProbe: { tcpSocket: { port: 8080 }, periodSeconds: 1, failureThreshold: 60 }
    - { name: two, image: "k3ts/test-web:1.0", command: [sh, -c, echo two >> /v/order], volumeMounts: [{ name: v, mountPath: /v }] }`,
        container: "      volumeMounts: [{ name: v, mountPath: /v }]",
      }),
    );
    await waitFor("ordered", succeeded);
    assert.equal(await cluster.kubectl(["logs", "ordered", "-c", "main"]), "one\ntwo\nmain\nordered\n");
    const { status } = await getPod("ordered");
    assert.deepEqual(
      status!.initContainerStatuses!.map(({ name, state }) => [name, state?.terminated !== undefined]),
      [
        ["one", true],
        ["side", true],
        ["two", true],
      ],
    );
    assert.equal(status!.conditions!.find(({ type }) => type === "Initialized")?.status, "True");
  });

  test("a container that fails is started again, later and later, and says so", async () => {
    await apply(
      scriptPod("failing", "echo attempt; echo reason > /dev/termination-log; exit 3").replace(
        "restartPolicy: Never",
        "restartPolicy: Always",
      ),
    );
    const status = await soon(async () => {
      const [container] = (await getPod("failing")).status?.containerStatuses ?? [];
      assert.equal(container?.state?.waiting?.reason, "CrashLoopBackOff");
      return container!;
    });
    assert.ok(status.restartCount >= 1);
    const backOff = `back-off ${10 * 2 ** (status.restartCount - 1)}s restarting failed container=main`;
    assert.ok(
      status.state!.waiting!.message!.startsWith(`${backOff} pod=failing_default`),
      status.state!.waiting!.message!,
    );
    assert.equal(status.lastState?.terminated?.exitCode, 3);
    assert.equal(status.lastState?.terminated?.message, "reason\n");
    assert.equal(await cluster.kubectl(["logs", "failing", "--previous"]), "attempt\n");
    await soon(async () => {
      const events = await cluster.kubectl(["get", "events", "--field-selector", "involvedObject.name=failing"]);
      assert.match(events, /BackOff .*Back-off restarting failed container main in pod failing_default/);
    });
    // Between two waits it runs for a moment, and has ended.
    await soon(async () => {
      const line = await cluster.kubectl(["get", "pod", "failing", "--no-headers"]);
      assert.match(line, /^failing\s+0\/1\s+CrashLoopBackOff\s+\d+ \(\S+ ago\)/);
    });
  });

  test("a failing liveness probe restarts a container, a failing readiness probe takes it out of service", async () => {
    // The first failure counts: a check that a busy machine is slow to run must not be taken for one.
    const patient = "timeoutSeconds: 60, periodSeconds: 1";
    const shell = `
    - name: main
      image: k3ts/test-web:1.0
      lifecycle: { postStart: { exec: { command: [touch, /tmp/alive, /tmp/ready] } } }
      livenessProbe: { exec: { command: [cat, /tmp/alive] }, failureThreshold: 1, ${patient} }
      readinessProbe: { exec: { command: [cat, /tmp/ready] }, failureThreshold: 1, ${patient} }
      startupProbe: { httpGet: { path: /, port: 80 }, failureThreshold: 60, ${patient} }`;
    await apply(`
apiVersion: v1
kind: Pod
metadata: { name: probed, labels: { app: probed } }
spec:
  terminationGracePeriodSeconds: 1
  containers:${shell}
---
apiVersion: v1
kind: Service
metadata: { name: probed }
spec: { selector: { app: probed }, ports: [{ port: 80 }] }
`);
    await waitFor("probed", "condition=Ready");
    const serving = () =>
      cluster.kubectl([
        ...["get", "endpointslice", "-l", "kubernetes.io/service-name=probed"],
        ...["-o", "jsonpath={.items[*].endpoints[*].conditions.ready}"],
      ]);
    await soon(async () => assert.equal(await serving(), "true"));
    await cluster.kubectl(["exec", "probed", "--", "rm", "/tmp/ready"]);
    await waitFor("probed", "condition=Ready=False");
    await soon(async () => assert.equal(await serving(), "false"));
    await cluster.kubectl(["exec", "probed", "--", "rm", "/tmp/alive"]);
    await waitFor("probed", "jsonpath={.status.containerStatuses[0].restartCount}=1");
    await waitFor("probed", "condition=Ready");
    await soon(async () => {
      const events = await cluster.kubectl(["get", "events", "--field-selector", "involvedObject.name=probed"]);
      assert.match(events, /Unhealthy .*Liveness probe failed: cat: can't open '\/tmp\/alive'/);
      assert.match(events, /Killing .*Container main failed liveness probe, will be restarted/);
    });
  });

  test("a pod that is deleted runs its hook, gets its signal, and has its grace period", async () => {
    const script = "trap 'echo got TERM; sleep 0.5; echo bye; exit 0' TERM; echo up; while :; do sleep 0.1; done";
    await apply(
      scriptPod("graceful", script, {
        container: `      lifecycle: { preStop: { exec: { command: [sh, -c, "echo hook > /proc/1/fd/1"] } } }`,
      }).replace("terminationGracePeriodSeconds: 1", "terminationGracePeriodSeconds: 60"),
    );
    await waitFor("graceful", "condition=Ready");
    const logs = startKubectl(["logs", "-f", "graceful"], cluster);
    try {
      await logs.waitFor(/^up$/m);
      await cluster.kubectl(["delete", "pod", "graceful", "--timeout=180s"]);
      assert.equal(await logs.ended, 0, logs.output());
      assert.equal(logs.output(), "up\nhook\ngot TERM\nbye\n");
    } finally {
      await logs.stop();
    }
  });

  test("what keeps a pod from starting stands in its status and its events", async () => {
    await apply(`${scriptPod("no-image", "true")
      .replace("image: k3ts/test-web:1.0", "image: k3ts/not-there:1, imagePullPolicy: Never")
      .replace(
        /- name: main\n\s+image: (.*), imagePullPolicy: Never/,
        "- name: main\n      image: $1\n      imagePullPolicy: Never",
      )}
---${scriptPod("no-config", "true", { container: "      envFrom: [{ configMapRef: { name: not-there } }]" })}
---${scriptPod("no-room", "true", { container: "      resources: { requests: { cpu: 1k } }" })}
---${scriptPod("no-command", "true").replace(/command: .*/, "command: [not-a-program]")}
---${scriptPod("no-volume", "true", {
      pod: "  volumes: [{ name: v, secret: { secretName: not-there } }]",
      container: "      volumeMounts: [{ name: v, mountPath: /v }]",
    })}`);
    const waiting = async (name: string) => (await getPod(name)).status?.containerStatuses?.[0]?.state?.waiting;
    await soon(async () => {
      assert.equal((await waiting("no-image"))?.reason, "ErrImageNeverPull");
      const config = await waiting("no-config");
      assert.equal(config?.reason, "CreateContainerConfigError");
      assert.equal(config?.message, 'configmap "not-there" not found');
      const started = (await getPod("no-command")).status?.containerStatuses?.[0]?.state?.terminated;
      assert.equal(started?.reason, "StartError");
      assert.equal(started?.exitCode, 128);
      const scheduled = (await getPod("no-room")).status?.conditions?.find(({ type }) => type === "PodScheduled");
      assert.equal(scheduled?.status, "False");
      const count = cluster.nodes.length;
      const message = `0/${count} nodes are available: ${count} Insufficient cpu.`;
      assert.ok(scheduled?.message?.startsWith(message), scheduled?.message);
    });
    await soon(async () => {
      const events = await cluster.kubectl(["get", "events", "--field-selector", "involvedObject.name=no-volume"]);
      assert.match(events, /FailedMount .*MountVolume.SetUp failed for volume "v" : secret "not-there" not found/);
    });
    await cluster.kubectl(["create", "configmap", "not-there"]);
    await cluster.kubectl(["create", "secret", "generic", "not-there"]);
    await waitFor("no-config", succeeded);
    await waitFor("no-volume", succeeded);
  });

  test("memory and processors are limited as the pod says, and a container that takes too much is killed", async () => {
    await apply(
      scriptPod("greedy", "tail /dev/zero", { container: "      resources: { limits: { memory: 16Mi, cpu: 100m } }" }),
    );
    await waitFor("greedy", "jsonpath={.status.phase}=Failed");
    const { status } = await getPod("greedy");
    assert.equal(status!.containerStatuses![0]!.state!.terminated!.reason, "OOMKilled");
    assert.equal(status!.containerStatuses![0]!.state!.terminated!.exitCode, 137);
    assert.equal(status!.qosClass, "Guaranteed");
  });

  test("security settings hold: user, read-only root, capabilities, host namespaces, sysctls", async () => {
    await apply(`${scriptPod(
      "secured",
      "id -u; touch /file 2>&1 || echo kept; grep CapEff /proc/self/status; chown 1 /tmp 2>&1 || echo no-chown",
      {
        container: `
      securityContext:
        runAsUser: 65534
        runAsNonRoot: true
        readOnlyRootFilesystem: true
        allowPrivilegeEscalation: false
        capabilities: { drop: [ALL] }`,
      },
    )}
---${scriptPod("on-host", "hostname; cat /proc/1/comm", { pod: "  hostNetwork: true\n  hostPID: true" })}
---${scriptPod("as-root", "true", { container: "      securityContext: { runAsNonRoot: true }" })}`);
    await waitFor("secured", succeeded);
    assert.match(
      await cluster.kubectl(["logs", "secured"]),
      /^65534\ntouch: .*Read-only file system\nkept\nCapEff:\s+0+\nchown: .*\nno-chown\n$/,
    );
    await waitFor("on-host", succeeded);
    const { spec } = await getPod("on-host");
    assert.equal(await cluster.kubectl(["logs", "on-host"]), `${spec!.nodeName}\ntini\n`);
    await soon(async () => {
      const waiting = (await getPod("as-root")).status?.containerStatuses?.[0]?.state?.waiting;
      assert.equal(waiting?.reason, "CreateContainerConfigError");
      assert.match(waiting!.message!, /^container has runAsNonRoot and image will run as root/);
    });
  });
});
