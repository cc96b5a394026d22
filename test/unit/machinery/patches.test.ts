import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { deepEqual } from "../../../src/machinery/equality.ts";
import { applyJsonPatch } from "../../../src/machinery/json-patch.ts";
import { applyMergePatch, createMergePatch } from "../../../src/machinery/merge-patch.ts";
import { applyStrategicMergePatch } from "../../../src/machinery/strategic-merge.ts";
import { podSchema } from "./pod-schema.ts";

test("JSON Patch follows RFC 6902's examples", () => {
  for (const [document, operations, expected] of [
    [{ foo: "bar" }, [{ op: "add", path: "/baz", value: "qux" }], { foo: "bar", baz: "qux" }],
    [{ foo: ["bar", "baz"] }, [{ op: "add", path: "/foo/1", value: "qux" }], { foo: ["bar", "qux", "baz"] }],
    [{ baz: "qux", foo: "bar" }, [{ op: "remove", path: "/baz" }], { foo: "bar" }],
    [{ foo: ["bar", "qux", "baz"] }, [{ op: "remove", path: "/foo/1" }], { foo: ["bar", "baz"] }],
    [{ baz: "qux" }, [{ op: "replace", path: "/baz", value: "boo" }], { baz: "boo" }],
    [{ a: { b: 1 }, c: {} }, [{ op: "move", from: "/a/b", path: "/c/d" }], { a: {}, c: { d: 1 } }],
    [{ a: ["x"] }, [{ op: "add", path: "/a/-", value: ["y"] }], { a: ["x", ["y"]] }],
    [{ a: { "m/n~": 1 } }, [{ op: "test", path: "/a/m~1n~0", value: 1 }], { a: { "m/n~": 1 } }],
    [{ a: 1 }, [{ op: "copy", from: "/a", path: "/b" }], { a: 1, b: 1 }],
    [{ a: [1, 2] }, [{ op: "remove", path: "/a/-1" }], { a: [1] }],
    [{ a: 1 }, [{ op: "replace", path: "", value: { b: 2 } }], { b: 2 }],
  ] as const) {
    const before = structuredClone(document);
    assert.deepEqual(applyJsonPatch(document, operations), expected);
    assert.deepEqual(document, before, "the document itself stays as it was");
  }
});

test("a JSON Patch that does not apply is a 422, a malformed one a 400", () => {
  const code = (operations: unknown) => {
    try {
      applyJsonPatch({ a: [1], b: null }, operations);
    } catch (error) {
      return (error as { code: number }).code;
    }
    return 200;
  };
  assert.equal(code([{ op: "test", path: "/a", value: 2 }]), 422);
  assert.equal(code([{ op: "remove", path: "/x" }]), 422);
  // As kube-apiserver has it: the last key need not be there.
  assert.equal(code([{ op: "replace", path: "/x", value: 1 }]), 200);
  assert.equal(code([{ op: "replace", path: "/x/y", value: 1 }]), 422);
  assert.equal(code([{ op: "replace", path: "/a/1", value: 1 }]), 422);
  assert.equal(code([{ op: "add", path: "/x/y", value: 1 }]), 422);
  assert.equal(code([{ op: "add", path: "/a/5", value: 1 }]), 422);
  assert.equal(code([{ op: "add", path: "/a/x", value: 1 }]), 422);
  assert.equal(code([{ op: "frob", path: "/a" }]), 422);
  assert.equal(code([{ op: "test", path: "/constructor", value: 1 }]), 422);
  assert.equal(code({}), 400);
  assert.equal(code(Array(10_001).fill({ op: "test", path: "/a/0", value: 1 })), 413);
});

test("a JSON Patch that does not apply says why as kube-apiserver's library does", () => {
  const why = (...operations: object[]) => {
    try {
      applyJsonPatch({ a: [1, 2], b: null, c: { d: 1 } }, operations);
    } catch (error) {
      return (error as Error).message.replace(/^the server rejected our request due to an error in our request: /, "");
    }
    return undefined;
  };
  for (const [operation, expected] of [
    [{ op: "add", path: "/x/y", value: 1 }, 'add operation does not apply: doc is missing path: "/x/y": missing value'],
    [{ op: "add", path: "/b/y", value: 1 }, 'add operation does not apply: doc is missing path: "/b/y": missing value'],
    [
      { op: "add", path: "/a/9", value: 1 },
      "error in add for path: '/a/9': Unable to access invalid index: 9: invalid index referenced",
    ],
    [
      { op: "add", path: "/a/x", value: 1 },
      `error in add for path: '/a/x': value was not a proper array index: 'x': strconv.Atoi: parsing "x": invalid syntax`,
    ],
    [
      { op: "remove", path: "/x" },
      "error in remove for path: '/x': Unable to remove nonexistent key: x: missing value",
    ],
    [
      { op: "replace", path: "/a/-", value: 1 },
      "replace operation does not apply: doc is missing key: /a/-: missing value",
    ],
    [{ op: "test", path: "/c/d", value: 2 }, "testing value /c/d failed: test failed"],
    [
      { op: "move", from: "/c", path: "/c/d" },
      "move operation does not apply: doc is missing destination path: /c/d: missing value",
    ],
    [
      { op: "copy", from: "/x/y", path: "/z" },
      "copy operation does not apply: doc is missing from path: /x/y: missing value",
    ],
    [{ op: "move", path: "/a" }, "move operation failed to decode from: operation, missing from field: missing value"],
    [{ op: "test" }, "test operation failed to decode path: operation missing path field: missing value"],
    [{ op: "add", path: "/z" }, undefined],
    [{ op: "copy", from: "/x", path: "/z" }, undefined],
  ] as const) {
    assert.equal(why(operation), expected, JSON.stringify(operation));
  }
});

test("copies that double the document are stopped", () => {
  const document = { a: { b: "x".repeat(1000) } };
  const operations = Array.from({ length: 40 }, (_, i) => ({ op: "copy", from: "/a", path: `/a/c${i}` }));
  assert.throws(() => applyJsonPatch(document, operations), { code: 413 });
});

test("merge patch follows RFC 7386's examples", () => {
  for (const [document, patch, expected] of [
    [{ a: "b" }, { a: "c" }, { a: "c" }],
    [{ a: "b" }, { b: "c" }, { a: "b", b: "c" }],
    [{ a: "b", b: "c" }, { a: null }, { b: "c" }],
    [{ a: ["b"] }, { a: "c" }, { a: "c" }],
    [{ a: { b: "c" } }, { a: { b: "d", c: null } }, { a: { b: "d" } }],
    [{ a: [{ b: "c" }] }, { a: [1] }, { a: [1] }],
    [["a"], ["c"], ["c"]],
    [{ a: "foo" }, null, null],
    [{ e: null }, { a: 1 }, { e: null, a: 1 }],
    [[1, 2], { a: "b", c: null }, { a: "b" }],
    [{}, { a: { bb: { ccc: null } } }, { a: { bb: {} } }],
  ] as const) {
    assert.deepEqual(applyMergePatch(document, patch), expected);
  }
});

test("a created merge patch leads from one object to the other", () => {
  const withoutNulls = fc.letrec<{ value: unknown }>((tie) => ({
    value: fc.oneof(
      { maxDepth: 3 },
      fc.integer(),
      fc.string(),
      fc.array(fc.integer(), { minLength: 1, maxLength: 3 }),
      fc.dictionary(fc.constantFrom("a", "b", "c", "__proto__"), tie("value"), { maxKeys: 3, noNullPrototype: true }),
    ),
  })).value;
  const document = fc.dictionary(fc.constantFrom("a", "b", "c"), withoutNulls, { noNullPrototype: true });
  fc.assert(
    fc.property(document, document, (from, to) => {
      assert.deepEqual(applyMergePatch(from, createMergePatch(from, to, deepEqual)), to);
    }),
  );
});

const pod = (spec: object, metadata: object = {}) => ({ metadata, spec });
const patched = (document: unknown, patch: unknown) =>
  applyStrategicMergePatch(podSchema, document, patch) as ReturnType<typeof pod> & { spec: Record<string, unknown> };

test("lists with a merge key merge element by element, others are replaced", () => {
  const document = pod({
    containers: [
      { name: "a", image: "1", args: ["x"], env: [{ name: "K", value: "v" }] },
      { name: "b", image: "1" },
    ],
    tolerations: [{ key: "x" }],
  });
  assert.deepEqual(
    patched(document, {
      spec: {
        containers: [{ name: "b", image: "2" }, { name: "c" }, { name: "a", args: ["y"], env: [{ name: "L" }] }],
        tolerations: [{ key: "y" }],
      },
    }),
    pod({
      containers: [
        { name: "b", image: "2" },
        { name: "c" },
        { name: "a", image: "1", args: ["y"], env: [{ name: "L" }, { name: "K", value: "v" }] },
      ],
      tolerations: [{ key: "y" }],
    }),
  );
});

test("elements that only the server has keep their place", () => {
  const names = (value: unknown) =>
    (value as { spec: { containers: { name: string }[] } }).spec.containers.map(({ name }) => name).join("");
  const document = pod({ containers: [{ name: "a" }, { name: "b" }, { name: "c" }] });
  assert.equal(names(patched(document, { spec: { containers: [{ name: "d" }] } })), "dabc");
  assert.equal(
    names(
      patched(document, {
        spec: {
          "$setElementOrder/containers": [{ name: "d" }, { name: "b" }, { name: "a" }],
          containers: [{ name: "d" }],
        },
      }),
    ),
    "dbac",
  );
  assert.equal(
    names(
      patched(document, { spec: { "$setElementOrder/containers": [{ name: "c" }, { name: "b" }, { name: "a" }] } }),
    ),
    "cba",
  );
  assert.throws(
    () =>
      patched(document, {
        spec: {
          "$setElementOrder/containers": [{ name: "b" }, { name: "a" }],
          containers: [{ name: "a" }, { name: "b" }],
        },
      }),
    { code: 422 },
  );
});

test("directives delete, replace and retain", () => {
  const document = pod(
    {
      containers: [{ name: "a", securityContext: { runAsUser: 1 } }, { name: "b" }],
      strategy: { type: "RollingUpdate", rollingUpdate: { max: "1" } },
    },
    { finalizers: ["x", "y"], labels: { a: "1" } },
  );
  assert.deepEqual(
    patched(document, {
      metadata: {
        "$deleteFromPrimitiveList/finalizers": ["x"],
        finalizers: ["z"],
        labels: { $patch: "replace", b: "2" },
      },
      spec: {
        containers: [
          { name: "b", $patch: "delete" },
          { name: "a", securityContext: { $patch: "delete" } },
        ],
        strategy: { $retainKeys: ["type"], type: "Recreate" },
      },
    }),
    pod(
      { containers: [{ name: "a", securityContext: {} }], strategy: { type: "Recreate" } },
      { finalizers: ["z", "y"], labels: { b: "2" } },
    ),
  );
  assert.deepEqual(
    patched(document, { spec: { containers: [{ $patch: "replace" }, { name: "z" }] } }).spec.containers,
    [{ name: "z" }],
  );
  assert.throws(() => patched(document, { spec: { $patch: "frob" } }), { code: 400 });
  assert.throws(
    () => patched(document, { spec: { containers: [{ image: "x" }] } }),
    /does not contain declared merge key: name/,
  );
});

test("nulls delete what is there and add nothing where nothing is", () => {
  assert.deepEqual(patched(pod({ hostname: "x", containers: [] }), { spec: { hostname: null, nodeSelector: null } }), {
    metadata: {},
    spec: { containers: [] },
  });
  assert.deepEqual(
    patched(pod({}), { spec: { containers: [{ name: "a", image: null }] } }),
    pod({ containers: [{ name: "a" }] }),
  );
});

test("a strategic merge with the document itself changes nothing", () => {
  const container = fc.record({ image: fc.string(), args: fc.array(fc.string(), { maxLength: 2 }) });
  const document = fc
    .tuple(fc.dictionary(fc.constantFrom("a", "b", "c"), container), fc.uniqueArray(fc.string(), { maxLength: 3 }))
    .map(([containers, finalizers]) =>
      pod({ containers: Object.entries(containers).map(([name, rest]) => ({ name, ...rest })) }, { finalizers }),
    );
  fc.assert(
    fc.property(document, document, (one, other) => {
      assert.deepEqual(patched(one, one), one);
      const twice = patched(patched(one, other), other);
      assert.deepEqual(twice, patched(one, other), "patching twice is patching once");
    }),
  );
});
