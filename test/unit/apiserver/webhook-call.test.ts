import assert from "node:assert/strict";
import { connect, createServer } from "node:net";
import { type TestContext, test } from "node:test";
import { type Service, services } from "../../../src/api/generated/core-v1.ts";
import { type EndpointSlice, endpointSlices } from "../../../src/api/generated/discovery-v1.ts";
import type { NodeDialer } from "../../../src/apiserver/request.ts";
import { WebhookCaller } from "../../../src/apiserver/webhook-call/webhook-caller.ts";
import { ioClock } from "../../../src/machinery/clock.ts";
import { WebhookServer } from "../../support/webhook-server.ts";
import { MemoryClient } from "./memory-client.ts";

const caBundle = (server: WebhookServer) => server.caBundle;

async function start(t: TestContext, dnsNames?: readonly string[]) {
  const server = await WebhookServer.start((body) => ({ got: body }), dnsNames);
  const stop = new AbortController();
  const dialled: string[][] = [];
  const client = new MemoryClient();
  const dialNode: NodeDialer = async (node, target) => {
    dialled.push([node, target]);
    return connect({ host: "127.0.0.1", port: server.port });
  };
  const caller = new WebhookCaller({ client, dialNode, ioClock }, stop.signal);
  t.after(async () => {
    stop.abort(new Error("the test is over"));
    await server.stop();
  });
  return { server, caller, client, dialled };
}

const service = { name: "hook", namespace: "default", path: "/judge", port: 8443 };

function putService(client: MemoryClient, ready: boolean): void {
  client.put(services, {
    metadata: { name: "hook", namespace: "default" },
    spec: { ports: [{ name: "https", port: 8443 }] },
  } as Service);
  client.put(endpointSlices, {
    metadata: { name: "hook-1", namespace: "default", labels: { "kubernetes.io/service-name": "hook" } },
    addressType: "IPv4",
    ports: [{ name: "https", port: 9443 }],
    endpoints: [{ addresses: ["10.42.1.7"], nodeName: "one", conditions: { ready } }],
  } as EndpointSlice);
}

test("a webhook of a Service is reached at an endpoint, and known by the Service's name", async (t) => {
  const { server, caller, client, dialled } = await start(t, ["hook.default.svc"]);
  putService(client, true);
  assert.deepEqual(await caller.post({ service, caBundle: caBundle(server) }, { a: 1n }, 10_000), { got: { a: 1 } });
  await caller.post({ service, caBundle: caBundle(server) }, {}, 10_000);
  assert.deepEqual(dialled, [["one", "10.42.1.7:9443"]], "the connection is kept");
});

test("calls at once have connections of their own, and every body comes back", async (t) => {
  const { server, caller } = await start(t);
  const config = server.at("/");
  const bodies = Array.from({ length: 20 }, (_, n) => ({ n }));
  const answers = await Promise.all(bodies.map((body) => caller.post(config, body, 10_000)));
  assert.deepEqual(
    answers,
    bodies.map((got) => ({ got })),
  );
});

test("a bundle may hold the webhook's own certificate in place of its authority's", async (t) => {
  const { server, caller } = await start(t);
  const own = { url: server.url, caBundle: Buffer.from(server.certificate).toString("base64") };
  assert.deepEqual(await caller.post(own, {}, 10_000), { got: {} });
});

test("why a webhook of a Service is not reached is said as Kubernetes does", async (t) => {
  const { server, caller, client } = await start(t, ["other.default.svc"]);
  const post = () => caller.post({ service, caBundle: caBundle(server) }, {}, 10_000);
  const url = 'Post "https://hook.default.svc:8443/judge?timeout=10s": ';
  await assert.rejects(post(), { message: `${url}service "hook" not found` });
  putService(client, false);
  await assert.rejects(post(), { message: `${url}no endpoints available for service "hook"` });
  putService(client, true);
  await assert.rejects(post(), {
    message: `${url}tls: failed to verify certificate: x509: certificate is valid for other.default.svc, not hook.default.svc`,
  });
});

test("why a URL is not reached is said as Kubernetes does", async (t) => {
  const { server, caller } = await start(t);
  const at = (port: number) => ({ url: `https://localhost:${port}/x`, caBundle: caBundle(server) });
  const plain = createServer((socket) => {
    socket.on("error", () => {});
    socket.resume().end("HTTP/1.1 400 Bad Request\r\n\r\n");
  });
  await new Promise<void>((resolve) => plain.listen(0, "127.0.0.1", resolve));
  const { port } = plain.address() as { port: number };
  await assert.rejects(caller.post(at(port), {}, 10_000), {
    message: `Post "https://localhost:${port}/x?timeout=10s": http: server gave HTTP response to HTTPS client`,
  });
  await new Promise((resolve) => plain.close(resolve));
  // Of the ports that no system gives away: nobody listens there, while the one above may be another's by now.
  await assert.rejects(caller.post(at(1), {}, 10_000), /dial tcp \S+: connect: connection refused$/);
  await assert.rejects(caller.post({ url: server.url }, {}, 10_000), /x509: certificate signed by unknown authority$/);
  const unreadable = { url: server.url, caBundle: Buffer.from("nonsense").toString("base64") };
  await assert.rejects(caller.post(unreadable, {}, 10_000), /unable to parse bytes as PEM block$/);
  await assert.rejects(caller.post({}, {}, 10_000), /webhook configuration must have either service or URL$/);
});

test("a webhook that does not answer is given up at its deadline", async (t) => {
  const { server, caller } = await start(t);
  server.handler = () => new Promise(() => {});
  await assert.rejects(caller.post(server.at("/"), {}, 1000), /\?timeout=1s": context deadline exceeded$/);
  const silent = createServer((socket) => void socket.on("error", () => {}).resume());
  await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
  t.after(() => silent.close());
  const { port } = silent.address() as { port: number };
  const url = `https://localhost:${port}`;
  await assert.rejects(caller.post({ url }, {}, 1000), /context deadline exceeded$/, "nor one that does not greet");
});
