/** YAML on the wire. Authority: Go's yaml.v2 as Kubernetes uses it (sigs.k8s.io/yaml), and YAML 1.1 and 1.2. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { parse } from "yaml";
import { parseYaml } from "../../../../src/apiserver/http/yaml-body.ts";
import { printYaml } from "../../../../src/apiserver/http/yaml-text.ts";
import { readYaml } from "../../../../src/apiserver/http/yaml-values.ts";
import { maxJsonDepth } from "../../../../src/machinery/json.ts";

const ofText = (text: string) => parseYaml(Buffer.from(text));

describe("reading", () => {
  test("scalars are those of YAML 1.1, without dates and base 60", () => {
    const rows: [text: string, value: unknown][] = [
      ["yes", true],
      ["Off", false],
      ["~", null],
      ["", null],
      ["0777", 511],
      ["0x1F", 31],
      ["-0b11", -3],
      ["1_000", 1000],
      ["1e3", 1000],
      [".5", 0.5],
      ["09", 9],
      ["1:30", "1:30"],
      ["2001-01-01", "2001-01-01"],
      ["'1'", "1"],
      ["!!str 1", "1"],
      ["9223372036854775807", 2n ** 63n - 1n],
      ["18446744073709551615", 2n ** 64n - 1n],
      ["100000000000000000000", 1e20],
      ["1.5Gi", "1.5Gi"],
    ];
    for (const [text, value] of rows) assert.deepEqual(readYaml(`a: ${text}`), { a: value }, text);
    for (const text of [".nan", ".inf", "-.Inf", "1e999"]) {
      assert.throws(() => readYaml(`a: ${text}`), /json: unsupported value: (NaN|[+-]Inf)$/, text);
    }
  });

  test("aliases and merge keys are followed, also of a name that is given again", () => {
    assert.deepEqual(readYaml("a: &x {p: 1, q: 2}\nb: {<<: *x, q: 3}\nc: &x 5\nd: *x"), {
      a: { p: 1, q: 2 },
      b: { p: 1, q: 3 },
      c: 5,
      d: 5,
    });
    assert.deepEqual(readYaml("a: {<<: [{p: 1}, {p: 2, q: 2}]}"), { a: { p: 1, q: 2 } });
    assert.deepEqual(readYaml("'<<': {p: 1}"), { "<<": { p: 1 } });
    assert.throws(() => readYaml("<<: 1"), /map merge requires map or sequence of maps/);
    assert.throws(() => readYaml("a: &a [*a]"), /^Error: yaml: anchor 'a' value contains itself$/);
    assert.throws(() => readYaml("a: *b"), /^Error: yaml: unknown anchor 'b' referenced$/);
    const many = `a: &x 1\n${Array.from({ length: 150 }, (_, i) => `k${i}: *x`).join("\n")}`;
    assert.equal(Object.keys(readYaml(many) as object).length, 151);
  });

  test("a key that stands twice is told with its line, and the last one wins", () => {
    const repeated: string[] = [];
    const value = readYaml("a: 1\nb:\n  c: 1\n  c: 2\na: 3\n", { onRepeatedKey: (text) => repeated.push(text) });
    assert.deepEqual(value, { a: 3, b: { c: 2 } });
    assert.deepEqual(repeated, ['line 4: key "c" already set in map', 'line 5: key "a" already set in map']);
  });

  test("names of JavaScript are ordinary keys", () => {
    const value = readYaml("__proto__: {polluted: 1}\nconstructor: 2\n<<: {toString: 3}") as Record<string, unknown>;
    assert.deepEqual(Object.keys(value), ["__proto__", "constructor", "toString"]);
    assert.equal(({} as { polluted?: number }).polluted, undefined);
    assert.equal(Object.getPrototypeOf(value), Object.prototype);
  });

  test("bombs of aliases, merges and depth are refused, long ones without holding up the loop", async () => {
    const letters = "abcdefghijklmnop";
    const bomb = (item: (of: string) => string) =>
      [...letters].map((letter, i) => `${letter}: &${letter} ${item(i === 0 ? "" : letters[i - 1]!)}`).join("\n");
    const aliases = bomb((of) => (of ? `[${Array(10).fill(`*${of}`).join(",")}]` : "[x]"));
    const merges = bomb((of) => (of ? `{<<: [${Array(10).fill(`*${of}`).join(",")}]}` : "{x: 1}"));
    for (const text of [aliases, merges]) {
      await assert.rejects(ofText(text), /^Error: yaml: document contains excessive aliasing$/);
    }
    for (const text of ["[".repeat(5000), `x: ${"[".repeat(5000)}${"]".repeat(5000)}`, "- ".repeat(100_000)]) {
      await assert.rejects(ofText(text), /nested deeper|max depth|too complex/, text.slice(0, 10));
    }
    // The loop turns while a long text is read.
    let turns = 0;
    const timer = setInterval(() => turns++, 1);
    await assert.rejects(ofText("!!str ".repeat(50_000)), /^Error: yaml: /);
    clearInterval(timer);
    assert.ok(turns > 5, `${turns} turns`);
  });

  test("JSON is YAML, and nested JSON is refused as JSON", async () => {
    assert.deepEqual(await ofText('{"a": [1, 2]}'), { a: [1, 2] });
    assert.deepEqual(await ofText("{a: [1, x]}"), { a: [1, "x"] });
    await assert.rejects(ofText(`${"[".repeat(maxJsonDepth + 1)}${"]".repeat(maxJsonDepth + 1)}`), /nested deeper/);
  });

  test("arbitrary text ends in a value or in an error of YAML", () => {
    const pieces = fc.constantFrom(..."-?:,[]{}#&*!|>'\"%@`\n \tab01~<=.\0é");
    fc.assert(
      fc.property(fc.string({ unit: pieces, maxLength: 60 }), (text) => {
        try {
          readYaml(text);
        } catch (error) {
          assert.match((error as Error).message, /^(yaml|json): /);
        }
      }),
      { numRuns: 500 },
    );
  });
});

describe("printing", () => {
  test("as Go does it: sorted keys, lists as deep as their key, text in blocks", () => {
    const value = { kind: "X", apiVersion: "v1", list: [{ b: 1, a: [] }, [1, [2]], "on"], text: "a\n b\n", none: {} };
    assert.equal(
      printYaml(value),
      'apiVersion: v1\nkind: X\nlist:\n- a: []\n  b: 1\n- - 1\n  - - 2\n- "on"\nnone: {}\ntext: |\n  a\n   b\n',
    );
  });

  test("what is printed reads as the same value, here and by another parser of 1.1 and 1.2", () => {
    const word = fc.oneof(
      fc.string({ maxLength: 12 }),
      fc.string({ unit: fc.constantFrom(..." \n\t-:#'\"{}[]~!&*.=<ayn019_é\u2028\u{1f4a9}"), maxLength: 8 }),
      fc.constantFrom(
        "yes",
        "null",
        "0x1",
        "1e3",
        "2001-01-01",
        "<<",
        "=",
        "---",
        "__proto__",
        "1:30",
        "|",
        "a".repeat(200),
      ),
    );
    const { value } = fc.letrec((tie) => ({
      value: fc.oneof(
        { depthSize: "small" },
        fc.oneof(word, fc.integer(), fc.boolean(), fc.constant(null)),
        fc.array(tie("value"), { maxLength: 4 }),
        fc.dictionary(word, tie("value"), { maxKeys: 4, noNullPrototype: true }),
      ),
    }));
    fc.assert(
      fc.property(value, (original) => {
        const text = printYaml(original);
        assert.deepEqual(readYaml(text), original, text);
        if (text.includes("__proto__")) return;
        assert.deepEqual(parse(text, { version: "1.2" }), original, text);
        assert.deepEqual(parse(text, { version: "1.1", merge: false }), original, text);
      }),
      { numRuns: 400 },
    );
  });

  test("the deepest value that is read is printed", () => {
    let value: unknown = 1;
    for (let depth = 0; depth < maxJsonDepth; depth++) value = depth % 2 ? [value] : { a: value };
    assert.ok(printYaml(value).length > maxJsonDepth);
  });
});
