import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { describe, type TestContext, test } from "node:test";
import { encodeClusterConfig } from "../../../src/agent/bootstrap/cluster-config.ts";
import type { Client } from "../../../src/client/client.ts";
import { ioClock } from "../../../src/machinery/clock.ts";
import { silentLogger } from "../../../src/machinery/log.ts";
import { readBootstrapData } from "../../../src/server/bootstrap-data.ts";
import { prepareCertificates } from "../../../src/server/certificates.ts";
import { type JoinClusterOptions, joinCluster } from "../../../src/server/join-cluster.ts";
import { hashNodePassword } from "../../../src/server/node-passwords.ts";
import { createSupervisor } from "../../../src/server/supervisor.ts";
import { prepareTokens } from "../../../src/server/tokens.ts";
import { temporaryDirectory } from "../../support/temporary-directory.ts";

const settings = { "cluster-cidr": "10.42.0.0/16", "service-cidr": "10.43.0.0/16", "disable-network-policy": "false" };

/** A server that others can join, or not. */
async function startServer(
  t: TestContext,
  { embedded = true, agentToken = undefined as string | undefined, client = {} as Client } = {},
) {
  const directory = temporaryDirectory(t);
  const certificates = await prepareCertificates(join(directory, "tls"), ["kubernetes", "127.0.0.1"]);
  const tokens = prepareTokens(directory, certificates.serverCaBundle, undefined, agentToken);
  const supervise = createSupervisor({
    serverCa: certificates.serverCa,
    clientCa: certificates.clientCa,
    tokens,
    authenticate: async () => undefined,
    client,
    config: encodeClusterConfig({
      clusterCidr: "10.42.0.0/16",
      serviceCidr: "10.43.0.0/16",
      clusterDns: "10.43.0.10",
      clusterDomain: "cluster.local",
      flannelBackend: "vxlan",
      disableProxy: false,
      disableDns: false,
      httpsPort: 6443,
    }),
    apiServers: async () => ["127.0.0.1:6443"],
    ...(embedded ? { bootstrapData: () => readBootstrapData(directory) } : {}),
    ready: () => true,
    staticDirectory: directory,
    logger: silentLogger,
  });
  const paths: string[] = [];
  const server = createServer(
    { cert: certificates.serving.certificate, key: certificates.serving.key },
    (request, response) => {
      paths.push(request.url ?? "");
      if (!supervise(request, response)) response.writeHead(404).end();
    },
  );
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => new Promise((resolve) => server.close(resolve)));
  return { directory, tokens, certificates, paths, url: `https://127.0.0.1:${(server.address() as AddressInfo).port}` };
}

function joining(t: TestContext, server: string, token: string, more: Partial<JoinClusterOptions> = {}) {
  const directory = temporaryDirectory(t);
  const { signal } = new AbortController();
  const run = () =>
    joinCluster({
      server,
      token,
      agentToken: undefined,
      node: undefined,
      directory,
      settings,
      clock: ioClock,
      logger: silentLogger,
      signal,
      ...more,
    });
  return { directory, run };
}

describe("joining a server", () => {
  test("with the token it gets the cluster's authorities and keys", async (t) => {
    const first = await startServer(t);
    const { directory, run } = joining(t, first.url, first.tokens.server);
    await run();
    const { PasswdFile: _, ...theirs } = readBootstrapData(first.directory);
    assert.deepEqual(readBootstrapData(directory), theirs);
    const made = await prepareCertificates(join(directory, "tls"), ["second"]);
    assert.equal(made.serverCa.certificate, first.certificates.serverCa.certificate);
    assert.equal(made.serviceAccountKey, first.certificates.serviceAccountKey);
    await run();
  });

  test("agents' tokens open nothing, and nodes are not servers", async (t) => {
    const first = await startServer(t, { agentToken: "for-agents" });
    const { run, directory } = joining(t, first.url, first.tokens.agent, { agentToken: first.tokens.agent });
    await assert.rejects(run(), { name: "TrustError", message: /does not accept the token/ });
    assert.deepEqual(readBootstrapData(directory), {});
    const authorization = `Basic ${Buffer.from("node:for-agents").toString("base64")}`;
    const { request } = await import("node:https");
    const code = await new Promise((resolve) =>
      request(`${first.url}/v1-k3s/server-bootstrap`, { headers: { authorization }, rejectUnauthorized: false })
        .on("response", (response) => resolve(response.resume().statusCode))
        .end(),
    );
    assert.equal(code, 403);
  });

  test("the agents' token is used for what nodes are told", async (t) => {
    const first = await startServer(t, { agentToken: "for-agents" });
    await joining(t, first.url, first.tokens.server, { agentToken: "for-agents" }).run();
  });

  test("agents' tokens that differ are told as what they are: the servers' own opens nothing for nodes then", async (t) => {
    const mismatch = { name: "ConfigurationError", message: /mismatch between servers: --agent-token is another one/ };
    const having = await startServer(t, { agentToken: "for-agents" });
    await assert.rejects(joining(t, having.url, having.tokens.server).run(), mismatch);
    const without = await startServer(t);
    const other = joining(t, without.url, without.tokens.server, { agentToken: "for-agents" });
    await assert.rejects(other.run(), mismatch);
    await assert.rejects(joining(t, without.url, "wrong").run(), {
      name: "TrustError",
      message: /does not accept the token .*server\/token$/,
    });
  });

  test("another machine's name is refused before anything is taken over", async (t) => {
    const hash = Buffer.from(await hashNodePassword("another")).toString("base64");
    const secret = { metadata: { name: "taken.node-password.k3s" }, data: { hash } };
    const client = { get: async () => secret } as unknown as Client;
    const first = await startServer(t, { client });
    const named = (password: string) =>
      joining(t, first.url, first.tokens.server, { node: { name: "taken", password } });
    const other = named("mine");
    await assert.rejects(other.run(), {
      name: "ConfigurationError",
      message: /^Node password rejected, duplicate host/,
    });
    assert.deepEqual(readBootstrapData(other.directory), {});
    await named("another").run();
  });

  test("a critical setting that differs is told before anything secret is asked for", async (t) => {
    const first = await startServer(t);
    const other = { ...settings, "service-cidr": "10.99.0.0/16" };
    await assert.rejects(joining(t, first.url, first.tokens.server, { settings: other }).run(), {
      name: "ConfigurationError",
      message: /mismatch between servers: --service-cidr is "10\.43\.0\.0\/16" there and "10\.99\.0\.0\/16" here/,
    });
    assert.ok(!first.paths.includes("/v1-k3s/server-bootstrap"));
  });

  test("a token of another cluster sends nothing", async (t) => {
    const first = await startServer(t);
    const token = `K10${"0".repeat(64)}::server:password`;
    await assert.rejects(joining(t, first.url, token).run(), { name: "TrustError" });
    assert.deepEqual([...new Set(first.paths)], ["/cacerts"]);
  });

  test("a server without embedded etcd cannot be joined, and says what to do", async (t) => {
    const first = await startServer(t, { embedded: false });
    await assert.rejects(joining(t, first.url, first.tokens.server).run(), /answered 400 .*datastore/);
  });

  test("a server of another cluster does not become one of this by accident", async (t) => {
    const first = await startServer(t);
    const { directory, run } = joining(t, first.url, first.tokens.server);
    const own = await prepareCertificates(join(directory, "tls"), ["second"]);
    const file = join(directory, "tls", "server-ca.crt");
    const { utimesSync } = await import("node:fs");
    const later = new Date(Date.now() + 60_000);
    writeFileSync(file, own.serverCa.certificate);
    utimesSync(file, later, later);
    await assert.rejects(run(), /server-ca\.crt.* newer than datastore/);
    assert.equal(readFileSync(file, "utf8"), own.serverCa.certificate);
  });
});
