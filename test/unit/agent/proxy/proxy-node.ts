/** Runs startProxy inside a node's network namespace, on the Services and EndpointSlices that the test sends. */

import type { HostPort } from "../../../../src/agent/proxy/host-port.ts";
import { type ServiceProxy, startProxy } from "../../../../src/agent/proxy/proxy.ts";
import { type Service, services } from "../../../../src/api/generated/core-v1.ts";
import { type EndpointSlice, endpointSlices } from "../../../../src/api/generated/discovery-v1.ts";
import { ioClock } from "../../../../src/machinery/clock.ts";
import type { Logger, LogMethod } from "../../../../src/machinery/log.ts";
import { FakeClient } from "../support/fake-client.ts";

export interface ProxyMessage {
  start?: { clusterCidr: string; serviceCidr: string };
  service?: Service;
  slice?: EndpointSlice;
  remove?: string;
  hostPorts?: HostPort[];
}

const fake = new FakeClient();
const say: LogMethod = (...args: unknown[]) => process.send!({ line: args.at(-1), fields: args[0] });
const logger: Logger = { debug: () => {}, info: say, warn: say, error: say, fatal: say, child: () => logger };
let proxy: ServiceProxy | undefined;

process.on("message", async ({ start, service, slice, remove, hostPorts }: ProxyMessage) => {
  if (service) fake.put(services, service);
  if (slice) fake.put(endpointSlices, slice);
  if (remove) fake.remove(services, remove);
  if (hostPorts) proxy!.setHostPorts(hostPorts);
  if (start) {
    const { signal } = new AbortController();
    proxy = await startProxy({ ...start, client: fake.client, nodeName: "node", clock: ioClock, logger, signal });
    process.send!({ started: true });
  }
});
