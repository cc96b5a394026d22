import { connectDocker } from "../../src/cluster/docker.ts";
import { ioClock } from "../../src/machinery/clock.ts";
import { run } from "../../tools/run.ts";
import { createTestCluster } from "../support/cluster.ts";
import type { Measurement } from "./measurement.ts";
import { startServerContainer } from "./server-container.ts";

const yardstickImage = "k3ts/test-web";

async function seconds(work: () => Promise<unknown>): Promise<number> {
  const startedAtMs = ioClock.now();
  await work();
  return (ioClock.now() - startedAtMs) / 1000;
}

/** From nothing to a node that runs pods: one container, and a cluster of three. Images are present. */
export const start: Measurement = {
  name: "start",
  async run(say) {
    const docker = await connectDocker();
    const plain: number[] = [];
    const single: number[] = [];
    const three: number[] = [];
    for (let round = 1; round <= 5; round++) {
      say(`docker run ${yardstickImage}, ${round} of 5`);
      plain.push(await seconds(() => run("docker", ["run", "--rm", yardstickImage, "true"])));
      say(`docker run of a server, ${round} of 5`);
      await using server = await startServerContainer(docker, ioClock);
      single.push(server.readyAfterMs / 1000);
    }
    for (let round = 1; round <= 3; round++) {
      say(`a cluster of three nodes, ${round} of 3`);
      let remove: (() => Promise<void>) | undefined;
      three.push(
        await seconds(async () => {
          remove = (await createTestCluster({ agents: 2 })).remove;
        }),
      );
      await remove?.();
    }
    const yardstick = { what: "`docker run --rm` of busybox", samples: plain };
    return {
      figures: [
        { what: "`docker run` to node Ready and DNS answering", unit: "s", samples: single, budget: 2.5, yardstick },
        { what: "three nodes by `cluster create`", unit: "s", samples: three, budget: 6, yardstick },
      ],
    };
  },
};
