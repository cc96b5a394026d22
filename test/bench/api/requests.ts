import { join } from "node:path";
import type { Figure, Measured } from "../measurement.ts";
import type { Lanes } from "./load-messages.ts";
import type { LoadProcess } from "./load-process.ts";
import { configMapText } from "./objects.ts";
import { type MeasuredServer, startBareServer, startOwnServer } from "./servers.ts";
import { collection, loopBudgetMs, modes, roundSeconds, type Say, warmUpSeconds } from "./setting.ts";

const rounds = 5;

interface Rates {
  readonly own: number[];
  readonly bare: number[];
  readonly ownLate: number[];
  readonly bareLate: number[];
}

/** Creates and gets, in all three ways of connecting. */
export async function measureRequests(load: LoadProcess, say: Say): Promise<Measured> {
  await using own = await startOwnServer();
  await using bare = await startBareServer(own);
  const configMaps = collection("configmaps", "bench");
  const body = configMapText("bench", "load-%");
  let next = 0;
  const run = async (
    server: MeasuredServer,
    lanes: Lanes,
    pattern: { method: "GET" | "POST"; path: string },
    seconds: number,
  ) => {
    const isCreate = pattern.method === "POST";
    const from = isCreate ? next : 0;
    const more = isCreate ? { body } : { modulo: 100 };
    await server.health();
    const { target } = server;
    const reply = await load.run({ do: "load", target, lanes, pattern: { ...pattern, ...more }, from, seconds });
    if (isCreate) next += reply.done;
    return { reply, late: (await server.health()).p99 };
  };
  const create = { method: "POST", path: configMaps } as const;
  const get = { method: "GET", path: `${configMaps}/load-%` } as const;
  const bareGet = { method: "GET", path: "/object" } as const;
  for (const lanes of modes) {
    say(`warming up, ${lanes.name}`);
    await run(own, lanes, create, warmUpSeconds);
    await run(bare, lanes, create, warmUpSeconds);
    await run(own, lanes, get, warmUpSeconds);
    const object = { path: `${configMaps}/load-0`, times: 1, saveAs: join(own.directory, "object.json") };
    await load.run({ do: "fetch", target: own.target, lanes, ...object });
    await run(bare, lanes, bareGet, warmUpSeconds);
  }

  const figures: Figure[] = [];
  for (const lanes of modes) {
    const creates: Rates = { own: [], bare: [], ownLate: [], bareLate: [] };
    const gets: Rates = { own: [], bare: [], ownLate: [], bareLate: [] };
    for (let round = 1; round <= rounds; round++) {
      say(`creates and gets over ${lanes.name}, ${round} of ${rounds}`);
      for (const [rates, ours, theirs] of [
        [creates, create, create],
        [gets, get, bareGet],
      ] as const) {
        const [a, b] = [await run(own, lanes, ours, roundSeconds), await run(bare, lanes, theirs, roundSeconds)];
        rates.own.push(a.reply.perSecond);
        rates.ownLate.push(a.late);
        rates.bare.push(b.reply.perSecond);
        rates.bareLate.push(b.late);
      }
    }
    const yardstick = { what: "a bare server's inserts", samples: creates.bare };
    // The budgets of both are set by what the bare server inserts. What it answers without any database stands beside
    // the gets, too: that is the most that Node can do.
    figures.push(
      { what: `creates, ${lanes.name}`, unit: "/s", samples: creates.own, yardstick, ratio: { atLeast: 0.4 } },
      { what: `gets, ${lanes.name}`, unit: "/s", samples: gets.own, yardstick, ratio: { atLeast: 0.6 } },
      {
        what: `the same gets, ${lanes.name}`,
        unit: "/s",
        samples: gets.own,
        yardstick: { what: "a bare server's answers of the same bytes", samples: gets.bare },
      },
      ...(
        [
          ["creates", creates],
          ["gets", gets],
        ] as const
      ).map(([what, rates]) => ({
        what: `loop late during ${what}, ${lanes.name}, p99`,
        unit: "ms" as const,
        samples: rates.ownLate,
        budget: loopBudgetMs,
        yardstick: { what: "a bare server doing the same", samples: rates.bareLate },
      })),
    );
  }
  return { figures };
}
