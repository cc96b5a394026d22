import type {
  ContainerState,
  ContainerStateTerminated,
  ContainerStatus,
  Pod,
  PodCondition,
  PodStatus,
} from "../../api/generated/core-v1.ts";
import { formatTime } from "../../machinery/clock.ts";
import { reportedResources } from "./container-resources.ts";
import type { ObservedContainer, ObservedPod } from "./observed-pod.ts";
import { restarts } from "./plan.ts";
import { type AnyContainer, allContainers, type ContainerKind, isSidecar, qosClassOf } from "./pod-facts.ts";
import type { ResizeCondition } from "./pod-resize.ts";

export interface Waiting {
  readonly reason: string;
  readonly message?: string;
}

export interface StatusContext {
  readonly nowMs: number;
  readonly hostIps: readonly string[];
  /** Why containers are not running, beyond what can be observed: image pulls, back-off, errors. */
  readonly waiting: ReadonlyMap<string, Waiting>;
  ready(container: ObservedContainer): boolean;
  started(container: ObservedContainer): boolean;
  /** What the container left at its termination message path. */
  terminationMessage(container: ObservedContainer): string | undefined;
  /** The pod was ended by the node (evicted, deadline): its phase is Failed for this reason. */
  readonly failure?: { readonly reason: string; readonly message: string } | undefined;
  /** What is to be said of a resize that is wanted or under way. */
  readonly resize?: readonly ResizeCondition[] | undefined;
  /** The pod is being ended: what does not run is not started any more. */
  readonly terminating: boolean;
}

function terminatedOf(container: ObservedContainer, context: StatusContext): ContainerStateTerminated {
  const message = context.terminationMessage(container) || container.message;
  return {
    exitCode: container.exitCode,
    reason: container.reason || (container.exitCode === 0 ? "Completed" : "Error"),
    ...(message ? { message } : {}),
    ...(container.startedAtMs ? { startedAt: formatTime(container.startedAtMs) } : {}),
    ...(container.finishedAtMs ? { finishedAt: formatTime(container.finishedAtMs) } : {}),
    containerID: `containerd://${container.id}`,
  };
}

function containerStatus(
  pod: Pod,
  kind: ContainerKind,
  container: AnyContainer,
  observed: ObservedPod,
  context: StatusContext,
  initializing: boolean,
): ContainerStatus {
  const [current, previous] = observed.containers.filter(({ name }) => name === container.name);
  const waiting = context.waiting.get(container.name);
  const before = pod.status?.[statusLists[kind]]?.find(({ name }) => name === container.name);
  let state: ContainerState;
  let lastState: ContainerState = previous?.state === "exited" ? { terminated: terminatedOf(previous, context) } : {};
  let ready = false;
  let started = false;
  if (current?.state === "running") {
    state = { running: { startedAt: formatTime(current.startedAtMs) } };
    started = context.started(current);
    ready = started && context.ready(current);
  } else if (current?.state === "exited" && (!waiting || context.terminating)) {
    state = { terminated: terminatedOf(current, context) };
    ready = kind === "init" && !isSidecar(container) && current.exitCode === 0;
  } else {
    if (current?.state === "exited") lastState = { terminated: terminatedOf(current, context) };
    if (!current && context.terminating && before?.state?.terminated) state = before.state;
    else
      state = {
        waiting: waiting
          ? { reason: waiting.reason, ...(waiting.message ? { message: waiting.message } : {}) }
          : {
              reason:
                initializing && kind === "regular"
                  ? "PodInitializing"
                  : initializing && kind === "init"
                    ? "PodInitializing"
                    : "ContainerCreating",
            },
      };
  }
  // What the runtime has forgotten (a rebooted node) lives on in the status.
  if (Object.keys(lastState).length === 0 && !current && before?.state?.terminated && !state.terminated)
    lastState = { terminated: before.state.terminated };
  const requests = container.resources?.requests ?? {};
  return {
    name: container.name,
    ...(kind === "ephemeral"
      ? {}
      : {
          ...(Object.keys(requests).length > 0 ? { allocatedResources: { ...requests } } : {}),
          resources: reportedResources(container, current?.state === "running" ? current.resources : undefined),
        }),
    state,
    lastState,
    ready,
    started,
    restartCount: current
      ? Math.max(current.attempt, current.state === "created" ? (before?.restartCount ?? 0) : 0)
      : (before?.restartCount ?? 0),
    image: current?.image || container.image || "",
    imageID: current?.imageId ?? before?.imageID ?? "",
    ...(current
      ? { containerID: `containerd://${current.id}` }
      : before?.containerID
        ? { containerID: before.containerID }
        : {}),
  };
}

const statusLists = {
  init: "initContainerStatuses",
  regular: "containerStatuses",
  ephemeral: "ephemeralContainerStatuses",
} as const;

function phaseOf(pod: Pod, init: readonly ContainerStatus[], regular: readonly ContainerStatus[]): string {
  const spec = pod.spec!;
  let pendingInit = 0;
  for (const [index, status] of init.entries()) {
    const container = spec.initContainers![index]!;
    const ended = status.state?.terminated ?? (status.state?.waiting ? status.lastState?.terminated : undefined);
    if (isSidecar(container)) {
      if (!status.started && !ended) pendingInit++;
    } else if (ended && ended.exitCode !== 0) {
      if (!restarts(pod, "init", container, ended.exitCode)) return "Failed";
      pendingInit++;
    } else if (!ended) pendingInit++;
  }
  let running = 0;
  let waiting = 0;
  let stopped = 0;
  let succeeded = 0;
  let restarting = false;
  for (const [index, { state, lastState }] of regular.entries()) {
    const ended = state?.terminated ?? (state?.waiting ? lastState?.terminated : undefined);
    if (state?.running) running++;
    else if (ended) {
      stopped++;
      if (state?.terminated && ended.exitCode === 0) succeeded++;
      if (restarts(pod, "regular", spec.containers[index]!, ended.exitCode)) restarting = true;
    } else waiting++;
  }
  if (pendingInit > 0 && running === 0 && stopped === 0) return "Pending";
  if (waiting > 0) return "Pending";
  if (running > 0) return "Running";
  if (stopped > 0) {
    if (restarting) return "Running";
    return stopped === succeeded ? "Succeeded" : "Failed";
  }
  return "Pending";
}

function conditionsOf(
  pod: Pod,
  phase: string,
  init: readonly ContainerStatus[],
  regular: readonly ContainerStatus[],
  sandboxReady: boolean,
  context: StatusContext,
): PodCondition[] {
  const ended = phase === "Succeeded" || phase === "Failed";
  const incomplete = init
    .filter((status, index) => {
      const sidecar = isSidecar(pod.spec!.initContainers![index]!);
      return sidecar ? !status.started && !status.state?.terminated : !(status.state?.terminated?.exitCode === 0);
    })
    .map(({ name }) => name);
  const begun = regular.some(({ state, lastState }) => state?.running || state?.terminated || lastState?.terminated);
  const initialized = incomplete.length === 0 || begun;
  const unready = [
    ...init.filter((status, index) => isSidecar(pod.spec!.initContainers![index]!) && !status.ready),
    ...regular.filter(({ ready }) => !ready),
  ].map(({ name }) => name);
  const notReady =
    phase === "Succeeded"
      ? { reason: "PodCompleted" }
      : phase === "Failed"
        ? { reason: "PodFailed" }
        : { reason: "ContainersNotReady", message: `containers with unready status: [${unready.join(" ")}]` };
  const containersReady = !ended && unready.length === 0;
  const open = (pod.spec!.readinessGates ?? []).filter(
    ({ conditionType }) => pod.status?.conditions?.find(({ type }) => type === conditionType)?.status !== "True",
  );
  const gates = open.map(({ conditionType }) => {
    const condition = pod.status?.conditions?.find(({ type }) => type === conditionType);
    return condition
      ? `the status of pod readiness gate "${conditionType}" is not "True", but ${condition.status}`
      : `corresponding condition of pod readiness gate "${conditionType}" does not exist.`;
  });
  const wanted: Omit<PodCondition, "lastTransitionTime">[] = [
    { type: "PodReadyToStartContainers", status: sandboxReady ? "True" : "False" },
    initialized
      ? { type: "Initialized", status: "True", ...(phase === "Succeeded" ? { reason: "PodCompleted" } : {}) }
      : {
          type: "Initialized",
          status: "False",
          reason: "ContainersNotInitialized",
          message: `containers with incomplete status: [${incomplete.join(" ")}]`,
        },
    containersReady && open.length === 0
      ? { type: "Ready", status: "True" }
      : containersReady
        ? { type: "Ready", status: "False", reason: "ReadinessGatesNotReady", message: gates.join(", ") }
        : { type: "Ready", status: "False", ...notReady },
    containersReady
      ? { type: "ContainersReady", status: "True" }
      : { type: "ContainersReady", status: "False", ...notReady },
    { type: "PodScheduled", status: "True" },
  ];
  const old = pod.status?.conditions ?? [];
  const ours = new Set([...wanted.map(({ type }) => type), "PodResizePending", "PodResizeInProgress"]);
  return [
    ...[...wanted, ...(ended ? [] : (context.resize ?? []))].map((condition) => {
      const before = old.find(({ type }) => type === condition.type);
      const lastTransitionTime =
        before?.status === condition.status && before.lastTransitionTime
          ? before.lastTransitionTime
          : formatTime(context.nowMs);
      return {
        ...(pod.metadata.generation ? { observedGeneration: pod.metadata.generation } : {}),
        ...condition,
        lastTransitionTime,
      };
    }),
    ...old.filter(({ type }) => !ours.has(type)),
  ];
}

/** The status of a pod as it is to stand in the API. */
export function podStatus(pod: Pod, observed: ObservedPod, context: StatusContext): PodStatus {
  const spec = pod.spec!;
  const lists: Record<ContainerKind, ContainerStatus[]> = { init: [], regular: [], ephemeral: [] };
  const sandbox = observed.sandboxes[0];
  const initDone = (spec.initContainers ?? []).every((container) => {
    const last = observed.containers.find(({ name }) => name === container.name);
    return isSidecar(container)
      ? last?.state === "running" && context.started(last)
      : last?.state === "exited" && last.exitCode === 0;
  });
  for (const { kind, container } of allContainers(pod))
    lists[kind].push(containerStatus(pod, kind, container, observed, context, !initDone));
  const before = pod.status?.phase;
  let phase = context.failure ? "Failed" : phaseOf(pod, lists.init, lists.regular);
  let failure = context.failure;
  // Who reads that a pod has ended relies on it that nothing of it runs any more: sidecars have to end first.
  if ((phase === "Succeeded" || phase === "Failed") && observed.containers.some(({ state }) => state === "running")) {
    phase = before || "Running";
    failure = undefined;
  }
  // An end is an end: a phase never leaves Succeeded or Failed.
  if (before === "Succeeded" || before === "Failed") phase = before;
  const ips = spec.hostNetwork ? context.hostIps : (sandbox?.ips ?? []);
  const knownIps = ips.length > 0 ? ips : (pod.status?.podIPs ?? []).map(({ ip }) => ip);
  return {
    phase,
    conditions: conditionsOf(pod, phase, lists.init, lists.regular, sandbox?.ready === true, context),
    ...(failure
      ? { reason: failure.reason, message: failure.message }
      : phase === before && pod.status?.reason
        ? { reason: pod.status.reason, ...(pod.status.message ? { message: pod.status.message } : {}) }
        : {}),
    ...(context.hostIps.length > 0
      ? { hostIP: context.hostIps[0]!, hostIPs: context.hostIps.map((ip) => ({ ip })) }
      : {}),
    ...(knownIps.length > 0 ? { podIP: knownIps[0]!, podIPs: knownIps.map((ip) => ({ ip })) } : {}),
    startTime: pod.status?.startTime ?? formatTime(context.nowMs),
    ...(lists.init.length > 0 ? { initContainerStatuses: lists.init } : {}),
    containerStatuses: lists.regular,
    ...(lists.ephemeral.length > 0 ? { ephemeralContainerStatuses: lists.ephemeral } : {}),
    qosClass: pod.status?.qosClass ?? qosClassOf(pod),
    ...(pod.metadata.generation ? { observedGeneration: pod.metadata.generation } : {}),
  };
}
