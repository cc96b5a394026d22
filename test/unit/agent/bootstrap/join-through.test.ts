import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:https";
import { type AddressInfo, createServer as createTcpServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it, type TestContext } from "node:test";
import { joinThrough, TrustError } from "../../../../src/agent/bootstrap/supervisor-client.ts";
import { caHash } from "../../../../src/agent/bootstrap/token.ts";
import { type Clock, ioClock } from "../../../../src/machinery/clock.ts";
import { ConfigurationError } from "../../../../src/machinery/configuration-error.ts";
import { silentLogger } from "../../../../src/machinery/log.ts";
import { prepareCertificates, type ServerCertificates } from "../../../../src/server/certificates.ts";

describe("joining by whichever server answers", () => {
  let directory: string;
  let own: ServerCertificates;
  let foreign: ServerCertificates;
  let token: string;
  before(async () => {
    directory = mkdtempSync(join(tmpdir(), "k3ts-test-"));
    own = await prepareCertificates(join(directory, "own"), ["kubernetes"]);
    foreign = await prepareCertificates(join(directory, "foreign"), ["kubernetes"]);
    token = `K10${caHash(own.serverCa.certificate)}::node:secret`;
  });
  after(() => rmSync(directory, { recursive: true, force: true }));

  /** A server with these certificates, which says its name and counts who spoke to it with a password. */
  async function startServer(t: TestContext, name: string, certificates: ServerCertificates, port = 0) {
    const passwords: string[] = [];
    const { certificate: cert, key } = certificates.serving;
    const server = createServer({ cert, key }, (request, response) => {
      if (request.headers.authorization) passwords.push(request.headers.authorization);
      response.end(request.url === "/cacerts" ? certificates.serverCa.certificate : name);
    });
    server.listen(port, "127.0.0.1");
    await once(server, "listening");
    t.after(() => server.close());
    return { url: `https://127.0.0.1:${(server.address() as AddressInfo).port}`, passwords };
  }

  async function deadUrl(): Promise<string> {
    const server = createTcpServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    const url = `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
    server.close();
    await once(server, "close");
    return url;
  }

  /** The name of the server that was joined. */
  const joined = (urls: string[]) =>
    joinThrough(
      urls,
      token,
      { clock: ioClock, logger: silentLogger, signal: AbortSignal.timeout(60_000) },
      async (supervisor) => String(await supervisor.get("/v1-k3s/config")),
    );

  it("takes the first that is there", async (t) => {
    const [a, b] = [await startServer(t, "a", own), await startServer(t, "b", own)];
    assert.equal(await joined([a.url, b.url]), "a");
    assert.equal(await joined([await deadUrl(), b.url]), "b");
  });

  it("passes over a remembered address that is another cluster's by now, and tells it nothing", async (t) => {
    const [stranger, b] = [await startServer(t, "stranger", foreign), await startServer(t, "b", own)];
    assert.equal(await joined([await deadUrl(), stranger.url, b.url]), "b");
    assert.deepEqual(stranger.passwords, []);
  });

  it("ends where the server that it was told to join is another cluster's", async (t) => {
    const [stranger, b] = [await startServer(t, "stranger", foreign), await startServer(t, "b", own)];
    await assert.rejects(joined([stranger.url, b.url]), TrustError);
    assert.deepEqual([...stranger.passwords, ...b.passwords], []);
  });

  it("begins again when a server fails half-way, and ends when that is of no use", async (t) => {
    const [a, b] = [await startServer(t, "a", own), await startServer(t, "b", own)];
    const context = { clock: ioClock, logger: silentLogger, signal: AbortSignal.timeout(60_000) };
    const tried: string[] = [];
    const result = await joinThrough([a.url, b.url], token, context, async ({ url }) => {
      tried.push(`${url.origin}`);
      if (tried.length < 4) throw new Error("the server was stopped");
      return "done";
    });
    assert.equal(result, "done");
    assert.deepEqual(tried, [a.url, b.url, a.url, b.url]);
    const refuse = async () => {
      throw new ConfigurationError("Node password rejected");
    };
    await assert.rejects(joinThrough([await deadUrl(), b.url], token, context, refuse), /Node password rejected/);
  });

  it("waits for servers that are not there yet, longer and longer, and says so once a server", async () => {
    const urls = [await deadUrl(), await deadUrl()];
    const lines: string[] = [];
    const logger = { ...silentLogger, info: (fields: object | string) => void lines.push(JSON.stringify(fields)) };
    const stop = new AbortController();
    const pauses: number[] = [];
    let nowMs = 0;
    // Time passes in pauses only.
    const clock: Clock = {
      now: () => nowMs,
      after: (delayMs, callback) => ioClock.after(delayMs, callback),
      sleep: async (delayMs) => {
        pauses.push(delayMs);
        nowMs += delayMs;
        if (pauses.length === 60) stop.abort(new Error("given up"));
        stop.signal.throwIfAborted();
      },
    };
    const joining = joinThrough(urls, token, { clock, logger, signal: stop.signal }, async () => "joined");
    await assert.rejects(joining, /given up/);
    assert.equal(pauses[0], 100);
    assert.equal(pauses.at(-1), 2_000);
    assert.deepEqual(
      pauses.toSorted((a, b) => a - b),
      pauses,
    );
    assert.deepEqual(
      lines.map((line) => urls.findIndex((url) => line.includes(url))),
      [0, 1],
    );
  });
});
