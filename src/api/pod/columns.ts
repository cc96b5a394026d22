import { age, ageColumn, none, text, wide } from "../columns.ts";
import type { ContainerStatus, Pod } from "../generated/core-v1.ts";
import type { KindColumn } from "../kind-facts.ts";

interface PodSummary {
  readonly status: string;
  readonly ready: number;
  readonly total: number;
  readonly restarts: number;
  /** Time of the last restart in milliseconds, 0 when there was none. */
  readonly lastRestartMs: number;
}

/** The columns of `kubectl get pods`. */
export const podColumns: readonly KindColumn<Pod>[] = [
  text("Ready", (pod) => {
    const { ready, total } = summarizePod(pod);
    return `${ready}/${total}`;
  }),
  text("Status", (pod) => summarizePod(pod).status),
  text("Restarts", (pod, nowMs) => {
    const { restarts, lastRestartMs } = summarizePod(pod);
    if (restarts === 0 || lastRestartMs === 0) return `${restarts}`;
    return `${restarts} (${age(new Date(lastRestartMs).toISOString(), nowMs)} ago)`;
  }),
  ageColumn,
  wide("IP", (pod) => pod.status?.podIPs?.[0]?.ip ?? none),
  wide("Node", (pod) => pod.spec?.nodeName || none),
  wide("Nominated Node", (pod) => pod.status?.nominatedNodeName || none),
  wide("Readiness Gates", (pod) => {
    const gates = pod.spec?.readinessGates ?? [];
    if (gates.length === 0) return none;
    const met = gates.filter((gate) => conditionStatus(pod, gate.conditionType) === "True").length;
    return `${met}/${gates.length}`;
  }),
];

/** The one word for a pod's state and the counts of its containers, as kubectl shows them. */
export function summarizePod(pod: Pod): PodSummary {
  const status = pod.status ?? {};
  const initContainers = pod.spec?.initContainers ?? [];
  const sidecars = new Set(
    initContainers.filter((container) => container.restartPolicy === "Always").map((container) => container.name),
  );
  const total = (pod.spec?.containers?.length ?? 0) + sidecars.size;

  let word = status.reason || status.phase || "";
  const scheduled = status.conditions?.find((condition) => condition.type === "PodScheduled");
  if (scheduled?.reason === "SchedulingGated") word = "SchedulingGated";

  const initStatuses = status.initContainerStatuses ?? [];
  const initializing = initState(initStatuses, sidecars, initContainers.length);
  if (initializing) word = initializing;

  let ready = readySidecars(initStatuses, sidecars);
  // While init containers run, their restarts are the news; afterwards only those of containers that go on running.
  let counted = initStatuses;
  if (!initializing || conditionStatus(pod, "Initialized") === "True") {
    const containers = status.containerStatuses ?? [];
    ready += containers.filter((container) => container.ready && container.state?.running).length;
    counted = [...initStatuses.filter((container) => sidecars.has(container.name)), ...containers];
    word = containersState(pod, containers, word);
  }

  if (pod.metadata.deletionTimestamp) {
    if (status.reason === "NodeLost") word = "Unknown";
    else if (status.phase !== "Succeeded" && status.phase !== "Failed") word = "Terminating";
  }
  return {
    status: word,
    ready,
    total,
    restarts: counted.reduce((sum, container) => sum + (container.restartCount ?? 0), 0),
    lastRestartMs: Math.max(0, ...counted.map(lastFinishMs)),
  };
}

function conditionStatus(pod: Pod, type: string): string | undefined {
  return pod.status?.conditions?.find((condition) => condition.type === type)?.status;
}

function lastFinishMs(container: ContainerStatus): number {
  const finished = Date.parse(container.lastState?.terminated?.finishedAt ?? "");
  return Number.isNaN(finished) ? 0 : finished;
}

function isDone(container: ContainerStatus, sidecars: ReadonlySet<string>): boolean {
  if (container.state?.terminated && (container.state.terminated.exitCode ?? 0) === 0) return true;
  return sidecars.has(container.name) && container.started === true;
}

/** The state of the first init container that is not through: "Init:0/2", "Init:CrashLoopBackOff", …; "" when all are. */
function initState(statuses: readonly ContainerStatus[], sidecars: ReadonlySet<string>, count: number): string {
  const index = statuses.findIndex((container) => !isDone(container, sidecars));
  if (index < 0) return "";
  const { terminated, waiting } = statuses[index]!.state ?? {};
  if (terminated) {
    if (terminated.reason) return `Init:${terminated.reason}`;
    return terminated.signal ? `Init:Signal:${terminated.signal}` : `Init:ExitCode:${terminated.exitCode}`;
  }
  if (waiting?.reason && waiting.reason !== "PodInitializing") return `Init:${waiting.reason}`;
  return `Init:${index}/${count}`;
}

/** Sidecars that are ready, among the init containers before the first that is not through. */
function readySidecars(statuses: readonly ContainerStatus[], sidecars: ReadonlySet<string>): number {
  let ready = 0;
  for (const container of statuses) {
    if (!isDone(container, sidecars)) break;
    const ended = container.state?.terminated !== undefined && (container.state.terminated?.exitCode ?? 0) === 0;
    if (!ended && sidecars.has(container.name) && container.ready) ready++;
  }
  return ready;
}

function containersState(pod: Pod, containers: readonly ContainerStatus[], before: string): string {
  let word = before;
  let failure = "";
  // The first container has the last word.
  for (const { state } of [...containers].reverse()) {
    if (state?.waiting?.reason) {
      word = state.waiting.reason;
    } else if (state?.terminated) {
      const { reason, signal, exitCode } = state.terminated;
      word = reason || (signal ? `Signal:${signal}` : `ExitCode:${exitCode}`);
      if (exitCode !== 0) failure = word;
    }
  }
  if (word !== "Completed") return word;
  const running = containers.some((container) => container.ready && container.state?.running);
  if (running && conditionStatus(pod, "Ready") === "True") return "Running";
  if (failure) return failure;
  return running ? "NotReady" : word;
}
