/** Writes until it is killed and prints each write once it is acknowledged; run by sqlite-store.test.ts. */
import { writeSync } from "node:fs";
import { clusterClock } from "../../../../src/machinery/clock.ts";
import { silentLogger } from "../../../../src/machinery/log.ts";
import { openSqliteStore } from "../../../../src/store/sqlite/sqlite-store.ts";

const [path, round] = process.argv.slice(2);
const store = await openSqliteStore({ path: path!, logger: silentLogger, clock: clusterClock });
async function write(lane: number): Promise<never> {
  for (let index = 0; ; index++) {
    const key = `/killed/${round}/${lane}/${index}`;
    const result = await store.create(key, Buffer.alloc(700, 120));
    if (result.ok) writeSync(1, `${key} ${result.revision}\n`);
  }
}
await Promise.all(Array.from({ length: 8 }, (_, lane) => write(lane)));
