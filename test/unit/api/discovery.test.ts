import assert from "node:assert/strict";
import { test } from "node:test";
import {
  aggregatedDiscovery,
  apiGroup,
  apiGroupList,
  apiResourceList,
  compareVersions,
} from "../../../src/api/discovery.ts";
import { builtInResources } from "../../../src/api/registry.ts";

test("versions are ordered as Kubernetes orders them", () => {
  const versions = ["foo1", "v1", "v11alpha2", "v10beta3", "v2", "v3beta1", "v11beta2", "foo10", "v10", "v12alpha1"];
  const wanted = ["v10", "v2", "v1", "v11beta2", "v10beta3", "v3beta1", "v12alpha1", "v11alpha2", "foo1", "foo10"];
  assert.deepEqual(versions.sort(compareVersions), wanted);
});

test("the list of groups prefers autoscaling/v2, and apps stands before events.k8s.io", () => {
  const { groups } = apiGroupList(builtInResources);
  const names = groups.map(({ name }) => name);
  assert.ok(names.indexOf("apps") < names.indexOf("events.k8s.io"));
  assert.equal(names.includes(""), false);
  const autoscaling = apiGroup(builtInResources, "autoscaling");
  assert.equal(autoscaling?.preferredVersion.groupVersion, "autoscaling/v2");
  assert.deepEqual(
    autoscaling?.versions.map(({ version }) => version),
    ["v2", "v1"],
  );
  assert.equal(apiGroup(builtInResources, "example.com"), undefined);
});

test("a resource list names subresources with the kind of their body", () => {
  const list = apiResourceList(builtInResources, "", "v1");
  const byName = new Map(list?.resources.map((entry) => [entry.name, entry]));
  assert.deepEqual(byName.get("pods")?.shortNames, ["po"]);
  assert.deepEqual(byName.get("pods")?.categories, ["all"]);
  const { kind, group, version } = byName.get("pods/eviction")!;
  assert.deepEqual({ kind, group, version }, { kind: "Eviction", group: "policy", version: "v1" });
  assert.equal(byName.get("pods/exec")?.kind, "PodExecOptions");
  assert.deepEqual(byName.get("namespaces/finalize")?.verbs, ["update"]);
  assert.equal(apiResourceList(builtInResources, "apps", "v2"), undefined);
});

test("the aggregated document holds the core group under /api and all others under /apis", () => {
  const core = aggregatedDiscovery(builtInResources, "/api");
  assert.equal(core.items.length, 1);
  assert.equal("name" in core.items[0]!.metadata, false);
  const pods = core.items[0]!.versions[0]!.resources.find(({ resource }) => resource === "pods")!;
  assert.deepEqual(
    [pods.scope, pods.singularResource, pods.responseKind],
    ["Namespaced", "pod", { group: "", version: "v1", kind: "Pod" }],
  );
  const others = aggregatedDiscovery(builtInResources, "/apis");
  assert.deepEqual(others.items[0]!.metadata, { name: "apiregistration.k8s.io" });
  assert.equal(others.items.length, 20);
});
