/** Small values against models of their own: JSON, quantities, selectors, names. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { parseFieldSelector } from "../../../src/machinery/field-selector.ts";
import { JsonError, parseJson, stringifyJson } from "../../../src/machinery/json.ts";
import { fromLabelSelector, parseLabelSelector } from "../../../src/machinery/label-selector.ts";
import {
  dns1035Label,
  dns1123Label,
  dns1123Subdomain,
  labelValue,
  qualifiedName,
} from "../../../src/machinery/names.ts";
import { parseQuantity, QuantityError } from "../../../src/machinery/quantity.ts";
import { StatusError } from "../../../src/machinery/status.ts";

describe("JSON", () => {
  test("what is JSON for JavaScript is read alike, and all else is a JsonError", () => {
    const text = fc.oneof(
      fc.json(),
      fc.string({ unit: fc.constantFrom(...'{}[]",:\\u019efalstrn- \n\ud83d'), maxLength: 20 }),
    );
    fc.assert(
      fc.property(text, (one) => {
        let expected: unknown;
        try {
          expected = JSON.parse(one);
        } catch {
          assert.throws(() => parseJson(one), JsonError);
          return;
        }
        const printed = (value: unknown) => JSON.stringify(value).toWellFormed();
        const read = parseJson(one);
        if (!stringifyJson(read).includes("\ufffd") && !/\d{16}/.test(one))
          assert.equal(printed(read), printed(expected));
      }),
      { numRuns: 500 },
    );
  });

  test("every whole number of 64 bits comes back, alone and inside", () => {
    fc.assert(
      fc.property(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 64n - 1n }), (value) => {
        assert.equal(stringifyJson(parseJson(`{"a":[${value}]}`)), `{"a":[${value}]}`);
      }),
    );
  });

  test("half characters become U+FFFD, in keys as well, and what is stored is what was read", () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom("\\ud800", "\\udc00", "\\uDBFF", "a", "\\u0061", "\\\\ud800")), (parts) => {
        const text = `{"${parts.join("")}":"${parts.join("")}"}`;
        const value = parseJson(text) as Record<string, string>;
        const [[key, inner] = ["", ""]] = Object.entries(value);
        assert.equal(key.isWellFormed() && inner.isWellFormed(), true);
        assert.deepEqual(parseJson(Buffer.from(stringifyJson(value))), value);
      }),
    );
  });

  test("keys that JavaScript inherits are data", () => {
    const names = fc.constantFrom("__proto__", "constructor", "toString", "hasOwnProperty", "valueOf", "a");
    fc.assert(
      fc.property(fc.dictionary(names, fc.dictionary(names, fc.integer())), (value) => {
        const read = parseJson(JSON.stringify(value)) as object;
        assert.deepEqual(Object.keys(read), Object.keys(value));
        assert.equal(Object.getPrototypeOf(read), Object.prototype);
      }),
    );
  });
});

describe("quantities", () => {
  const suffixes: Readonly<Record<string, readonly [bigint, bigint]>> = {
    n: [1n, 10n ** 9n],
    u: [1n, 10n ** 6n],
    m: [1n, 1000n],
    "": [1n, 1n],
    k: [1000n, 1n],
    M: [10n ** 6n, 1n],
    G: [10n ** 9n, 1n],
    T: [10n ** 12n, 1n],
    P: [10n ** 15n, 1n],
    E: [10n ** 18n, 1n],
    Ki: [2n ** 10n, 1n],
    Mi: [2n ** 20n, 1n],
    Gi: [2n ** 30n, 1n],
    Ti: [2n ** 40n, 1n],
    e3: [1000n, 1n],
    "E-2": [1n, 100n],
  };
  const one = 10n ** 9n;
  const up = (value: bigint, by: bigint) => (value % by === 0n ? value / by : value / by + 1n);

  const quantities = fc
    .tuple(
      fc.constantFrom("", "-", "+"),
      fc.bigInt({ min: 0n, max: 10n ** 12n }),
      fc.stringMatching(/^[0-9]{0,11}$/),
      fc.constantFrom(...Object.keys(suffixes)),
    )
    .map(([sign, whole, fraction, suffix]) => {
      const [times, per] = suffixes[suffix]!;
      const digits = BigInt(whole + fraction);
      // Exact billionths, rounded up in size, of what the text says.
      let nano = up(digits * times * one, per * 10n ** BigInt(fraction.length));
      if (suffix.endsWith("i") && nano > (2n ** 63n - 1n) * one) nano = (2n ** 63n - 1n) * one;
      const text = `${sign}${whole}${fraction && `.${fraction}`}${suffix}`;
      return { text, nano: sign === "-" ? -nano : nano };
    });

  test("are what their text says, to the billionth; sums and order are those of whole numbers", () => {
    fc.assert(
      fc.property(quantities, quantities, (a, b) => {
        const [x, y] = [parseQuantity(a.text), parseQuantity(b.text)];
        assert.equal(x.nano, a.nano, a.text);
        assert.equal(x.add(y).nano, a.nano + b.nano);
        assert.equal(x.sub(y).nano, a.nano - b.nano);
        assert.equal(x.compare(y), a.nano < b.nano ? -1 : a.nano > b.nano ? 1 : 0);
        assert.equal(x.toBigInt(), a.nano < 0n ? -up(-a.nano, one) : up(a.nano, one));
      }),
      { numRuns: 400 },
    );
  });

  test("sums print in canonical form: whole, with the largest suffix that loses nothing", () => {
    fc.assert(
      fc.property(quantities, quantities, (a, b) => {
        const sum = parseQuantity(a.text).add(parseQuantity(b.text));
        const text = sum.toString();
        // Binary notation is capped where it is read.
        const isCapped = text.endsWith("i") || (/[0-9]$/.test(text) && sum.format === "BinarySI");
        if (!isCapped) assert.equal(parseQuantity(text).nano, sum.nano);
        assert.match(text, /^-?\d+([numkMGTPE]|[KMGTPE]i|e-?\d+)?$/);
        const units = sum.nano / one;
        const isBinary = sum.format === "BinarySI" && sum.nano % one === 0n && (units >= 1024n || units <= -1024n);
        const mantissa = /^-?\d+/.exec(text)![0];
        // Steps of 1024 leave thousands where they are.
        if (isBinary) assert.ok(BigInt(mantissa) % 1024n !== 0n || text.endsWith("Ei"), text);
        else assert.ok(!mantissa.endsWith("000") || text.endsWith("E"), text);
      }),
      { numRuns: 400 },
    );
  });

  test("any text is a quantity or a QuantityError", () => {
    const text = fc.string({ unit: fc.constantFrom(..."0123456789+-.eEinumkKMGTP "), maxLength: 12 });
    fc.assert(
      fc.property(text, (one) => {
        try {
          const read = parseQuantity(one);
          assert.equal(parseQuantity(read.toString()).nano, read.nano, one);
        } catch (error) {
          assert.ok(error instanceof QuantityError, String(error));
        }
      }),
      { numRuns: 1000 },
    );
  });
});

describe("selectors", () => {
  const word = fc.constantFrom("a", "b", "ab", "x.y/z", "1", "constructor", "toString");
  const value = fc.constantFrom("", "a", "b", "1", "07", "x-y");
  const labels = fc.dictionary(word, value, { maxKeys: 4 });

  test("a LabelSelector matches what its sentences say", () => {
    const expression = fc.oneof(
      fc.record({ key: word, operator: fc.constantFrom("In", "NotIn"), values: fc.array(value, { minLength: 1 }) }),
      fc.record({ key: word, operator: fc.constantFrom("Exists", "DoesNotExist") }),
    );
    const selector = fc.record({ matchLabels: labels, matchExpressions: fc.array(expression, { maxLength: 3 }) });
    fc.assert(
      fc.property(selector, labels, (one, of) => {
        const has = (key: string) => Object.hasOwn(of, key);
        const expected =
          Object.entries(one.matchLabels).every(([key, wanted]) => has(key) && of[key] === wanted) &&
          one.matchExpressions.every((sentence) => {
            const listed = "values" in sentence && has(sentence.key) && sentence.values.includes(of[sentence.key]!);
            if (sentence.operator === "In") return listed;
            if (sentence.operator === "NotIn") return !listed;
            return has(sentence.key) === (sentence.operator === "Exists");
          });
        const read = fromLabelSelector(one);
        assert.equal(read.matches(of), expected);
        assert.equal(parseLabelSelector(read.toString()).matches(of), expected, read.toString());
      }),
      { numRuns: 400 },
    );
  });

  test("any text is a label selector that prints as itself, or a 400", () => {
    const text = fc
      .array(
        fc.constantFrom("a", "b", "in", "notin", "(", ")", ",", "=", "==", "!=", "!", ">", "<", "1", " ", "é", "-"),
      )
      .map((parts) => parts.join(""));
    fc.assert(
      fc.property(text, labels, (one, of) => {
        try {
          const read = parseLabelSelector(one);
          const again = parseLabelSelector(read.toString());
          assert.equal(again.toString(), read.toString());
          assert.equal(again.matches(of), read.matches(of));
        } catch (error) {
          assert.ok(error instanceof StatusError && error.code === 400, String(error));
        }
      }),
      { numRuns: 1000 },
    );
  });

  test("a field selector matches what its terms say, however its values are escaped, and prints as it reads", () => {
    const field = fc.constantFrom("metadata.name", "spec.nodeName", "a");
    const text = fc.string({ unit: fc.constantFrom("a", "\\", ",", "=", "!", " "), maxLength: 5 });
    const term = fc.record({ field, operator: fc.constantFrom("=", "==", "!="), value: text });
    const fields = fc.dictionary(field, text);
    fc.assert(
      fc.property(fc.array(term, { maxLength: 3 }), fields, (terms, of) => {
        const escaped = (value: string) => value.replace(/[\\,=]/g, "\\$&");
        const written = terms.map(({ field, operator, value }) => `${field}${operator}${escaped(value)}`).join(",");
        const expected = terms.every(
          ({ field, operator, value }) => ((of[field] ?? "") === value) === (operator !== "!="),
        );
        const read = parseFieldSelector(written);
        assert.equal(
          read.matches((name) => of[name]),
          expected,
          written,
        );
        assert.equal(
          parseFieldSelector(read.toString()).matches((name) => of[name]),
          expected,
        );
      }),
      { numRuns: 400 },
    );
  });

  test("any text is a field selector or a 400", () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom(..."ab.,=!\\ "), maxLength: 10 }), (text) => {
        try {
          parseFieldSelector(text).matches(() => "a");
        } catch (error) {
          assert.ok(error instanceof StatusError && error.code === 400, String(error));
        }
      }),
      { numRuns: 500 },
    );
  });
});

describe("names", () => {
  const text = fc.oneof(
    fc.string({ unit: fc.constantFrom(..."ab1-._/A\n é"), maxLength: 6 }),
    fc
      .tuple(fc.constantFrom("a", "a.", "a-", "A"), fc.integer({ min: 1, max: 300 }))
      .map(([part, n]) => part.repeat(n)),
  );
  const isAlphanumeric = (character: string | undefined, upper = false) =>
    character !== undefined && (upper ? /^[A-Za-z0-9]$/ : /^[a-z0-9]$/).test(character);
  /** Letters and digits at both ends, and between them what is allowed. */
  const framed = (value: string, inner: string, upper = false) =>
    isAlphanumeric(value[0], upper) &&
    isAlphanumeric(value.at(-1), upper) &&
    [...value].every((character) => isAlphanumeric(character, upper) || inner.includes(character));
  const isLabel = (value: string) => value.length <= 63 && framed(value, "-");
  const isSubdomain = (value: string) =>
    value.length <= 253 && value.split(".").every((part) => part !== "" && framed(part, "-"));
  const isLabelPart = (value: string) => value.length <= 63 && framed(value, "-_.", true);

  test("are accepted exactly when each rule of DNS and of labels holds", () => {
    fc.assert(
      fc.property(text, (one) => {
        const accepts = (messages: string[]) => messages.length === 0;
        assert.equal(accepts(dns1123Label(one)), isLabel(one), `label ${one}`);
        assert.equal(accepts(dns1123Subdomain(one)), isSubdomain(one), `subdomain ${one}`);
        assert.equal(accepts(dns1035Label(one)), isLabel(one) && /^[a-z]/.test(one), `1035 ${one}`);
        assert.equal(accepts(labelValue(one)), one === "" || isLabelPart(one), `value ${one}`);
        const parts = one.split("/");
        const isQualified =
          parts.length === 1
            ? isLabelPart(one)
            : parts.length === 2 && isSubdomain(parts[0]!) && isLabelPart(parts[1]!);
        assert.equal(accepts(qualifiedName(one)), isQualified, `key ${one}`);
      }),
      { numRuns: 1000 },
    );
  });
});
