import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import type { IncomingMessage } from "node:http";
import { request } from "node:https";
import { after, before, describe, test } from "node:test";
import type Docker from "dockerode";
import { labels, loadBalancerName, networkName, nodeName } from "../../src/cluster/cluster-names.ts";
import { connectDocker } from "../../src/cluster/docker.ts";
import { freePort } from "../../src/cluster/free-port.ts";
import { removeCluster } from "../../src/cluster/inventory.ts";
import { configureLoadBalancer, updateLoadBalancer } from "../../src/cluster/load-balancer.ts";
import { loadBalancerOptions } from "../../src/cluster/load-balancer-spec.ts";
import { agentImage, loadBalancerImage } from "../../src/commands/images.ts";
import { run } from "../../tools/run.ts";
import { addressOf } from "../support/cluster-state.ts";
import { eventually } from "../support/eventually.ts";
import { makeCertificate } from "../unit/apiserver/certificates.ts";

/**
 * The load balancer's container before servers of which all is known: each tells its name, says that it is ready when it
 * is asked with the token, and can hold a reply open.
 */

const program = `
const { createServer } = require("node:https");
const name = require("node:os").hostname();
let ready = true;
createServer({ cert: process.env.CERTIFICATE, key: process.env.KEY }, (request, response) => {
  if (request.url === "/v1-k3s/readyz") {
    const expected = "Basic " + Buffer.from("node:secret").toString("base64");
    return response.writeHead(request.headers.authorization !== expected ? 403 : ready ? 200 : 503).end();
  }
  if (request.url === "/ready" || request.url === "/unready") ready = request.url === "/ready";
  if (request.url !== "/hold") return response.end(name);
  response.write(name);
  const timer = setInterval(() => response.write("."), 100);
  response.on("close", () => clearInterval(timer));
}).listen(6443);
`;

describe("the load balancer before its servers", () => {
  const cluster = `lb-${randomBytes(4).toString("hex")}`;
  const server = (index: number) => nodeName(cluster, "server", index);
  let docker: Docker;
  let port: number;
  let environment: string[];

  before(async () => {
    docker = await connectDocker();
    port = await freePort("127.0.0.1");
    const { certificate, key } = await makeCertificate({ subject: "CN=server", usage: "server" });
    environment = [`CERTIFICATE=${certificate}`, `KEY=${key}`];
    await docker.createNetwork({ Name: networkName(cluster), Labels: { [labels.cluster]: cluster } });
    const spec = { cluster, network: networkName(cluster), image: loadBalancerImage, token: "secret", ports: [] };
    const balancer = await docker.createContainer(loadBalancerOptions({ ...spec, api: { host: "127.0.0.1", port } }));
    await configureLoadBalancer(docker, loadBalancerName(cluster), { servers: [server(0), server(1)], ports: [] });
    await balancer.start();
    await addServer(0);
    await addServer(1);
    await reached(server(0), server(1));
  });
  after(() => removeCluster(docker, cluster));

  async function addServer(index: number): Promise<void> {
    const name = server(index);
    const container = await docker.createContainer({
      name,
      Hostname: name,
      Image: agentImage,
      Entrypoint: ["node", "-e", program],
      Cmd: [],
      Env: environment,
      Labels: { [labels.cluster]: cluster, [labels.role]: "server" },
      HostConfig: { NetworkMode: networkName(cluster) },
    });
    await container.start();
  }

  /** One request on a connection of its own, through the load balancer. */
  function open(path: string): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      const sent = request({ host: "127.0.0.1", port, path, agent: false, rejectUnauthorized: false });
      sent.setTimeout(5_000, () => sent.destroy(new Error(`${path} was not answered in 5 s`)));
      sent.on("response", (response) => {
        sent.setTimeout(0);
        resolve(response);
      });
      sent.on("error", reject);
      sent.end();
    });
  }

  async function ask(path = "/"): Promise<string> {
    const chunks: Buffer[] = [];
    for await (const chunk of await open(path)) chunks.push(chunk as Buffer);
    return Buffer.concat(chunks).toString();
  }

  /** Who answers, in as many requests as show each of the servers several times. */
  async function whoAnswers(): Promise<string[]> {
    const names = new Set<string>();
    for (let round = 0; round < 12; round++) names.add(await ask());
    return [...names].sort();
  }

  /** Waits until these servers answer, and no other. */
  function reached(...servers: string[]): Promise<void> {
    return eventually(async () => assert.deepEqual(await whoAnswers(), servers), 60_000);
  }

  /** A reply that one server holds open. */
  async function hold(name: string) {
    const response = await eventually(async () => {
      const opened = await open("/hold");
      const first = await new Promise<string>((resolve) => opened.once("data", (chunk) => resolve(String(chunk))));
      if (first.startsWith(name)) return opened;
      opened.destroy();
      throw new Error(`${first} answered, not ${name}`);
    }, 60_000);
    let ticks = 0;
    let ended = false;
    response.on("data", () => ticks++);
    response.on("error", () => {});
    response.on("close", () => {
      ended = true;
    });
    return {
      ends: () => eventually(() => assert.ok(ended, `the connection to ${name} is still open`), 60_000),
      async goesOn() {
        const before = ticks;
        await eventually(() => assert.ok(ticks >= before + 3), 60_000);
        assert.equal(ended, false);
      },
      drop: () => response.destroy(),
    };
  }

  test("one that is not ready gets no connections", async () => {
    const held = await hold(server(0));
    while ((await ask("/unready")) !== server(1));
    await reached(server(0));
    await held.goesOn();
    held.drop();
    await run("docker", [
      ...["exec", "-e", "NODE_TLS_REJECT_UNAUTHORIZED=0", server(1), "node", "-e"],
      'fetch("https://127.0.0.1:6443/ready").then((response) => response.text())',
    ]);
    await reached(server(0), server(1));
  });

  test("a killed server's connections end, every request is answered by another, and its new address is found", async () => {
    const held = await hold(server(1));
    const old = await addressOf(server(1));
    await run("docker", ["kill", server(1)]);
    await held.ends();
    assert.deepEqual(await whoAnswers(), [server(0)]);
    const placeholder = `${cluster}-placeholder`;
    const made = await docker.createContainer({
      name: placeholder,
      Image: agentImage,
      Entrypoint: ["node", "-e", "setInterval(() => {}, 1e6)"],
      Cmd: [],
      Labels: { [labels.cluster]: cluster },
      HostConfig: { NetworkMode: networkName(cluster) },
    });
    await made.start();
    await run("docker", ["start", server(1)]);
    assert.notEqual(await addressOf(server(1)), old);
    await reached(server(0), server(1));
    await made.remove({ force: true });
  });

  test("a server that cannot be reached loses its connections, though nobody closed them", async () => {
    const held = await hold(server(1));
    await run("docker", ["network", "disconnect", networkName(cluster), server(1)]);
    await held.ends();
    await reached(server(0));
    await run("docker", ["network", "connect", networkName(cluster), server(1)]);
    await reached(server(0), server(1));
  });

  test("a server that hangs gets nothing new, and goes on where it was", async () => {
    const held = await hold(server(1));
    await run("docker", ["pause", server(1)]);
    try {
      await reached(server(0));
    } finally {
      await run("docker", ["unpause", server(1)]);
    }
    await held.goesOn();
    held.drop();
    await reached(server(0), server(1));
  });

  test("servers come and go, and connections to the others go on", async () => {
    const held = await hold(server(0));
    const leaving = await hold(server(1));
    await addServer(2);
    await updateLoadBalancer(docker, cluster);
    await reached(server(0), server(1), server(2));
    await held.goesOn();
    await leaving.goesOn();
    await updateLoadBalancer(docker, cluster, server(1));
    await reached(server(0), server(2));
    await leaving.goesOn();
    await run("docker", ["rm", "-f", server(1)]);
    await leaving.ends();
    await held.goesOn();
    held.drop();
  });
});
