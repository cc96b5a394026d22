import type { Figure, Measured } from "../measurement.ts";
import type { LoadProcess } from "./load-process.ts";
import { changeText, configMapText } from "./objects.ts";
import { startOwnServer } from "./servers.ts";
import { collection, loopBudgetMs, newestRevision, overOneConnection, type Say } from "./setting.ts";

const watchers = 1_000;
const changesPerSecond = 100;
const changeSeconds = 15;
const changedObjects = 100;

/** A thousand watchers of one namespace, in which things change. */
export async function measureWatches(load: LoadProcess, writer: LoadProcess, say: Say): Promise<Measured> {
  const figures: Figure[] = [];
  const notes: string[] = [];
  for (const connections of [10, watchers]) {
    await using own = await startOwnServer();
    const { target } = own;
    const objects = collection("configmaps", "watched");
    const body = configMapText("watched", "changed-%");
    await writer.run({
      do: "load",
      target,
      lanes: overOneConnection,
      pattern: { method: "POST", path: objects, body },
      from: 0,
      count: changedObjects,
    });
    say(`${watchers} watchers on ${connections} connections`);
    // From now on: the events are only those that the changes make.
    const path = `${objects}?watch=1&allowWatchBookmarks=true&resourceVersion=${await newestRevision(own, "watched")}`;
    await load.run({ do: "watch", target, connections, streams: watchers / connections, paths: [path] });
    const change = {
      do: "change",
      target,
      path: `${objects}/changed-%`,
      body: changeText("watched", "changed-%"),
      objects: changedObjects,
      perSecond: changesPerSecond,
    } as const;
    // The first changes warm up what they go through.
    const first = await writer.run({ ...change, seconds: 5 });
    await load.run({ do: "delivered", expected: first.sent });
    await own.health();
    say(`${changesPerSecond} changes a second to ${watchers} watchers on ${connections} connections`);
    const { sent, answerP99Ms } = await writer.run({ ...change, seconds: changeSeconds });
    const seen = await load.run({ do: "delivered", expected: sent });
    const late = await own.health();
    const what = `${watchers} watchers on ${connections} connections`;
    figures.push(
      {
        what: `a change to ${what}, p99`,
        unit: "ms",
        samples: [seen.p99Ms],
        ...(connections === watchers ? {} : { budget: 100 }),
      },
      {
        what: `loop late with ${what}, p99`,
        unit: "ms",
        samples: [late.p99],
        ...(connections === watchers ? {} : { budget: loopBudgetMs }),
      },
    );
    notes.push(
      `${what}: each saw all ${sent} changes, ${seen.p50Ms} ms (p50), ${seen.maxMs} ms (at most) after they were sent; a write was answered within ${answerP99Ms} ms (p99).`,
    );
    await load.run({ do: "close" });
  }
  return { figures, notes };
}
