import type { ObservedContainer, ObservedSandbox } from "../../../../src/agent/kubelet/observed-pod.ts";
import { containerHash } from "../../../../src/agent/kubelet/runtime-config.ts";
import type { Container, Pod, PodSpec } from "../../../../src/api/generated/core-v1.ts";

/** A container that needs nothing special. */
export function container(name: string, more: Partial<Container> = {}): Container {
  return { name, image: "busybox:1", ...more };
}

/** A pod named "p" with one container "main" unless the spec says other. */
export function pod(spec: Partial<PodSpec> = {}, more: Partial<Pod> = {}): Pod {
  return {
    metadata: { name: "p", namespace: "default", uid: "uid-1", generation: 1 },
    spec: { nodeName: "n", restartPolicy: "Always", containers: [container("main")], ...spec },
    ...more,
  };
}

export function sandbox(more: Partial<ObservedSandbox> = {}): ObservedSandbox {
  return { id: "s0", ready: true, attempt: 0, createdAtMs: 1000, ips: ["10.42.0.2"], ...more };
}

export function seen(of: string | Container, more: Partial<ObservedContainer> = {}): ObservedContainer {
  const spec = typeof of === "string" ? container(of) : of;
  return {
    id: `${spec.name}-${more.attempt ?? 0}`,
    name: spec.name,
    sandboxId: "s0",
    attempt: 0,
    state: "running",
    createdAtMs: 2000,
    startedAtMs: 2000,
    finishedAtMs: more.state === "exited" ? 3000 : 0,
    exitCode: 0,
    reason: "",
    message: "",
    image: "busybox:1",
    imageId: "sha256:1",
    hash: containerHash(spec),
    logPath: "",
    ...more,
  };
}
