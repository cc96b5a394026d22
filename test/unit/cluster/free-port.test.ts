import assert from "node:assert/strict";
import { createServer } from "node:net";
import { test } from "node:test";
import { freePort } from "../../../src/cluster/free-port.ts";

test("a free port can be listened on, and is none that systems or services take by themselves", async (t) => {
  const port = await freePort("127.0.0.1");
  assert.ok(port >= 20_000 && port < 30_000, String(port));
  const server = createServer();
  t.after(() => server.close());
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, "127.0.0.1", resolve);
  });
});
