/** Runs startDns inside a node's network namespace, on the objects that the test sends. */
import { createSocket } from "node:dgram";
import packet from "dns-packet";
import { startDns } from "../../../../src/agent/dns/dns.ts";
import { type Node, nodes, type Service, services } from "../../../../src/api/generated/core-v1.ts";
import { type EndpointSlice, endpointSlices } from "../../../../src/api/generated/discovery-v1.ts";
import type { Client, WatchOptions } from "../../../../src/client/client.ts";
import { ioClock } from "../../../../src/machinery/clock.ts";
import { silentLogger } from "../../../../src/machinery/log.ts";
import type { ResourceType } from "../../../../src/machinery/object.ts";
import { FakeClient } from "../support/fake-client.ts";

export interface DnsMessage {
  start?: true;
  /** Lets the API server answer, which it does not before. */
  open?: true;
  service?: Service;
  slice?: EndpointSlice;
  node?: Node;
}

const fake = new FakeClient();
let open = () => {};
const opened = new Promise<void>((resolve) => {
  open = resolve;
});
// An API server that is slow to come up.
const client = {
  async *watch(type: ResourceType, options: WatchOptions) {
    await opened;
    yield* fake.watch(type, options);
  },
} as unknown as Client;

/** The node's own name server knows one name. */
const upstream = createSocket("udp4");
upstream.on("message", (bytes, from) => {
  const { id, questions } = packet.decode(bytes);
  const known = questions![0]!.name === "www.example.org";
  const answer = packet.encode({
    type: "response",
    ...(id === undefined ? {} : { id }),
    flags: packet.RECURSION_AVAILABLE | (known ? 0 : 3),
    questions: questions!,
    answers: known ? [{ name: "www.example.org", type: "A", ttl: 60, data: "192.0.2.80" }] : [],
  });
  upstream.send(answer, from.port, from.address);
});
// A second server of the same node finds it taken; it asks nothing.
upstream.on("error", () => {});
upstream.bind(53, "127.0.0.1");

process.on("message", async (message: DnsMessage) => {
  if (message.service) fake.put(services, message.service);
  if (message.slice) fake.put(endpointSlices, message.slice);
  if (message.node) fake.put(nodes, message.node);
  if (message.open) open();
  if (message.start) {
    const { signal } = new AbortController();
    const cidrs = { serviceCidr: "10.43.0.0/16", clusterCidr: "10.42.0.0/16" };
    const context = { client, clock: ioClock, logger: silentLogger, signal };
    try {
      await startDns({
        ...context,
        ...cidrs,
        bindAddress: "10.43.0.10",
        clusterDomain: "cluster.local",
        upstreams: ["127.0.0.1"],
      });
      process.send!({ started: true });
    } catch (error) {
      process.send!({ failed: (error as Error).message });
    }
  }
});
