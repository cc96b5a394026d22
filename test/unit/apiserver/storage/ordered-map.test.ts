import assert from "node:assert/strict";
import { test } from "node:test";
import { array, constantFrom, assert as holds, nat, property, record } from "fast-check";
import { OrderedMap } from "../../../../src/apiserver/storage/ordered-map.ts";

interface Item {
  readonly key: string;
  readonly value: number;
}

const keys = (items: Iterable<Item>) => [...items].map(({ key }) => key);

test("behaves as a sorted map, and snapshots stay as they were", () => {
  const step = record({ do: constantFrom("set", "set", "delete", "snapshot"), key: nat(400), value: nat() });
  holds(
    property(array(step, { maxLength: 800 }), (steps) => {
      const map = new OrderedMap<Item>();
      const model = new Map<string, Item>();
      const snapshots: { taken: Item[]; range(prefix: string): Iterable<Item> }[] = [];
      const sorted = () => [...model.values()].sort((a, b) => (a.key < b.key ? -1 : 1));
      for (const { do: what, key: number, value } of steps) {
        const key = `/k${String(number).padStart(3, "0")}`;
        if (what === "set") {
          map.set({ key, value });
          model.set(key, { key, value });
        } else if (what === "delete") {
          map.delete(key);
          model.delete(key);
        } else {
          const snapshot = map.snapshot();
          snapshots.push({ taken: sorted(), range: (prefix) => snapshot.range(prefix) });
        }
      }
      assert.deepEqual([...map.range("/")], sorted());
      assert.equal(map.size, model.size);
      for (const { taken, range } of snapshots) assert.deepEqual([...range("/")], taken);
      for (const [key, item] of model) assert.deepEqual(map.get(key), item);
    }),
    { numRuns: 60 },
  );
});

test("a range is what starts with its prefix, strictly after a key", () => {
  const map = new OrderedMap<Item>();
  for (const key of ["/a/1", "/a/2", "/a/3", "/ab/1", "/b/1"]) map.set({ key, value: 0 });
  assert.deepEqual(keys(map.range("/a/")), ["/a/1", "/a/2", "/a/3"]);
  assert.deepEqual(keys(map.range("/a/", "/a/1")), ["/a/2", "/a/3"]);
  assert.deepEqual(keys(map.range("/a/", "/a/15")), ["/a/2", "/a/3"]);
  assert.deepEqual(keys(map.range("/c/")), []);
  assert.equal(map.get("/a/4"), undefined);
});
