import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { test } from "node:test";
import { startArena } from "./arena.ts";
import type { StoreKind } from "./grounds/prepare-ground.ts";
import { playRound } from "./round.ts";

/**
 * Servers on a real store while it and they are killed, paused and cut off: nothing acknowledged is lost, nothing is
 * overwritten unseen, every watcher sees every change once and in order, and reads are never older than promised.
 *
 * CHECKER_ROUNDS sets how often (default 10); CHECKER_SEED repeats the choices of a run. `npm run bench -- checker` plays
 * 200 rounds.
 */
export function checkStore(kind: StoreKind): void {
  const rounds = Number(process.env["CHECKER_ROUNDS"] ?? 10);
  const seed = Number(process.env["CHECKER_SEED"] ?? randomInt(2 ** 31));
  test(`servers on ${kind} keep what they promise through ${rounds} rounds of faults (seed ${seed})`, async (t) => {
    await using arena = await startArena(kind);
    for (let number = 0; number < rounds; number++) {
      const { faults, history, problems } = await playRound(arena, seed, number);
      const what = faults.map((fault) => `${fault.kind} (${fault.of})`).join(", ");
      assert.deepEqual(problems, [], `round ${number}: ${what}`);
      t.diagnostic(`${what}: ${history.changes.length} changes, ${history.reads.length} reads`);
    }
  });
}
