import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { PodWorker } from "../../../../src/agent/kubelet/pod-worker.ts";
import { ReferencedObjects } from "../../../../src/agent/kubelet/referenced-objects.ts";
import { StatusWriter } from "../../../../src/agent/kubelet/status-writer.ts";
import type { WorkerContext } from "../../../../src/agent/kubelet/worker-context.ts";
import type { Pod } from "../../../../src/api/generated/core-v1.ts";
import type { Client } from "../../../../src/client/client.ts";
import { silentLogger } from "../../../../src/machinery/log.ts";
import { StatusError } from "../../../../src/machinery/status.ts";
import { eventually } from "../../../support/eventually.ts";
import { FileClock, filesSettled } from "../support/file-clock.ts";
import { FakeCri } from "./fake-cri.ts";

export type Rig = ReturnType<typeof workerRig>;

/** One worker with a runtime in memory, a clock that stands still, and an API that holds just its pod. */
export function workerRig(test: TestContext, pod: Pod, more: Partial<WorkerContext> = {}) {
  const directory = mkdtempSync(join(tmpdir(), "k3ts-test-"));
  const clock = new FileClock();
  const runtime = new FakeCri(clock);
  const events: string[] = [];
  const finished: string[] = [];
  let worker: PodWorker | undefined;
  let version = 1;
  let current: Pod = { ...pod, metadata: { ...pod.metadata, resourceVersion: "1" } };
  /** Changes the pod as the API would, and tells the worker. */
  const change = (next: Pod) => {
    current = { ...next, metadata: { ...next.metadata, resourceVersion: String(++version) } };
    worker?.update(current);
    return current;
  };
  const client = {
    get: async () => {
      throw new StatusError(404, "NotFound", "not found");
    },
    list: async () => ({ metadata: {}, items: [] }),
    patch: async (_: unknown, __: string, { body }: { body: { status: object } }) =>
      change({ ...current, status: { ...current.status, ...body.status } }),
    delete: async () => {
      runtime.calls.push("delete pod");
      worker?.remove();
    },
  } as unknown as Client;
  const context: WorkerContext = {
    client,
    cri: runtime.cri,
    images: {
      ensure: async () => ({ id: "sha256:1" }) as Awaited<ReturnType<WorkerContext["images"]["ensure"]>>,
      forget: () => {},
    },
    objects: new ReferencedObjects(client, clock),
    statuses: new StatusWriter({ client, clock, logger: silentLogger }),
    events: { event: (_type, _object, severity, reason, message) => events.push(`${severity} ${reason} ${message}`) },
    nodeName: "n",
    hostIps: ["192.0.2.1"],
    rootDir: join(directory, "kubelet"),
    logRoot: join(directory, "log/pods"),
    dns: async () => ({
      clusterDns: ["10.43.0.10"],
      clusterDomain: "cluster.local",
      host: { servers: [], searches: [], options: [] },
    }),
    memoryCapacityBytes: 1024 ** 3,
    allocatable: () => ({}),
    clusterClock: clock,
    ioClock: clock,
    logger: silentLogger,
    admit: () => undefined,
    fit: () => undefined,
    onFinished: (uid) => finished.push(uid),
    ...more,
  };
  const start = (found: Pod = current) => {
    worker?.stop();
    current = found;
    const fresh = new PodWorker(current, context);
    worker = fresh;
    runtime.onEvent = () => fresh.wake();
  };
  start();
  test.after(async () => {
    worker?.stop();
    // Work that was under way may still write a file.
    await filesSettled();
    rmSync(directory, { recursive: true, force: true });
  });
  return {
    clock,
    runtime,
    events,
    finished,
    context,
    get pod() {
      return current;
    },
    get status() {
      return current.status;
    },
    get worker() {
      return worker!;
    },
    change,
    /** A new worker in place of the old one, as after a restart of the agent; it may find another state of the pod. */
    restart: start,
    /** Asks for the pod's deletion, as the API does it. */
    remove(graceSeconds: number) {
      const deletionTimestamp = new Date(clock.now() + graceSeconds * 1000).toISOString();
      const { metadata } = current;
      change({ ...current, metadata: { ...metadata, deletionTimestamp, deletionGracePeriodSeconds: graceSeconds } });
    },
    /** Lets files and promises settle, without moving the clock, until the check holds. */
    until: (check: () => void) => eventually(check),
    /** Moves the clock, with all the time that files need before, between and after what it fires; then the check holds. */
    async pass(ms: number, check: () => void) {
      await clock.advance(ms);
      check();
    },
  };
}
