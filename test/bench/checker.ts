import { randomInt } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { type Arena, startArena } from "../store/checker/arena.ts";
import { type StoreKind, storeKinds } from "../store/checker/grounds/prepare-ground.ts";
import { playRound } from "../store/checker/round.ts";
import { addRound, emptyTally, type Tally } from "../store/checker/tally.ts";
import { bundle, serverFlags } from "./api/servers.ts";
import type { Measurement } from "./measurement.ts";

/** Figures so far. A run that is cut off is continued by the next one; to begin anew, remove it. */
const file = fileURLToPath(new URL("../../dist/bench/checker.json", import.meta.url));
const wantedRounds = Number(process.env["CHECKER_ROUNDS"] ?? 200);
/** After so many that did not come to an end there is nothing more to learn. */
const brokenMax = 5;

const names: Record<StoreKind, string> = {
  sqlite: "SQLite",
  etcd: "etcd",
  "embedded-etcd": "embedded etcd",
  postgres: "PostgreSQL",
  mariadb: "MariaDB",
};

type Tallies = Partial<Record<StoreKind, Tally>>;

/**
 * Rounds of the checker on every store. CHECKER_ROUNDS says how many (default 200), CHECKER_SEED which choices, and
 * CHECKER_STORES on which stores only; what other runs left in dist/bench/checker.json is shown with it.
 */
export const checker: Measurement = {
  name: "checker",
  needs: ["bundle", "databases"],
  onlyWhenNamed: true,
  async run(say) {
    const tallies: Tallies = existsSync(file) ? JSON.parse(readFileSync(file, "utf8")) : {};
    const wanted = (process.env["CHECKER_STORES"]?.split(",") as StoreKind[] | undefined) ?? storeKinds;
    for (const kind of wanted) {
      const tally = tallies[kind] ?? emptyTally(Number(process.env["CHECKER_SEED"] ?? randomInt(2 ** 31)));
      tallies[kind] = tally;
      await playRounds(kind, tally, () => keep(tallies), say);
    }
    const played = storeKinds.flatMap((kind) => (tallies[kind] ? [{ name: names[kind], tally: tallies[kind] }] : []));
    return {
      figures: played.map(({ name, tally }) => ({
        what: `broken promises in ${tally.rounds} rounds on ${name}`,
        unit: "",
        samples: [tally.violations.length],
        budget: 0,
      })),
      notes: played.flatMap(({ name, tally }) =>
        tally.violations.map((violation) => `- ${name} (seed ${tally.seed}), ${violation}`),
      ),
      section: { file: "reliability.md", name: "checker", text: tableOf(played) },
    };
  },
};

async function playRounds(kind: StoreKind, tally: Tally, save: () => void, say: (line: string) => void): Promise<void> {
  const program = [...serverFlags(), bundle];
  let arena: Arena | undefined;
  let broken = 0;
  try {
    while (tally.rounds < wantedRounds && broken < brokenMax) {
      const number = tally.rounds;
      try {
        arena ??= await startArena(kind, { program });
        const round = await playRound(arena, tally.seed, number);
        addRound(tally, round);
        const what = round.faults.map((fault) => `${fault.kind} (${fault.of})`).join(", ");
        say(`${kind}, ${tally.rounds} of ${wantedRounds}: ${what}; ${tally.violations.length} promises broken`);
      } catch (error) {
        // It did not go on, or did not come up again. The next round has servers of its own.
        broken++;
        tally.rounds++;
        tally.violations.push(`round ${number}: ${(error as Error).message.slice(0, 2000)}`);
        say(`${kind}, ${tally.rounds} of ${wantedRounds}: ${tally.violations.at(-1)}`);
        await arena?.[Symbol.asyncDispose]();
        arena = undefined;
      }
      save();
    }
  } finally {
    await arena?.[Symbol.asyncDispose]();
  }
}

function keep(tallies: Tallies): void {
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, `${JSON.stringify(tallies, null, 2)}\n`);
}

/** The figures for people: one table of all, and one of what went wrong how often. */
function tableOf(played: readonly { readonly name: string; readonly tally: Tally }[]): string {
  const row = (head: string, cell: (tally: Tally) => string | number) =>
    `| ${[head, ...played.map(({ tally }) => cell(tally))].join(" | ")} |`;
  const kinds = [...new Set(played.flatMap(({ tally }) => Object.keys(tally.faults)))];
  return [
    `| | ${played.map(({ name }) => name).join(" | ")} |`,
    `| --- |${played.map(() => " ---: |").join("")}`,
    row("rounds", ({ rounds }) => rounds),
    row("writes acknowledged", ({ acknowledged }) => acknowledged),
    row("writes refused, such as by optimistic locking", ({ refused }) => refused),
    row("writes whose end their client never learned", ({ unknown }) => unknown),
    row("reads", ({ reads }) => reads),
    row("changes that watchers saw", ({ watched }) => watched),
    ...kinds.map((kind) => row(kind, ({ faults }) => faults[kind] ?? "")),
    row("**promises broken**", ({ violations }) => `**${violations.length}**`),
  ].join("\n");
}
