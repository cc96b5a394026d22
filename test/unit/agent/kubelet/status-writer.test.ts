import assert from "node:assert/strict";
import { test } from "node:test";
import { StatusWriter, statusPatch } from "../../../../src/agent/kubelet/status-writer.ts";
import type { Pod, PodStatus } from "../../../../src/api/generated/core-v1.ts";
import type { Client } from "../../../../src/client/client.ts";
import { silentLogger } from "../../../../src/machinery/log.ts";
import { StatusError } from "../../../../src/machinery/status.ts";
import { FakeClock } from "../../../support/fake-clock.ts";
import { pod } from "./pod-fixture.ts";

/** Holds one pod and answers patches like the API; `fail` is thrown once. */
class OnePod {
  current: Pod;
  readonly patches: { metadata: object; status: Record<string, unknown> }[] = [];
  fail: Error | undefined;

  constructor(status: PodStatus) {
    this.current = { ...pod(), metadata: { ...pod().metadata, resourceVersion: "1" }, status };
  }

  readonly client = {
    get: async () => this.current,
    patch: async (_: unknown, __: string, { body }: { body: OnePod["patches"][number] }) => {
      this.patches.push(body);
      const failure = this.fail;
      this.fail = undefined;
      if (failure) throw failure;
      const resourceVersion = String(Number(this.current.metadata.resourceVersion) + 1);
      this.current = {
        ...this.current,
        metadata: { ...this.current.metadata, resourceVersion },
        status: { ...this.current.status, ...body.status },
      };
      return this.current;
    },
  } as unknown as Client;
}
const writerFor = (api: OnePod, clock = new FakeClock()) =>
  new StatusWriter({ client: api.client, clock, logger: silentLogger });

test("a patch holds what differs, and null for what is gone", () => {
  const from = { phase: "Pending", reason: "Old", podIP: "1", podIPs: [{ ip: "1" }] };
  assert.deepEqual(statusPatch(from, { phase: "Pending", podIP: "2", podIPs: [{ ip: "2" }] }), {
    podIP: "2",
    podIPs: [{ ip: "2" }],
    reason: null,
  });
});

test("an equal status is not written", async () => {
  const api = new OnePod({ phase: "Running", conditions: [] });
  const writer = writerFor(api);
  writer.set(api.current, { phase: "Running", conditions: [] });
  await writer.flush("uid-1");
  assert.deepEqual(api.patches, []);
});

test("a write names the pod's uid and version, and is known before the watch brings it back", async () => {
  const api = new OnePod({ phase: "Pending" });
  const seen = api.current;
  const writer = writerFor(api);
  writer.set(seen, { phase: "Running" });
  await writer.flush("uid-1");
  assert.deepEqual(api.patches, [{ metadata: { uid: "uid-1", resourceVersion: "1" }, status: { phase: "Running" } }]);
  assert.equal(writer.latest(seen).status?.phase, "Running");
});

test("after a conflict the newest pod is taken, and others' conditions on it are kept", async () => {
  const api = new OnePod({ phase: "Pending" });
  const writer = writerFor(api);
  const seen = api.current;
  const gate = { type: "example.com/gate", status: "True" };
  api.current = {
    ...seen,
    metadata: { ...seen.metadata, resourceVersion: "7" },
    status: { phase: "Pending", conditions: [gate] },
  };
  api.fail = new StatusError(409, "Conflict", "modified");
  writer.set(seen, { phase: "Running", conditions: [{ type: "Ready", status: "True" }] });
  await writer.flush("uid-1");
  assert.deepEqual(api.patches[1], {
    metadata: { uid: "uid-1", resourceVersion: "7" },
    status: { phase: "Running", conditions: [{ type: "Ready", status: "True" }, gate] },
  });
});

test("while the API is away the newest status is kept and written when it is back", async () => {
  const api = new OnePod({ phase: "Pending" });
  const clock = new FakeClock();
  const writer = writerFor(api, clock);
  api.fail = new Error("connection refused");
  writer.set(api.current, { phase: "Running" });
  writer.set(api.current, { phase: "Succeeded" });
  const done = writer.flush("uid-1");
  await clock.advance(500);
  await done;
  assert.equal(api.current.status?.phase, "Succeeded");
});

test("a pod that is gone needs no status", async () => {
  const api = new OnePod({ phase: "Pending" });
  api.fail = new StatusError(404, "NotFound", "gone");
  const writer = writerFor(api);
  writer.set(api.current, { phase: "Running" });
  await writer.flush("uid-1");
  assert.equal(api.patches.length, 1);
});

test("a status that is set at the very moment in which a write ends is written, too", async () => {
  for (let turns = 0; turns < 12; turns++) {
    const api = new OnePod({ phase: "Pending" });
    const patch = api.client.patch.bind(api.client);
    let begun = false;
    const setLater = async () => {
      for (let turn = 0; turn < turns; turn++) await undefined;
      writer.set(api.current, { phase: "Succeeded" });
    };
    api.client.patch = (async (...args) => {
      const done = await patch(...args);
      if (!begun) void setLater();
      begun = true;
      return done;
    }) as typeof patch;
    const writer = writerFor(api);
    writer.set(api.current, { phase: "Running" });
    await new Promise((resolve) => setImmediate(resolve));
    assert.equal(api.current.status?.phase, "Succeeded", `${turns} turns after the write`);
  }
});
