import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { decodeContinue, encodeContinue } from "../../../../src/apiserver/storage/continue-token.ts";
import { StatusError } from "../../../../src/machinery/status.ts";

const keys = fc.stringMatching(/^[a-z0-9]([a-z0-9./:-]{0,20})$/).filter((key) => !key.includes(".."));

test("a token says where the list goes on", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }), keys, (revision, after) => {
      assert.deepEqual(decodeContinue(encodeContinue({ revision, after })), { revision, after });
    }),
  );
});

test("anything else is a 400 with Kubernetes' text, not a place in somebody else's keys", () => {
  const base64 = (value: unknown) => Buffer.from(JSON.stringify(value) ?? "").toString("base64url");
  const near = fc.record(
    {
      v: fc.constantFrom("meta.k8s.io/v1", "meta.k8s.io/v2", 1),
      rv: fc.oneof(fc.integer(), fc.constantFrom("5", null, 1e300)),
      start: fc.oneof(fc.string(), fc.constantFrom("../secrets/x\0", "a/../../b\0", "\0", "", null, 5)),
    },
    { requiredKeys: [] },
  );
  const tokens = fc.oneof(
    fc.string(),
    near.map(base64),
    fc.json().map((text) => base64(JSON.parse(text))),
  );
  fc.assert(
    fc.property(tokens, (token) => {
      try {
        const { revision, after } = decodeContinue(token);
        assert.ok(Number.isSafeInteger(revision) && revision > 0 && after.length > 0 && !after.includes(".."), after);
      } catch (error) {
        assert.ok(error instanceof StatusError && error.code === 400, String(error));
        assert.match(error.message, /^continue key is not valid: /);
      }
    }),
    { numRuns: 500 },
  );
});
