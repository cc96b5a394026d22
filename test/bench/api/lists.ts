import { join } from "node:path";
import { serviceAccounts } from "../../../src/api/generated/core-v1.ts";
import { createHttpsClient } from "../../../src/client/https-client.ts";
import { readKubeconfig } from "../../../src/client/kubeconfig.ts";
import { ioClock } from "../../../src/machinery/clock.ts";
import { silentLogger } from "../../../src/machinery/log.ts";
import { eventually } from "../../support/eventually.ts";
import type { Figure, Measured } from "../measurement.ts";
import type { LoadProcess } from "./load-process.ts";
import { podText } from "./objects.ts";
import { type OwnServer, startBareServer, startOwnServer } from "./servers.ts";
import { collection, loopBudgetMs, megabyte, overHttp1, overHttp2, overOneConnection, type Say } from "./setting.ts";

const podCount = 10_000;
const rounds = 5;
const listsARound = 3;
const settleMs = 15_000;
const restMs = 20_000;

/** Memory with many pods, and lists of them. */
export async function measureLists(load: LoadProcess, say: Say): Promise<Measured> {
  await using own = await startOwnServer();
  await using bare = await startBareServer(own);
  await createPods(own, load, say);
  const file = join(own.directory, "list.json");
  const figures: Figure[] = [];
  let bytes = 0;
  for (const lanes of [overHttp1, overHttp2]) {
    const { protocol } = lanes;
    const fetchOwn = {
      do: "fetch",
      target: own.target,
      lanes,
      path: collection("pods", "bench"),
      times: listsARound,
      saveAs: file,
    } as const;
    const fetchBare = { do: "fetch", target: bare.target, lanes, path: "/list", times: listsARound } as const;
    bytes = (await load.run(fetchOwn)).bytes;
    await load.run(fetchBare);
    const [ownMs, bareMs, ownLate, bareLate]: number[][] = [[], [], [], []];
    for (let round = 1; round <= rounds; round++) {
      say(`lists of ${podCount} pods over ${protocol}, ${round} of ${rounds}`);
      await Promise.all([own.health(), bare.health()]);
      ownMs!.push(...(await load.run(fetchOwn)).ms);
      ownLate!.push((await own.health()).p99);
      bareMs!.push(...(await load.run(fetchBare)).ms);
      bareLate!.push((await bare.health()).p99);
    }
    figures.push(
      {
        what: `list of ${podCount} pods, ${protocol}`,
        unit: "ms",
        samples: ownMs!,
        yardstick: { what: "a bare server's sending of the same bytes", samples: bareMs! },
        ratio: { atMost: 2 },
      },
      {
        what: `loop late during lists, ${protocol}, p99`,
        unit: "ms",
        samples: ownLate!,
        budget: loopBudgetMs,
        yardstick: { what: "a bare server doing the same", samples: bareLate! },
      },
    );
  }
  say("resting");
  await ioClock.sleep(settleMs);
  const before = await own.health();
  await ioClock.sleep(restMs);
  const after = await own.health();
  const cpu = ((after.cpuMicros - before.cpuMicros) / (restMs * 1000)) * 100;
  const bareRss = (await bare.health()).rssBytes;
  figures.push(
    {
      what: `memory with ${podCount} pods, after lists of them`,
      unit: "MB",
      samples: [Math.max(before.rssBytes, after.rssBytes) / megabyte],
      budget: 450,
      yardstick: { what: "the bare server", samples: [bareRss / megabyte] },
    },
    { what: `processor with ${podCount} pods, idle`, unit: "%", samples: [cpu], budget: 1 },
  );
  const grown = (after.rssBytes - before.rssBytes) / megabyte;
  return {
    figures,
    notes: [
      `The list of ${podCount} pods has ${(bytes / megabyte).toFixed(1)} MB. Idle for ${restMs / 1000} s, the server's memory changed by ${grown.toFixed(1)} MB.`,
    ],
  };
}

async function createPods(own: OwnServer, load: LoadProcess, say: Say): Promise<void> {
  say(`creating ${podCount} pods`);
  const client = createHttpsClient({
    ...(await readKubeconfig(own.process.kubeconfig)),
    userAgent: "bench",
    logger: silentLogger,
  });
  try {
    // Pods are refused until their service account is there.
    await eventually(() => client.get(serviceAccounts, "default", { namespace: "bench" }));
  } finally {
    client.close();
  }
  const pattern = {
    method: "POST",
    path: collection("pods", "bench"),
    body: podText("bench", "web-7d4b9c5f8-%"),
  } as const;
  await load.run({ do: "load", target: own.target, lanes: overOneConnection, pattern, from: 0, count: podCount });
}
