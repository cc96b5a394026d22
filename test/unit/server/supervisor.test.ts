import assert from "node:assert/strict";
import { mkdirSync, writeFileSync } from "node:fs";
import { connect, constants } from "node:http2";
import { request as httpsRequest } from "node:https";
import { join } from "node:path";
import { describe, it, type TestContext } from "node:test";
import { listen } from "../../../src/apiserver/listener.ts";
import type { Client } from "../../../src/client/client.ts";
import { silentLogger } from "../../../src/machinery/log.ts";
import { prepareCertificates } from "../../../src/server/certificates.ts";
import { createSupervisor } from "../../../src/server/supervisor.ts";
import { prepareTokens } from "../../../src/server/tokens.ts";
import { temporaryDirectory } from "../../support/temporary-directory.ts";

interface Answer {
  code: number;
  type: string | undefined;
  body: string;
}

async function start(test: TestContext) {
  const directory = temporaryDirectory(test);
  const certificates = await prepareCertificates(join(directory, "tls"), ["127.0.0.1"]);
  const tokens = prepareTokens(directory, certificates.serverCaBundle);
  const staticDirectory = join(directory, "static");
  mkdirSync(join(staticDirectory, "charts"), { recursive: true });
  writeFileSync(join(staticDirectory, "charts/a.tgz"), "chart");
  const supervise = createSupervisor({
    serverCa: certificates.serverCa,
    clientCa: certificates.clientCa,
    tokens,
    authenticate: async () => undefined,
    client: {} as Client,
    config: {},
    apiServers: async () => [],
    ready: () => false,
    staticDirectory,
    logger: silentLogger,
  });
  const listener = await listen({
    host: "127.0.0.1",
    port: 0,
    tls: { cert: certificates.serving.certificate, key: certificates.serving.key },
    logger: silentLogger,
    handle: (request, response) => {
      if (!supervise(request, response)) (response as import("node:http").ServerResponse).writeHead(418).end();
    },
    upgrade: (_request, socket) => socket.destroy(),
  });
  test.after(() => listener.close());
  const authorization = `Basic ${Buffer.from(`node:${tokens.agent.split(":").at(-1)}`).toString("base64")}`;
  const origin = `https://127.0.0.1:${listener.port}`;
  const ca = certificates.serverCaBundle;
  return {
    /** HTTP/1.1; the path goes out as it is written here. */
    call: (path: string, options: { body?: Buffer; authorized?: boolean } = {}): Promise<Answer> =>
      new Promise((resolve, reject) => {
        const headers = options.authorized ? { authorization } : {};
        const method = options.body ? "POST" : "GET";
        const request = httpsRequest(origin, { path, ca, headers, method, agent: false }, (response) => {
          const chunks: Buffer[] = [];
          response.on("data", (chunk: Buffer) => chunks.push(chunk));
          response.on("end", () =>
            resolve({
              code: response.statusCode ?? 0,
              type: response.headers["content-type"],
              body: Buffer.concat(chunks).toString(),
            }),
          );
        });
        request.on("error", reject);
        request.end(options.body);
      }),
    origin,
    ca,
    certificates,
  };
}

function reasonOf({ code, body }: Answer): string {
  const status = JSON.parse(body);
  assert.equal(status.kind, "Status");
  assert.equal(status.code, code);
  return status.reason;
}

describe("the supervisor's routes", () => {
  it("answer over HTTP/2 as over HTTP/1.1", async (test) => {
    const { origin, ca, certificates, call } = await start(test);
    assert.equal((await call("/cacerts?x=1")).body, certificates.serverCa.certificate);
    const session = connect(origin, { ca });
    test.after(() => session.destroy());
    const stream = session.request({ [constants.HTTP2_HEADER_PATH]: "/ping" });
    let text = "";
    stream.setEncoding("utf8").on("data", (chunk) => {
      text += chunk;
    });
    await new Promise((resolve) => stream.once("end", resolve));
    assert.equal(text, "pong");
  });

  it("leave all other paths to the API", async (test) => {
    const { call } = await start(test);
    for (const path of ["/", "/pings", "/api/v1/pods", "/v1-k3s", "/cacerts/x"]) {
      assert.equal((await call(path)).code, 418, path);
    }
  });

  it("refuse with a Status: unknown routes, no credentials, not ready, no body, a body that is too large", async (test) => {
    const { call } = await start(test);
    assert.equal(reasonOf(await call("/v1-k3s/nothing")), "NotFound");
    assert.equal(reasonOf(await call("/v1-k3s/config")), "Unauthorized");
    assert.equal(reasonOf(await call("/v1-k3s/readyz", { authorized: true })), "ServiceUnavailable");
    const path = "/v1-k3s/client-kube-proxy.crt";
    assert.equal(reasonOf(await call(path, { authorized: true, body: Buffer.alloc(0) })), "BadRequest");
    const large = await call(path, { authorized: true, body: Buffer.alloc(65 * 1024) });
    assert.equal(reasonOf(large), "BadRequest");
    assert.match(large.body, /more than 65536 bytes/);
  });

  it("serve static files, and none outside their directory", async (test) => {
    const { call } = await start(test);
    assert.deepEqual(await call("/static/charts/a.tgz"), {
      code: 200,
      type: "application/octet-stream",
      body: "chart",
    });
    for (const path of [
      "/static/../token",
      "/static/%2e%2e/token",
      "/static/charts/..%2f..%2ftoken",
      "/static/charts",
    ]) {
      assert.equal(reasonOf(await call(path)), "NotFound", path);
    }
  });
});
