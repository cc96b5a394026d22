import assert from "node:assert/strict";
import { test } from "node:test";
import { findHeld, render } from "../../../tools/conformance.ts";

const known = new Set([
  "[sig-x] A works [Conformance]",
  "[sig-x] A fails [Conformance]",
  '[sig-x] A "q" [Conformance]',
]);
const find = (text: string) => [...findHeld(new Map([["a.test.ts", text]]), known).keys()];

test("what a test file's calls name is held, also through a constant, and nothing that a comment says", () => {
  const text = [
    'const area =\n  "[sig-x] A";',
    "conformance(`$" + "{area} works [Conformance]`, async () => {});",
    "  holds('[sig-x] A \"q\" [Conformance]');",
    '// conformance("[sig-x] A fails [Conformance]", async () => {});',
  ].join("\n");
  assert.deepEqual(find(text), ["[sig-x] A works [Conformance]", '[sig-x] A "q" [Conformance]']);
});

test("names that are none, are held twice, or cannot be read are refused", () => {
  assert.throws(() => find('holds("[sig-x] B");'), /name a conformance test of v1.36: "\[sig-x\] B" is none/);
  const twice = 'holds("[sig-x] A works [Conformance]");\n';
  assert.throws(() => find(twice + twice), /hold a conformance test once/);
  assert.throws(() => find("holds(name);"), /in the call itself/);
});

test("the document says for each test what holds it, or why nothing does", () => {
  const facts = [
    { codename: "[sig-x] A works [Conformance]", since: "v1.9", area: "a" },
    { codename: "[sig-x] A fails [Conformance]", since: "v1.9, v1.18", area: "a", needs: "node" as const },
    { codename: "[sig-y] B works [Conformance]", since: "v1.20", area: "b" },
  ];
  const document = render(facts, new Map([["[sig-x] A works [Conformance]", "test/conformance/a.test.ts"]]));
  const rows = document.split("\n").filter((line) => line.startsWith("| "));
  assert.ok(rows.includes("| A works | v1.9 | holds ([conformance/a.test.ts](../test/conformance/a.test.ts)) |"));
  assert.ok(rows.includes("| A fails | v1.9, v1.18 | needs a node |"));
  assert.ok(rows.includes("| B works | v1.20 | not yet |"));
  assert.ok(rows.includes("| sig-x | 1 | 1 | 0 |"));
});
