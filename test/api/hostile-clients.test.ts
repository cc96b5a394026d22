/** What a server over TLS withstands: hostile bodies, paths and parameters, and clients that stall, flood or vanish. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import http2 from "node:http2";
import { request as httpsRequest } from "node:https";
import { connect, type Socket } from "node:net";
import { after, before, describe, test } from "node:test";
import { connect as connectTls, type TLSSocket } from "node:tls";
import { eventually } from "../support/eventually.ts";
import { type RawReply, type RawRequest, rawRequest } from "../support/raw-request.ts";
import { type ServerProcess, startServerProcess } from "../support/server-process.ts";

interface Status {
  kind: string;
  status: string;
  reason: string;
  message: string;
  code: number;
}
interface ConfigMap {
  metadata: { name: string; resourceVersion: string; annotations?: Record<string, string> };
  data?: Record<string, string>;
}

let server: ServerProcess;
before(async () => {
  server = await startServerProcess();
});
after(() => server?.stop());

const send = (path: string, options?: RawRequest) => rawRequest(server, path, options);
const maps = "/api/v1/namespaces/default/configmaps";
const both = ["1.1", "2"] as const;

function refused(reply: RawReply, code: number, reason: string, message: RegExp | string, what = ""): void {
  assert.equal(reply.code, code, `${what} ${reply.text.slice(0, 500)}`);
  const status = reply.json<Status>();
  assert.deepEqual([status.kind, status.status, status.code, status.reason], ["Status", "Failure", code, reason], what);
  if (typeof message === "string") assert.equal(status.message, message, what);
  else assert.match(status.message, message, what);
}

const post = (body: unknown, type = "application/json", query = "", http: "1.1" | "2" = "1.1") =>
  send(`${maps}${query}`, { method: "POST", body, headers: { "content-type": type }, http });
const patch = (name: string, body: unknown, type: string, query = "") =>
  send(`${maps}/${name}${query}`, { method: "PATCH", body, headers: { "content-type": type } });
const alive = async () => assert.equal((await send("/livez")).text, "ok");

/** What the process holds in memory, in MB. */
function residentMb(): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${server.pid}/status`, "utf8"))?.[1]) / 1024;
}

const protobuf = "application/vnd.kubernetes.protobuf";

describe("bodies", () => {
  const unknownFormat = "the body of the request was in an unknown format - accepted media types include:";

  test("of other types are 415, replies that cannot be given 406, with Kubernetes' texts", async () => {
    for (const http of both) {
      for (const type of ["text/plain", "application/cbor", "application/json-patch+json", "x"]) {
        const known = `${unknownFormat} application/json, application/yaml, ${protobuf}`;
        refused(await post("{}", type, "", http), 415, "UnsupportedMediaType", known, type);
      }
      for (const accept of ["text/html", "application/cbor", "application/json;as=Table;g=x;v=v1"]) {
        const known = `only the following media types are accepted: application/json, application/yaml, ${protobuf}`;
        refused(await send(maps, { headers: { accept }, http }), 406, "NotAcceptable", known, accept);
      }
    }
    const patches = "application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json";
    const all = `${unknownFormat} ${patches}, application/apply-patch+yaml`;
    refused(await patch("x", "{}", "application/json"), 415, "UnsupportedMediaType", all);
    refused(await patch("x", "{}", "application/apply-patch+cbor"), 415, "UnsupportedMediaType", all);
  });

  test("that are not what they say are 400, whatever their encoding", async () => {
    const rows: [what: string, type: string, body: string | Buffer][] = [
      ["half an object", "application/json", '{"metadata":{"name":"x"'],
      ["two objects", "application/json", "{}{}"],
      ["no number", "application/json", '{"metadata":{"generation":NaN}}'],
      ["bytes that are no UTF-8", "application/json", Buffer.from([0x7b, 0x22, 0xff, 0xfe, 0x22, 0x3a, 0x31, 0x7d])],
      ["a NUL", "application/json", "\0"],
      ["a type that is none", "application/json", '{"kind":{"toString":1}}'],
      ["a version that is a list", "application/json", '{"apiVersion":["v1"]}'],
      ["depth", "application/json", '{"a":'.repeat(20_000)],
      ["depth that is closed", "application/json", `${"[".repeat(5000)}${"]".repeat(5000)}`],
      ["YAML that ends early", "application/yaml", "a: ["],
      ["no YAML number", "application/yaml", "metadata: {generation: .nan}"],
      ["deep YAML", "application/yaml", "- ".repeat(50_000)],
      ["an alias of itself", "application/yaml", "a: &a [*a]"],
      ["no protobuf", protobuf, "{}"],
      ["protobuf of nothing", protobuf, "k8s\0"],
      ["protobuf that breaks off", protobuf, Buffer.from("k8s\0\x0a\x7f", "latin1")],
    ];
    for (const [what, type, body] of rows) {
      for (const http of both) {
        refused(await post(body, type, "", http), 400, "BadRequest", /must be of type ConfigMap/, what);
      }
    }
    refused(
      await post('{"kind":1}'),
      400,
      "BadRequest",
      "the object provided is unrecognized (must be of type ConfigMap): couldn't get version/kind; json parse error: json: cannot unmarshal number into Go struct field .kind of type string",
    );
  });

  test("that unfold are refused at once: aliases, merges, patches, copies", async () => {
    const letters = "abcdefghij";
    const bomb = [...letters]
      .map(
        (letter, i) =>
          `${letter}: &${letter} [${Array(10)
            .fill(i ? `*${letters[i - 1]}` : "x")
            .join(",")}]`,
      )
      .join("\n");
    refused(await post(bomb, "application/yaml"), 400, "BadRequest", /yaml: document contains excessive aliasing/);
    const applied = "application/apply-patch+yaml";
    refused(await patch("x", bomb, applied, "?fieldManager=m"), 400, "BadRequest", /excessive aliasing/);

    assert.equal((await post({ metadata: { name: "bombed" }, data: { a: "x".repeat(100_000) } })).code, 201);
    const operations = Array.from({ length: 10_001 }, () => ({ op: "test", path: "/kind", value: "ConfigMap" }));
    refused(
      await patch("bombed", operations, "application/json-patch+json"),
      413,
      "RequestEntityTooLarge",
      "The allowed maximum operations in a JSON patch is 10000, got 10001",
    );
    const copies = Array.from({ length: 100 }, (_, i) => ({ op: "copy", from: "/data/a", path: `/data/c${i}` }));
    refused(
      await patch("bombed", copies, "application/json-patch+json"),
      413,
      "RequestEntityTooLarge",
      /size increase/,
    );
    const { data } = (await send(`${maps}/bombed`)).json<ConfigMap>();
    assert.deepEqual(Object.keys(data ?? {}), ["a"], "nothing of it was done");
  });

  test("that repeat keys or have unknown ones: refused, warned of or silent, as fieldValidation says", async () => {
    const body = '{"metadata":{"name":"twice","name":"twice"},"data":{"a":"1","a":"2"},"datum":{}}';
    const found = 'duplicate field "metadata.name", duplicate field "data.a", unknown field "datum"';
    refused(
      await post(body, "application/json", "?fieldValidation=Strict"),
      400,
      "BadRequest",
      `ConfigMap in version "v1" cannot be handled as a ConfigMap: strict decoding error: ${found}`,
    );
    const warned = await post(body, "application/json", "?fieldValidation=Warn&dryRun=All");
    assert.equal(warned.code, 201);
    assert.match(String(warned.headers["warning"]), /duplicate field \\"data.a\\"/);
    assert.equal(warned.json<ConfigMap>().data?.["a"], "2", "the last one wins");
    const silent = await post(body, "application/json", "?fieldValidation=Ignore&dryRun=All");
    assert.deepEqual([silent.code, silent.headers["warning"]], [201, undefined]);
    refused(
      await post(body, "application/json", "?fieldValidation=Loud"),
      422,
      "Invalid",
      'CreateOptions.meta.k8s.io "" is invalid: fieldValidation: Unsupported value: "Loud": supported values: "", "Ignore", "Strict", "Warn"',
    );
  });

  test("with names that JavaScript inherits, and half characters, come back as they were in every encoding", async () => {
    const names = ["constructor", "toString", "hasOwnProperty", "valueOf", "__proto__"];
    const data = names.map((name) => `${JSON.stringify(name)}:"1"`).join(",");
    const annotations = '"a/constructor":"2","b":"\\ud800 half"';
    const body = `{"metadata":{"name":"inherited","annotations":{${annotations}}},"data":{${data}}}`;
    assert.equal((await post(body)).code, 201);
    const expected = [...names].sort();
    const read = (await send(`${maps}/inherited`)).json<ConfigMap>();
    assert.deepEqual(Object.keys(read.data!).sort(), expected);
    assert.equal(read.metadata.annotations?.["b"], "\ufffd half");
    const text = (await send(`${maps}/inherited`, { headers: { accept: "application/yaml" } })).text;
    for (const name of names) assert.match(text, new RegExp(`^ {2}${name}: "1"$`, "m"));
    const merge = '{"data":{"__proto__":"3","constructor":null}}';
    const merged = (await patch("inherited", merge, "application/merge-patch+json")).json<ConfigMap>();
    assert.deepEqual(
      Object.keys(merged.data!).sort(),
      expected.filter((name) => name !== "constructor"),
    );
    assert.equal(Object.getOwnPropertyDescriptor(merged.data, "__proto__")?.value, "3");
    const pointer = [{ op: "replace", path: "/data/__proto__", value: "4" }];
    const replaced = (await patch("inherited", pointer, "application/json-patch+json")).json<ConfigMap>();
    assert.equal(Object.getOwnPropertyDescriptor(replaced.data, "__proto__")?.value, "4");
    const other = (await send("/version")).json<Record<string, unknown>>();
    assert.deepEqual([other["a"], other["1"]], [undefined, undefined]);
  });

  test("with numbers that no type holds are 400; whole ones keep all 64 bits", async () => {
    const leases = "/apis/coordination.k8s.io/v1/namespaces/default/leases";
    const lease = (field: string) =>
      send(leases, { method: "POST", body: `{"metadata":{"name":"n"},"spec":{"leaseDurationSeconds":${field}}}` });
    for (const number of ["2147483648", "1.5", "9223372036854775808", "1e400", '"1"']) {
      assert.equal((await lease(number)).code, 400, number);
    }
    const token = "/api/v1/namespaces/default/serviceaccounts/none/token?dryRun=All";
    for (const seconds of ["9223372036854775807", "-9223372036854775808"]) {
      const body = `{"spec":{"expirationSeconds":${seconds}}}`;
      refused(
        await send(token, { method: "POST", body }),
        422,
        "Invalid",
        new RegExp(`Invalid value: ${seconds}: may not`),
      );
    }
    const quota = (amount: string) =>
      send("/api/v1/namespaces/default/resourcequotas?dryRun=All", {
        method: "POST",
        body: { metadata: { name: "q" }, spec: { hard: { "requests.cpu": amount } } },
      });
    for (const amount of ["1e", "1.2.3", "0x10", "1kk", "9".repeat(500)]) {
      refused(await quota(amount), 400, "BadRequest", /quantit/, amount);
    }
    for (const amount of ["1e30", "9223372036854775807Ei", "1e-30"])
      assert.equal((await quota(amount)).code, 201, amount);
  });
});

describe("addresses", () => {
  test("parameters that mean nothing are refused with Kubernetes' texts", async () => {
    const rows: [query: string, code: number, reason: string, message: string | RegExp][] = [
      ["limit=x", 400, "BadRequest", 'strconv.ParseInt: parsing "x": invalid syntax'],
      [
        "limit=9223372036854775808",
        400,
        "BadRequest",
        'strconv.ParseInt: parsing "9223372036854775808": value out of range',
      ],
      ["watch=true&timeoutSeconds=1e3", 400, "BadRequest", 'strconv.ParseInt: parsing "1e3": invalid syntax'],
      ["continue=x", 400, "BadRequest", /^continue key is not valid: /],
      [
        "labelSelector=a%20in%20(",
        400,
        "BadRequest",
        /^unable to parse requirement: found '', expected: ',', or '\)'$|^unable to parse/,
      ],
      ["labelSelector=a%3Db%3Dc", 400, "BadRequest", /^found '=', expected: ',' or 'end of string'$/],
      ["fieldSelector=a", 400, "BadRequest", "invalid selector: 'a'; can't understand 'a'"],
      [
        "fieldSelector=nope%3D1",
        400,
        "BadRequest",
        '"nope" is not a known field selector: only "metadata.name", "metadata.namespace"',
      ],
      [
        "resourceVersionMatch=Exact",
        422,
        "Invalid",
        'ListOptions.meta.k8s.io "" is invalid: resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided',
      ],
    ];
    for (const [query, code, reason, message] of rows) {
      for (const http of both) refused(await send(`${maps}?${query}`, { http }), code, reason, message, query);
    }
    for (const query of ["limit=-1", "limit=", "pretty=x", "unknown=1", "limit=0"]) {
      assert.equal((await send(`${maps}?${query}`)).code, 200, query);
    }
  });

  /** Sends bytes over TLS and gives what comes back until the server closes, or has said enough. */
  function exchange(text: string): Promise<string> {
    return new Promise((resolve, reject) => {
      const socket = connectTls({ ...server.credentials, ...place(), ALPNProtocols: ["http/1.1"] });
      let received = "";
      socket.on("data", (chunk) => {
        received += chunk;
      });
      socket.on("close", () => resolve(received));
      // Cut while this side still writes, a connection is reset or a broken pipe.
      socket.on("error", (error: NodeJS.ErrnoException) =>
        ["ECONNRESET", "EPIPE"].includes(error.code ?? "") ? resolve(received) : reject(error),
      );
      socket.write(text);
    });
  }
  const place = () => ({ host: "127.0.0.1", port: Number(new URL(server.url).port) });
  const raw = (path: string) => exchange(`GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`);

  test("an upgrade to an address that is none is refused, and the server lives on", async () => {
    for (const path of ["//", "//[", "/%", "*", "/v1-k3s/connect", "/v1-k3s/connect?x=//"]) {
      const upgrade = `GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n`;
      assert.match(await exchange(upgrade), /^HTTP\/1\.1 4\d\d /, path);
      await alive();
    }
  });

  test("tricks with paths lead nowhere", async () => {
    const nowhere = [
      "/api/v1/namespaces/default/%2e%2e/kube-system/secrets",
      "/api/v1/namespaces/%2e%2e/secrets/x",
      "/api/v1/namespaces/default/configmaps/..%2f..%2fsecrets",
      "/api/v1/namespaces/default/configmaps/%00",
      "/api/v1/namespaces/default/configmaps/a%2Fb%2Fc",
      "/api/v1/namespaces/default/configmaps/__proto__",
      "/apis/constructor/v1/pods",
      "/openapi/v3/../../etc/passwd",
      "/api/v1\\namespaces\\default\\configmaps",
      "/api/v1/namespaces/default/./configmaps",
      "/healthz/constructor",
      `/api/v1/namespaces/default/configmaps/${"a".repeat(20_000)}`,
    ];
    for (const path of nowhere) {
      const code = Number(/^HTTP\/1\.1 (\d+)/.exec(await raw(path))?.[1]);
      assert.ok([400, 403, 404].includes(code), `${path.slice(0, 80)} answers ${code}`);
    }
    for (const path of ["/api/v1/namespaces/default/configmaps/%zz", "/%"]) {
      assert.match(await raw(path), /^HTTP\/1\.1 400 [\s\S]*"reason":"BadRequest"/, path);
    }
    assert.match(await raw("//api/v1"), /^HTTP\/1\.1 (200|30[18]|404) /);
    await alive();
  });

  test("requests that are no HTTP, or have endless headers, are refused and cut", async () => {
    assert.match(await exchange("GARBAGE\r\n\r\n"), /^HTTP\/1\.1 400 /);
    assert.match(await exchange("GET /livez HTTP/1.1\r\nHost: x\r\nX: \0\r\n\r\n"), /^HTTP\/1\.1 400 /);
    const flood = Array.from({ length: 3000 }, (_, i) => `X-${i}: ${"a".repeat(50)}`).join("\r\n");
    assert.match(await exchange(`GET /livez HTTP/1.1\r\nHost: x\r\n${flood}\r\n\r\n`), /^HTTP\/1\.1 431 |^$/);
    const session = http2.connect(server.url, server.credentials);
    session.on("error", () => {});
    await new Promise<void>((resolve) => {
      const stream = session.request({ ":path": "/livez", "x-flood": "a".repeat(200_000) });
      stream.on("error", () => {});
      stream.on("close", resolve);
      stream.resume();
    });
    session.destroy();
    await alive();
  });

  test("connections that say nothing cost others nothing", async () => {
    const sockets: (Socket | TLSSocket)[] = [];
    for (let i = 0; i < 200; i++) {
      const half = connect(place());
      const silent = connectTls({ ...server.credentials, ...place() });
      for (const socket of [half, silent]) socket.on("error", () => {});
      sockets.push(half, silent);
    }
    await alive();
    for (const socket of sockets) socket.destroy();
  });
});

describe("clients that go", () => {
  test("in the middle of a body leave nothing", async () => {
    const { host, port } = { host: "127.0.0.1", port: Number(new URL(server.url).port) };
    for (let i = 0; i < 20; i++) {
      const request = httpsRequest({
        ...server.credentials,
        host,
        port,
        path: maps,
        method: "POST",
        agent: false,
        headers: { "content-type": "application/json", "content-length": "500" },
      });
      request.on("error", () => {});
      request.write(`{"metadata":{"name":"broken-${i}"},`);
      await new Promise<void>((resolve) =>
        request.on("socket", (socket) => socket.on("secureConnect", () => resolve())),
      );
      await new Promise((resolve) => setImmediate(resolve));
      request.destroy();
    }
    const { items } = (await send(maps)).json<{ items: ConfigMap[] }>();
    assert.deepEqual(
      items.filter(({ metadata }) => metadata.name.startsWith("broken")),
      [],
    );
  });

  test("right after a whole body leave a whole object or none", async () => {
    const session = http2.connect(server.url, server.credentials);
    session.on("error", () => {});
    for (let i = 0; i < 100; i++) {
      const body = JSON.stringify({ metadata: { name: `gone-${i}` }, data: { a: "x".repeat(1000) } });
      const stream = session.request({ ":method": "POST", ":path": maps, "content-type": "application/json" });
      stream.on("error", () => {});
      stream.end(body, () => stream.close(http2.constants.NGHTTP2_CANCEL));
    }
    await new Promise<void>((resolve) => session.close(resolve));
    const { items } = (await send(maps)).json<{ items: ConfigMap[] }>();
    for (const { metadata, data } of items) {
      if (metadata.name.startsWith("gone-")) assert.equal(data?.["a"]?.length, 1000, metadata.name);
    }
  });

  test("and come again, thousands of streams at once, do not stop others", async () => {
    const session = http2.connect(server.url, server.credentials);
    session.on("error", () => {});
    for (let i = 0; i < 3000; i++) {
      const stream = session.request({ ":path": i % 2 ? maps : `${maps}?watch=true` });
      stream.on("error", () => {});
      stream.close(http2.constants.NGHTTP2_CANCEL);
    }
    await alive();
    session.destroy();
    await alive();
  });
});

describe("clients that do not read", () => {
  const big = (i: number) => ({ metadata: { name: "big" }, data: { a: `${i}`.padEnd(1_000_000, "x") } });

  for (const http of both) {
    test(`a watch over HTTP/${http} that lets changes pile up is cut, and the server does not keep them`, async () => {
      await post(big(0));
      const path = `${maps}?watch=true&fieldSelector=metadata.name%3Dbig`;
      let cut = false;
      let end: () => void;
      if (http === "1.1") {
        const socket = connectTls({
          ...server.credentials,
          host: "127.0.0.1",
          port: Number(new URL(server.url).port),
          ALPNProtocols: ["http/1.1"],
        });
        socket.on("error", () => {
          cut = true;
        });
        await new Promise<void>((resolve) => socket.once("secureConnect", resolve));
        socket.write(`GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`);
        await new Promise<void>((resolve) => socket.once("readable", resolve));
        end = () => {
          // What came in before it was cut, and then the end without the last chunk.
          socket.on("close", () => {
            cut = true;
          });
          socket.resume();
        };
      } else {
        const session = http2.connect(server.url, server.credentials);
        session.on("error", () => {});
        const stream = session.request({ ":path": path });
        stream.on("error", () => {});
        await new Promise<void>((resolve) => stream.once("response", () => resolve()));
        stream.on("close", () => {
          cut = true;
          session.destroy();
        });
        end = () => stream.resume();
      }
      const before = residentMb();
      for (let i = 1; i <= 45; i++) {
        const put = await send(`${maps}/big`, { method: "PUT", body: big(i) });
        assert.equal(put.code, 200);
      }
      end();
      await eventually(() => assert.equal(cut, true));
      await alive();
      const grown = residentMb() - before;
      assert.ok(grown < 400, `the server grew by ${grown.toFixed(0)} MB`);
    });
  }

  test("large lists wait for their readers without being held many times", async () => {
    await Promise.all(
      Array.from({ length: 20 }, (_, i) =>
        post({ metadata: { name: `large-${i}` }, data: { a: `${i}`.padEnd(500_000, "y") } }),
      ),
    );
    const session = http2.connect(server.url, server.credentials);
    const streams = Array.from({ length: 10 }, () => session.request({ ":path": maps }));
    for (const stream of streams) stream.on("error", () => {});
    await Promise.all(
      streams.map((stream) => new Promise<void>((resolve) => stream.once("response", () => resolve()))),
    );
    await alive();
    // Those who read after all get everything.
    const lengths = await Promise.all(
      streams.map(
        (stream) =>
          new Promise<number>((resolve) => {
            let length = 0;
            stream.on("data", (chunk: Buffer) => {
              length += chunk.length;
            });
            stream.on("end", () => resolve(length));
          }),
      ),
    );
    for (const length of lengths) assert.ok(length > 10_000_000);
    session.destroy();
  });
});

test("ten thousand idle watches cost little memory each, and nobody else's time", async () => {
  const before = residentMb();
  const sessions = Array.from({ length: 20 }, () => http2.connect(server.url, server.credentials));
  try {
    await Promise.all(
      sessions.map(async (session) => {
        session.on("error", () => {});
        await Promise.all(
          Array.from(
            { length: 500 },
            () =>
              new Promise<void>((resolve, reject) => {
                const stream = session.request({ ":path": `${maps}?watch=true&fieldSelector=metadata.name%3Dnobody` });
                stream.on("error", reject);
                stream.once("response", ({ ":status": code }) => {
                  stream.resume();
                  if (code === 200) resolve();
                  else reject(new Error(`a watch answers ${code}`));
                });
              }),
          ),
        );
      }),
    );
    const kilobytesEach = ((residentMb() - before) * 1024) / 10_000;
    assert.ok(kilobytesEach < 60, `${kilobytesEach.toFixed(1)} KB a watch`);
    const created = await post({ metadata: { name: "beside" } });
    assert.equal(created.code, 201);
    await alive();
  } finally {
    for (const session of sessions) session.destroy();
  }
  await alive();
});
