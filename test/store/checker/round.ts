import assert from "node:assert/strict";
import { Random } from "../../fuzz/random.ts";
import { eventually } from "../../support/eventually.ts";
import type { Arena } from "./arena.ts";
import type { Fault } from "./fault.ts";
import type { History } from "./history.ts";
import { verify } from "./verify.ts";
import { isOwn, Workload } from "./workload.ts";

/** What happened in a round, and what was broken by it: a sentence each, none when all was kept. */
export interface Round {
  readonly faults: readonly Fault[];
  readonly history: History;
  readonly problems: readonly string[];
}

/** How soon writes get through again when nothing is wrong any more. */
const patienceMs = 120_000;
const writesBetween = 40;

/**
 * Clients work; something goes wrong under them, sometimes two things at once, shortly or so long that time-outs pass; it is
 * mended, and they work on. The same seed and number make the same choices.
 * @throws when writes do not get through again
 */
export async function playRound(arena: Arena, seed: number, number: number): Promise<Round> {
  const random = Random.of(seed, number);
  const faults = pickFaults(arena.faults, number, random);
  const namespace = `round-${number}`;
  const workload = new Workload({ targets: arena.targets, namespace, seed: seed + number });
  try {
    await workload.start();
    const goesOn = async () => {
      const before = workload.acknowledged;
      await eventually(() => {
        const now = workload.acknowledged - before;
        assert.ok(now >= writesBetween, `${now} of ${writesBetween} writes got through in ${patienceMs / 1000} s`);
      }, patienceMs);
    };
    await goesOn();
    for (const fault of faults) await fault.inject();
    // A while in which clients meet it; the others' writes, where there are any, go on.
    const whileMs = random.chance(0.1) ? 5000 + random.below(15_000) : random.below(3000);
    await new Promise((resolve) => setTimeout(resolve, whileMs));
    for (const fault of faults.toSorted((a, b) => Number(b.healFirst) - Number(a.healFirst))) await fault.heal();
    await goesOn();
    const history = await workload.finish(async (revision) =>
      (await arena.changesAfter(namespace, revision)).filter(isOwn),
    );
    return { faults, history, problems: verify(history) };
  } finally {
    await workload.stop();
  }
}

/** One fault, or two of different things. The kinds take turns, so that a few rounds meet each of them. */
function pickFaults(all: readonly Fault[], number: number, random: Random): readonly Fault[] {
  const kinds = kindsOf(all);
  const first = pickOfKind(all, kinds[number % kinds.length]!, random);
  const others = all.filter(({ of }) => of !== first.of);
  if (others.length === 0 || !random.chance(0.3)) return [first];
  return [first, pickOfKind(others, random.pick(kindsOf(others)), random)];
}

const kindsOf = (faults: readonly Fault[]) => [...new Set(faults.map(({ kind }) => kind))];

function pickOfKind(all: readonly Fault[], wanted: string, random: Random): Fault {
  return random.pick(all.filter(({ kind }) => kind === wanted));
}
