import assert from "node:assert/strict";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { createServer as createHttpServer, type IncomingMessage } from "node:http";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { join } from "node:path";
import { Duplex } from "node:stream";
import { type TestContext, test } from "node:test";
import type { Cri } from "../../../../src/agent/containerd/cri.ts";
import { KubeletServer } from "../../../../src/agent/kubelet/kubelet-server.ts";
import type { ObservedPod } from "../../../../src/agent/kubelet/observed-pod.ts";
import type { PodWorker } from "../../../../src/agent/kubelet/pod-worker.ts";
import type { Pod } from "../../../../src/api/generated/core-v1.ts";
import { silentLogger } from "../../../../src/machinery/log.ts";
import { eventually } from "../../../support/eventually.ts";
import { FakeClock } from "../../../support/fake-clock.ts";
import { temporaryDirectory } from "../../../support/temporary-directory.ts";
import { pod, sandbox, seen } from "./pod-fixture.ts";

interface Served {
  observed?: ObservedPod;
  pod?: Pod;
  cri?: object;
}

/** A kubelet's server on a port of loopback, with one pod. */
async function serve(t: TestContext, { observed, pod: of = pod(), cri = {} }: Served) {
  const worker = {
    pod: of,
    observed: observed ?? { sandboxes: [sandbox()], containers: [seen("main")] },
    containerEnded: () => new Promise(() => {}),
  } as unknown as PodWorker;
  const kubelet = new KubeletServer({
    cri: cri as Cri,
    workers: new Map([["uid-1", worker]]),
    logRoot: "/nowhere",
    nodeName: "n",
    clock: new FakeClock(),
    logger: silentLogger,
  });
  const server = createHttpServer((request, response) => void kubelet.handle(request, response));
  // A connection is not closed under the next request, however late that comes.
  server.keepAliveTimeout = 0;
  server.on("upgrade", (request, socket, head) => void kubelet.upgrade(request, socket, head));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  return {
    port,
    async get(path: string) {
      const reply = await fetch(`http://127.0.0.1:${port}${path}`);
      return { code: reply.status, text: await reply.text() };
    },
    /** Sends the head of an upgrade, and gives everything that comes back. */
    upgrade(path: string, after = "") {
      const socket = connect({ host: "127.0.0.1", port });
      socket.write(
        `POST ${path} HTTP/1.1\r\nHost: kubelet\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\nX-Stream: v4\r\n\r\n${after}`,
      );
      return new Promise<string>((resolve) => {
        let text = "";
        socket.on("data", (chunk) => (text += chunk));
        socket.on("error", () => {});
        socket.on("close", () => resolve(text));
      });
    },
  };
}

const exited = (more: object = {}) => seen("main", { state: "exited", exitCode: 1, ...more });

const refusals: [name: string, path: string, code: number, text: RegExp, served?: Served][] = [
  ["an unknown path", "/nothing", 404, /the kubelet serves no "\/nothing"/],
  ["logs of an unknown pod", "/containerLogs/default/q/main", 404, /pod "q" in namespace "default" does not exist/],
  ["logs of an unknown container", "/containerLogs/default/p/other", 404, /container "other" not found in pod "p"/],
  [
    "previous logs where there was no container before",
    "/containerLogs/default/p/main?previous=true",
    400,
    /previous terminated container "main" in pod "p" not found/,
  ],
  [
    "logs of a container that has not started",
    "/containerLogs/default/p/main",
    400,
    /container "main" in pod "p" is waiting to start: ErrImagePull/,
    {
      observed: { sandboxes: [sandbox()], containers: [] },
      pod: pod(
        {},
        {
          status: {
            containerStatuses: [
              {
                name: "main",
                image: "",
                imageID: "",
                ready: false,
                restartCount: 0,
                state: { waiting: { reason: "ErrImagePull" } },
              },
            ],
          },
        },
      ),
    },
  ],
  ["exec without an upgrade", "/exec/default/p/main", 400, /missing the upgrade header/],
];
for (const [name, path, code, text, served = {}] of refusals)
  test(`refused: ${name}`, async (t) => {
    const reply = await (await serve(t, served)).get(path);
    assert.equal(reply.code, code);
    assert.match(reply.text, text);
  });

test("health and the node's pods", async (t) => {
  const { get } = await serve(t, {});
  assert.deepEqual(await get("/healthz"), { code: 200, text: "ok" });
  const { kind, items } = JSON.parse((await get("/pods")).text);
  assert.deepEqual([kind, items.map(({ metadata }: Pod) => metadata.name)], ["PodList", ["p"]]);
});

test("logs: of the newest container that has started, its end, and the one before", async (t) => {
  const directory = temporaryDirectory(t);
  const log = (name: string, ...lines: string[]) => {
    const path = join(directory, name);
    writeFileSync(path, lines.map((line) => `2026-01-01T00:00:00.000000000Z stdout F ${line}\n`).join(""));
    return path;
  };
  const containers = [
    seen("main", { attempt: 2, state: "created" }),
    exited({ attempt: 1, logPath: log("1.log", "one", "two", "three") }),
    exited({ attempt: 0, logPath: log("0.log", "old") }),
  ];
  const cri = { containerStatus: async () => ({ state: "CONTAINER_EXITED" }) };
  const { get } = await serve(t, { observed: { sandboxes: [sandbox()], containers }, cri });
  const path = "/containerLogs/default/p/main";
  assert.equal((await get(path)).text, "one\ntwo\nthree\n");
  assert.equal((await get(`${path}?tailLines=1`)).text, "three\n");
  assert.equal((await get(`${path}?previous=true`)).text, "old\n");
  assert.match((await get(`${path}?tailLines=1&timestamps=true`)).text, /^2026-01-01T00:00:00\S* three\n$/);
});

test("a log file that is gone is said in the log", async (t) => {
  const observed = { sandboxes: [sandbox()], containers: [exited({ logPath: "/missing/0.log" })] };
  const cri = { containerStatus: async () => ({ state: "CONTAINER_EXITED" }) };
  const { get } = await serve(t, { observed, cri });
  assert.match((await get("/containerLogs/default/p/main")).text, /failed to open log file "\/missing\/0.log"/);
});

test("exec joins the caller to the runtime's stream, byte for byte, with the caller's headers", async (t) => {
  let heard = "";
  const runtime = createServer((socket) => {
    socket.on("data", (chunk) => {
      heard += chunk;
      if (heard.endsWith("input")) socket.end("HTTP/1.1 101 Switching Protocols\r\n\r\noutput");
    });
  });
  await new Promise<void>((resolve) => runtime.listen(0, "127.0.0.1", resolve));
  t.after(() => runtime.close());
  const { port } = runtime.address() as AddressInfo;
  const asked: object[] = [];
  const cri = {
    exec: async (request: object) => {
      asked.push(request);
      return `http://127.0.0.1:${port}/exec/token`;
    },
  };
  const { upgrade } = await serve(t, { cri });
  const path = "/exec/default/p/main?command=ls&command=-l&input=1&output=1&error=1&tty=1";
  assert.equal(await upgrade(path, "input"), "HTTP/1.1 101 Switching Protocols\r\n\r\noutput");
  assert.deepEqual(asked, [
    { containerId: "main-0", stdin: true, stdout: true, stderr: false, tty: true, cmd: ["ls", "-l"] },
  ]);
  assert.match(heard, new RegExp(`^POST /exec/token HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\n`));
  assert.match(heard, /X-Stream: v4\r\n/);
});

test("what the runtime said before it cut an exec's stream still reaches the caller", async (t) => {
  const peers: Socket[] = [];
  const runtime = createServer((peer) => {
    peers.push(peer);
    peer.on("error", () => {});
    peer.write("one");
  });
  await new Promise<void>((resolve) => runtime.listen(0, "127.0.0.1", resolve));
  t.after(() => runtime.close());
  const { port } = runtime.address() as AddressInfo;
  const cut = Promise.withResolvers<void>();
  const worker = { pod: pod(), observed: { sandboxes: [sandbox()], containers: [seen("main")] } };
  const kubelet = new KubeletServer({
    cri: { exec: async () => `http://127.0.0.1:${port}/exec/token` } as unknown as Cri,
    workers: new Map([["uid-1", worker as unknown as PodWorker]]),
    logRoot: "/nowhere",
    nodeName: "n",
    clock: new FakeClock(),
    logger: { ...silentLogger, debug: () => cut.resolve() },
  });
  let text = "";
  const taking = Promise.withResolvers<() => void>();
  const caller = new Duplex({
    read() {},
    write(chunk, _encoding, done) {
      text += chunk;
      // The caller takes the first bytes late: what follows waits here.
      if (text === "one") taking.resolve(done);
      else done();
    },
  });
  const finished = once(caller, "finish");
  const request = { method: "POST", url: "/exec/default/p/main?command=ls&output=1", rawHeaders: [] };
  await kubelet.upgrade(request as unknown as IncomingMessage, caller, Buffer.alloc(0));
  const take = await taking.promise;
  peers[0]!.write("two");
  await eventually(() => assert.equal(caller.writableLength, "onetwo".length));
  peers[0]!.resetAndDestroy();
  await cut.promise;
  take();
  await finished;
  assert.equal(text, "onetwo");
});

test("port-forward goes to the sandbox, and needs one that runs", async (t) => {
  const asked: object[] = [];
  const cri = {
    portForward: async (request: object) => {
      asked.push(request);
      throw new Error("runtime says no");
    },
  };
  const ready = await serve(t, { cri });
  assert.match(await ready.upgrade("/portForward/default/p?port=80,81"), /^HTTP\/1.1 500 .*runtime says no\n$/s);
  assert.deepEqual(asked, [{ podSandboxId: "s0", port: [80, 81] }]);
  const dead = await serve(t, { observed: { sandboxes: [sandbox({ ready: false })], containers: [] } });
  assert.match(await dead.upgrade("/portForward/default/p?port=80"), /^HTTP\/1.1 404 .*has no running sandbox\n$/s);
});

test("exec into a container that does not run is refused before anything is joined", async (t) => {
  const { upgrade } = await serve(t, { observed: { sandboxes: [sandbox()], containers: [exited()] } });
  assert.match(
    await upgrade("/exec/default/p/main?command=ls"),
    /^HTTP\/1.1 404 Not Found.*container not found \("main"\)\n$/s,
  );
});
