import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { test } from "node:test";

const module = join(import.meta.dirname, "../../../src/commands/interruptible.ts");

/** A program whose work says what it does, and takes `back` to take it back. */
function program(back: string) {
  const script = `
    import { interruptible } from ${JSON.stringify(module)};
    setInterval(() => {}, 1000);
    const work = async (signal) => {
      console.log("working");
      await new Promise((resolve) => signal.addEventListener("abort", resolve));
      console.log("interrupted: " + signal.reason.message);
      ${back}
      throw new Error("given up");
    };
    await interruptible(work).catch((error) => { console.log(error.message); setTimeout(() => process.exit(3), 100); });
  `;
  const child = spawn(process.execPath, ["--input-type=module", "-e", script], { stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  const saying = new Set<() => void>();
  child.stdout.on("data", (chunk: Buffer) => {
    output += chunk.toString();
    for (const check of saying) check();
  });
  const says = (text: string) =>
    new Promise<void>((resolve, reject) => {
      const check = () => void (output.includes(text) && resolve());
      saying.add(check);
      child.once("exit", () => reject(new Error(`ended before it said "${text}": ${output}`)));
      check();
    });
  const ended = once(child, "close") as Promise<[number | null]>;
  return { child, says, ended, output: () => output };
}

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  test(`${signal} tells work to take back what it made, and waits for that`, async () => {
    const { child, says, ended, output } = program("");
    await says("working");
    child.kill(signal);
    assert.deepEqual((await ended)[0], 3);
    assert.equal(output(), "working\ninterrupted: interrupted\ngiven up\n");
  });
}

test("a reader of the output that Ctrl-C ended keeps nothing from being taken back", async () => {
  const { child, says, ended } = program(
    'for (let i = 0; i < 50; i++) { console.log("x"); console.error("x"); await null; }',
  );
  await says("working");
  child.stdout.destroy();
  child.stderr.destroy();
  child.kill("SIGINT");
  assert.deepEqual((await ended)[0], 3);
});

test("a second signal ends the program at once", async () => {
  const { child, says, ended, output } = program("await new Promise(() => {});");
  await says("working");
  child.kill("SIGINT");
  await says("interrupted");
  child.kill("SIGINT");
  assert.deepEqual((await ended)[0], 130);
  assert.doesNotMatch(output(), /given up/);
});
