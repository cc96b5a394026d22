import assert from "node:assert/strict";
import { test } from "node:test";
import { qosClassOf } from "../../../../src/agent/kubelet/pod-facts.ts";
import { linuxResources } from "../../../../src/agent/kubelet/resources.ts";
import { containerConfig, sandboxConfig, verifyNonRoot } from "../../../../src/agent/kubelet/runtime-config.ts";
import { container, pod } from "./pod-fixture.ts";

const facts = {
  attempt: 2,
  imageRef: "sha256:1",
  environment: new Map([["A", "1"]]),
  mounts: [],
  memoryCapacityBytes: 4 * 2 ** 30,
};
const settings = { dns: { servers: [], searches: [], options: [] }, clusterDomain: "cluster.local" };

test("limits become shares, quota and memory; the request decides how soon the kernel kills", () => {
  const main = container("main", {
    resources: { limits: { cpu: "500m", memory: "1Gi" }, requests: { cpu: "250m", memory: "1Gi" } },
  });
  assert.deepEqual(linuxResources(pod({ containers: [main] }), main, facts.memoryCapacityBytes), {
    cpuShares: 256,
    cpuPeriod: 100_000,
    cpuQuota: 50_000,
    memoryLimitInBytes: 2 ** 30,
    oomScoreAdj: 750,
    hugepageLimits: [],
  });
  assert.deepEqual(linuxResources(pod(), container("main"), facts.memoryCapacityBytes), {
    cpuShares: 2,
    oomScoreAdj: 1000,
    hugepageLimits: [],
  });
});

test("quality of service follows from the requests and limits of all containers", () => {
  const full = { limits: { cpu: "1", memory: "1Gi" }, requests: { cpu: "1000m", memory: "1024Mi" } };
  assert.equal(qosClassOf(pod({ containers: [container("a", { resources: full })] })), "Guaranteed");
  assert.equal(qosClassOf(pod({ containers: [container("a", { resources: full }), container("b")] })), "Burstable");
  assert.equal(qosClassOf(pod()), "BestEffort");
});

test("a container that is not privileged has parts of /proc hidden; a privileged one has not", () => {
  const of = (privileged: boolean) => {
    const main = container("main", { securityContext: { privileged } });
    return containerConfig(pod({ containers: [main] }), main, facts).linux?.securityContext;
  };
  assert.ok(of(false)?.maskedPaths?.includes("/proc/kcore"));
  assert.deepEqual([of(true)?.maskedPaths, of(true)?.privileged], [[], true]);
});

test("the container's security context overrides the pod's; capabilities lose their prefix", () => {
  const main = container("main", {
    command: ["echo", "$(A)"],
    securityContext: {
      runAsUser: 0,
      capabilities: { add: ["CAP_NET_ADMIN"], drop: ["ALL"] },
      allowPrivilegeEscalation: false,
    },
  });
  const of = pod({
    containers: [main],
    securityContext: { runAsUser: 1000, runAsGroup: 2000, fsGroup: 3000, seccompProfile: { type: "RuntimeDefault" } },
  });
  const config = containerConfig(of, main, facts);
  assert.deepEqual(config.command, ["echo", "1"]);
  assert.equal(config.logPath, "main/2.log");
  const security = config.linux?.securityContext;
  assert.deepEqual(
    [security?.runAsUser, security?.runAsGroup, security?.supplementalGroups],
    [{ value: 0 }, { value: 2000 }, [3000]],
  );
  assert.deepEqual(security?.capabilities, { addCapabilities: ["NET_ADMIN"], dropCapabilities: ["ALL"] });
  assert.deepEqual([security?.noNewPrivs, security?.seccomp], [true, { profileType: "RuntimeDefault" }]);
});

test("namespaces follow the pod's host settings, shared processes and the target of a debug container", () => {
  const of = (spec: object, target?: string) =>
    containerConfig(pod(spec), container("main"), { ...facts, targetContainerId: target }).linux?.securityContext
      ?.namespaceOptions;
  assert.deepEqual(of({}), { network: "POD", ipc: "POD", pid: "CONTAINER" });
  assert.deepEqual(of({ hostNetwork: true, hostPID: true, hostIPC: true }), {
    network: "NODE",
    ipc: "NODE",
    pid: "NODE",
  });
  assert.equal(of({ shareProcessNamespace: true })?.pid, "POD");
  assert.deepEqual(of({}, "c1"), { network: "POD", ipc: "POD", pid: "TARGET", targetId: "c1" });
});

test("a sandbox has the pod's host name, sysctls and host ports; on the node's network no ports", () => {
  const main = container("main", { ports: [{ containerPort: 80, hostPort: 8080 }, { containerPort: 81 }] });
  const of = pod({
    containers: [main],
    hostname: "h",
    securityContext: { sysctls: [{ name: "net.ipv4.ip_forward", value: "1" }] },
  });
  const config = sandboxConfig(of, 1, settings);
  assert.deepEqual(config.portMappings, [{ protocol: "TCP", containerPort: 80, hostPort: 8080, hostIp: "" }]);
  assert.deepEqual(
    [config.hostname, config.metadata?.attempt, config.linux?.sysctls],
    ["h", 1, { "net.ipv4.ip_forward": "1" }],
  );
  assert.deepEqual(sandboxConfig(pod({ containers: [main], hostNetwork: true }), 0, settings).portMappings, []);
});

test("runAsNonRoot refuses root, images of root, and images whose user is a name", () => {
  const of = pod({ securityContext: { runAsNonRoot: true } });
  assert.throws(() => verifyNonRoot(of, container("main"), { uid: 0 }), /image will run as root/);
  assert.throws(() => verifyNonRoot(of, container("main"), { username: "app" }), /non-numeric user \(app\)/);
  assert.throws(
    () => verifyNonRoot(of, container("main", { securityContext: { runAsUser: 0 } }), { uid: 5 }),
    /breaks non-root policy/,
  );
  verifyNonRoot(of, container("main"), { uid: 5 });
  verifyNonRoot(of, container("main", { securityContext: { runAsUser: 5 } }), { uid: 0 });
});
