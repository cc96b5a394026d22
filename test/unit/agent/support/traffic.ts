/**
 * Runs inside a network namespace and makes traffic: serves TCP and UDP, answering with its name and the address that
 * it saw, and asks others.
 */

import { createSocket, type Socket } from "node:dgram";
import { Resolver } from "node:dns/promises";
import { connect, createServer } from "node:net";

export type TrafficRequest =
  | { id: number; kind: "serve"; name: string; port: number }
  | { id: number; kind: "dns"; server: string; name: string; type: string }
  | { id: number; kind: "tcp"; host: string; port: number; timeoutMs: number }
  | { id: number; kind: "udp"; host: string; port: number; localPort?: number };

/** Nobody answers a datagram twice: whoever asked asks again. */
const udpTimeoutMs = 1000;
/** No test waits for this one: answers come, however late. */
const dnsTimeoutMs = 30_000;
/** UDP sockets stay open by local port, so that a flow goes on. */
const flows = new Map<number, Socket>();

process.on("message", async (request: TrafficRequest) => {
  try {
    process.send!({ id: request.id, result: await handle(request) });
  } catch (error) {
    process.send!({ id: request.id, error: (error as NodeJS.ErrnoException).code ?? String(error) });
  }
});

async function handle(request: TrafficRequest): Promise<string> {
  if (request.kind === "dns") return JSON.stringify(await askDns(request));
  if (request.kind === "serve") return serve(request.name, request.port);
  return request.kind === "tcp" ? askTcp(request) : askUdp(request);
}

async function askDns({ server, name, type }: { server: string; name: string; type: string }): Promise<unknown> {
  const resolver = new Resolver({ timeout: dnsTimeoutMs, tries: 1 });
  resolver.setServers([server]);
  return type === "PTR" ? resolver.reverse(name) : resolver.resolve(name, type);
}

async function serve(name: string, port: number): Promise<string> {
  const server = createServer((socket) => {
    socket.on("error", () => {});
    socket.end(`${name} ${socket.remoteAddress?.replace("::ffff:", "")}`);
  });
  await new Promise<void>((resolve) => server.listen(port, "0.0.0.0", resolve));
  const socket = createSocket("udp4");
  socket.on("message", (_, from) => socket.send(`${name} ${from.address}`, from.port, from.address));
  await new Promise<void>((resolve) => socket.bind(port, "0.0.0.0", resolve));
  return "serving";
}

function askTcp({ host, port, timeoutMs }: { host: string; port: number; timeoutMs: number }): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port });
    let text = "";
    socket.setTimeout(timeoutMs, () => socket.destroy(Object.assign(new Error("timeout"), { code: "ETIMEDOUT" })));
    socket.on("data", (chunk) => (text += chunk));
    socket.on("error", reject);
    socket.on("end", () => resolve(text));
  });
}

async function askUdp({
  host,
  port,
  localPort = 0,
}: {
  host: string;
  port: number;
  localPort?: number;
}): Promise<string> {
  let socket = flows.get(localPort);
  if (!socket) {
    socket = createSocket("udp4");
    await new Promise<void>((resolve) => socket!.bind(localPort, resolve));
    if (localPort) flows.set(localPort, socket);
  }
  const asked = socket;
  return new Promise((resolve, reject) => {
    const timer = setTimeout(
      () => settle(() => reject(Object.assign(new Error("timeout"), { code: "ETIMEDOUT" }))),
      udpTimeoutMs,
    );
    const settle = (then: () => void) => {
      clearTimeout(timer);
      asked.removeAllListeners();
      if (!localPort) asked.close();
      then();
    };
    asked.once("message", (data) => settle(() => resolve(String(data))));
    asked.once("error", (error) => settle(() => reject(error)));
    asked.send("?", port, host);
  });
}
