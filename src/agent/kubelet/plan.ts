import type { Container, Pod } from "../../api/generated/core-v1.ts";
import { latestContainer, type ObservedContainer, type ObservedPod } from "./observed-pod.ts";
import { type AnyContainer, type ContainerKind, isSidecar } from "./pod-facts.ts";
import { containerHash } from "./runtime-config.ts";

/** One step towards what the pod's spec asks for. */
export type Action =
  | { readonly type: "createSandbox"; readonly attempt: number }
  | { readonly type: "stopSandbox"; readonly id: string }
  | { readonly type: "removeContainer"; readonly id: string; readonly name: string }
  | {
      readonly type: "startContainer";
      readonly kind: ContainerKind;
      readonly container: AnyContainer;
      readonly attempt: number;
      readonly sandboxId: string;
    }
  | {
      readonly type: "killContainer";
      readonly kind: ContainerKind;
      readonly observed: ObservedContainer;
      readonly container: AnyContainer;
      readonly message: string;
      readonly graceSeconds?: number | undefined;
    };

export interface PlanContext {
  readonly nowMs: number;
  /** Whether the startup probe of this running container has passed (true without one). */
  started(container: ObservedContainer): boolean;
  /** Why a running container has to be killed: its liveness or startup probe failed. */
  unhealthy(
    container: ObservedContainer,
  ): { readonly message: string; readonly graceSeconds?: number | undefined } | undefined;
  /** When a container that ended at `finishedAtMs` may be started again. */
  restartAtMs(name: string, finishedAtMs: number): number;
}

export interface Plan {
  readonly actions: readonly Action[];
  /** When to plan again though nothing happened; Infinity: never. */
  readonly nextAtMs: number;
  /** Containers that wait for their restart, with the time of it. */
  readonly backingOff: ReadonlyMap<string, number>;
  /** All containers have ended for good: the pod has succeeded or failed, and what is left of it has to stop. */
  readonly ended?: "Succeeded" | "Failed" | undefined;
}

function ruleRestarts(container: Container, exitCode: number): boolean | undefined {
  for (const { action, exitCodes } of container.restartPolicyRules ?? []) {
    const listed = (exitCodes?.values ?? []).includes(exitCode);
    if (exitCodes && listed === (exitCodes.operator === "In")) return action === "Restart";
  }
  return undefined;
}

/** Whether a container that ended has to be started again. */
export function restarts(pod: Pod, kind: ContainerKind, container: AnyContainer, exitCode: number): boolean {
  if (kind === "ephemeral") return false;
  if (kind === "init" && isSidecar(container)) return true;
  const byRule = ruleRestarts(container as Container, exitCode);
  if (byRule !== undefined) return byRule;
  const policy = (container as Container).restartPolicy ?? pod.spec!.restartPolicy ?? "Always";
  if (policy === "Never") return false;
  if (kind === "init") return exitCode !== 0;
  return policy === "Always" || exitCode !== 0;
}

/**
 * A container that was killed may be the first sign of the end of its whole sandbox, in which a restart would be lost:
 * the runtime kills the containers before it takes the sandbox down. So it restarts after a moment.
 */
const settleMs = 1000;

function settledAtMs(ended: ObservedContainer): number {
  const killed = ended.exitCode === 137 && ended.reason !== "OOMKilled";
  return killed ? ended.finishedAtMs + settleMs : 0;
}

/** Decides what to do next for a pod that is to run. Pure: all it knows comes in. */
export function plan(pod: Pod, observed: ObservedPod, context: PlanContext): Plan {
  const spec = pod.spec!;
  const actions: Action[] = [];
  const backingOff = new Map<string, number>();
  let settlesAtMs = Number.POSITIVE_INFINITY;
  const sandbox = observed.sandboxes[0];
  const usable = sandbox?.ready === true && (spec.hostNetwork === true || sandbox.ips.length > 0);
  const result = (ended?: "Succeeded" | "Failed"): Plan => ({
    actions,
    backingOff,
    ended,
    nextAtMs: Math.min(settlesAtMs, ...backingOff.values()),
  });

  const regular = spec.containers.map((container) => ({ container, last: latestContainer(observed, container.name) }));
  const forGood = ({ container, last }: (typeof regular)[number]): boolean =>
    last?.state === "exited" && !restarts(pod, "regular", container, last.exitCode);
  if (regular.length > 0 && regular.every(forGood))
    return result(regular.every(({ last }) => last?.exitCode === 0) ? "Succeeded" : "Failed");
  const failedInit = (spec.initContainers ?? []).find((container) => {
    const last = latestContainer(observed, container.name);
    if (isSidecar(container) || last?.state !== "exited" || last.exitCode === 0) return false;
    return !restarts(pod, "init", container, last.exitCode);
  });
  if (failedInit && !regular.some(({ last }) => last)) return result("Failed");

  if (!usable) {
    // What still runs in an older sandbox has lost its network and its namespaces.
    for (const { id, ready } of observed.sandboxes) if (ready) actions.push({ type: "stopSandbox", id });
    actions.push({ type: "createSandbox", attempt: sandbox ? sandbox.attempt + 1 : 0 });
    return result();
  }
  for (const { id, ready } of observed.sandboxes.slice(1)) if (ready) actions.push({ type: "stopSandbox", id });

  const start = (kind: ContainerKind, container: AnyContainer, attempt: number) =>
    actions.push({ type: "startContainer", kind, container, attempt, sandboxId: sandbox.id });

  /** Brings one container forward; true when it runs. */
  const advance = (kind: ContainerKind, container: AnyContainer, last: ObservedContainer | undefined): boolean => {
    const before = latestContainer(observed, container.name);
    if (!last) {
      start(kind, container, before ? before.attempt + 1 : 0);
      return false;
    }
    const changed = last.hash !== containerHash(container);
    if (last.state === "running") {
      // As in Kubernetes, an init container that runs may finish as what it was.
      if (changed && (kind === "regular" || (isSidecar(container) && context.started(last)))) {
        const message =
          kind === "regular"
            ? `Container ${container.name} definition changed, will be restarted`
            : `Init container ${container.name} definition changed`;
        actions.push({ type: "killContainer", kind, container, observed: last, message });
        // In the same plan: the next one would see a container that ended, and ask the restart policy, which is about ends
        // of its own.
        start(kind, container, last.attempt + 1);
        return false;
      }
      const sick = context.unhealthy(last);
      if (sick) {
        actions.push({ type: "killContainer", kind, container, observed: last, ...sick });
        return false;
      }
      return true;
    }
    if (last.state === "exited") {
      if (!restarts(pod, kind, container, last.exitCode)) return false;
      // What crashed was another one.
      const atMs = changed ? 0 : context.restartAtMs(container.name, last.finishedAtMs);
      const settledMs = last.sandboxId === sandbox.id ? settledAtMs(last) : 0;
      if (atMs > context.nowMs) backingOff.set(container.name, atMs);
      else if (settledMs > context.nowMs) settlesAtMs = Math.min(settlesAtMs, settledMs);
      else start(kind, container, last.attempt + 1);
      return false;
    }
    // Created and never started (we died in between), or lost by the runtime: it is made anew.
    actions.push({ type: "removeContainer", id: last.id, name: last.name });
    start(kind, container, last.attempt);
    return false;
  };
  const here = (name: string) =>
    observed.containers.find((container) => container.name === name && container.sandboxId === sandbox.id);

  for (const container of spec.ephemeralContainers ?? []) {
    const last = latestContainer(observed, container.name);
    if (!last) start("ephemeral", container, 0);
  }

  // Once a regular container was made in this sandbox, the init containers are done, also when they are gone since.
  const initialized = regular.some(({ container }) => here(container.name));
  for (const container of spec.initContainers ?? []) {
    const last = here(container.name);
    if (isSidecar(container)) {
      const runs = advance("init", container, last);
      if (!initialized && !(runs && last && context.started(last))) return result();
    } else if (!initialized) {
      if (last?.state === "exited" && last.exitCode === 0) continue;
      advance("init", container, last);
      return result();
    }
  }
  for (const { container, last } of regular) {
    const current = here(container.name);
    // One that ended in an older sandbox has to be judged by its exit code, like one that ended here.
    if (current || last?.state !== "exited") advance("regular", container, current);
    else advance("regular", container, last);
  }
  return result();
}

/** Containers that ended and are no longer needed: all but the newest two of each name (the second is the last state). */
export function supersededContainers(observed: ObservedPod): ObservedContainer[] {
  const seen = new Map<string, number>();
  return observed.containers.filter((container) => {
    const count = (seen.get(container.name) ?? 0) + 1;
    seen.set(container.name, count);
    return count > 2 && container.state === "exited";
  });
}
