/** Server-side apply by its promises. Authority: Kubernetes' page on server-side apply. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { applyConfiguration } from "../../../../src/machinery/apply/apply.ts";
import { FieldSet } from "../../../../src/machinery/apply/field-set.ts";
import { fieldSetOf } from "../../../../src/machinery/apply/typed.ts";
import { trackUpdate } from "../../../../src/machinery/apply/update.ts";
import { canonicalize } from "../../../../src/machinery/canonical.ts";
import { cloneJson } from "../../../../src/machinery/json.ts";
import type { KubeObject } from "../../../../src/machinery/object.ts";
import { StatusError } from "../../../../src/machinery/status.ts";
import { podSchema } from "../pod-schema.ts";

type Spec = Record<string, unknown>;
type Any = KubeObject & { spec?: Spec };

const nowMs = Date.parse("2026-01-01T00:00:00Z");

function apply(live: Any | undefined, manager: string, body: object, force = false): Any {
  const applied = { apiVersion: "v1", kind: "Pod", ...body };
  const settled = applyConfiguration({
    schema: podSchema,
    live,
    applied,
    manager,
    apiVersion: "v1",
    force,
    nowMs,
  });
  return canonicalize(podSchema, settled) as Any;
}

/** What an object is without who owns it, with keyed lists in the order of their keys. */
function content({ metadata, ...rest }: Any): unknown {
  const { managedFields: _, ...meta } = metadata;
  const { containers, ...spec } = (rest.spec ?? {}) as { containers?: { name: string; env?: { name: string }[] }[] };
  const byName = (a: { name: string }, b: { name: string }) => (a.name < b.name ? -1 : 1);
  const sorted = (containers ?? [])
    .map(({ env, ...one }) => ({ ...one, ...(env ? { env: [...env].sort(byName) } : {}) }))
    .sort(byName);
  return { metadata: meta, spec: { ...spec, containers: sorted } };
}

/** Everything that managers own, by manager. */
function owned(object: Any): Map<string, FieldSet> {
  return new Map(
    (object.metadata.managedFields ?? []).map((entry) => [
      `${entry.manager}/${entry.operation}`,
      FieldSet.fromFields(entry.fieldsV1),
    ]),
  );
}

const names = ["x", "y", "z"] as const;
const env = fc.record({ name: fc.constantFrom("A", "B"), value: fc.constantFrom("1", "2") });
const container = fc.record(
  {
    name: fc.constantFrom(...names),
    image: fc.constantFrom("one", "two"),
    args: fc.array(fc.constantFrom("-a", "-b"), { minLength: 1, maxLength: 2 }),
    env: fc.uniqueArray(env, { selector: ({ name }) => name, minLength: 1, maxLength: 2 }),
  },
  { requiredKeys: ["name"], noNullPrototype: true },
);
const bodies = fc
  .record(
    {
      labels: fc.dictionary(fc.constantFrom("app", "tier"), fc.constantFrom("1", "2"), {
        minKeys: 1,
        noNullPrototype: true,
      }),
      hostname: fc.constantFrom("h", "i"),
      containers: fc.uniqueArray(container, { selector: ({ name }) => name, minLength: 1, maxLength: 3 }),
    },
    { requiredKeys: [], noNullPrototype: true },
  )
  .map(({ labels, ...spec }) => ({ metadata: { name: "p", ...(labels ? { labels } : {}) }, spec }));
type Body = { metadata: { name: string; labels?: Record<string, string> }; spec: Spec };

const steps = fc.array(
  fc.record({ manager: fc.constantFrom("one", "two", "three"), body: bodies, isUpdate: fc.boolean() }),
  { minLength: 1, maxLength: 6 },
);

/** The object after a series of forced applies and updates. */
function after(series: readonly { manager: string; body: Body; isUpdate: boolean }[]): Any | undefined {
  let live: Any | undefined;
  for (const { manager, body, isUpdate } of series) {
    if (!isUpdate || !live) live = apply(live, manager, body, true);
    else {
      const next = canonicalize(podSchema, { ...cloneJson(live), spec: body.spec }) as Any;
      live = trackUpdate({ schema: podSchema, live, next, manager, apiVersion: "v1", nowMs });
    }
  }
  return live;
}

test("applying again changes nothing, whatever happened before", () => {
  fc.assert(
    fc.property(steps, bodies, (series, body) => {
      const once = apply(after(series), "one", body, true);
      assert.deepEqual(apply(once, "one", body), once);
    }),
    { numRuns: 300 },
  );
});

test("what is owned is there: managedFields name no field that the object lacks", () => {
  fc.assert(
    fc.property(steps, (series) => {
      const object = after(series)!;
      const { managedFields: _, ...metadata } = object.metadata;
      const there = fieldSetOf(podSchema, { ...object, metadata });
      for (const [manager, set] of owned(object)) {
        const missing = set.difference(there);
        // A struct, map or list itself is there with what is in it.
        const paths = [...missing.paths()].filter((path) => {
          let at: FieldSet | undefined = there;
          for (const element of path) at = at?.children.get(element);
          return at === undefined;
        });
        assert.deepEqual(paths, [], manager);
      }
    }),
    { numRuns: 300 },
  );
});

test("without force nothing of another manager is changed: either a conflict, or all that they own stays as it is", () => {
  fc.assert(
    fc.property(steps, bodies, (series, body) => {
      const live = after(series)!;
      let next: Any;
      try {
        next = apply(live, "four", body);
      } catch (error) {
        assert.ok(error instanceof StatusError && error.code === 409, String(error));
        assert.ok((error.details?.causes?.length ?? 0) > 0);
        // With force the same configuration goes through, and holds.
        next = apply(live, "four", body, true);
        for (const [key, value] of Object.entries(body.metadata.labels ?? {})) {
          assert.equal(next.metadata.labels?.[key], value);
        }
        return;
      }
      const before = owned(live);
      for (const [manager, set] of owned(next)) {
        if (manager === "four/Apply") continue;
        assert.equal(before.get(manager)?.equals(set), true, `${manager} owns what it owned`);
      }
      const labels = live.metadata.labels ?? {};
      for (const [key, value] of Object.entries(labels)) assert.equal(next.metadata.labels?.[key], value);
    }),
    { numRuns: 300 },
  );
});

test("what only one manager applied goes when it is dropped, and what another owns as well stays", () => {
  fc.assert(
    fc.property(bodies, bodies, (mine, theirs) => {
      const both = apply(apply(undefined, "one", theirs), "two", mine, true);
      const alone = apply(both, "two", { metadata: { name: "p" } }, true);
      // What "two" took by force is owned by "one" no more, so it goes, too; all the rest of "one" is as it was applied.
      const left = content(alone) as { metadata: { labels?: Record<string, string> }; spec: Spec };
      for (const [key, value] of Object.entries(left.metadata.labels ?? {})) {
        assert.equal(theirs.metadata.labels?.[key], value, `label ${key}`);
      }
      const wanted = new Set(((theirs.spec["containers"] ?? []) as { name: string }[]).map(({ name }) => name));
      for (const { name } of left.spec["containers"] as { name: string }[]) assert.ok(wanted.has(name), name);
      assert.equal(owned(alone).get("two/Apply")?.empty ?? true, true);
    }),
    { numRuns: 300 },
  );
});

test("appliers that do not conflict come to the same object in either order", () => {
  fc.assert(
    fc.property(bodies, bodies, (a, b) => {
      let first: Any;
      try {
        first = apply(apply(undefined, "one", a), "two", b);
      } catch {
        // Where they conflict in one order, they do in the other.
        assert.throws(() => apply(apply(undefined, "two", b), "one", a), StatusError);
        return;
      }
      const second = apply(apply(undefined, "two", b), "one", a);
      assert.deepEqual(content(first), content(second));
      assert.deepEqual(
        [...owned(first)].map(([manager, set]) => [manager, set.toFields()]).sort(),
        [...owned(second)].map(([manager, set]) => [manager, set.toFields()]).sort(),
      );
    }),
    { numRuns: 300 },
  );
});

test("any FieldsV1 is a set that prints as one that is equal, or an Error", () => {
  const element = fc.constantFrom("f:a", "f:__proto__", 'k:{"n":1}', "v:1", "i:0", ".", "x:y", "", "k:{", "f:");
  const { fields } = fc.letrec<{ fields: unknown }>((tie) => ({
    fields: fc.oneof(
      { depthSize: "small" },
      { weight: 1, arbitrary: fc.constantFrom<unknown>(null, 1, "a") },
      { weight: 8, arbitrary: fc.dictionary(element, tie("fields"), { maxKeys: 3, noNullPrototype: true }) },
    ),
  }));
  fc.assert(
    fc.property(fields, (one) => {
      let set: FieldSet;
      try {
        set = FieldSet.fromFields(one);
      } catch (error) {
        assert.match((error as Error).message, /^fieldsV1 /);
        return;
      }
      assert.equal(FieldSet.fromFields(set.toFields()).equals(set), true);
    }),
    { numRuns: 500 },
  );
});
