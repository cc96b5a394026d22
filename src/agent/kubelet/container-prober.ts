import type { Probe } from "../../api/generated/core-v1.ts";
import type { Clock } from "../../machinery/clock.ts";
import type { Cri } from "../containerd/cri.ts";
import { type HandlerTarget, runHandler } from "./handler.ts";

type ProbeKind = "startup" | "liveness" | "readiness";

export interface ContainerProberOptions {
  readonly target: HandlerTarget;
  readonly startedAtMs: number;
  /** What the status said of this very container before this process started: its word stands until a probe says other. */
  readonly before: { readonly started: boolean; readonly ready: boolean } | undefined;
  readonly cri: Cri;
  readonly clock: Clock;
  /** The container's readiness, start or health changed. */
  onChange(): void;
  /** A probe failed once. */
  onFailure(kind: ProbeKind, output: string): void;
}

const titles = { startup: "Startup", liveness: "Liveness", readiness: "Readiness" } as const;

/** "Readiness probe failed: …" */
export function probeFailureText(kind: ProbeKind, output: string): string {
  return `${titles[kind]} probe failed: ${output}`;
}

/** Runs the probes of one running container until it is stopped. */
export class ContainerProber {
  readonly #options: ContainerProberOptions;
  readonly #abort = new AbortController();
  #started: boolean;
  #ready: boolean;
  #unhealthy: { message: string; graceSeconds?: number | undefined } | undefined;

  constructor(options: ContainerProberOptions) {
    this.#options = options;
    const { startupProbe, readinessProbe } = options.target.container;
    this.#started = !startupProbe || options.before?.started === true;
    this.#ready = !readinessProbe || options.before?.ready === true;
    if (startupProbe && !this.#started) this.#loop("startup", startupProbe);
    else this.#afterStart();
  }

  get started(): boolean {
    return this.#started;
  }

  get ready(): boolean {
    return this.#started && this.#ready;
  }

  /** Why the container has to be killed. */
  get unhealthy(): { message: string; graceSeconds?: number | undefined } | undefined {
    return this.#unhealthy;
  }

  stop(): void {
    this.#abort.abort();
  }

  #afterStart(): void {
    const { livenessProbe, readinessProbe } = this.#options.target.container;
    if (livenessProbe) this.#loop("liveness", livenessProbe);
    if (readinessProbe) this.#loop("readiness", readinessProbe);
  }

  #loop(kind: ProbeKind, probe: Probe): void {
    // Rejections come from the abort only: what a probe meets is its result.
    this.#run(kind, probe).catch(() => {});
  }

  async #run(kind: ProbeKind, probe: Probe): Promise<void> {
    const { clock, cri, target, startedAtMs, onFailure, onChange } = this.#options;
    const { signal } = this.#abort;
    const periodMs = (probe.periodSeconds ?? 10) * 1000;
    const firstAtMs = startedAtMs + (probe.initialDelaySeconds ?? 0) * 1000;
    await clock.sleep(Math.max(0, firstAtMs - clock.now()), signal);
    let successes = 0;
    let failures = 0;
    while (!signal.aborted) {
      const begunMs = clock.now();
      const { ok, output } = await runHandler(probe, target, {
        cri,
        clock,
        timeoutMs: (probe.timeoutSeconds ?? 1) * 1000,
        signal,
      });
      if (signal.aborted) return;
      successes = ok ? successes + 1 : 0;
      failures = ok ? 0 : failures + 1;
      if (!ok) onFailure(kind, output);
      if (ok && successes >= (probe.successThreshold ?? 1)) {
        if (kind === "startup") {
          this.#started = true;
          onChange();
          this.#afterStart();
          return;
        }
        if (kind === "readiness" && !this.#ready) {
          this.#ready = true;
          onChange();
        }
      }
      if (!ok && failures >= (probe.failureThreshold ?? 3)) {
        if (kind === "readiness") {
          if (this.#ready) {
            this.#ready = false;
            onChange();
          }
        } else {
          this.#unhealthy = {
            message: `Container ${target.container.name} failed ${kind} probe, will be restarted`,
            graceSeconds: probe.terminationGracePeriodSeconds,
          };
          onChange();
          return;
        }
      }
      await clock.sleep(Math.max(0, begunMs + periodMs - clock.now()), signal);
    }
  }
}
