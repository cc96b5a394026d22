/** What the conformance tests ask of a node: how it runs containers, and what it tells of them. */
import assert from "node:assert/strict";
import { describe } from "node:test";
import { type Container, type Pod, pods } from "../../src/api/generated/core-v1.ts";
import { conformance, entryImage, type Nodes, shell, testImage, useNodes } from "../conformance/on-nodes.ts";
import { soon } from "../conformance/waiting.ts";

useNodes();

const command = "[sig-node] Containers should";
const runtime = "[sig-node] Container Runtime blackbox test";
const ends = "[sig-node] Container Runtime blackbox test on terminated container should report termination message";
const security = "[sig-node] Security Context";
const initial = "[sig-node] InitContainer [NodeConformance] should";
const kubelet = "[sig-node] Kubelet when scheduling";
const hook = "[sig-node] Container Lifecycle Hook when create a pod with lifecycle hook should execute";
const ephemeral = "[sig-node] Ephemeral Containers [NodeConformance]";
const plain = "[NodeConformance] [Conformance]";

const sleep = { command: ["sleep", "10000"] };
const succeeds = { name: "second", image: testImage, command: ["true"] };

/** What a pod of this container prints before it succeeds. */
async function outputOf(nodes: Nodes, container: Partial<Container>, spec?: Partial<NonNullable<Pod["spec"]>>) {
  await nodes.create("p", container, spec);
  const { status } = await nodes.ended("p");
  const output = await nodes.logs("p");
  assert.equal(status!.phase, "Succeeded", output);
  return output;
}

const condition = (pod: Pod, wanted: string) => pod.status?.conditions?.find(({ type }) => type === wanted);
const restarts = (pod: Pod) => pod.status?.containerStatuses?.[0]?.restartCount ?? 0;
const isReady = (pod: Pod) => condition(pod, "Ready")?.status === "True";
const isRunning = (pod: Pod) => pod.status?.phase === "Running";

describe("the node", { concurrency: 8 }, () => {
  conformance(`${command} use the image defaults if command and args are blank ${plain}`, async (nodes) => {
    const containers = [
      { name: "command", image: testImage },
      { name: "entry", image: entryImage },
    ];
    await nodes.create("p", {}, { containers });
    await nodes.becomes("p", isRunning);
    await soon(async () => {
      assert.match(await nodes.logs("p", "command"), /^serving p on port 80$/m);
      assert.equal(await nodes.logs("p", "entry"), "entry default\n");
    });
  });
  const override = (container: Partial<Container>, expected: string) => async (nodes: Nodes) =>
    assert.equal(await outputOf(nodes, { ...container, image: entryImage }), expected);
  conformance(
    `${command} be able to override the image's default arguments (container cmd) ${plain}`,
    override({ args: ["override", "arguments"] }, "entry override arguments\n"),
  );
  conformance(
    `${command} be able to override the image's default command (container entrypoint) ${plain}`,
    override({ command: ["/bin/echo", "command"] }, "command\n"),
  );
  conformance(
    `${command} be able to override the image's default command and arguments ${plain}`,
    override({ command: ["/bin/echo", "command"], args: ["override", "arguments"] }, "command override arguments\n"),
  );

  const message =
    (phase: "Succeeded" | "Failed", expected: string | undefined, container: Partial<Container>) =>
    async (nodes: Nodes) => {
      await nodes.create("p", container);
      const { status } = await nodes.ended("p");
      assert.equal(status!.phase, phase);
      const { terminated } = status!.containerStatuses![0]!.state!;
      assert.ok(terminated, "its state is not that it ended");
      assert.equal(terminated.message, expected);
      await nodes.remove("p");
    };
  const fallback = {
    terminationMessagePath: "/dev/termination-log",
    terminationMessagePolicy: "FallbackToLogsOnError",
  };
  conformance(
    `${ends} if TerminationMessagePath is set as non-root user and at a non-default path ${plain}`,
    message("Succeeded", "DONE", {
      ...shell("echo -n DONE > /dev/termination-custom-log"),
      terminationMessagePath: "/dev/termination-custom-log",
      securityContext: { runAsUser: 10_000 },
    }),
  );
  conformance(
    `${ends} from log output if TerminationMessagePolicy FallbackToLogsOnError is set ${plain}`,
    message("Failed", "DONE", { ...shell("echo -n DONE; false"), ...fallback }),
  );
  conformance(
    `${ends} as empty when pod succeeds and TerminationMessagePolicy FallbackToLogsOnError is set ${plain}`,
    message("Succeeded", undefined, { ...shell("echo -n DONE; true"), ...fallback }),
  );
  conformance(
    `${ends} from file when pod succeeds and TerminationMessagePolicy FallbackToLogsOnError is set ${plain}`,
    message("Succeeded", "OK", { ...shell("echo -n OK > /dev/termination-log; echo DONE; true"), ...fallback }),
  );

  conformance(
    `${runtime} when starting a container that exits should run with the expected status ${plain}`,
    async (nodes) => {
      // Fails at first, then succeeds, then stays.
      const script = "echo run >> /v/runs; case $(wc -l < /v/runs) in 1) exit 1;; 2) exit 0;; esac; sleep 10000";
      const container = { ...shell(script), volumeMounts: [{ name: "v", mountPath: "/v" }] };
      const volumes = [{ name: "v", emptyDir: { medium: "Memory" } }];
      await Promise.all(
        (
          [
            ["Always", "Running", 2, true],
            ["OnFailure", "Succeeded", 1, false],
            ["Never", "Failed", 0, false],
          ] as const
        ).map(async ([restartPolicy, phase, count, ready]) => {
          const name = restartPolicy.toLowerCase();
          await nodes.create(name, container, { volumes, restartPolicy });
          const pod = await nodes.becomes(
            name,
            (now) => restarts(now) === count && now.status?.phase === phase && isReady(now) === ready,
          );
          const state = ready ? "running" : "terminated";
          assert.deepEqual(Object.keys(pod.status!.containerStatuses![0]!.state!), [state]);
          await nodes.remove(name);
        }),
      );
    },
  );

  conformance(
    `${security} When creating a container with runAsUser should run the container with uid 65534 [LinuxOnly] ${plain}`,
    async (nodes) => {
      assert.equal(await outputOf(nodes, { ...shell("id -u"), securityContext: { runAsUser: 65_534 } }), "65534\n");
    },
  );
  conformance(
    `${security} When creating a pod with readOnlyRootFilesystem should run the container with writable rootfs when readOnlyRootFilesystem=false ${plain}`,
    async (nodes) => {
      await outputOf(nodes, { ...shell("touch file"), securityContext: { readOnlyRootFilesystem: false } });
    },
  );
  conformance(
    `${security} When creating a pod with privileged should run the container as unprivileged when false [LinuxOnly] ${plain}`,
    async (nodes) => {
      const script = "ip link add dummy0 type dummy 2>&1 || true";
      assert.match(
        await outputOf(nodes, { ...shell(script), securityContext: { privileged: false } }),
        /Operation not permitted/,
      );
    },
  );
  conformance(
    `${security} should support pod.Spec.SecurityContext.RunAsUser And pod.Spec.SecurityContext.RunAsGroup [LinuxOnly] [Conformance]`,
    async (nodes) => {
      const securityContext = { runAsUser: 1001, runAsGroup: 2002 };
      assert.match(await outputOf(nodes, shell("id"), { securityContext }), /^uid=1001 gid=2002\b/);
    },
  );
  conformance(
    `${security} should support container.SecurityContext.RunAsUser And container.SecurityContext.RunAsGroup [LinuxOnly] [Conformance]`,
    async (nodes) => {
      const container = { ...shell("id"), securityContext: { runAsUser: 1002, runAsGroup: 2002 } };
      const spec = { securityContext: { runAsUser: 1001, runAsGroup: 2001 } };
      assert.match(await outputOf(nodes, container, spec), /^uid=1002 gid=2002\b/);
    },
  );
  conformance(
    "[sig-node] Sysctls [LinuxOnly] [NodeConformance] should support sysctls [Environment:NotInUserNS] [Conformance]",
    async (nodes) => {
      const securityContext = { sysctls: [{ name: "kernel.shm_rmid_forced", value: "1" }] };
      const script = { command: ["sysctl", "kernel.shm_rmid_forced"] };
      assert.equal(await outputOf(nodes, script, { securityContext }), "kernel.shm_rmid_forced = 1\n");
    },
  );

  const fails = { ...succeeds, name: "first", command: ["false"] };
  const works = { ...succeeds, name: "first" };
  const areDone = (pod: Pod) => {
    assert.equal(condition(pod, "Initialized")?.status, "True");
    const states = pod.status!.initContainerStatuses!;
    assert.deepEqual(
      states.map(({ ready, state }) => [ready, state?.terminated?.exitCode]),
      [
        [true, 0],
        [true, 0],
      ],
    );
  };
  /** The pod's containers wait for those before them, at each moment. */
  const hold = (pod: Pod) => {
    for (const { state } of pod.status?.containerStatuses ?? [])
      assert.equal(state?.waiting?.reason, "PodInitializing", JSON.stringify(state));
  };
  const isHeld = (pod: Pod, unfinished: string) => {
    const { status, reason, message } = condition(pod, "Initialized")!;
    assert.deepEqual(
      [status, reason, message],
      ["False", "ContainersNotInitialized", `containers with incomplete status: [${unfinished}]`],
    );
    assert.equal(pod.status!.initContainerStatuses!.length, 2);
  };
  conformance(`${initial} invoke init containers on a RestartNever pod [Conformance]`, async (nodes) => {
    await nodes.create("p", { command: ["true"] }, { initContainers: [works, succeeds] });
    const pod = await nodes.ended("p");
    assert.equal(pod.status!.phase, "Succeeded");
    areDone(pod);
  });
  conformance(`${initial} invoke init containers on a RestartAlways pod [Conformance]`, async (nodes) => {
    const spec = { initContainers: [works, succeeds], restartPolicy: "Always" };
    await nodes.create("p", { ...sleep, resources: { limits: { cpu: "100m" } } }, spec);
    areDone(await nodes.becomes("p", isRunning));
  });
  conformance(
    `${initial} not start app containers if init containers fail on a RestartAlways pod [Conformance]`,
    async (nodes) => {
      await nodes.create("p", sleep, { initContainers: [fails, succeeds], restartPolicy: "Always" });
      const pod = await nodes.becomes("p", (now) => {
        hold(now);
        const [first, second] = now.status?.initContainerStatuses ?? [];
        if (!first || !second) return false;
        assert.equal(second.state?.waiting?.reason, "PodInitializing");
        assert.notEqual(first.state?.terminated?.exitCode, 0);
        return first.lastState?.terminated !== undefined && (first.restartCount ?? 0) >= 3;
      });
      assert.equal(pod.status!.phase, "Pending");
      isHeld(pod, "first second");
    },
  );
  conformance(
    `${initial} not start app containers and fail the pod if init containers fail on a RestartNever pod [Conformance]`,
    async (nodes) => {
      const initContainers = [works, { ...fails, name: "second" }];
      await nodes.create("p", { command: ["true"] }, { initContainers });
      const pod = await nodes.becomes("p", (now) => {
        hold(now);
        const [first, second] = now.status?.initContainerStatuses ?? [];
        assert.equal(first?.state?.terminated?.exitCode ?? 0, 0);
        assert.notEqual(second?.state?.terminated?.exitCode, 0);
        return now.status?.phase === "Failed";
      });
      isHeld(pod, "second");
      assert.ok(pod.status!.containerStatuses![0]!.state!.waiting);
    },
  );

  conformance(`${kubelet} a busybox command in a pod should print the output to logs ${plain}`, async (nodes) => {
    await nodes.create("p", shell("echo 'Hello World'; sleep 10000"));
    await nodes.becomes("p", isRunning);
    const since = new Date(Date.now() - 3_600_000).toISOString();
    const path = `/api/v1/namespaces/${nodes.namespace}/pods/p/log?sinceTime=${encodeURIComponent(since)}`;
    await soon(async () => assert.equal((await nodes.send(path)).text, "Hello World\n"));
  });
  conformance(
    `${kubelet} a busybox command that always fails in a pod should have an terminated reason ${plain}`,
    async (nodes) => {
      await nodes.create("p", { command: ["false"] });
      const { status } = await nodes.ended("p");
      assert.equal(status!.containerStatuses!.length, 1);
      const { terminated } = status!.containerStatuses![0]!.state!;
      assert.equal(terminated?.exitCode, 1);
      assert.equal(terminated?.reason, "Error");
    },
  );
  conformance(
    `${kubelet} a busybox command that always fails in a pod should be possible to delete ${plain}`,
    async (nodes) => {
      await nodes.create("p", { command: ["false"] });
      await nodes.remove("p");
    },
  );
  conformance(
    `${kubelet} an agnhost Pod with hostAliases should write entries to /etc/hosts ${plain}`,
    async (nodes) => {
      const hostAliases = [{ ip: "123.45.67.89", hostnames: ["foo", "bar"] }];
      const output = await outputOf(nodes, { command: ["cat", "/etc/hosts"] }, { hostAliases });
      assert.match(output, /^123\.45\.67\.89\tfoo\tbar$/m);
    },
  );
  conformance(
    `${kubelet} a read only busybox container should not write to root filesystem [LinuxOnly] ${plain}`,
    async (nodes) => {
      const securityContext = { readOnlyRootFilesystem: true };
      await nodes.create("p", { ...shell("echo test > /file; sleep 10000"), securityContext });
      await nodes.becomes("p", isRunning);
      await soon(async () =>
        assert.match(await nodes.logs("p"), /^sh:.* can't create \/file: Read-only file system\n$/),
      );
    },
  );
  conformance(
    `[sig-node] KubeletManagedEtcHosts should test kubelet managed /etc/hosts file ${plain}`,
    async (nodes) => {
      const volumes = [{ name: "hosts", hostPath: { path: "/etc/hosts", type: "FileOrCreate" } }];
      const original = { name: "hosts", mountPath: "/etc/hosts-original" };
      const make = (name: string) => ({ ...sleep, name, image: testImage, volumeMounts: [original] });
      const mounted = { ...make("three"), volumeMounts: [original, { name: "hosts", mountPath: "/etc/hosts" }] };
      await nodes.create("own", {}, { volumes, containers: [make("one"), make("two"), mounted] });
      await nodes.create("host", {}, { volumes, containers: [make("one"), make("two")], hostNetwork: true });
      for (const [pod, container, managed] of [
        ["own", "one", true],
        ["own", "two", true],
        ["own", "three", false],
        ["host", "one", false],
        ["host", "two", false],
      ] as const) {
        await nodes.ready(pod);
        const hosts = await nodes.exec(pod, ["cat", "/etc/hosts"], container);
        const others = await nodes.exec(pod, ["cat", "/etc/hosts-original"], container);
        assert.ok(hosts.length > 0 && others.length > 0);
        const isManaged = hosts.startsWith("# Kubernetes-managed hosts file.") && hosts !== others;
        assert.equal(isManaged, managed, `${pod}/${container}: ${hosts}`);
      }
    },
  );

  const exec = (path: string) => (ip: string) => ({ exec: { command: ["wget", "-qO-", `http://${ip}/${path}`] } });
  /** A hook asks another pod's web server, whose log tells of it. */
  const asks = (when: "postStart" | "preStop", handler: (ip: string) => object) => async (nodes: Nodes) => {
    const pages = shell("touch /www/poststart /www/prestop; exec web");
    await nodes.create("server", { ...pages, readinessProbe: { tcpSocket: { port: 80 }, periodSeconds: 1 } });
    const { podIP } = (await nodes.ready("server")).status!;
    // Beside the container, so that it is there before the hook after its start: it passes on what it is asked.
    const script = `mkdir /www/cgi-bin; cd /www/cgi-bin
      printf '#!/bin/sh\\nwget -qO- http://${podIP}/${when.toLowerCase()}; printf "Content-Type: text/plain\\\\n\\\\n"\\n' > tell
      chmod +x tell; exec web`;
    const startupProbe = { tcpSocket: { port: 80 }, periodSeconds: 1, failureThreshold: 60 };
    const beside = { name: "beside", image: testImage, restartPolicy: "Always", startupProbe, ...shell(script) };
    const container = { env: [{ name: "PORT", value: "81" }], lifecycle: { [when]: handler(podIP!) } };
    await nodes.create("p", container, { initContainers: [beside] });
    await nodes.ready("p");
    const told = () => soon(async () => assert.match(await nodes.logs("server"), new RegExp(`GET /${when}`, "i")));
    if (when === "postStart") await told();
    else assert.doesNotMatch(await nodes.logs("server"), /prestop/i);
    await nodes.remove("p", 60);
    await told();
  };
  // Without a host it is the pod itself that is asked.
  const http = () => ({ httpGet: { path: "/cgi-bin/tell", port: 80 } });
  conformance(`${hook} poststart exec hook properly ${plain}`, asks("postStart", exec("poststart")));
  conformance(`${hook} prestop exec hook properly ${plain}`, asks("preStop", exec("prestop")));
  conformance(`${hook} prestop http hook properly ${plain}`, asks("preStop", http));

  const debugger1 = {
    name: "debugger",
    image: testImage,
    ...shell("while true; do echo polo; sleep 2; done"),
    stdin: true,
    tty: true,
  };
  async function debug(nodes: Nodes) {
    const { client, namespace } = nodes;
    await nodes.create("p", sleep);
    assert.equal((await nodes.ready("p")).metadata.generation, 1);
    const body = { spec: { ephemeralContainers: [debugger1] } };
    await client.patch(pods, "p", { type: "strategic", body }, { namespace, subresource: "ephemeralcontainers" });
    const pod = await nodes.becomes("p", ({ status }) => !!status?.ephemeralContainerStatuses?.[0]?.state?.running);
    assert.equal(pod.metadata.generation, 2);
    assert.match(await nodes.exec("p", ["/bin/echo", "marco"], "debugger"), /marco/);
    await soon(async () => assert.match(await nodes.logs("p", "debugger"), /polo/));
  }
  conformance(`${ephemeral} will start an ephemeral container in an existing pod [Conformance]`, debug);
  conformance(`${ephemeral} should update the ephemeral containers in an existing pod [Conformance]`, async (nodes) => {
    const { client, namespace } = nodes;
    await debug(nodes);
    const at = { namespace, subresource: "ephemeralcontainers" };
    const names = async () => (await client.get(pods, "p", at)).spec!.ephemeralContainers!.map(({ name }) => name);
    assert.deepEqual(await names(), ["debugger"]);
    await soon(async () => {
      const pod = structuredClone(await client.get(pods, "p", { namespace }));
      pod.spec!.ephemeralContainers!.push({
        name: "debugger2",
        image: testImage,
        imagePullPolicy: "IfNotPresent",
        terminationMessagePolicy: "File",
      });
      await client.update(pods, pod, at);
    });
    assert.deepEqual(await names(), ["debugger", "debugger2"]);
  });
});
