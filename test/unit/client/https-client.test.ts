import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import * as http2 from "node:http2";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import type { WatchEvent } from "../../../src/client/client.ts";
import { ConnectionError } from "../../../src/client/connection-error.ts";
import { createHttpsClient, type HttpsClientOptions } from "../../../src/client/https-client.ts";
import { silentLogger } from "../../../src/machinery/log.ts";
import type { KubeObject, ResourceType } from "../../../src/machinery/object.ts";
import { StatusError } from "../../../src/machinery/status.ts";

const things: ResourceType = { group: "g.io", version: "v1", resource: "things", kind: "Thing", namespaced: true };

let folder: string;
let cert: Buffer;
let key: Buffer;

before(() => {
  folder = mkdtempSync(join(tmpdir(), "k3ts-client-"));
  const [keyFile, certFile] = [join(folder, "key.pem"), join(folder, "cert.pem")];
  const subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"];
  const curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
  execFileSync("openssl", ["req", "-x509", ...curve, "-keyout", keyFile, "-out", certFile, "-days", "2", ...subject], {
    stdio: "ignore",
  });
  cert = readFileSync(certFile);
  key = readFileSync(keyFile);
});
after(() => rmSync(folder, { recursive: true, force: true }));

type Handler = (stream: http2.ServerHttp2Stream, headers: http2.IncomingHttpHeaders, body: string) => void;

async function withServer(
  handler: Handler,
  run: (options: HttpsClientOptions, sessions: Set<http2.ServerHttp2Session>) => Promise<void>,
): Promise<void> {
  const server = http2.createSecureServer({ cert, key });
  const sessions = new Set<http2.ServerHttp2Session>();
  server.on("session", (session) => {
    sessions.add(session);
    session.on("close", () => sessions.delete(session));
    session.on("error", () => {});
  });
  server.on("stream", (stream, headers) => {
    const chunks: Buffer[] = [];
    stream.on("error", () => {});
    stream.on("data", (chunk: Buffer) => chunks.push(chunk));
    stream.on("end", () => handler(stream, headers, Buffer.concat(chunks).toString()));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
  try {
    await run({ server: address, ca: cert, userAgent: "test", logger: silentLogger }, sessions);
  } finally {
    for (const session of sessions) session.destroy();
    await new Promise((resolve) => server.close(resolve));
  }
}

const answer = (stream: http2.ServerHttp2Stream, code: number, body: unknown, headers: object = {}) => {
  stream.respond({ ":status": code, "content-type": "application/json", ...headers });
  stream.end(JSON.stringify(body));
};

test("requests carry method, path, query, media type, token and body as the API conventions say", async () => {
  const seen: unknown[] = [];
  const handler: Handler = (stream, headers, body) => {
    seen.push([headers[":method"], headers[":path"], headers["content-type"], headers.authorization, body]);
    answer(stream, 200, { metadata: { name: "x" }, items: [] });
  };
  await withServer(handler, async (options) => {
    const client = createHttpsClient({ ...options, token: () => "secret" });
    const object: KubeObject = { metadata: { name: "x", namespace: "ns" } };
    await client.get(things, "x", { namespace: "ns", subresource: "status" });
    await client.list(things, { labelSelector: "a=b", limit: 5 });
    await client.create(things, object, { dryRun: true });
    await client.update(things, object, { subresource: "status" });
    await client.patch(things, "x", { type: "apply", body: {} }, { namespace: "ns", fieldManager: "m", force: true });
    await client.delete(things, "x", { namespace: "ns", gracePeriodSeconds: 0, preconditions: { uid: "u" } });
    client.close();
  });
  const json = "application/json";
  const text = '{"apiVersion":"g.io/v1","kind":"Thing","metadata":{"name":"x","namespace":"ns"}}';
  const base = "/apis/g.io/v1/namespaces/ns/things";
  const token = "Bearer secret";
  assert.deepEqual(
    seen.map((request) => (request as unknown[]).map((part) => part ?? "")),
    [
      ["GET", `${base}/x/status`, "", token, ""],
      ["GET", "/apis/g.io/v1/things?labelSelector=a%3Db&limit=5", "", token, ""],
      ["POST", `${base}?dryRun=All`, json, token, normalize(seen, 2, text)],
      ["PUT", `${base}/x/status`, json, token, normalize(seen, 3, text)],
      ["PATCH", `${base}/x?fieldManager=m&force=true`, "application/apply-patch+yaml", token, "{}"],
      [
        "DELETE",
        `${base}/x`,
        json,
        token,
        '{"apiVersion":"v1","kind":"DeleteOptions","gracePeriodSeconds":0,"preconditions":{"uid":"u"}}',
      ],
    ],
  );
});

/** The order of keys in a body is free: give back what was sent when it means the same. */
function normalize(seen: unknown[], index: number, expected: string): string {
  const sent = (seen[index] as string[])[4]!;
  assert.deepEqual(JSON.parse(sent), JSON.parse(expected));
  return sent;
}

test("a Status answer becomes a StatusError", async () => {
  const status = { kind: "Status", status: "Failure", reason: "NotFound", code: 404, message: 'things "x" not found' };
  await withServer(
    (stream) => answer(stream, 404, status),
    async (options) => {
      const client = createHttpsClient(options);
      await assert.rejects(client.get(things, "x"), (error) => {
        assert.ok(error instanceof StatusError);
        assert.deepEqual([error.code, error.reason, error.message], [404, "NotFound", 'things "x" not found']);
        return true;
      });
      client.close();
    },
  );
});

test("429 with Retry-After is tried again, and an eviction that a budget refuses is not", async () => {
  let calls = 0;
  const handler: Handler = (stream, headers) => {
    calls++;
    const causes = [{ reason: "DisruptionBudget" }];
    if (headers[":path"]?.endsWith("/eviction")) {
      answer(stream, 429, { kind: "Status", code: 429, details: { causes } }, { "retry-after": "1" });
    } else if (calls === 1) answer(stream, 429, { kind: "Status", code: 429 }, { "retry-after": "1" });
    else answer(stream, 200, { metadata: { name: "x" } });
  };
  await withServer(handler, async (options) => {
    const client = createHttpsClient(options);
    assert.equal((await client.get(things, "x")).metadata.name, "x");
    assert.equal(calls, 2);
    await assert.rejects(client.createSubresource(things, "x", "eviction", {}), { code: 429 });
    assert.equal(calls, 3);
    client.close();
  });
});

test("a read whose connection breaks is tried again on a new one, a write is not", async () => {
  let calls = 0;
  const handler: Handler = (stream) => {
    if (++calls === 2) answer(stream, 200, { metadata: { name: "x" } });
    else stream.session?.destroy();
  };
  await withServer(handler, async (options) => {
    const client = createHttpsClient(options);
    assert.equal((await client.get(things, "x")).metadata.name, "x");
    assert.equal(calls, 2);
    await assert.rejects(client.create(things, { metadata: { name: "x" } }), ConnectionError);
    assert.equal(calls, 3);
    client.close();
  });
});

test("a server that nothing listens on is a ConnectionError that was not sent", async () => {
  const client = createHttpsClient({
    server: "https://127.0.0.1:1",
    ca: cert,
    userAgent: "test",
    logger: silentLogger,
  });
  await assert.rejects(client.get(things, "x"), (error) => {
    assert.ok(error instanceof ConnectionError);
    assert.deepEqual([error.code, error.notSent], ["ECONNREFUSED", true]);
    return true;
  });
  client.close();
});

test("a certificate of another authority is refused", async () => {
  await withServer(
    (stream) => answer(stream, 200, {}),
    async ({ ca: _, ...options }) => {
      const client = createHttpsClient(options);
      await assert.rejects(client.get(things, "x"), { code: "DEPTH_ZERO_SELF_SIGNED_CERT" });
      client.close();
    },
  );
});

test("watch events are split at line ends wherever the chunks fall, ERROR events throw", async () => {
  const events = [
    { type: "ADDED", object: { metadata: { name: "å".repeat(50_000) } } },
    { type: "MODIFIED", object: { metadata: { name: "b" } } },
    { type: "ERROR", object: { kind: "Status", code: 410, reason: "Expired", message: "too old" } },
  ];
  const handler: Handler = (stream) => {
    stream.respond({ ":status": 200 });
    const bytes = Buffer.from(events.map((event) => `${JSON.stringify(event)}\n`).join(""));
    for (let i = 0; i < bytes.length; i += 7001) stream.write(bytes.subarray(i, i + 7001));
    stream.end();
  };
  await withServer(handler, async (options) => {
    const client = createHttpsClient(options);
    const seen: WatchEvent[] = [];
    await assert.rejects(
      async () => {
        for await (const event of client.watch(things, {})) seen.push(event);
      },
      { code: 410, reason: "Expired" },
    );
    assert.deepEqual(seen, events.slice(0, 2));
    client.close();
  });
});

test("aborting ends a watch without an error; leaving the loop ends the stream at the server", async () => {
  let closed = 0;
  const both = Promise.withResolvers<void>();
  const handler: Handler = (stream) => {
    stream.on("close", () => ++closed === 2 && both.resolve());
    stream.respond({ ":status": 200 });
    stream.write('{"type":"ADDED","object":{"metadata":{"name":"a"}}}\n');
  };
  await withServer(handler, async (options) => {
    const client = createHttpsClient(options);
    const stop = new AbortController();
    for await (const _ of client.watch(things, { signal: stop.signal })) stop.abort();
    for await (const _ of client.watch(things, {})) break;
    // Before the connection is closed, which would end them, too.
    await both.promise;
    client.close();
  });
});

test("aborting while the connection is made ends watches and requests, too", async () => {
  await withServer(
    (stream) => stream.respond({ ":status": 200 }),
    async (options) => {
      const client = createHttpsClient(options);
      const interruption = new AbortController();
      const { signal } = interruption;
      const watching = (async () => {
        for await (const _ of client.watch(things, { signal })) assert.fail("there are no events");
      })();
      const getting = client.get(things, "t", { signal });
      interruption.abort(new Error("interrupted"));
      for (const call of [watching, getting]) await assert.rejects(call, { message: "interrupted" });
      client.close();
    },
  );
});
