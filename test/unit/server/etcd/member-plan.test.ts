import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { finalizer, planMember } from "../../../../src/server/etcd/member-plan.ts";

const label = { "node-role.kubernetes.io/etcd": "true" };
const annotations = { "etcd.k3s.cattle.io/node-name": "two-bbbbbbbb", "etcd.k3s.cattle.io/node-address": "10.0.0.2" };
const plan = (metadata: Parameters<typeof planMember>[0]["metadata"]) =>
  planMember({ metadata: { name: "two", resourceVersion: "7", ...metadata } });

describe("what is done for the member of a Node", () => {
  test("nothing for a Node that has none, also when it goes", () => {
    assert.deepEqual(plan({}), { kind: "nothing" });
    assert.deepEqual(plan({ deletionTimestamp: "2026-01-01T00:00:00Z", finalizers: ["other"] }), { kind: "nothing" });
  });

  test("a Node with one is kept from vanishing before its member does", () => {
    assert.deepEqual(plan({ labels: label, annotations, finalizers: ["other"] }), {
      kind: "patch",
      patch: { metadata: { resourceVersion: "7", finalizers: ["other", finalizer] } },
    });
    assert.deepEqual(plan({ labels: label, annotations, finalizers: [finalizer] }), { kind: "nothing" });
  });

  test("a Node that is deleted goes when its member is removed", () => {
    const metadata = { labels: label, finalizers: [finalizer, "other"], deletionTimestamp: "2026-01-01T00:00:00Z" };
    assert.deepEqual(plan({ ...metadata, annotations }), {
      kind: "remove",
      name: "two-bbbbbbbb",
      address: "10.0.0.2",
      patch: { metadata: { resourceVersion: "7", finalizers: ["other"] } },
    });
    assert.deepEqual(plan(metadata), {
      kind: "patch",
      patch: { metadata: { resourceVersion: "7", finalizers: ["other"] } },
    });
  });

  test("the annotation that asks for it removes the member once, and is forgotten when the server is another member", () => {
    const asked = { ...annotations, "etcd.k3s.cattle.io/remove": "true" };
    const metadata = { labels: label, finalizers: [finalizer] };
    assert.deepEqual(plan({ ...metadata, annotations: asked }), {
      kind: "remove",
      name: "two-bbbbbbbb",
      address: "10.0.0.2",
      patch: {
        metadata: {
          annotations: {
            "etcd.k3s.cattle.io/removed-node-name": "two-bbbbbbbb",
            "etcd.k3s.cattle.io/node-name": null,
            "etcd.k3s.cattle.io/node-address": null,
          },
        },
      },
    });
    const done = { "etcd.k3s.cattle.io/remove": "true", "etcd.k3s.cattle.io/removed-node-name": "two-bbbbbbbb" };
    assert.deepEqual(plan({ ...metadata, annotations: done }), { kind: "nothing" });
    const back = { ...done, ...annotations, "etcd.k3s.cattle.io/node-name": "two-cccccccc" };
    assert.deepEqual(plan({ ...metadata, annotations: back }), {
      kind: "patch",
      patch: {
        metadata: {
          annotations: { "etcd.k3s.cattle.io/remove": "false", "etcd.k3s.cattle.io/removed-node-name": null },
        },
      },
    });
  });
});
