import { type Pod, pods as podResource } from "../../src/api/generated/core-v1.ts";
import type { Client } from "../../src/client/client.ts";
import { connectDocker } from "../../src/cluster/docker.ts";
import { clientOf } from "../../src/cluster/kubeconfig-client.ts";
import { ioClock } from "../../src/machinery/clock.ts";
import { run } from "../../tools/run.ts";
import type { Measurement } from "./measurement.ts";
import { startServerContainer } from "./server-container.ts";

const image = "k3ts/test-web";
const rounds = 20;
const podTimeoutMs = 30_000;

/** Runs inside the node, so that reaching into the container is not measured. Prints milliseconds as a JSON array. */
const ctrRuns = `
  const { spawnSync } = require("node:child_process");
  const took = [];
  for (let i = 0; i < ${rounds}; i++) {
    const from = performance.now();
    const { status, stderr } = spawnSync("ctr", ["run", "--rm", "docker.io/${image}:latest", "bench-" + i, "/bin/true"]);
    if (status !== 0) throw new Error(String(stderr));
    took.push(performance.now() - from);
  }
  console.log(JSON.stringify(took));`;

/** From the creation of a pod whose image is present until it says that it runs, one pod after the other. */
export const pods: Measurement = {
  name: "pods",
  async run(say) {
    await using server = await startServerContainer(await connectDocker(), ioClock);
    say("bringing the image into the node");
    const archive = `docker save ${image} | docker exec -i ${server.name} ctr images import --all-platforms -`;
    await run("sh", ["-c", archive]);
    const client = clientOf(server.kubeconfig);
    try {
      const took: number[] = [];
      for (let round = 1; round <= rounds; round++) {
        say(`pod ${round} of ${rounds}`);
        took.push((await timePod(client, `bench-${round}`)) / 1000);
      }
      say("the same image by ctr");
      const plain: number[] = JSON.parse(await run("docker", ["exec", server.name, "node", "-e", ctrRuns]));
      const yardstick = { what: "`ctr run` of the same image", samples: plain.map((ms) => ms / 1000) };
      return { figures: [{ what: "a pod, create to Running", unit: "s", samples: took, budget: 0.8, yardstick }] };
    } finally {
      client.close();
    }
  },
};

async function timePod(client: Client, name: string): Promise<number> {
  const namespace = "default";
  const pod: Pod = {
    metadata: { name, namespace },
    spec: { terminationGracePeriodSeconds: 0, containers: [{ name: "web", image, imagePullPolicy: "IfNotPresent" }] },
  };
  const { resourceVersion } = (await client.list(podResource, { namespace, limit: 1 })).metadata;
  const signal = AbortSignal.timeout(podTimeoutMs);
  const events = client.watch(podResource, { namespace, resourceVersion: resourceVersion!, signal });
  const startedAtMs = ioClock.now();
  let runningAfterMs: number | undefined;
  const created = client.create(podResource, pod, { namespace });
  for await (const { type, object } of events) {
    if (object.metadata.name !== name) continue;
    if (type === "DELETED") break;
    if (object.status?.phase !== "Running" || runningAfterMs !== undefined) continue;
    runningAfterMs = ioClock.now() - startedAtMs;
    await client.delete(podResource, name, { namespace, gracePeriodSeconds: 0 });
  }
  await created;
  if (runningAfterMs === undefined) throw new Error(`pod ${name} went away without ever running`);
  return runningAfterMs;
}
