import { measureIdleWatchers } from "./api/idle-watchers.ts";
import { measureLists } from "./api/lists.ts";
import { startLoadProcess } from "./api/load-process.ts";
import { measureRequests } from "./api/requests.ts";
import { serverFlags } from "./api/servers.ts";
import { measureWatches } from "./api/watches.ts";
import type { Measurement } from "./measurement.ts";

/**
 * How fast the API answers, over TLS on loopback with client certificates, RBAC and a durable store, beside a bare Node
 * https server. Requests come from a process of its own; both servers get their turns in rounds.
 */
export const api: Measurement = {
  name: "api",
  needs: ["bundle"],
  async run(say) {
    using load = startLoadProcess();
    using writer = startLoadProcess();
    const parts = [
      await measureRequests(load, say),
      await measureLists(load, say),
      await measureWatches(load, writer, say),
      await measureIdleWatchers(load, say),
    ];
    return {
      figures: parts.flatMap(({ figures }) => figures),
      notes: [
        `The server is the bundle, started with Node's flags ${serverFlags().join(" ")}.`,
        "The bare server parses each body and inserts it into SQLite (WAL, synchronous=FULL) in a transaction of its own.",
        ...parts.flatMap(({ notes = [] }) => notes),
      ],
    };
  },
};
