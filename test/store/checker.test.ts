/**
 * Servers on a real database while it and they are killed, paused and cut off: nothing acknowledged is lost, nothing is
 * overwritten unseen, every watcher sees every change once and in order, and reads are never older than promised.
 *
 * CHECKER_ROUNDS sets how often (default 10); CHECKER_SEED repeats the choices of a run.
 */
import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { test } from "node:test";
import { Random } from "../fuzz/random.ts";
import type { DatabaseKind } from "../support/database.ts";
import { eventually } from "../support/eventually.ts";
import { startArena } from "./checker/arena.ts";
import { verify } from "./checker/verify.ts";
import { isOwn, Workload } from "./checker/workload.ts";

const rounds = Number(process.env["CHECKER_ROUNDS"] ?? 10);
const seed = Number(process.env["CHECKER_SEED"] ?? randomInt(2 ** 31));
const kinds = (process.env["CHECKER_STORES"] ?? "etcd,postgres,mariadb").split(",") as DatabaseKind[];

for (const kind of kinds) {
  test(`two servers on ${kind} keep what they promise through ${rounds} faults (seed ${seed})`, async (t) => {
    await using arena = await startArena(kind, 2);
    const random = new Random(seed);
    for (let round = 0; round < rounds; round++) {
      const fault = random.pick(arena.faults);
      const namespace = `round-${round}`;
      const workload = new Workload({ targets: arena.targets, namespace, seed: seed + round });
      await workload.start();
      const goesOn = async (count: number) => {
        const before = workload.acknowledged;
        await eventually(() => assert.ok(workload.acknowledged >= before + count, "no write gets through"), 120_000);
      };
      await goesOn(40);
      await fault.inject();
      // A while in which clients meet it; the others' writes, where there are any, go on.
      await new Promise((resolve) => setTimeout(resolve, random.below(3000)));
      await fault.heal();
      await goesOn(40);
      const history = await workload.finish(async (revision) =>
        (await arena.changesAfter(namespace, revision)).filter(isOwn),
      );
      const problems = verify(history);
      assert.deepEqual(problems, [], `round ${round}: ${fault.name}`);
      t.diagnostic(`${fault.name}: ${history.changes.length} changes, ${history.reads.length} reads`);
    }
  });
}
