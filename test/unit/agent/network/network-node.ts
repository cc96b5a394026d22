/** One node in its own network namespace: runs startNetwork on Nodes that the test sends, and reports what happens. */

import { type NetworkOptions, startNetwork } from "../../../../src/agent/network/network.ts";
import { type Node, nodes } from "../../../../src/api/generated/core-v1.ts";
import { ioClock } from "../../../../src/machinery/clock.ts";
import type { Logger, LogMethod } from "../../../../src/machinery/log.ts";
import { FakeClient } from "../support/fake-client.ts";

const fake = new FakeClient();
fake.onPatch = (_, name, body) => process.send!({ patched: { name, body } });
const say: LogMethod = (...args: unknown[]) =>
  process.send!({ line: args.at(-1), fields: args.length > 1 ? args[0] : {} });
const logger: Logger = { debug: () => {}, info: say, warn: say, error: say, fatal: say, child: () => logger };

process.on("message", (message: { start?: NetworkOptions; put?: Node; remove?: string }) => {
  if (message.put) fake.put(nodes, message.put);
  if (message.remove) fake.remove(nodes, message.remove);
  if (message.start) {
    const { signal } = new AbortController();
    startNetwork({ ...message.start, client: fake.client, clock: ioClock, logger, signal }).then(
      (network) => process.send!({ started: network ?? null }),
      (error) => process.send!({ failed: error.message }),
    );
  }
});
