import assert from "node:assert/strict";
import { createServer } from "node:net";
import { test } from "node:test";
import { StatusError } from "../../../src/machinery/status.ts";
import { dialAddress, isLoopback } from "../../../src/server/dial-address.ts";
import { FakeClock } from "../../support/fake-clock.ts";

const clock = new FakeClock();

async function listening(): Promise<{ target: string; close(): void }> {
  const server = createServer((socket) => socket.end("hello"));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  return { target: `127.0.0.1:${port}`, close: () => server.close() };
}

test("connects, and leaves no timer", async (t) => {
  const { target, close } = await listening();
  t.after(close);
  const connection = await dialAddress(target, clock);
  const chunks: Buffer[] = [];
  for await (const chunk of connection) chunks.push(chunk as Buffer);
  assert.equal(Buffer.concat(chunks).toString(), "hello");
  assert.equal(clock.pending, 0);
});

test("where nothing listens is 503 with Kubernetes' text", async () => {
  // Not one that was given back: it may be somebody else's by now.
  const target = "127.0.0.1:1";
  await assert.rejects(dialAddress(target, clock), (error) => {
    assert.ok(error instanceof StatusError);
    assert.equal(error.code, 503);
    assert.equal(error.message, `error trying to reach service: dial tcp ${target}: connect: connection refused`);
    return true;
  });
});

test("ends when its caller is gone", async (t) => {
  const { target, close } = await listening();
  t.after(close);
  await assert.rejects(dialAddress(target, clock, AbortSignal.abort()), { code: 503 });
  assert.equal(clock.pending, 0);
});

test("only a node's own addresses go through its tunnel", () => {
  for (const target of ["127.0.0.1:10250", "[::1]:10250", "localhost:10250"]) assert.ok(isLoopback(target), target);
  for (const target of ["10.42.0.5:80", "[fd00::1]:80", "[::11]:80", "localhost.example.com:80"]) {
    assert.ok(!isLoopback(target), target);
  }
});
