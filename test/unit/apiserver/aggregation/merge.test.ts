import assert from "node:assert/strict";
import { test } from "node:test";
import { identityHeaders } from "../../../../src/apiserver/aggregation/identity-headers.ts";
import { mergeAggregated, mergeGroups } from "../../../../src/apiserver/aggregation/merge-discovery.ts";
import { mergeOpenApiV2 } from "../../../../src/apiserver/aggregation/merge-openapi.ts";
import type { RemoteApi } from "../../../../src/apiserver/aggregation/remote-api.ts";
import {
  fromResourceList,
  isAggregated,
  readAggregated,
} from "../../../../src/apiserver/aggregation/remote-discovery.ts";

const api = (group: string, version: string, groupPriority: number, versionPriority: number): RemoteApi => ({
  name: `${version}.${group}`,
  group,
  version,
  groupPriority,
  versionPriority,
  service: { namespace: "n", name: "s", port: 443 },
  ca: undefined,
  insecure: false,
  available: true,
});

const remote = (of: RemoteApi, current = true) => ({ api: of, discovery: { version: of.version }, current });

const own = (name: string, ...versions: string[]) => {
  const entries = versions.map((version) => ({ groupVersion: `${name}/${version}`, version }));
  return { name, versions: entries, preferredVersion: entries[0]! };
};

const namesOf = (groups: readonly { name: string; versions: readonly { version: string }[] }[]) =>
  groups.map(({ name, versions }) => `${name} ${versions.map(({ version }) => version).join(",")}`);

test("groups stand in the order of their priorities, of the same priority by name", () => {
  const merged = mergeGroups(
    [own("apps", "v1"), own("batch", "v1"), own("toys.example", "v1")],
    [
      remote(api("metrics.k8s.io", "v1beta1", 100, 100)),
      remote(api("early.example", "v1", 17600, 1)),
      remote(api("same.example", "v1", 1000, 1)),
    ],
  );
  assert.deepEqual(namesOf(merged), [
    "apps v1",
    "early.example v1",
    "batch v1",
    "same.example v1",
    "toys.example v1",
    "metrics.k8s.io v1beta1",
  ]);
});

test("versions of one group stand by priority, then by maturity, and the first is preferred", () => {
  const merged = mergeGroups(
    [own("toys.example", "v1beta1")],
    [
      remote(api("toys.example", "v1alpha1", 2000, 100)),
      remote(api("toys.example", "v2", 2000, 100)),
      remote(api("toys.example", "v3alpha1", 2000, 200)),
    ],
  );
  assert.deepEqual(namesOf(merged), ["toys.example v3alpha1,v2,v1beta1,v1alpha1"]);
  assert.equal(merged[0]?.preferredVersion.version, "v3alpha1");
});

test("a remote version takes the place of the server's own, and the core group is not in this list", () => {
  const merged = mergeAggregated(
    [{ metadata: { name: "toys.example" }, versions: [{ version: "v1" }] }],
    [remote(api("toys.example", "v1", 2000, 100), false), remote(api("", "v1", 2000, 100))],
  );
  assert.deepEqual(merged, [{ metadata: { name: "toys.example" }, versions: [{ version: "v1", freshness: "Stale" }] }]);
});

test("only aggregated discovery of a version that is known counts as such", () => {
  assert.equal(isAggregated("application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"), true);
  assert.equal(isAggregated("application/json; as=APIGroupDiscoveryList; v=v2beta1; g=apidiscovery.k8s.io"), true);
  assert.equal(isAggregated("application/json;g=apidiscovery.k8s.io;v=v3;as=APIGroupDiscoveryList"), false);
  assert.equal(isAggregated("application/json"), false);
});

test("whatever a server sends as discovery is read without a failure", () => {
  for (const wrong of [
    undefined,
    null,
    1,
    [],
    {},
    { items: 1 },
    { items: [{ versions: [null, { resources: {} }] }] },
  ]) {
    assert.ok(readAggregated(wrong) instanceof Map);
    assert.deepEqual(fromResourceList(wrong, "g", "v1"), { version: "v1" });
  }
});

test("an identity's headers repeat groups, and escape what header names cannot hold", () => {
  const headers = identityHeaders({
    name: "jane",
    uid: "u",
    groups: ["a", "b"],
    extra: { "example.com/scopes": ["x", "y"], "é%": ["z"] },
  });
  assert.deepEqual(headers, {
    "X-Remote-User": "jane",
    "X-Remote-Uid": "u",
    "X-Remote-Group": ["a", "b"],
    "X-Remote-Extra-example.com%2Fscopes": ["x", "y"],
    "X-Remote-Extra-%C3%A9%25": ["z"],
  });
  assert.deepEqual(identityHeaders({ name: "anonymous", groups: [] }), { "X-Remote-User": "anonymous" });
});

test("definitions of one name that differ both stay, those that are alike are shared", () => {
  const ref = (name: string) => ({ $ref: `#/definitions/${name}` });
  const first = {
    paths: { "/api/v1/x": { get: ref("Meta") } },
    definitions: { Meta: { type: "object" }, Time: { type: "string" } },
  };
  const second = {
    paths: { "/apis/g/v1/y": { get: ref("Y") }, "/other": { get: ref("Other") }, "/api/v1/x": {} },
    definitions: {
      Y: { properties: { meta: ref("Meta"), time: ref("Time") } },
      Meta: { type: "object", description: "older", properties: { time: ref("Time") } },
      Time: { type: "string" },
      Other: {},
    },
  };
  const before = structuredClone([first, second]);
  assert.deepEqual(mergeOpenApiV2(first, second, "/apis/g/v1/"), {
    paths: { "/api/v1/x": { get: ref("Meta") }, "/apis/g/v1/y": { get: ref("Y") } },
    definitions: {
      Meta: { type: "object" },
      Time: { type: "string" },
      Y: { properties: { meta: ref("Meta_v2"), time: ref("Time") } },
      Meta_v2: { type: "object", description: "older", properties: { time: ref("Time") } },
    },
  });
  assert.deepEqual([first, second], before);
});
