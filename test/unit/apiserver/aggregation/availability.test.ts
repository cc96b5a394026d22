import assert from "node:assert/strict";
import { test } from "node:test";
import type { Service } from "../../../../src/api/generated/core-v1.ts";
import type { EndpointSlice } from "../../../../src/api/generated/discovery-v1.ts";
import { judgeService } from "../../../../src/apiserver/aggregation/availability.ts";
import { remoteApiOf } from "../../../../src/apiserver/aggregation/remote-api.ts";

const api = remoteApiOf({
  metadata: { name: "v1.g" },
  spec: {
    group: "g",
    version: "v1",
    groupPriorityMinimum: 1,
    versionPriority: 1,
    service: { namespace: "n", name: "s" },
  },
})!;

const service = (spec: Partial<NonNullable<Service["spec"]>> = {}): Service => ({
  metadata: { name: "s", namespace: "n" },
  spec: { type: "ClusterIP", ports: [{ name: "https", port: 443 }], ...spec },
});

const slice = (ready: boolean | undefined, portName = "https"): EndpointSlice => ({
  metadata: { name: "s-1", namespace: "n" },
  addressType: "IPv4",
  endpoints: [{ addresses: ["10.42.0.1"], conditions: ready === undefined ? {} : { ready } }],
  ports: [{ name: portName, port: 8443 }],
});

const rows: readonly [rule: string, service: Service | undefined, slices: EndpointSlice[], said: string | undefined][] =
  [
    ["a Service that is not there", undefined, [], 'ServiceNotFound: service/s in "n" is not present'],
    [
      "a Service without that port",
      service({ ports: [{ port: 80 }] }),
      [slice(true)],
      'ServicePortError: service/s in "n" is not listening on port 443',
    ],
    ["no slices", service(), [], 'EndpointsNotFound: cannot find endpointslices for service/s in "n"'],
    [
      "endpoints that are not ready",
      service(),
      [slice(false)],
      'MissingEndpoints: endpointslices for service/s in "n" have no addresses with port name "https"',
    ],
    [
      "endpoints of another port",
      service(),
      [slice(true, "metrics")],
      'MissingEndpoints: endpointslices for service/s in "n" have no addresses with port name "https"',
    ],
    ["endpoints that say nothing of being ready", service(), [slice(false), slice(undefined)], undefined],
    [
      "a Service that is more than a cluster address is not judged by its endpoints",
      service({ type: "NodePort" }),
      [],
      undefined,
    ],
  ];

for (const [rule, found, slices, said] of rows) {
  test(`the condition Available: ${rule}`, () => {
    const verdict = judgeService(api, found, slices);
    assert.equal(verdict && `${verdict.reason}: ${verdict.message}`, said);
    assert.notEqual(verdict?.status, "True");
  });
}
