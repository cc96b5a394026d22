import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { FieldSet, keyElement, printPath } from "../../../../src/machinery/apply/field-set.ts";

const fields = {
  "f:metadata": { "f:labels": { ".": {}, "f:app": {} } },
  "f:spec": {
    "f:containers": { 'k:{"name":"web"}': { ".": {}, "f:image": {} } },
    "f:finalizers": { 'v:"x"': {} },
    "f:replicas": {},
  },
};

test("FieldsV1 survives a round trip", () => {
  const set = FieldSet.fromFields(fields);
  assert.deepEqual(set.toFields(), fields);
  assert.equal(set.has(["f:metadata", "f:labels"]), true);
  assert.equal(set.has(["f:metadata"]), false);
  assert.deepEqual([...set.paths()].map(printPath), [
    ".metadata.labels",
    ".metadata.labels.app",
    ".spec.replicas",
    '.spec.containers[name="web"]',
    '.spec.containers[name="web"].image',
    '.spec.finalizers[="x"]',
  ]);
  assert.throws(() => FieldSet.fromFields({ nonsense: {} }), /malformed key "nonsense"/);
  // A kind of element that is not known is left out.
  assert.equal(FieldSet.fromFields({ "x:y": {} }).empty, true);
});

test("keys of list elements come sorted", () => {
  assert.equal(keyElement({ protocol: "TCP", containerPort: 80 }), 'k:{"containerPort":80,"protocol":"TCP"}');
  assert.equal(printPath([keyElement({ protocol: "TCP", containerPort: 80 })]), '[containerPort=80,protocol="TCP"]');
});

test("sets follow the laws of sets", () => {
  const path = fc.array(fc.constantFrom("f:a", "f:b", 'k:{"n":1}'), { minLength: 1, maxLength: 3 });
  const set = fc.array(path, { maxLength: 6 }).map((paths) => FieldSet.of(...paths));
  const texts = (value: FieldSet) => [...value.paths()].map((one) => one.join("/")).sort();
  fc.assert(
    fc.property(set, set, (a, b) => {
      const [inA, inB] = [new Set(texts(a)), new Set(texts(b))];
      assert.deepEqual(texts(a.union(b)), [...new Set([...inA, ...inB])].sort());
      assert.deepEqual(
        texts(a.intersection(b)),
        texts(a).filter((one) => inB.has(one)),
      );
      assert.deepEqual(
        texts(a.difference(b)),
        texts(a).filter((one) => !inB.has(one)),
      );
      const below = (one: string) => [...inB].some((other) => one === other || one.startsWith(`${other}/`));
      assert.deepEqual(
        texts(a.difference(b, true)),
        texts(a).filter((one) => !below(one)),
      );
      assert.equal(FieldSet.fromFields(a.toFields()).equals(a), true);
      assert.equal(a.empty, inA.size === 0);
    }),
  );
});
