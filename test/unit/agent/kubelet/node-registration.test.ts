import assert from "node:assert/strict";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import type { Cri } from "../../../../src/agent/containerd/cri.ts";
import { NodeRegistration, type NodeRegistrationOptions } from "../../../../src/agent/kubelet/node-registration.ts";
import type { Lease } from "../../../../src/api/generated/coordination-v1.ts";
import type { Node } from "../../../../src/api/generated/core-v1.ts";
import type { Client, Patch, WatchEvent, WatchOptions } from "../../../../src/client/client.ts";
import { silentLogger } from "../../../../src/machinery/log.ts";
import type { ResourceType } from "../../../../src/machinery/object.ts";
import { StatusError } from "../../../../src/machinery/status.ts";
import { eventually } from "../../../support/eventually.ts";
import { FakeClock } from "../../../support/fake-clock.ts";
import { temporaryDirectory } from "../../../support/temporary-directory.ts";

/** Holds one Node and its lease. */
class NodeApi {
  node: Node | undefined;
  lease: Lease | undefined;
  statusWrites = 0;
  /** Thrown by the next create of a Node. */
  fail: Error | undefined;
  #version = 0;
  #watchers: ((event: WatchEvent) => void)[] = [];

  get client(): Client {
    return this as unknown as Client;
  }

  /** Sets the node as somebody else would, and tells those who watch. */
  put(node: Node): Node {
    const metadata = { uid: `uid-${++this.#version}`, ...node.metadata, resourceVersion: String(++this.#version) };
    return this.restore({ ...node, metadata });
  }

  /** Sets the node back to what it was. */
  restore(node: Node): Node {
    this.node = node;
    for (const push of this.#watchers) push({ type: "MODIFIED", object: this.node });
    return this.node;
  }

  get watched(): boolean {
    return this.#watchers.length > 0;
  }

  remove(): void {
    const object = this.node!;
    this.node = undefined;
    for (const push of this.#watchers) push({ type: "DELETED", object });
  }

  async create(type: ResourceType, object: Node & Lease): Promise<Node | Lease> {
    if (type.resource === "leases") {
      if (this.lease) throw new StatusError(409, "AlreadyExists", "exists");
      this.lease = object;
      return object;
    }
    const failure = this.fail;
    this.fail = undefined;
    if (failure) throw failure;
    if (this.node) throw new StatusError(409, "AlreadyExists", "exists");
    const { status: _, ...rest } = object;
    return this.put(rest);
  }

  async get(type: ResourceType): Promise<Node | Lease> {
    const found = type.resource === "leases" ? this.lease : this.node;
    if (!found) throw new StatusError(404, "NotFound", "not found");
    return found;
  }

  async update(_: ResourceType, lease: Lease): Promise<Lease> {
    this.lease = lease;
    return lease;
  }

  async patch(_: ResourceType, __: string, { body }: Patch, options: { subresource?: string } = {}): Promise<Node> {
    const { metadata, status } = body as Node;
    if (!this.node) throw new StatusError(404, "NotFound", "not found");
    if (options.subresource !== "status")
      return this.put({
        ...this.node,
        metadata: { ...this.node.metadata, labels: { ...this.node.metadata.labels, ...metadata.labels } },
      });
    this.statusWrites++;
    if (metadata.resourceVersion !== this.node.metadata.resourceVersion)
      throw new StatusError(409, "Conflict", "modified");
    return this.put({ ...this.node, status: { ...this.node.status, ...status } });
  }

  async *watch(_: ResourceType, { signal }: WatchOptions): AsyncGenerator<WatchEvent> {
    const annotations = { "k8s.io/initial-events-end": "true" };
    const queue: WatchEvent[] = this.node ? [{ type: "ADDED", object: this.node }] : [];
    queue.push({ type: "BOOKMARK", object: { metadata: { resourceVersion: `${this.#version}`, annotations } } });
    let wake = () => {};
    this.#watchers.push((event) => {
      queue.push(event);
      wake();
    });
    signal?.addEventListener("abort", () => wake(), { once: true });
    while (!signal?.aborted) {
      const event = queue.shift();
      if (event) yield event;
      else await new Promise<void>((resolve) => (wake = resolve));
    }
  }
}

function rig(t: TestContext, api = new NodeApi(), more: Partial<NodeRegistrationOptions> = {}) {
  const clock = new FakeClock();
  const stop = new AbortController();
  let running: Promise<void> | undefined;
  // Before the directory goes.
  t.after(() => {
    stop.abort();
    return running;
  });
  const directory = temporaryDirectory(t);
  const network = { type: "NetworkReady", status: true, reason: "", message: "" };
  const cri = {
    version: async () => ({ runtimeVersion: "2.1.0" }),
    status: async () => ({ status: { conditions: [{ type: "RuntimeReady", status: true }, network] } }),
    listImages: async () => [{ repoDigests: [], repoTags: ["x/one:1"], size: 5 }],
  } as unknown as Cri;
  const registration = new NodeRegistration({
    client: api.client,
    cri,
    nodeName: "n",
    nodeIps: ["192.0.2.1"],
    nodeExternalIps: [],
    labels: { role: "test" },
    annotations: {},
    taints: [{ key: "k", value: "v", effect: "NoSchedule" }],
    maxPods: 10,
    version: "v1",
    rootDir: directory,
    cniConfDir: join(directory, "cni"),
    clock,
    logger: silentLogger,
    signal: stop.signal,
    ...more,
  });
  running = registration.run();
  const condition = (type: string) => api.node?.status?.conditions?.find((entry) => entry.type === type);
  const ready = (status: string) => eventually(() => assert.equal(condition("Ready")?.status, status));
  return { api, clock, registration, network, condition, ready };
}

test("a new node is made with labels, taints and its status, and gets a lease that it owns", async (t) => {
  const { api, registration, ready } = rig(t);
  await ready("True");
  assert.deepEqual(api.node?.metadata.labels, { role: "test" });
  assert.deepEqual(api.node?.spec, {
    providerID: "k3s://n",
    taints: [{ key: "k", value: "v", effect: "NoSchedule" }],
  });
  assert.deepEqual(api.node?.status?.addresses, [
    { type: "InternalIP", address: "192.0.2.1" },
    { type: "Hostname", address: "n" },
  ]);
  assert.deepEqual(api.node?.status?.images, [{ names: ["x/one:1"], sizeBytes: 5 }]);
  assert.equal(registration.allocatable["pods"], "10");
  await eventually(() => assert.equal(api.lease?.spec?.holderIdentity, "n"));
  assert.equal(api.lease?.metadata.ownerReferences?.[0]?.uid, api.node?.metadata.uid);
});

test("a node that is there already keeps what others set, and gets our labels", async (t) => {
  const api = new NodeApi();
  api.put({ metadata: { name: "n", labels: { theirs: "1" } }, spec: { unschedulable: true } });
  const { ready } = rig(t, api);
  await ready("True");
  assert.deepEqual(api.node?.metadata.labels, { theirs: "1", role: "test" });
  assert.deepEqual(api.node?.spec, { unschedulable: true });
});

test("while the API is away the node tries again", async (t) => {
  const api = new NodeApi();
  api.fail = new Error("connection refused");
  const { clock, ready } = rig(t, api);
  await eventually(() => assert.equal(api.fail, undefined));
  await eventually(() => assert.ok(clock.pending > 0));
  await clock.advance(1000);
  await ready("True");
});

test("a node is ready when the runtime's network is", async (t) => {
  const { registration, network, condition, ready } = rig(t);
  await ready("True");
  Object.assign(network, { status: false, reason: "NetworkPluginNotReady", message: "no config" });
  await registration.report();
  assert.deepEqual(
    [condition("Ready")?.status, condition("Ready")?.reason, condition("Ready")?.message],
    [
      "False",
      "KubeletNotReady",
      "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady message:no config",
    ],
  );
  network.status = true;
  await registration.report();
  assert.equal(condition("Ready")?.status, "True");
});

test("a status that has not changed is written every five minutes only", async (t) => {
  const { api, clock, registration, ready } = rig(t);
  await ready("True");
  await registration.report();
  const writes = api.statusWrites;
  await clock.advance(100);
  for (let round = 0; round < 3; round++) await registration.report();
  assert.equal(api.statusWrites, writes);
  const before = api.node?.status?.conditions?.[0]?.lastHeartbeatTime;
  await clock.advance(301_000);
  await registration.report();
  assert.notEqual(api.node?.status?.conditions?.[0]?.lastHeartbeatTime, before);
});

test("conditions that others set are kept, also after a conflict", async (t) => {
  const { api, registration, network, condition, ready } = rig(t);
  await ready("True");
  const theirs = { type: "NetworkUnavailable", status: "False" };
  // Not told through the watch yet: the first write conflicts.
  api.node = {
    ...api.node!,
    metadata: { ...api.node!.metadata, resourceVersion: "1000" },
    status: { ...api.node!.status, conditions: [...(api.node!.status?.conditions ?? []), theirs] },
  };
  network.status = false;
  await registration.report();
  assert.equal(condition("Ready")?.status, "False");
  assert.deepEqual(condition("NetworkUnavailable"), theirs);
});

test("a wrong word on our readiness is put right, and a deleted node comes back", async (t) => {
  const { api, ready } = rig(t);
  await ready("True");
  await new Promise((resolve) => setImmediate(resolve));
  const unknown = api.node!.status!.conditions!.map((entry) =>
    entry.type === "Ready" ? { ...entry, status: "Unknown" } : entry,
  );
  await eventually(() => {
    api.put({ ...api.node!, status: { ...api.node!.status, conditions: unknown } });
  });
  await ready("True");
  const { uid } = api.node!.metadata;
  api.remove();
  await eventually(() => assert.ok(api.node && api.node.metadata.uid !== uid));
  await ready("True");
});

test("a node that was set back to a snapshot is reported anew, whatever was reported since", async (t) => {
  const { api, ready } = rig(t);
  await ready("True");
  await eventually(() => assert.ok(api.watched));
  const conditions = api.node!.status!.conditions!.map((entry) =>
    entry.type === "Ready" ? { ...entry, status: "Unknown" } : entry,
  );
  const { metadata, status } = api.node!;
  api.restore({ ...api.node!, metadata: { ...metadata, resourceVersion: "1" }, status: { ...status, conditions } });
  await ready("True");
});
