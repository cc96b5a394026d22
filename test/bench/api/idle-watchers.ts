import { ioClock } from "../../../src/machinery/clock.ts";
import type { Measured } from "../measurement.ts";
import { type LoadProcess, startLoadProcess } from "./load-process.ts";
import { configMapText } from "./objects.ts";
import { type OwnServer, startOwnServer } from "./servers.ts";
import {
  collection,
  loopBudgetMs,
  newestRevision,
  overHttp1,
  roundSeconds,
  type Say,
  warmUpSeconds,
} from "./setting.ts";

const idleWatchers = { connections: 10, streams: 1_000 };
const rounds = 3;

/** Watches of the resource that is written, and of another, none of which is about what is written. */
async function watchedPaths(own: OwnServer): Promise<string[]> {
  const watch = `watch=1&allowWatchBookmarks=true&resourceVersion=${await newestRevision(own, "bench")}`;
  const written = collection("configmaps", "bench");
  return [
    `${collection("configmaps", "quiet")}?${watch}`,
    `${collection("secrets", "bench")}?${watch}`,
    `${written}?${watch}&labelSelector=app%3Dother`,
    `${written}?${watch}&fieldSelector=metadata.name%3Dother`,
  ];
}

/** Creates while nobody watches, and while ten thousand watch other things. */
export async function measureIdleWatchers(load: LoadProcess, say: Say): Promise<Measured> {
  await using own = await startOwnServer();
  const { target } = own;
  const lanes = overHttp1;
  using watching = startLoadProcess();
  let next = 0;
  const body = configMapText("bench", "load-%");
  const creates = async (seconds: number) => {
    const reply = await load.run({
      do: "load",
      target,
      lanes,
      pattern: { method: "POST", path: collection("configmaps", "bench"), body },
      from: next,
      seconds,
    });
    next += reply.done;
    return reply.perSecond;
  };
  await creates(warmUpSeconds * 2);
  const alone: number[] = [];
  const beside: number[] = [];
  const late: number[] = [];
  const count = idleWatchers.connections * idleWatchers.streams;
  for (let round = 1; round <= rounds; round++) {
    say(`creates alone and beside ${count} watchers, ${round} of ${rounds}`);
    alone.push(await creates(roundSeconds), await creates(roundSeconds));
    const paths = await watchedPaths(own);
    await watching.run({ do: "watch", target, ...idleWatchers, paths });
    await own.health();
    beside.push(await creates(roundSeconds), await creates(roundSeconds));
    late.push((await own.health()).p99);
    await watching.run({ do: "close" });
    await ioClock.sleep(2_000);
  }
  return {
    figures: [
      {
        what: `creates beside ${count} watchers of other things`,
        unit: "/s",
        samples: beside,
        yardstick: { what: "with no watcher", samples: alone },
        ratio: { atLeast: 0.8 },
      },
      {
        what: `loop late during creates beside ${count} watchers, p99`,
        unit: "ms",
        samples: late,
        budget: loopBudgetMs,
      },
    ],
  };
}
