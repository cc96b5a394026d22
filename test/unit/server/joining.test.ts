import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { describe, it, type TestContext } from "node:test";
import { encodeClusterConfig, fetchClusterConfig } from "../../../src/agent/bootstrap/cluster-config.ts";
import { obtainNodeCertificates } from "../../../src/agent/bootstrap/node-certificates.ts";
import { connectSupervisor, TrustError } from "../../../src/agent/bootstrap/supervisor-client.ts";
import type { Secret } from "../../../src/api/generated/core-v1.ts";
import { x509Authenticator } from "../../../src/apiserver/authentication/x509.ts";
import type { Client } from "../../../src/client/client.ts";
import { ioClock } from "../../../src/machinery/clock.ts";
import { silentLogger } from "../../../src/machinery/log.ts";
import { alreadyExists, notFound } from "../../../src/machinery/status.ts";
import { prepareCertificates } from "../../../src/server/certificates.ts";
import { createSupervisor } from "../../../src/server/supervisor.ts";
import { prepareTokens } from "../../../src/server/tokens.ts";
import { FakeClock } from "../../support/fake-clock.ts";
import { temporaryDirectory } from "../../support/temporary-directory.ts";

/** Holds the node password Secrets: all that the supervisor asks the API for. */
function secretsOnly(): Client {
  const stored = new Map<string, Secret>();
  const of = { group: "", resource: "secrets" };
  return {
    get: async (_type: unknown, name: string) => {
      const found = stored.get(name);
      if (!found) throw notFound(of, name);
      return found;
    },
    create: async (_type: unknown, secret: Secret) => {
      const name = secret.metadata.name!;
      if (stored.has(name)) throw alreadyExists(of, name);
      stored.set(name, secret);
      return secret;
    },
  } as unknown as Client;
}

async function startSupervisor(test: TestContext) {
  const directory = temporaryDirectory(test);
  // Nodes go by this name, whatever address a server is reached by.
  const certificates = await prepareCertificates(join(directory, "tls"), ["kubernetes"]);
  const tokens = prepareTokens(directory, certificates.serverCaBundle);
  const requests: { path: string; authorization: string | undefined }[] = [];
  const supervise = createSupervisor({
    serverCa: certificates.serverCa,
    clientCa: certificates.clientCa,
    tokens,
    authenticate: x509Authenticator({ clientAuthority: certificates.clientCa.certificate, clock: ioClock }),
    client: secretsOnly(),
    config: encodeClusterConfig({
      clusterCidr: "10.42.0.0/16",
      serviceCidr: "10.43.0.0/17",
      clusterDns: "10.43.0.10",
      clusterDomain: "cluster.local",
      flannelBackend: "vxlan",
      disableProxy: false,
      disableDns: false,
      httpsPort: 6443,
    }),
    apiServers: async () => ["127.0.0.1:6443"],
    ready: () => true,
    staticDirectory: directory,
    logger: silentLogger,
  });
  const server = createServer(
    {
      cert: certificates.serving.certificate,
      key: certificates.serving.key,
      ca: certificates.clientCa.certificate,
      requestCert: true,
      rejectUnauthorized: false,
    },
    (request, response) => {
      requests.push({ path: request.url ?? "", authorization: request.headers.authorization });
      if (!supervise(request, response)) response.writeHead(404).end();
    },
  );
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  test.after(() => server.close());
  return {
    directory,
    certificates,
    tokens,
    requests,
    url: `https://127.0.0.1:${(server.address() as AddressInfo).port}`,
  };
}

function context() {
  return { clock: ioClock, logger: silentLogger, signal: AbortSignal.timeout(120_000) };
}

describe("joining a cluster (K3s documentation, token)", () => {
  it("a token with another CA's hash sends nothing secret", async (test) => {
    const { url, requests, tokens } = await startSupervisor(test);
    const wrong = tokens.agent.replace(/^K10[0-9a-f]{64}/, `K10${"0".repeat(64)}`);
    await assert.rejects(
      connectSupervisor(url, wrong, context()),
      (error) => error instanceof TrustError && /CA hash does not match/.test(error.message),
    );
    assert.deepEqual(
      requests.filter(({ path, authorization }) => path !== "/cacerts" || authorization),
      [],
    );
  });

  it("a node gets its certificates, and the same ones again while they serve", async (test) => {
    const { url, tokens, directory } = await startSupervisor(test);
    const supervisor = await connectSupervisor(url, tokens.agent, context());
    const agent = join(directory, "agent");
    const node = { name: "node-1", password: "own-password" };
    const first = await obtainNodeCertificates(agent, supervisor, node, ["10.0.0.5"], ioClock);
    const client = new X509Certificate(first.client.certificate);
    assert.equal(client.subject, "CN=system:node:node-1\nO=system:nodes");
    assert.equal(client.checkPrivateKey((await import("node:crypto")).createPrivateKey(first.client.key)), true);
    const serving = new X509Certificate(first.serving.certificate);
    assert.ok(serving.checkIP("10.0.0.5") && serving.checkHost("node-1") && serving.checkIP("127.0.0.1"));
    assert.equal(statSync(join(agent, "client-kubelet.key")).mode & 0o777, 0o600);
    const days = (Date.parse(client.validTo) - Date.parse(client.validFrom)) / 86_400_000;
    assert.ok(days > 364 && days < 366, `valid for ${days} days`);
    const second = await obtainNodeCertificates(agent, supervisor, node, ["10.0.0.5"], ioClock);
    assert.equal(second.client.certificate, first.client.certificate);
  });

  it("a node that was off for a year gets new certificates with its token and password", async (test) => {
    const { url, tokens, directory } = await startSupervisor(test);
    const supervisor = await connectSupervisor(url, tokens.agent, context());
    const node = { name: "node-1", password: "own-password" };
    const agent = join(directory, "agent");
    const first = await obtainNodeCertificates(agent, supervisor, node, ["10.0.0.5"], ioClock);
    const later = new FakeClock(ioClock.now() + 400 * 86_400_000);
    const second = await obtainNodeCertificates(agent, supervisor, node, ["10.0.0.5"], later);
    assert.notEqual(second.client.certificate, first.client.certificate);
    assert.equal(second.client.key, first.client.key);
  });

  it("another node of the same name with another password is refused", async (test) => {
    const { url, tokens, directory } = await startSupervisor(test);
    const supervisor = await connectSupervisor(url, tokens.agent, context());
    await obtainNodeCertificates(
      join(directory, "a"),
      supervisor,
      { name: "twin", password: "one" },
      ["10.0.0.5"],
      ioClock,
    );
    await assert.rejects(
      obtainNodeCertificates(
        join(directory, "b"),
        supervisor,
        { name: "twin", password: "two" },
        ["10.0.0.6"],
        ioClock,
      ),
      /Node password rejected/,
    );
  });

  it("a wrong password is 401", async (test) => {
    const { url } = await startSupervisor(test);
    const supervisor = await connectSupervisor(url, "wrong", context());
    await assert.rejects(supervisor.get("/v1-k3s/config"), /401/);
  });

  it("settings arrive as they were given", async (test) => {
    const { url, tokens } = await startSupervisor(test);
    const supervisor = await connectSupervisor(url, tokens.agent, context());
    const config = await fetchClusterConfig(supervisor);
    assert.equal(config.serviceCidr, "10.43.0.0/17");
    assert.equal(config.clusterCidr, "10.42.0.0/16");
  });
});

describe("prepareCertificates", () => {
  it("keeps what serves, and makes the serving certificate anew, with its key, when a name is added", async (test) => {
    const directory = temporaryDirectory(test);
    const first = await prepareCertificates(directory, ["localhost"]);
    const same = await prepareCertificates(directory, ["localhost"]);
    assert.equal(same.serving.certificate, first.serving.certificate);
    const more = await prepareCertificates(directory, ["localhost", "10.9.8.7"]);
    assert.notEqual(more.serving.certificate, first.serving.certificate);
    assert.equal(more.serving.key, first.serving.key);
    assert.equal(more.admin.certificate, first.admin.certificate);
    assert.ok(new X509Certificate(more.serving.certificate).checkIP("10.9.8.7"));
  });

  it("follows the server's addresses: the one of today is in, the one of yesterday is not", async (test) => {
    const directory = temporaryDirectory(test);
    await prepareCertificates(directory, ["localhost", "10.0.0.2"]);
    const next = await prepareCertificates(directory, ["localhost", "10.0.0.3"]);
    const serving = new X509Certificate(next.serving.certificate);
    assert.ok(serving.checkIP("10.0.0.3"));
    assert.equal(serving.checkIP("10.0.0.2"), undefined);
  });

  it("renews all leaves of a server that was off for a year, with their keys, under the same authorities", async (test) => {
    const directory = temporaryDirectory(test);
    const dayMs = 24 * 60 * 60 * 1000;
    const clock = new FakeClock();
    const files = () =>
      new Map(
        readdirSync(directory)
          .filter((name) => name.endsWith(".crt") || name.endsWith(".key"))
          .map((name) => [name, readFileSync(join(directory, name), "utf8")]),
      );
    await prepareCertificates(directory, ["localhost"], clock);
    const made = files();
    await clock.advance(200 * dayMs);
    await prepareCertificates(directory, ["localhost"], clock);
    assert.deepEqual(files(), made, "with more than 120 days left nothing is renewed");

    await clock.advance(200 * dayMs);
    const later = await prepareCertificates(directory, ["localhost"], clock);
    const renewed = [...files()].filter(([name, text]) => made.get(name) !== text).map(([name]) => name);
    const leaves = [...made.keys()].filter((name) => /^(client|serving)-(?!ca).*\.crt$/.test(name));
    assert.deepEqual(renewed.sort(), leaves.sort());
    for (const { certificate } of [later.serving, later.admin, later.apiserver, later.authProxy]) {
      assert.ok(Date.parse(new X509Certificate(certificate).validTo) > clock.now() + 300 * dayMs);
    }
    assert.ok(new X509Certificate(later.serving.certificate).checkIssued(new X509Certificate(later.serverCaBundle)));
  });
});

describe("prepareTokens", () => {
  it("refuses another token than the data was made with, without naming either", (test) => {
    const directory = temporaryDirectory(test);
    prepareTokens(directory, "ca", "first-secret");
    assert.throws(
      () => prepareTokens(directory, "ca", "second-secret"),
      (error: Error) => {
        assert.doesNotMatch(error.message, /first-secret|second-secret/);
        return /not the one/.test(error.message);
      },
    );
  });

  it("files are readable by their owner only, and node-token leads to token", (test) => {
    const directory = temporaryDirectory(test);
    const tokens = prepareTokens(directory, "ca");
    assert.equal(statSync(join(directory, "token")).mode & 0o777, 0o600);
    assert.equal(readFileSync(join(directory, "node-token"), "utf8").trim(), tokens.server);
    assert.deepEqual(tokens.authenticate("node", "wrong"), undefined);
  });

  it("a full token stands for its password", (test) => {
    const directory = temporaryDirectory(test);
    writeFileSync(join(directory, "unrelated"), "");
    const tokens = prepareTokens(directory, "ca", `K10${"b".repeat(64)}::server:secret`);
    assert.deepEqual(tokens.authenticate("server", "secret"), { name: "server", groups: ["k3s:server"] });
  });
});
