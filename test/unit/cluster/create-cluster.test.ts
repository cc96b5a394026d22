import assert from "node:assert/strict";
import { PassThrough } from "node:stream";
import { test } from "node:test";
import type Docker from "dockerode";
import { createCluster } from "../../../src/cluster/create-cluster.ts";

/** An engine that makes the agents' containers late, and cannot start the server's. */
function failingEngine() {
  const present = new Set<string>();
  const agentsMade = Promise.withResolvers<void>();
  const engine = {
    listContainers: async () =>
      [...present].map((name) => ({ Id: name, Names: [`/${name}`], Labels: {}, HostConfig: { NetworkMode: "n" } })),
    listNetworks: async () => [],
    getImage: () => ({ inspect: async () => ({}) }),
    createNetwork: async () => {},
    createContainer: async ({ name }: { name: string }) => {
      if (name.includes("agent")) await agentsMade.promise;
      present.add(name);
      return {
        start: async () => {
          if (name.includes("agent")) return;
          // The agents' containers come to be well after whoever waits has heard of this.
          setTimeout(agentsMade.resolve, 20);
          throw new Error("port is already allocated");
        },
      };
    },
    getContainer: (name: string) => ({
      remove: async () => {
        if (!present.delete(name)) throw Object.assign(new Error("no such container"), { statusCode: 404 });
      },
    }),
    getNetwork: () => ({ remove: async () => {} }),
  };
  return { docker: engine as unknown as Docker, present };
}

const settings = {
  name: "c",
  servers: 1,
  agents: 2,
  serverImage: "server",
  agentImage: "agent",
  loadBalancerImage: "loadbalancer",
  apiPort: "6550",
  wait: true,
  timeoutMs: 30_000,
  updateKubeconfig: false,
  switchContext: false,
  quiet: true,
};

test("a cluster of which one node cannot start leaves none of the others behind", async () => {
  const { docker, present } = failingEngine();
  await assert.rejects(
    createCluster(docker, settings),
    /removed again: port is already allocated; choose another port with --api-port/,
  );
  assert.deepEqual([...present], []);
});

/** An engine that makes containers whose logs never say anything. */
function silentEngine() {
  const { docker, present } = failingEngine();
  const started = new Set<string>();
  const followed = Promise.withResolvers<void>();
  const engine = {
    ...docker,
    createContainer: async ({ name }: { name: string }) => {
      present.add(name);
      return { start: async () => void started.add(name) };
    },
    getContainer: (name: string) => ({
      ...docker.getContainer(name),
      inspect: async () => ({ State: { StartedAt: "2026-01-01T00:00:00Z" } }),
      logs: async () => {
        followed.resolve();
        return new PassThrough();
      },
    }),
    modem: { demuxStream: () => {} },
  };
  return { docker: engine as unknown as Docker, present, started, followed: followed.promise };
}

test("creating a cluster is given up at any time, and what was made of it is removed", async () => {
  const { docker, present, started, followed } = silentEngine();
  const interruption = new AbortController();
  const creating = createCluster(docker, { ...settings, signal: interruption.signal });
  await Promise.race([followed, creating]);
  assert.equal(present.size, 3);
  interruption.abort(new Error("interrupted"));
  await assert.rejects(creating, /removed again: interrupted$/);
  assert.deepEqual([...present], []);
  assert.equal(started.size, 3);
});

test("a cluster whose creation is given up at once starts nothing", async () => {
  const { docker, present, started } = silentEngine();
  const signal = AbortSignal.abort(new Error("interrupted"));
  await assert.rejects(createCluster(docker, { ...settings, signal }), /removed again: interrupted$/);
  assert.deepEqual([...present], []);
  assert.equal(started.size, 0);
});
