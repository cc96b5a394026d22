import type { Pod, PodCondition } from "../../api/generated/core-v1.ts";
import { deepEqual } from "../../machinery/equality.ts";
import type { ContainerResources } from "../containerd/cri-messages.ts";
import { changedBetween, changedFrom, needsRestart, type Resizable, type Resources } from "./container-resources.ts";
import type { ObservedContainer, ObservedPod } from "./observed-pod.ts";
import type { Action } from "./plan.ts";
import { type AnyContainer, allContainers, type ContainerKind } from "./pod-facts.ts";
import { linuxResources } from "./resources.ts";

/** Why a resize has to wait: for room ("Deferred"), or for another node ("Infeasible"). */
export interface PendingResize {
  readonly reason: "Deferred" | "Infeasible";
  readonly message: string;
}

export type ResizeCondition = Pick<PodCondition, "type" | "status" | "reason" | "message" | "observedGeneration">;

export interface ResizeSettings {
  readonly memoryCapacityBytes: number;
  /** Whether the node has room for the pod as it is wanted; undefined: it has. */
  fit(pod: Pod): PendingResize | undefined;
  report(severity: "Normal" | "Warning", reason: string, message: string): void;
  update(containerId: string, resources: ContainerResources): Promise<void>;
  /** Bytes of memory that the container uses now; undefined when nobody knows. */
  memoryUsage(containerId: string): Promise<number | undefined>;
}

interface Resized {
  readonly kind: ContainerKind;
  readonly container: AnyContainer;
  readonly observed: ObservedContainer;
  readonly changed: readonly Resizable[];
}

const resizableOf = (pod: Pod) => allContainers(pod).filter(({ kind }) => kind !== "ephemeral");

/**
 * The resources of a pod's containers between the API's wish and the runtime: what the node has granted, and what the
 * running containers have got of it. Everything else of the kubelet works with the pod as it is granted.
 */
export class PodResize {
  readonly #settings: ResizeSettings;
  /** By container name. */
  #granted: Map<string, Resources> | undefined;
  #grantedToPod: Resources | undefined;
  /** By container id: what the runtime was given. */
  readonly #given = new Map<string, Resources>();
  #pending: (PendingResize & { readonly generation: number }) | undefined;
  #progress: { readonly generation: number; readonly error?: string } | undefined;
  /** The agent was restarted amid a resize: only the runtime knows how far it had come. */
  #unsure = false;

  constructor(settings: ResizeSettings) {
    this.#settings = settings;
  }

  /** Something is left to be tried again. */
  get waiting(): boolean {
    return this.#pending?.reason === "Deferred" || this.#progress !== undefined;
  }

  /** The pod with the resources that the node has granted. */
  granted(pod: Pod): Pod {
    const granted = this.#granted;
    if (!granted || !this.#differs(pod)) return pod;
    const apply = <T extends AnyContainer>(container: T): T => ({
      ...container,
      resources: granted.get(container.name) ?? container.resources ?? {},
    });
    const { resources: _, ...spec } = pod.spec!;
    return {
      ...pod,
      spec: {
        ...spec,
        ...(this.#grantedToPod ? { resources: this.#grantedToPod } : {}),
        containers: spec.containers.map(apply),
        ...(spec.initContainers ? { initContainers: spec.initContainers.map(apply) } : {}),
      },
    };
  }

  /** Grants what the pod asks for, if there is room. */
  settle(pod: Pod, observed: ObservedPod): void {
    if (!this.#granted) {
      this.#recover(pod, observed.sandboxes.length === 0);
      this.see(observed);
    }
    if (!this.#differs(pod)) {
      this.#pending = undefined;
      return;
    }
    const generation = pod.metadata.generation ?? 0;
    const refusal = deepEqual(pod.spec!.resources, this.#grantedToPod)
      ? this.#settings.fit(pod)
      : ({ reason: "Infeasible", message: "In-place resize of pod-level resources is not supported" } as const);
    if (refusal) {
      const { reason, message } = refusal;
      const known = this.#pending?.reason === reason && this.#pending.message === message;
      this.#pending = { reason, message, generation };
      if (!known) {
        const event = reason === "Deferred" ? "ResizeDeferred" : "ResizeInfeasible";
        this.#settings.report("Warning", event, `Pod resize ${reason}: ${summary(pod, generation, message)}`);
      }
      return;
    }
    this.#grant(pod);
    this.#pending = undefined;
    this.#progress = { generation };
    this.#settings.report("Normal", "ResizeStarted", `Pod resize started: ${summary(pod, generation)}`);
  }

  /** Containers that are new to us were started with what is granted. */
  see(observed: ObservedPod): void {
    const ids = new Set(observed.containers.map(({ id }) => id));
    for (const id of this.#given.keys()) if (!ids.has(id)) this.#given.delete(id);
    if (this.#unsure) return;
    for (const { id, name } of observed.containers) {
      const granted = this.#granted?.get(name);
      if (granted && !this.#given.has(id)) this.#given.set(id, granted);
    }
  }

  /** Containers that get their new resources only with a restart. */
  restarts(pod: Pod, observed: ObservedPod): Extract<Action, { type: "killContainer" }>[] {
    return this.#resized(pod, observed)
      .filter(({ container, changed }) => needsRestart(container, changed))
      .map(({ kind, container, observed: running }) => ({
        type: "killContainer",
        kind,
        container,
        observed: running,
        message: `Container ${container.name} resize requires restart`,
      }));
  }

  /** Gives running containers what was granted to them. Says whether anything was changed. */
  async apply(pod: Pod, observed: ObservedPod): Promise<boolean> {
    if (!this.#progress) return false;
    const generation = this.#progress.generation;
    const resized = this.#resized(pod, observed).filter(({ container, changed }) => !needsRestart(container, changed));
    try {
      const updates = resized.map((one) => ({ ...one, wanted: this.#linux(pod, one.container) }));
      await this.#checkMemory(updates);
      const shrinks = ({ observed: { resources }, wanted }: (typeof updates)[number]) =>
        (resources?.memoryLimitInBytes ?? 0) > (wanted.memoryLimitInBytes ?? 0) ? 0 : 1;
      // Who gives back comes first.
      for (const { observed: running, container, wanted } of updates.sort((a, b) => shrinks(a) - shrinks(b))) {
        await this.#settings.update(running.id, wanted);
        this.#given.set(running.id, container.resources ?? {});
      }
    } catch (error) {
      const message = (error as Error).message;
      if (this.#progress.error !== message) {
        this.#settings.report("Warning", "ResizeError", `Pod resize error: ${summary(pod, generation, message)}`);
      }
      this.#progress = { generation, error: message };
      return false;
    }
    if (this.#resized(pod, observed, resized).length === 0) {
      this.#progress = undefined;
      this.#unsure = false;
      this.see(observed);
      this.#settings.report("Normal", "ResizeCompleted", `Pod resize completed: ${summary(pod, generation)}`);
    }
    return resized.length > 0;
  }

  conditions(): ResizeCondition[] {
    const pending = this.#pending;
    const progress = this.#progress;
    return [
      ...(pending
        ? [
            {
              type: "PodResizePending",
              status: "True",
              reason: pending.reason,
              message: pending.message,
              observedGeneration: pending.generation,
            },
          ]
        : []),
      ...(progress
        ? [
            {
              type: "PodResizeInProgress",
              status: "True",
              ...(progress.error ? { reason: "Error", message: progress.error } : {}),
              observedGeneration: progress.generation,
            },
          ]
        : []),
    ];
  }

  #differs(pod: Pod): boolean {
    if (!deepEqual(pod.spec!.resources, this.#grantedToPod)) return true;
    return resizableOf(pod).some(({ container }) => {
      const granted = this.#granted!.get(container.name);
      return granted !== undefined && changedBetween(container.resources ?? {}, granted).length > 0;
    });
  }

  #grant(pod: Pod): void {
    this.#granted = new Map(resizableOf(pod).map(({ container }) => [container.name, container.resources ?? {}]));
    this.#grantedToPod = pod.spec!.resources;
  }

  /** After a restart of the agent, the pod's status says what had been granted. */
  #recover(pod: Pod, fresh: boolean): void {
    this.#grant(pod);
    if (fresh) return;
    const { containerStatuses = [], initContainerStatuses = [], conditions = [] } = pod.status ?? {};
    for (const { name, allocatedResources, resources } of [...initContainerStatuses, ...containerStatuses]) {
      const spec = this.#granted!.get(name);
      if (!spec || !resources) continue;
      const requests = allocatedResources ?? resources.requests;
      const limits = resources.limits;
      this.#granted!.set(name, { ...spec, ...(requests ? { requests } : {}), ...(limits ? { limits } : {}) });
    }
    const running = conditions.find(({ type, status }) => type === "PodResizeInProgress" && status === "True");
    if (!running) return;
    // What is under way was granted as it was asked for, and its limits show only once they are there.
    this.#grant(pod);
    this.#unsure = true;
    this.#progress = { generation: running.observedGeneration ?? pod.metadata.generation ?? 0 };
  }

  /** Running containers that do not have what they should, but for those of `done`. */
  #resized(pod: Pod, observed: ObservedPod, done: readonly Resized[] = []): Resized[] {
    if (!this.#progress) return [];
    return resizableOf(pod).flatMap(({ kind, container }) => {
      const running = observed.containers.find(({ name }) => name === container.name);
      if (running?.state !== "running" || done.some((one) => one.observed.id === running.id)) return [];
      const given = this.#given.get(running.id);
      const changed = given
        ? changedBetween(given, container.resources ?? {})
        : running.resources
          ? changedFrom(running.resources, this.#linux(pod, container))
          : [];
      return changed.length > 0 ? [{ kind, container, observed: running, changed }] : [];
    });
  }

  #linux(pod: Pod, container: AnyContainer): ContainerResources {
    const { cpuShares, cpuPeriod, cpuQuota, memoryLimitInBytes } = linuxResources(
      pod,
      container,
      this.#settings.memoryCapacityBytes,
    );
    return {
      ...(cpuShares === undefined ? {} : { cpuShares }),
      ...(cpuPeriod === undefined ? {} : { cpuPeriod }),
      ...(cpuQuota === undefined ? {} : { cpuQuota }),
      ...(memoryLimitInBytes === undefined ? {} : { memoryLimitInBytes }),
    };
  }

  /** A limit below what is in use would end the container. Throws what the condition says. */
  async #checkMemory(updates: readonly (Resized & { readonly wanted: ContainerResources })[]): Promise<void> {
    const errors: string[] = [];
    for (const { container, observed, changed, wanted } of updates) {
      const limit = Number(wanted.memoryLimitInBytes ?? 0);
      const had = observed.resources?.memoryLimitInBytes ?? 0;
      if (!changed.includes("memory") || limit === 0 || (had > 0 && limit >= had)) continue;
      const usage = await this.#settings.memoryUsage(observed.id);
      if (usage === undefined) errors.push(`missing container ${JSON.stringify(container.name)} memory usage`);
      else if (usage >= limit) {
        errors.push(
          `attempting to set container ${JSON.stringify(container.name)} memory limit (${limit}) below current usage (${usage})`,
        );
      }
    }
    if (errors.length > 0) {
      throw new Error(`cannot decrease memory limits: ${errors.length === 1 ? errors[0] : `[${errors.join(", ")}]`}`);
    }
  }
}

/** What events say of a resize. */
function summary(pod: Pod, generation: number, error?: string): string {
  const list = (containers: readonly AnyContainer[] = []) =>
    containers.map(({ name, resources = {} }) => ({ name, resources }));
  const { initContainers, containers } = pod.spec!;
  return JSON.stringify({
    ...(initContainers?.length ? { initContainers: list(initContainers) } : {}),
    containers: list(containers),
    generation,
    ...(error ? { error } : {}),
  });
}
