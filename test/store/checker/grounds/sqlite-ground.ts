import { join } from "node:path";
import { changesIn } from "./changes-in.ts";
import type { Ground } from "./ground.ts";

/** One server with its own file: nobody else can be asked, and nobody else may open it. */
export const sqliteGround: Ground = {
  servers: 1,
  settings: () => ({ args: [], env: {} }),
  faults: () => [],
  readAlone: true,
  changesAfter: (namespace, revision, [server]) =>
    changesIn(`sqlite://${join(server!.directory, "data/server/db/state.db")}`, {}, namespace, revision),
  [Symbol.asyncDispose]: () => Promise.resolve(),
};
