import assert from "node:assert/strict";
import { test } from "node:test";
import { findResource } from "../../../../src/api/registry.ts";
import { CachedObject } from "../../../../src/apiserver/storage/cached-object.ts";
import { CacheEvent } from "../../../../src/apiserver/storage/resource-cache.ts";
import { makeSelection } from "../../../../src/apiserver/storage/selection.ts";
import { WatcherIndex } from "../../../../src/apiserver/storage/watcher-index.ts";

const pods = findResource("", "v1", "pods")!;

interface Pod {
  namespace?: string;
  name?: string;
  labels?: Record<string, string>;
  nodeName?: string;
}

let revision = 1;
function pod({ namespace = "default", name = "web", labels = {}, nodeName = "" }: Pod): CachedObject {
  const object = { metadata: { namespace, name, labels }, spec: { nodeName, containers: [] } };
  return new CachedObject(pods, `/registry/pods/${namespace}/${name}`, revision++, object);
}

/** A watcher that notes the names of what it is given. */
function watcher(namespace: string | undefined, labelSelector = "", fieldSelector = "") {
  const prefix = namespace === undefined ? "/registry/pods/" : `/registry/pods/${namespace}/`;
  const given: string[] = [];
  return {
    given,
    scope: { prefix, selection: makeSelection(pods, namespace, labelSelector, fieldSelector) },
    onEvents: (events: readonly CacheEvent[]) => void given.push(...events.map(({ item }) => item.name)),
    onClose: () => {},
  };
}

const added = (of: Pod) => new CacheEvent(pod(of), undefined, false, 0);
const changed = (from: Pod, to: Pod) => new CacheEvent(pod(to), pod(from), false, 0);

test("a watcher of a namespace is not troubled with other namespaces, one of all namespaces sees all", () => {
  const index = new WatcherIndex();
  const [all, one, other] = [watcher(undefined), watcher("one"), watcher("other")];
  for (const each of [all, one, other]) index.add(each);
  index.dispatch([added({ namespace: "one", name: "a" }), added({ namespace: "two", name: "b" })]);
  assert.deepEqual([all.given, one.given, other.given], [["a", "b"], ["a"], []]);
});

test("a watcher of one field's value gets what has it and what had it", () => {
  const index = new WatcherIndex();
  const [first, second, byName, unscheduled] = [
    watcher(undefined, "", "spec.nodeName=first"),
    watcher(undefined, "", "spec.nodeName=second"),
    watcher("default", "", "metadata.name=b"),
    watcher(undefined, "", "spec.nodeName="),
  ];
  for (const each of [first, second, byName, unscheduled]) index.add(each);
  index.dispatch([
    added({ name: "a" }),
    added({ name: "b", nodeName: "first" }),
    changed({ name: "c", nodeName: "first" }, { name: "c", nodeName: "second" }),
    changed({ name: "d" }, { name: "d", nodeName: "third" }),
  ]);
  assert.deepEqual(first.given, ["b", "c"]);
  assert.deepEqual(second.given, ["c"]);
  assert.deepEqual(byName.given, ["b"]);
  assert.deepEqual(unscheduled.given, ["a", "d"], "an absent field counts as an empty one");
});

test("a watcher of one label's value gets what has it and what had it; other selectors see their namespace", () => {
  const index = new WatcherIndex();
  const [web, notWeb, some] = [
    watcher("default", "app=web,tier"),
    watcher("default", "app!=web"),
    watcher(undefined, "app in (web,db)"),
  ];
  for (const each of [web, notWeb, some]) index.add(each);
  index.dispatch([
    added({ name: "a" }),
    added({ name: "b", labels: { app: "web" } }),
    changed({ name: "c", labels: { app: "web" } }, { name: "c", labels: { app: "db" } }),
    added({ name: "d", namespace: "other", labels: { app: "db" } }),
  ]);
  assert.deepEqual(web.given, ["b", "c"]);
  assert.deepEqual(notWeb.given, ["a", "b", "c"]);
  assert.deepEqual(some.given, ["a", "b", "c", "d"]);
});

test("watchers of one place are given the same array, so that they can share what is made of it", () => {
  const index = new WatcherIndex();
  const arrays: (readonly CacheEvent[])[] = [];
  for (let i = 0; i < 3; i++) index.add({ ...watcher("default"), onEvents: (events) => void arrays.push(events) });
  index.dispatch([added({}), added({ namespace: "other" })]);
  assert.equal(arrays.length, 3);
  assert.equal(new Set(arrays).size, 1);
  assert.equal(arrays[0]!.length, 1);
});

test("a watcher that has gone gets nothing, and leaves the others where they are", () => {
  const index = new WatcherIndex();
  const [going, staying] = [watcher("default", "", "spec.nodeName=n"), watcher("default", "", "spec.nodeName=n")];
  index.add(going);
  index.add(staying);
  index.delete(going);
  index.delete(going);
  index.dispatch([added({ nodeName: "n" })]);
  assert.deepEqual([going.given, staying.given, index.size], [[], ["web"], 1]);
  index.delete(staying);
  assert.deepEqual([[...index], index.size], [[], 0]);
});

test("an event without selection-relevant labels named like parts of every object concerns nobody by them", () => {
  const index = new WatcherIndex();
  const inherited = watcher("default", "constructor=x");
  index.add(inherited);
  index.dispatch([added({ name: "a" })]);
  assert.deepEqual(inherited.given, []);
});
