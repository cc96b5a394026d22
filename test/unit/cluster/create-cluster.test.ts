import assert from "node:assert/strict";
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

test("a cluster of which one node cannot start leaves none of the others behind", async () => {
  const { docker, present } = failingEngine();
  await assert.rejects(
    createCluster(docker, {
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
    }),
    /removed again: port is already allocated; choose another port with --api-port/,
  );
  assert.deepEqual([...present], []);
});
