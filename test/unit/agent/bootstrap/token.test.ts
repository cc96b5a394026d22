import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { parseToken } from "../../../../src/agent/bootstrap/token.ts";

const hash = "a".repeat(64);

describe("parseToken (K3s documentation, token formats)", () => {
  const rows: { form: string; text: string; expected: object }[] = [
    {
      form: "a bare password",
      text: "secret",
      expected: { caHash: "", user: "", password: "secret", bootstrap: false },
    },
    {
      form: "a full server token",
      text: `K10${hash}::server:se:cret`,
      expected: { caHash: hash, user: "server", password: "se:cret", bootstrap: false },
    },
    {
      form: "a full bootstrap token",
      text: `K10${hash}::abcdef.0123456789abcdef`,
      expected: { caHash: hash, user: "", password: "abcdef.0123456789abcdef", bootstrap: true },
    },
    {
      form: "a bare bootstrap token",
      text: "abcdef.0123456789abcdef",
      expected: { caHash: "", user: "", password: "abcdef.0123456789abcdef", bootstrap: true },
    },
  ];
  for (const { form, text, expected } of rows) it(form, () => assert.deepEqual(parseToken(text), expected));

  it("refuses a hash of another length, and never repeats the secret in the message", () => {
    assert.throws(
      () => parseToken("K10abc::node:topsecret"),
      (error: Error) => {
        assert.match(error.message, /hash length/);
        assert.doesNotMatch(error.message, /topsecret/);
        return true;
      },
    );
  });

  it("refuses an empty token", () => assert.throws(() => parseToken(""), /token is empty/));
});
