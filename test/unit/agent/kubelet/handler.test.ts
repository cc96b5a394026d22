import assert from "node:assert/strict";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import type { Cri } from "../../../../src/agent/containerd/cri.ts";
import { runHandler } from "../../../../src/agent/kubelet/handler.ts";
import { ioClock as clock } from "../../../../src/machinery/clock.ts";

test("a probe fails with a status of 400 or more, a hook has told whom it had to with any", async (t) => {
  const server = createServer((_, response) => response.writeHead(404).end());
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => server.close());
  const { port } = server.address() as AddressInfo;
  const target = { containerId: "c", container: { name: "c" }, podIp: "127.0.0.1" };
  const run = (at: number, anyStatus?: boolean) => {
    const options = { cri: {} as Cri, clock, timeoutMs: 60_000, ...(anyStatus ? { anyStatus } : {}) };
    return runHandler({ httpGet: { port: at, path: "/" } }, target, options);
  };
  assert.deepEqual(await run(port), { ok: false, output: "HTTP probe failed with statuscode: 404" });
  assert.deepEqual(await run(port, true), { ok: true, output: "" });
  // A port that was given back may be somebody else's by now; this one nobody is given.
  assert.equal((await run(1, true)).ok, false, "nobody is there");
});
