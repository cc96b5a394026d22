import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type Docker from "dockerode";
import { configMaps } from "../../src/api/generated/core-v1.ts";
import type { Client } from "../../src/client/client.ts";
import { createHttpsClient, type HttpsClient } from "../../src/client/https-client.ts";
import { connectDocker } from "../../src/cluster/docker.ts";
import { clientOf } from "../../src/cluster/kubeconfig-client.ts";
import { waitForLine } from "../../src/cluster/node-log.ts";
import { ioClock } from "../../src/machinery/clock.ts";
import { silentLogger } from "../../src/machinery/log.ts";
import { prepareCertificates } from "../../src/server/certificates.ts";
import { run } from "../../tools/run.ts";
import { type Measured, type Measurement, median } from "./measurement.ts";
import { freshName, removeContainers, startServerContainer } from "./server-container.ts";

const image = "k3ts/bench-slow-disk";
const clients = 32;
const loadMs = 20_000;
const syncMs = 10;
const probe = ["-e", "NODE_OPTIONS=--import=/bench/loop-probe.mjs"];

interface Lateness {
  p50: number;
  p99: number;
  max: number;
}

/** How late the main loop is while 32 clients write without pause and each sync of the disk takes 10 ms. */
export const writes: Measurement = {
  name: "writes",
  async run(say) {
    say("building an image with a slow disk");
    const directory = fileURLToPath(new URL("./slow-disk", import.meta.url));
    await run("docker", ["build", "-q", "-t", image, directory], { env: { DOCKER_BUILDKIT: "1" } });
    try {
      return await measure(say);
    } finally {
      await run("docker", ["image", "rm", image]);
    }
  },
};

async function measure(say: (line: string) => void): Promise<Measured> {
  const docker = await connectDocker();
  say("32 clients write to a bare server");
  const bare = await loadBareServer(docker);
  say("a server with a slow disk starts");
  const dockerArgs = [...probe, "-e", "LD_PRELOAD=/bench/slow-sync.so"];
  await using server = await startServerContainer(docker, ioClock, { image, dockerArgs });
  const single = clientOf(server.kubeconfig);
  const alone = await latency(single).finally(() => single.close());
  if (median(alone) < syncMs) throw new Error(`a write took ${median(alone)} ms: the disk is not slow`);
  say("32 clients write");
  const own = await load(server.name, () => clientOf(server.kubeconfig));
  return {
    figures: [
      {
        what: `main loop late while ${clients} clients write, p99`,
        unit: "ms",
        samples: [own.late.p99],
        budget: 10,
        yardstick: { what: "a bare HTTP/2 server that answers after 10 ms", samples: [bare.late.p99] },
      },
      {
        what: `writes of ${clients} clients`,
        unit: "/s",
        samples: [own.perSecond],
        yardstick: { what: "a bare HTTP/2 server that answers after 10 ms", samples: [bare.perSecond] },
      },
    ],
    notes: [
      `A write on its own takes ${median(alone).toFixed(0)} ms. The loop is ${own.late.p50.toFixed(1)} ms late at p50, ${own.late.max.toFixed(0)} ms at most (bare: ${bare.late.p50.toFixed(1)}, ${bare.late.max.toFixed(0)}).`,
    ],
  };
}

async function loadBareServer(docker: Docker): Promise<{ late: Lateness; perSecond: number }> {
  const name = freshName("bare");
  const directory = mkdtempSync(join(tmpdir(), "k3ts-bench-"));
  try {
    const certificates = await prepareCertificates(directory, ["127.0.0.1"]);
    const args = ["--name", name, "-p", "127.0.0.1::6443", ...probe, "--entrypoint", "node"];
    await run("docker", ["create", ...args, image, "/bench/bare-server.mjs"]);
    for (const [from, to] of [
      ["serving-kube-apiserver.crt", "tls.crt"],
      ["serving-kube-apiserver.key", "tls.key"],
    ]) {
      await run("docker", ["cp", join(directory, from!), `${name}:/bench/${to}`]);
    }
    await run("docker", ["start", name]);
    await waitForLine(docker, name, "listening", AbortSignal.timeout(10_000));
    const address = (await run("docker", ["port", name, "6443/tcp"])).split("\n")[0];
    const connect = () =>
      createHttpsClient({
        server: `https://${address}`,
        ca: certificates.serverCaBundle,
        userAgent: "k3ts bench",
        logger: silentLogger,
      });
    return await load(name, connect);
  } finally {
    await removeContainers(name);
    rmSync(directory, { recursive: true, force: true });
  }
}

/** Writes with all clients for a while. */
async function load(container: string, connect: () => HttpsClient): Promise<{ late: Lateness; perSecond: number }> {
  const all = Array.from({ length: clients }, connect);
  try {
    // The first request of each connects; that is not what is measured.
    await Promise.all(all.map((client, index) => write(client, `connect-${index}`)));
    await askProbe(container);
    const endAtMs = ioClock.now() + loadMs;
    let count = 0;
    await Promise.all(
      all.map(async (client, index) => {
        for (let round = 0; ioClock.now() < endAtMs; round++) {
          await write(client, `load-${index}-${round}`);
          count++;
        }
      }),
    );
    return { late: await askProbe(container), perSecond: count / (loadMs / 1000) };
  } finally {
    for (const client of all) client.close();
  }
}

async function latency(client: Client): Promise<number[]> {
  const took: number[] = [];
  for (let round = 0; round < 20; round++) {
    const startedAtMs = ioClock.now();
    await write(client, `alone-${round}`);
    took.push(ioClock.now() - startedAtMs);
  }
  return took;
}

async function write(client: Client, name: string): Promise<void> {
  const namespace = "default";
  const object = { metadata: { name, namespace }, data: { text: "x".repeat(700) } };
  await client.create(configMaps, object, { namespace });
}

/** How late the loop was since this was last asked. */
async function askProbe(container: string): Promise<Lateness> {
  const ask = `rm -f /tmp/loop.json; kill -USR2 $(pidof node | tr ' ' '\\n' | sort -n | head -n 1)
    for i in $(seq 100); do [ -e /tmp/loop.json ] && exec cat /tmp/loop.json; sleep 0.05; done; exit 1`;
  return JSON.parse(await run("docker", ["exec", container, "sh", "-c", ask]));
}
