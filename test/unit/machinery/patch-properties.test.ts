/** Patches against models of their specifications: RFC 7386, RFC 6902, and Kubernetes' strategic merge patch. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { cloneJson, setKey } from "../../../src/machinery/json.ts";
import { applyJsonPatch } from "../../../src/machinery/json-patch.ts";
import { applyMergePatch } from "../../../src/machinery/merge-patch.ts";
import { StatusError } from "../../../src/machinery/status.ts";
import { applyStrategicMergePatch } from "../../../src/machinery/strategic-merge.ts";
import { podSchema } from "./pod-schema.ts";

type Json = Record<string, unknown>;
const isObject = (value: unknown): value is Json =>
  typeof value === "object" && value !== null && !Array.isArray(value);

const keys = fc.constantFrom("a", "b", "c", "d/e", "~", "", "__proto__", "constructor", "0");
const { json } = fc.letrec<{ json: unknown }>((tie) => ({
  json: fc.oneof(
    { depthSize: "small" },
    fc.oneof(fc.integer(), fc.string({ maxLength: 3 }), fc.boolean(), fc.constant(null)),
    fc.array(tie("json"), { maxLength: 3 }),
    fc.dictionary(keys, tie("json"), { maxKeys: 3, noNullPrototype: true }),
  ),
}));
const documents = fc.dictionary(keys, json, { maxKeys: 4, noNullPrototype: true });

/** Runs it; a refusal must be a 4xx, and neither document nor patch may change. */
function outcome(run: () => unknown, ...inputs: unknown[]): unknown {
  const before = JSON.stringify(inputs);
  try {
    return run();
  } catch (error) {
    assert.ok(error instanceof StatusError && error.code >= 400 && error.code < 500, String(error));
    return undefined;
  } finally {
    assert.equal(JSON.stringify(inputs), before, "inputs stay as they are");
    assert.equal(({} as { polluted?: unknown }).polluted, undefined);
  }
}

describe("JSON merge patch", () => {
  /** The pseudo code of RFC 7386, section 2. */
  function model(target: unknown, patch: unknown): unknown {
    if (!isObject(patch)) return patch;
    const result = new Map(Object.entries(isObject(target) ? target : {}));
    for (const [name, value] of Object.entries(patch)) {
      if (value === null) result.delete(name);
      else result.set(name, model(result.get(name), value));
    }
    return Object.fromEntries(result);
  }

  test("does what the RFC's pseudo code does, and twice is once", () => {
    fc.assert(
      fc.property(json, json, (document, patch) => {
        const patched = outcome(() => applyMergePatch(document, patch), document, patch);
        assert.deepEqual(patched, model(document, patch));
        assert.deepEqual(applyMergePatch(patched, patch), patched);
      }),
      { numRuns: 300 },
    );
  });
});

describe("JSON Patch", () => {
  const escaped = (key: string) => key.replaceAll("~", "~0").replaceAll("/", "~1");

  /** Operations that lead from one value to the other. */
  function difference(from: unknown, to: unknown, path: string): Json[] {
    if (JSON.stringify(from) === JSON.stringify(to)) return [];
    if (Array.isArray(from) && Array.isArray(to)) {
      const common = Math.min(from.length, to.length);
      return [
        ...to.slice(0, common).flatMap((value, i) => difference(from[i], value, `${path}/${i}`)),
        ...from.slice(common).map(() => ({ op: "remove", path: `${path}/${common}` })),
        ...to.slice(common).map((value) => ({ op: "add", path: `${path}/-`, value })),
      ];
    }
    if (!isObject(from) || !isObject(to)) return [{ op: "replace", path, value: to }];
    return [
      ...Object.keys(from)
        .filter((key) => !Object.hasOwn(to, key))
        .map((key) => ({ op: "remove", path: `${path}/${escaped(key)}` })),
      ...Object.keys(to).flatMap((key) =>
        Object.hasOwn(from, key)
          ? difference(from[key], to[key], `${path}/${escaped(key)}`)
          : [{ op: "add", path: `${path}/${escaped(key)}`, value: to[key] }],
      ),
    ];
  }

  test("the operations of a difference lead from one document to the other, and tests of the result hold", () => {
    // Null has no value of its own for this implementation's "missing", as for Kubernetes'.
    const { solid } = fc.letrec<{ solid: unknown }>((tie) => ({
      solid: fc.oneof(
        { depthSize: "small" },
        fc.oneof(fc.integer(), fc.string({ maxLength: 3 }), fc.boolean()),
        fc.array(tie("solid"), { maxLength: 3 }),
        fc.dictionary(keys, tie("solid"), { maxKeys: 3, noNullPrototype: true }),
      ),
    }));
    fc.assert(
      fc.property(solid, solid, (from, to) => {
        const patch = difference(from, to, "");
        const patched = outcome(() => applyJsonPatch(from, patch), from, patch);
        assert.deepEqual(patched, to);
        assert.deepEqual(applyJsonPatch(patched, [{ op: "test", path: "", value: to }]), to);
      }),
      { numRuns: 300 },
    );
  });

  test("a move is a copy and a removal", () => {
    fc.assert(
      fc.property(documents, keys, keys, (document, from, to) => {
        fc.pre(Object.hasOwn(document, from) && from !== to && document[from] !== undefined);
        const [source, target] = [`/${escaped(from)}`, `/${escaped(to)}`];
        const copied = applyJsonPatch(document, [{ op: "copy", from: source, path: target }]) as Json;
        const moved = applyJsonPatch(document, [{ op: "move", from: source, path: target }]);
        assert.deepEqual(copied[to], document[from]);
        assert.deepEqual(moved, applyJsonPatch(copied, [{ op: "remove", path: source }]));
      }),
      { numRuns: 200 },
    );
  });

  test("any operations end in a document or a 4xx, and change nothing on the way", () => {
    const pointer = fc
      .array(fc.oneof(keys.map(escaped), fc.constantFrom("-", "-1", "1", "01", "x", "~2")), { maxLength: 3 })
      .map((parts) => parts.map((part) => `/${part}`).join(""));
    const operation = fc.record(
      {
        op: fc.constantFrom("add", "remove", "replace", "move", "copy", "test", "x"),
        path: fc.oneof(pointer, fc.constantFrom("a", 1, null)),
        from: pointer,
        value: json,
      },
      { requiredKeys: ["op"], noNullPrototype: true },
    );
    const patches = fc.oneof({ weight: 9, arbitrary: fc.array(operation, { maxLength: 5 }) }, json);
    fc.assert(
      fc.property(documents, patches, (document, patch) => {
        outcome(() => applyJsonPatch(document, patch), document, patch);
      }),
      { numRuns: 500 },
    );
  });
});

describe("strategic merge patch", () => {
  const env = fc.record({ name: fc.constantFrom("K", "L", "M"), value: fc.string({ maxLength: 2 }) });
  const container = fc.record(
    {
      image: fc.constantFrom("one", "two"),
      args: fc.array(fc.constantFrom("x", "y"), { minLength: 1, maxLength: 2 }),
      env: fc.uniqueArray(env, { selector: ({ name }) => name, minLength: 1, maxLength: 3 }),
    },
    { requiredKeys: ["image"], noNullPrototype: true },
  );
  const containers = fc
    .uniqueArray(fc.tuple(fc.constantFrom("a", "b", "c", "d"), container), { selector: ([name]) => name, maxLength: 4 })
    .map((list) => list.map(([name, rest]) => ({ name, ...rest })));
  const labels = fc.dictionary(fc.constantFrom("app", "tier", "__proto__"), fc.constantFrom("1", "2"), {
    noNullPrototype: true,
  });
  const pods = fc.record(
    {
      metadata: fc.record({
        labels,
        finalizers: fc.uniqueArray(fc.constantFrom("p", "q", "r"), { maxLength: 3 }),
      }),
      spec: fc.record({ containers, hostname: fc.option(fc.constantFrom("h", "i"), { nil: undefined }) }),
    },
    { noNullPrototype: true },
  );
  type Pod = { metadata: Json; spec: Json };
  const clean = (pod: unknown) => JSON.parse(JSON.stringify(pod)) as Pod;

  /** A patch as kubectl makes it: removed keys as null, removed elements by directive, and the order of lists. */
  function difference(from: Json, to: Json, merged: Readonly<Record<string, string>>): Json {
    const patch: Json = {};
    for (const key of Object.keys(from)) if (!Object.hasOwn(to, key)) setKey(patch, key, null);
    for (const [key, value] of Object.entries(to)) {
      const before = Object.hasOwn(from, key) ? from[key] : undefined;
      if (JSON.stringify(before) === JSON.stringify(value)) continue;
      const mergeKey = Object.hasOwn(merged, key) ? merged[key] : undefined;
      if (Array.isArray(before) && Array.isArray(value) && mergeKey !== undefined) {
        Object.assign(patch, listDifference(key, before, value, mergeKey, merged));
      } else setKey(patch, key, isObject(before) && isObject(value) ? difference(before, value, merged) : value);
    }
    return patch;
  }

  function listDifference(
    key: string,
    from: unknown[],
    to: unknown[],
    mergeKey: string,
    merged: Readonly<Record<string, string>>,
  ): Json {
    if (mergeKey === "") {
      return {
        [`$setElementOrder/${key}`]: to,
        [key]: to.filter((value) => !from.includes(value)),
        [`$deleteFromPrimitiveList/${key}`]: from.filter((value) => !to.includes(value)),
      };
    }
    const nameOf = (element: unknown) => (element as Json)[mergeKey];
    const changed = (to as Json[]).map((element) => {
      const before = (from as Json[]).find((one) => nameOf(one) === nameOf(element));
      return before ? { ...difference(before, element, merged), [mergeKey]: nameOf(element) } : element;
    });
    const gone = from.filter((one) => !to.some((element) => nameOf(element) === nameOf(one)));
    return {
      [`$setElementOrder/${key}`]: to.map((element) => ({ [mergeKey]: nameOf(element) })),
      [key]: [...changed, ...gone.map((one) => ({ $patch: "delete", [mergeKey]: nameOf(one) }))],
    };
  }

  test("the patch of a difference leads from one pod to the other", () => {
    const merged = { containers: "name", env: "name", finalizers: "" };
    fc.assert(
      fc.property(pods.map(clean), pods.map(clean), (from, to) => {
        const patch = difference(from as unknown as Json, to as unknown as Json, merged);
        const patched = outcome(() => applyStrategicMergePatch(podSchema, from, patch), from, patch);
        assert.deepEqual(patched, to, JSON.stringify(patch));
      }),
      { numRuns: 400 },
    );
  });

  test("a patch without directives on what it does not name changes nothing there", () => {
    fc.assert(
      fc.property(pods.map(clean), containers, (pod, list) => {
        const patched = applyStrategicMergePatch(podSchema, pod, { spec: { containers: list } }) as Pod;
        assert.deepEqual(patched.metadata, pod.metadata);
        const names = (value: unknown) => (value as { name: string }[]).map(({ name }) => name);
        const wanted = new Set([...names(pod.spec["containers"]), ...names(list)]);
        assert.deepEqual(new Set(names(patched.spec["containers"])), wanted);
      }),
      { numRuns: 200 },
    );
  });

  test("any patch ends in a pod or a 4xx", () => {
    const directives = fc.constantFrom(
      "$patch",
      "$retainKeys",
      "$setElementOrder/containers",
      "$deleteFromPrimitiveList/finalizers",
      "containers",
      "finalizers",
      "labels",
      "spec",
      "metadata",
      "name",
      "env",
      "__proto__",
    );
    const { part } = fc.letrec<{ part: unknown }>((tie) => ({
      part: fc.oneof(
        { depthSize: "medium" },
        fc.constantFrom("delete", "replace", "merge", "a", 1, null, true),
        fc.array(tie("part"), { maxLength: 3 }),
        fc.dictionary(directives, tie("part"), { maxKeys: 4, noNullPrototype: true }),
      ),
    }));
    fc.assert(
      fc.property(pods.map(clean), part, part, (pod, one, other) => {
        const patch = { spec: one, metadata: other };
        outcome(() => applyStrategicMergePatch(podSchema, pod, patch), pod, patch);
        outcome(() => applyStrategicMergePatch(podSchema, cloneJson(patch), one), patch, one);
      }),
      { numRuns: 500 },
    );
  });
});
