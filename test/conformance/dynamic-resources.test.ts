/** The API of dynamic resource allocation, as its conformance tests ask. */
import assert from "node:assert/strict";
import {
  deviceClasses,
  type ResourceClaim,
  resourceClaims,
  resourceClaimTemplates,
  resourceSlices,
} from "../../src/api/generated/resource-v1.ts";
import { exerciseApi } from "./api-operations.ts";
import { conformance } from "./conformance.ts";

const area = "[sig-node] [DRA] CRUD Tests resource.k8s.io/v1";
const claim = { devices: { requests: [{ name: "one", exactly: { deviceClassName: "none.example.com" } }] } };
const label = { metadata: { labels: { more: "yes" } } };
const isLabelled = ({ metadata }: { metadata: { labels?: Record<string, string> } }) =>
  assert.equal(metadata.labels?.["more"], "yes");

conformance(`${area} DeviceClass [Conformance]`, (_, cluster) =>
  exerciseApi(cluster, {
    type: deviceClasses,
    make: () => ({ metadata: {}, spec: { selectors: [{ cel: { expression: "false" } }] } }),
    patches: [
      {
        patch: { type: "strategic", body: { spec: { selectors: [{ cel: { expression: "1 == 0" } }] } } },
        check: ({ spec }) => assert.deepEqual(spec.selectors, [{ cel: { expression: "1 == 0" } }]),
      },
    ],
  }),
);

conformance(`${area} ResourceClaim [Conformance]`, (_, cluster) => {
  const isAllocated = ({ status }: ResourceClaim) => assert.ok(status?.allocation);
  const none = [{ op: "add", path: "/status/allocation", value: {} }];
  const apply = { apiVersion: "resource.k8s.io/v1", kind: "ResourceClaim" };
  const body = { status: { allocation: {} } };
  return exerciseApi(cluster, {
    type: resourceClaims,
    make: () => ({ metadata: {}, spec: claim }),
    patches: [
      { patch: { type: "strategic", body: label }, check: isLabelled },
      {
        patch: { type: "json", body: [{ op: "add", path: "/metadata/labels/more", value: "yes" }] },
        check: isLabelled,
      },
      { patch: { type: "apply", body: { ...apply, ...label } }, check: isLabelled },
      { patch: { type: "apply", body: { ...apply, ...body } }, subresource: "status", check: isAllocated },
      { patch: { type: "strategic", body }, subresource: "status", check: isAllocated },
      { patch: { type: "json", body: none }, subresource: "status", check: isAllocated },
    ],
    status: { patch: { allocation: {} }, check: isAllocated },
  });
});

conformance(`${area} ResourceClaimTemplate [Conformance]`, (_, cluster) =>
  exerciseApi(cluster, {
    type: resourceClaimTemplates,
    make: () => ({ metadata: {}, spec: { spec: claim } }),
    patches: [{ patch: { type: "strategic", body: label }, check: isLabelled }],
  }),
);

conformance(`${area} ResourceSlice [Conformance]`, (_, cluster) =>
  exerciseApi(cluster, {
    type: resourceSlices,
    make: () => ({
      metadata: {},
      spec: {
        driver: "dra.example.com",
        pool: { name: "cluster", generation: 1, resourceSliceCount: 1 },
        nodeName: "no-such-node",
      },
    }),
    patches: [
      {
        patch: { type: "strategic", body: { spec: { devices: [{ name: "device-0" }] } } },
        check: ({ spec }) => assert.deepEqual(spec.devices, [{ name: "device-0" }]),
      },
    ],
  }),
);
