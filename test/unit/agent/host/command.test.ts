import assert from "node:assert/strict";
import { Readable } from "node:stream";
import { test } from "node:test";
import { type CommandError, run } from "../../../../src/agent/host/command.ts";
import { FakeClock } from "../../../support/fake-clock.ts";

test("run feeds input and gives output", async () => {
  const { stdout, stderr } = await run("sh", ["-c", "cat; echo oops >&2"], { input: "hello" });
  assert.equal(stdout, "hello");
  assert.equal(stderr, "oops\n");
});

test("a failing program's error names program, arguments, exit code and stderr", async () => {
  await assert.rejects(run("sh", ["-c", "echo broken >&2; exit 3"]), (error: CommandError) => {
    assert.equal(error.message, 'run "sh -c echo broken >&2; exit 3": exit code 3: broken');
    assert.equal(error.exitCode, 3);
    assert.equal(error.stderr, "broken");
    return true;
  });
});

test("a missing program's error says that it is not found", async () => {
  await assert.rejects(run("no-such-program", ["x"]), {
    name: "CommandError",
    message: 'run "no-such-program x": program not found; install it or add it to PATH',
  });
});

test("a program is killed at its time-out and when the signal aborts", async () => {
  const clock = new FakeClock();
  const slow = run("sleep", ["1000"], { timeoutMs: 500, clock });
  const killed = assert.rejects(slow, { message: 'run "sleep 1000": killed after 500 ms' });
  await clock.advance(500);
  await killed;

  const controller = new AbortController();
  const aborted = assert.rejects(run("sleep", ["1000"], { signal: controller.signal }), { message: "enough" });
  controller.abort(new Error("enough"));
  await aborted;
  await assert.rejects(run("true", [], { signal: controller.signal }), { message: "enough" });
});

test("a program that does not read its input still ends with its own result", async () => {
  await assert.rejects(run("sh", ["-c", "exit 1"], { input: "x".repeat(1 << 20) }), { exitCode: 1 });
});

test("a stream is written to the program; one that fails ends the program and the call", async () => {
  const { stdout } = await run("cat", [], { input: Readable.from(["one ", "two"]) });
  assert.equal(stdout, "one two");
  const broken = Readable.from(
    (function* () {
      yield "one";
      throw new Error("damaged");
    })(),
  );
  await assert.rejects(run("cat", [], { input: broken }), { message: /its input failed: damaged/ });
});

test("a program that does not read its stream to the end says itself how it went", async () => {
  const endless = Readable.from(
    (function* () {
      for (;;) yield Buffer.alloc(65_536);
    })(),
  );
  await run("true", [], { input: endless });
  assert.equal(endless.destroyed, true);
});
