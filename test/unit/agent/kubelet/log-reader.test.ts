import assert from "node:assert/strict";
import { appendFileSync, mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { type LogOptions, readLog } from "../../../../src/agent/kubelet/log-reader.ts";
import { eventually } from "../../../support/eventually.ts";
import { filesSettled } from "../support/file-clock.ts";

let directory: string;
let path: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "log-"));
  path = join(directory, "0.log");
});
afterEach(() => rmSync(directory, { recursive: true }));

const at = (second: number) => `2026-01-01T00:00:${String(second).padStart(2, "0")}.000000000Z`;
const line = (second: number, text: string, tag = "F", stream = "stdout") => `${at(second)} ${stream} ${tag} ${text}\n`;
const plain: LogOptions = { follow: false, timestamps: false };

async function read(options: Partial<LogOptions> = {}, running = async () => false): Promise<string> {
  const parts: Buffer[] = [];
  const signal = new AbortController().signal;
  for await (const part of readLog({ path, signal, running }, { ...plain, ...options })) parts.push(part);
  return Buffer.concat(parts).toString();
}

test("records become the container's own lines; parts of a long line are joined", async () => {
  writeFileSync(path, line(1, "one") + line(2, "long ", "P") + line(2, "line") + line(3, "") + line(4, "ü"));
  assert.equal(await read(), "one\nlong line\n\nü\n");
});

test("timestamps stand before each line, once", async () => {
  writeFileSync(path, line(1, "a", "P") + line(2, "b") + line(3, "c"));
  assert.equal(await read({ timestamps: true }), `${at(1)} ab\n${at(3)} c\n`);
});

test("the last lines are found from the end, also across blocks", async () => {
  writeFileSync(path, Array.from({ length: 5000 }, (_, n) => line(n % 60, `line ${n}`)).join(""));
  assert.equal(await read({ tailLines: 2 }), "line 4998\nline 4999\n");
  assert.equal(await read({ tailLines: 0 }), "");
  const many = await read({ tailLines: 4000 });
  assert.ok(many.startsWith("line 1000\n"), many.slice(0, 40));
  assert.equal((await read({ tailLines: 9999 })).split("\n").length, 5001);
});

test("a line in parts counts as one of the last lines", async () => {
  writeFileSync(path, line(1, "first") + line(2, "sec", "P") + line(2, "ond") + line(3, "third"));
  assert.equal(await read({ tailLines: 2 }), "second\nthird\n");
});

test("time, stream and size limit what is given", async () => {
  writeFileSync(path, line(1, "old") + line(2, "error", "F", "stderr") + line(3, "new"));
  assert.equal(await read({ sinceMs: Date.parse(at(2)) }), "error\nnew\n");
  assert.equal(await read({ stream: "stderr" }), "error\n");
  assert.equal(await read({ limitBytes: 6 }), "old\ner");
});

test("a follower gets what is appended, crosses a rotation, and ends with the container", {
  timeout: 60_000,
}, async () => {
  writeFileSync(path, line(1, "one"));
  let running = true;
  const result: string[] = [];
  const abort = new AbortController();
  const source = { path, signal: abort.signal, running: async () => running };
  const heard = Promise.withResolvers<void>();
  const heardMore = Promise.withResolvers<void>();
  const reading = (async () => {
    for await (const part of readLog(source, { ...plain, follow: true })) {
      result.push(part.toString());
      heard.resolve();
      if (part.toString().includes("two")) heardMore.resolve();
    }
  })();
  await heard.promise;
  appendFileSync(path, line(2, "two"));
  await heardMore.promise;
  renameSync(path, `${path}.old`);
  running = false;
  writeFileSync(path, line(3, "three"));
  appendFileSync(`${path}.old`, "");
  await reading;
  assert.equal(result.join(""), "one\ntwo\nthree\n");
});

test("between two logs a follower waits: what is still written to the old one comes, then the new one", {
  timeout: 60_000,
}, async () => {
  writeFileSync(path, line(1, "one"));
  let running = true;
  let looks = 0;
  const source = {
    path,
    signal: new AbortController().signal,
    running: async () => {
      looks++;
      return running;
    },
  };
  let text = "";
  let heard = () => {};
  const until = (end: string) =>
    new Promise<void>((resolve) => {
      heard = () => text.endsWith(end) && resolve();
      heard();
    });
  const reading = (async () => {
    for await (const part of readLog(source, { ...plain, follow: true })) {
      text += part;
      heard();
    }
  })();
  await until("one\n");
  const before = looks;
  renameSync(path, `${path}.old`);
  await Promise.race([eventually(() => assert.ok(looks > before)), reading]);
  await filesSettled();
  appendFileSync(`${path}.old`, line(2, "two"));
  await Promise.race([until("two\n"), reading]);
  running = false;
  writeFileSync(path, line(3, "three"));
  await reading;
  assert.equal(text, "one\ntwo\nthree\n");
});
