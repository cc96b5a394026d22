import assert from "node:assert/strict";
import { test } from "node:test";
import { constantName } from "../../../../tools/generate/types.ts";

test("a resource's constant is its kind in the plural, in camel case", () => {
  const names: [kind: string, resource: string, constant: string][] = [
    ["Pod", "pods", "pods"],
    ["ReplicaSet", "replicasets", "replicaSets"],
    ["NetworkPolicy", "networkpolicies", "networkPolicies"],
    ["Endpoints", "endpoints", "endpoints"],
    ["CSINode", "csinodes", "csiNodes"],
    ["APIService", "apiservices", "apiServices"],
    ["IPAddress", "ipaddresses", "ipAddresses"],
    ["ServiceCIDR", "servicecidrs", "serviceCIDRs"],
  ];
  for (const [kind, resource, constant] of names) assert.equal(constantName(kind, resource), constant);
});
