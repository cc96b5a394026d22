import assert from "node:assert/strict";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { ImageError } from "../../../../src/agent/kubelet/image-manager.ts";
import type { Pod } from "../../../../src/api/generated/core-v1.ts";
import { container, pod } from "./pod-fixture.ts";
import { type Rig, workerRig } from "./worker-rig.ts";

const first = (rig: Rig) => rig.status?.containerStatuses?.[0];
const running = (rig: Rig, ...names: string[]) => rig.until(() => assert.deepEqual(rig.runtime.running(), names));
const exec = (...command: string[]) => ({ exec: { command } });

test("a pod gets a sandbox, then its container, and its status says so", async (t) => {
  const rig = workerRig(t, pod());
  await rig.until(() => assert.equal(rig.status?.phase, "Running"));
  assert.deepEqual(rig.runtime.calls, ["sandbox 0", "start main 0"]);
  assert.deepEqual(rig.events, ["Normal Created Created container: main", "Normal Started Started container main"]);
  assert.equal(rig.status?.podIP, "10.42.0.9");
  assert.equal(rig.status?.conditions?.find(({ type }) => type === "Ready")?.status, "True");
});

test("a pod that the node does not take fails with the reason", async (t) => {
  const rig = workerRig(t, pod(), { admit: () => ({ reason: "OutOfcpu", message: "no cpu" }) });
  await rig.until(() => assert.equal(rig.status?.phase, "Failed"));
  assert.deepEqual([rig.status?.reason, rig.status?.message], ["OutOfcpu", "no cpu"]);
  assert.deepEqual(rig.runtime.calls, []);
});

test("a crashing container restarts at once, then after 10 s, then after 20 s", async (t) => {
  const rig = workerRig(t, pod());
  await running(rig, "main 0");
  rig.runtime.exit("main", 1);
  await running(rig, "main 1");
  rig.runtime.exit("main", 1);
  await rig.until(() => assert.equal(first(rig)?.state?.waiting?.reason, "CrashLoopBackOff"));
  const subject = "container=main pod=p_default(uid-1)";
  assert.equal(first(rig)?.state?.waiting?.message, `back-off 10s restarting failed ${subject}`);
  assert.equal(first(rig)?.lastState?.terminated?.exitCode, 1);
  await rig.pass(9500, () => assert.deepEqual(rig.runtime.running(), []));
  await rig.pass(500, () => assert.deepEqual(rig.runtime.running(), ["main 2"]));
  await rig.until(() => assert.equal(first(rig)?.restartCount, 2));
  rig.runtime.exit("main", 1);
  await rig.until(() => assert.match(first(rig)?.state?.waiting?.message ?? "", /back-off 20s/));
  await rig.pass(19_500, () => assert.deepEqual(rig.runtime.running(), []));
  await rig.pass(500, () => assert.deepEqual(rig.runtime.running(), ["main 3"]));
  assert.equal(rig.events.filter((event) => event.includes(" BackOff ")).length, 2);
});

test("a container that the runtime cannot start waits like one that crashed", async (t) => {
  const rig = workerRig(t, pod());
  rig.runtime.failStart = new Error("exec: no such file");
  await rig.until(() => assert.equal(first(rig)?.state?.waiting?.reason, "CrashLoopBackOff"));
  assert.ok(rig.events.includes("Warning Failed Error: exec: no such file"));
  await rig.pass(10_000, () => assert.deepEqual(rig.runtime.running(), ["main 1"]));
});

test("an image that is not there is the reason to wait, and is tried again when it is worth it", async (t) => {
  let failures = 1;
  const rig = workerRig(t, pod(), {
    images: {
      ensure: async () => {
        if (failures-- > 0) throw new ImageError("ErrImagePull", "no such image", rig.clock.now() + 10_000);
        return { id: "sha256:1" } as never;
      },
      forget: () => {},
    },
  });
  await rig.until(() => assert.equal(first(rig)?.state?.waiting?.reason, "ErrImagePull"));
  assert.equal(rig.status?.phase, "Pending");
  await rig.pass(9500, () => assert.deepEqual(rig.runtime.running(), []));
  await rig.pass(500, () => assert.deepEqual(rig.runtime.running(), ["main 0"]));
});

test("init containers, then sidecars that have started, then the others", async (t) => {
  const side = container("side", {
    restartPolicy: "Always",
    startupProbe: { ...exec("up"), periodSeconds: 1, failureThreshold: 30 },
  });
  const rig = workerRig(t, pod({ initContainers: [container("one"), side, container("two")] }));
  let up = 1;
  rig.runtime.onExec = () => up;
  await running(rig, "one 0");
  rig.runtime.exit("one", 0);
  await running(rig, "side 0");
  await rig.pass(3000, () => assert.deepEqual(rig.runtime.running(), ["side 0"]));
  up = 0;
  await rig.pass(1000, () => assert.deepEqual(rig.runtime.running(), ["side 0", "two 0"]));
  rig.runtime.exit("two", 0);
  await running(rig, "side 0", "main 0");
});

test("a deletion runs the hook, then stops with what is left of the grace, then removes the pod", async (t) => {
  const lifecycle = { preStop: exec("bye") };
  const rig = workerRig(t, pod({ containers: [container("main", { lifecycle })] }));
  rig.runtime.onExec = async () => {
    await rig.clock.sleep(3000);
    return 0;
  };
  await running(rig, "main 0");
  rig.remove(10);
  await rig.until(() => assert.ok(rig.runtime.calls.includes("exec bye")));
  assert.deepEqual(rig.runtime.running(), ["main 0"]);
  await rig.pass(3000, () => assert.deepEqual(rig.finished, ["uid-1"]));
  assert.deepEqual(rig.runtime.calls.slice(2), ["exec bye", "stop main 7s", "stop sandbox", "delete pod"]);
  assert.deepEqual([rig.runtime.sandboxes, rig.runtime.containers], [[], []]);
  assert.ok(rig.events.includes("Normal Killing Stopping container main"));
});

test("a hook that hangs is cut when the grace is over, and the container gets two seconds", async (t) => {
  const lifecycle = { preStop: exec("hang") };
  const rig = workerRig(t, pod({ containers: [container("main", { lifecycle })] }));
  rig.runtime.onExec = (_, signal) =>
    new Promise((_resolve, reject) => signal?.addEventListener("abort", () => reject(new Error("cut"))));
  await running(rig, "main 0");
  rig.remove(5);
  await rig.pass(5000, () => assert.deepEqual(rig.finished, ["uid-1"]));
  assert.ok(rig.runtime.calls.includes("stop main 2s"));
  assert.ok(rig.events.includes("Warning FailedPreStopHook PreStopHook failed: cut"));
});

test("a shorter grace takes the place of a longer one that is under way", async (t) => {
  const lifecycle = { preStop: exec("hang") };
  const rig = workerRig(t, pod({ containers: [container("main", { lifecycle })] }));
  rig.runtime.onExec = (_, signal) =>
    new Promise((_resolve, reject) => signal?.addEventListener("abort", () => reject(new Error("cut"))));
  await running(rig, "main 0");
  rig.remove(600);
  await rig.until(() => assert.ok(rig.runtime.calls.includes("exec hang")));
  rig.remove(1);
  await rig.pass(1000, () => assert.deepEqual(rig.finished, ["uid-1"]));
});

test("sidecars end after the others, in the reverse order of their start, within the pod's grace", async (t) => {
  const side = (name: string) => container(name, { restartPolicy: "Always" });
  const main = container("main", { lifecycle: { preStop: exec("bye") } });
  const rig = workerRig(t, pod({ initContainers: [side("a"), side("b")], containers: [main] }));
  rig.runtime.onExec = async () => {
    await rig.clock.sleep(4000);
    return 0;
  };
  await running(rig, "a 0", "b 0", "main 0");
  rig.remove(10);
  await rig.pass(4000, () => assert.deepEqual(rig.finished, ["uid-1"]));
  const stops = rig.runtime.calls.filter((call) => call.endsWith("s") && call.startsWith("stop "));
  assert.deepEqual(stops, ["stop main 6s", "stop b 6s", "stop a 6s"]);
});

test("a sandbox that is stopped from outside costs each container one restart", async (t) => {
  const rig = workerRig(t, pod({ containers: [container("a"), container("b")] }));
  await running(rig, "a 0", "b 0");
  rig.runtime.loseSandbox(rig.runtime.sandboxes[0]!, 400);
  await rig.pass(2000, () => assert.deepEqual(rig.runtime.running(), ["a 1", "b 1"]));
  assert.deepEqual(rig.runtime.calls.slice(3), ["sandbox 1", "start a 1", "start b 1"]);
});

test("a runtime that takes long to answer is judged by the time that it was asked at", async (t) => {
  const rig = workerRig(t, pod());
  await running(rig, "main 0");
  const { runtime } = rig;
  const status = runtime.containerStatus.bind(runtime);
  let slow = true;
  runtime.containerStatus = async (id) => {
    const answer = await status(id);
    if (slow) {
      slow = false;
      await rig.clock.sleep(1500);
    }
    return answer;
  };
  runtime.loseSandbox(runtime.sandboxes[0]!, 400);
  await rig.pass(4000, () => assert.deepEqual(runtime.running(), ["main 1"]));
  assert.deepEqual(runtime.calls.slice(2), ["sandbox 1", "start main 1"]);
});

test("a container that is killed in a sandbox that stays restarts a moment later, with no back-off", async (t) => {
  const rig = workerRig(t, pod());
  await running(rig, "main 0");
  rig.runtime.exit("main", 137);
  await rig.pass(750, () => assert.deepEqual(rig.runtime.running(), []));
  await rig.pass(250, () => assert.deepEqual(rig.runtime.running(), ["main 1"]));
});

test("with another image a container is replaced whatever the policy, and one that crashed does not wait", async (t) => {
  const rig = workerRig(t, pod({ restartPolicy: "Never" }));
  const image = (name: string) =>
    rig.change({ ...rig.pod, spec: { ...rig.pod.spec!, containers: [container("main", { image: name })] } });
  await running(rig, "main 0");
  image("busybox:2");
  await running(rig, "main 1");
  await rig.until(() => assert.deepEqual([rig.status?.phase, first(rig)?.restartCount], ["Running", 1]));
  assert.ok(rig.events.includes("Normal Killing Container main definition changed, will be restarted"));

  rig.change({ ...rig.pod, spec: { ...rig.pod.spec!, restartPolicy: "Always" } });
  rig.runtime.exit("main", 1);
  await running(rig, "main 2");
  rig.runtime.exit("main", 1);
  await rig.until(() => assert.equal(first(rig)?.state?.waiting?.reason, "CrashLoopBackOff"));
  image("busybox:3");
  await running(rig, "main 3");
});

test("after a restart of the agent containers are found again, and their readiness stands", async (t) => {
  const spec = container("main", { readinessProbe: { ...exec("ready"), periodSeconds: 1 } });
  const rig = workerRig(t, pod({ containers: [spec] }));
  // However long it takes until the worker has a prober, whose first look comes within a period.
  while (!first(rig)?.ready) await rig.pass(250, () => {});
  const calls = rig.runtime.calls.filter((call) => !call.startsWith("exec"));
  let seen = false;
  rig.runtime.onExec = () => {
    seen = true;
    return new Promise(() => {});
  };
  rig.restart();
  while (!seen) await rig.pass(250, () => {});
  assert.equal(first(rig)?.ready, true);
  assert.deepEqual(
    rig.runtime.calls.filter((call) => !call.startsWith("exec")),
    calls,
  );
});

test("a worker that is stopped in the middle of an end leaves the pod to the next one", async (t) => {
  const rig = workerRig(t, pod());
  await running(rig, "main 0");
  const { promise, resolve } = Promise.withResolvers<void>();
  const { images } = rig.context;
  const { forget } = images;
  let tornDown = false;
  images.forget = (uid) => {
    tornDown = true;
    forget(uid);
  };
  const stopPodSandbox = rig.runtime.stopPodSandbox.bind(rig.runtime);
  let stopping = false;
  rig.runtime.stopPodSandbox = (id) => {
    stopping = true;
    return promise.then(() => stopPodSandbox(id));
  };
  rig.remove(0);
  await rig.until(() => assert.ok(stopping));
  const { deletionTimestamp: _, deletionGracePeriodSeconds: __, ...metadata } = rig.pod.metadata;
  rig.restart({ ...rig.pod, metadata });
  resolve();
  await rig.until(() => assert.ok(tornDown));
  rig.worker.wake();
  await rig.until(() => {
    assert.deepEqual([rig.runtime.running().length, rig.status?.phase], [1, "Running"]);
    assert.ok(rig.runtime.sandboxes.some(({ ready }) => ready));
  });
  assert.deepEqual(rig.finished, []);
  assert.ok(!rig.runtime.calls.includes("delete pod"));
});

test("a failed liveness probe kills the container, which restarts", async (t) => {
  const spec = container("main", { livenessProbe: { ...exec("live"), periodSeconds: 1, failureThreshold: 1 } });
  const rig = workerRig(t, pod({ containers: [spec] }));
  await running(rig, "main 0");
  rig.runtime.onExec = () => 1;
  await rig.pass(1000, () => assert.ok(rig.runtime.calls.includes("start main 1")));
  assert.ok(rig.events.includes("Warning Unhealthy Liveness probe failed: said"));
  assert.ok(rig.events.includes("Normal Killing Container main failed liveness probe, will be restarted"));
});

test("a postStart hook that fails ends its container", async (t) => {
  const lifecycle = { postStart: exec("hello") };
  const rig = workerRig(t, pod({ restartPolicy: "Never", containers: [container("main", { lifecycle })] }));
  rig.runtime.onExec = () => 1;
  await rig.until(() => assert.equal(rig.status?.phase, "Failed"));
  assert.ok(rig.events.includes("Warning FailedPostStartHook PostStartHook failed: said"));
});

test("a pod that is active beyond its deadline fails, and what runs is stopped", async (t) => {
  const rig = workerRig(t, pod({ activeDeadlineSeconds: 60 }));
  await rig.until(() => assert.equal(rig.status?.phase, "Running"));
  await rig.pass(59_000, () => assert.equal(rig.status?.phase, "Running"));
  await rig.pass(1000, () => assert.equal(rig.status?.phase, "Failed"));
  assert.equal(rig.status?.reason, "DeadlineExceeded");
  assert.deepEqual(rig.runtime.running(), []);
  assert.deepEqual(rig.finished, []);
});

test("an ephemeral container starts beside those that run, sees its target, and does not restart", async (t) => {
  const rig = workerRig(t, pod());
  await running(rig, "main 0");
  const debug = { name: "debug", image: "busybox:1", targetContainerName: "main" };
  rig.change({ ...rig.pod, spec: { ...rig.pod.spec!, ephemeralContainers: [debug] } } as Pod);
  await running(rig, "main 0", "debug 0");
  const { namespaceOptions } = rig.runtime.container("debug").config.linux?.securityContext ?? {};
  assert.deepEqual([namespaceOptions?.pid, namespaceOptions?.targetId], ["TARGET", rig.runtime.container("main").id]);
  rig.runtime.exit("debug", 1);
  await rig.until(() => assert.equal(rig.status?.ephemeralContainerStatuses?.[0]?.state?.terminated?.exitCode, 1));
  assert.deepEqual(rig.runtime.running(), ["main 0"]);
  assert.equal(rig.status?.phase, "Running");
});

test("a volume that is an image is got by its own policy, and mounted by the runtime", async (t) => {
  const asked: unknown[] = [];
  const volumes = [{ name: "v", image: { reference: "files:1", pullPolicy: "Always" } }];
  const mounted = container("main", { volumeMounts: [{ name: "v", mountPath: "/files", subPath: "etc" }] });
  const rig = workerRig(t, pod({ volumes, containers: [mounted] }), {
    images: {
      ensure: async (_pod, { image, imagePullPolicy }) => {
        asked.push([image, imagePullPolicy]);
        return { id: `id of ${image}` } as Awaited<ReturnType<Rig["context"]["images"]["ensure"]>>;
      },
      forget: () => {},
    },
  });
  await running(rig, "main 0");
  assert.deepEqual(asked, [
    ["busybox:1", undefined],
    ["files:1", "Always"],
  ]);
  assert.deepEqual(rig.runtime.container("main").config.mounts?.[0], {
    containerPath: "/files",
    readonly: true,
    image: { image: "id of files:1" },
    imageSubPath: "etc",
  });
});

test("a pod whose containers have ended for good keeps its place in the API, and nothing on the node", async (t) => {
  const rig = workerRig(t, pod({ restartPolicy: "Never" }));
  await running(rig, "main 0");
  const path = join(rig.context.rootDir, "pods/uid-1/containers/main");
  mkdirSync(path, { recursive: true });
  writeFileSync(join(path, "0"), "all done");
  rig.runtime.exit("main", 0);
  await rig.until(() => assert.equal(rig.status?.phase, "Succeeded"));
  await rig.until(() => assert.ok(rig.runtime.calls.includes("stop sandbox")));
  assert.equal(first(rig)?.state?.terminated?.message, "all done");
  assert.deepEqual(rig.finished, []);
  assert.equal(rig.worker.ended, true);
});

test("of a container that restarts often only the newest two are kept", async (t) => {
  const rig = workerRig(t, pod());
  await running(rig, "main 0");
  rig.runtime.exit("main", 1);
  await running(rig, "main 1");
  rig.runtime.exit("main", 1);
  await rig.pass(10_000, () => assert.deepEqual(rig.runtime.running(), ["main 2"]));
  await rig.until(() => assert.equal(rig.runtime.containers.length, 2));
});
