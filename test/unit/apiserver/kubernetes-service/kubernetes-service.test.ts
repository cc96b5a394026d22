import assert from "node:assert/strict";
import { describe, type TestContext, test } from "node:test";
import { endpoints, services } from "../../../../src/api/generated/core-v1.ts";
import { endpointSlices } from "../../../../src/api/generated/discovery-v1.ts";
import { endpointSlicesOf, endpointsOf } from "../../../../src/apiserver/kubernetes-service/endpoints-plan.ts";
import type { Store } from "../../../../src/store/store.ts";
import { eventually } from "../../../support/eventually.ts";
import { type SharingServer, startSharingServer } from "../../../support/shared-control-plane.ts";
import { openSharedStore } from "../../../support/shared-store.ts";

const startServer = (t: TestContext, store: Store, address: string, port = 6443) =>
  startSharingServer(t, store, { advertise: { address, port } });

const where = { namespace: "default" };

async function behind({ client }: SharingServer) {
  const { subsets = [] } = await client.get(endpoints, "kubernetes", where);
  const { items } = await client.list(endpointSlices, {
    ...where,
    labelSelector: "kubernetes.io/service-name=kubernetes",
  });
  return {
    endpoints: subsets.flatMap((one) => one.addresses!.map(({ ip }) => `${ip}:${one.ports![0]!.port}`)),
    slices: items.flatMap((one) => one.endpoints!.map(({ addresses }) => `${addresses[0]}:${one.ports![0]!.port}`)),
    names: items.map(({ metadata }) => metadata.name),
  };
}

describe("the Service kubernetes", () => {
  test("has every server that works behind it, and none that has stopped", async (t) => {
    const store = await openSharedStore(t);
    const one = await startServer(t, store, "192.0.2.1");
    assert.deepEqual((await behind(one)).endpoints, ["192.0.2.1:6443"]);
    const two = await startServer(t, store, "192.0.2.2");
    const both = ["192.0.2.1:6443", "192.0.2.2:6443"];
    for (const server of [one, two]) {
      const { endpoints, slices, names } = await behind(server);
      assert.deepEqual([endpoints, slices, names], [both, both, ["kubernetes"]]);
    }
    assert.deepEqual(await one.server.addresses(), both);
    // Agents that come early would know nobody.
    assert.deepEqual(await Promise.all([one.askedAtOnce, two.askedAtOnce]), [both.slice(0, 1), both]);
    await one.stop();
    const left = ["192.0.2.2:6443"];
    assert.deepEqual(await two.server.addresses(), left);
    const { endpoints: rest, slices } = await behind(two);
    assert.deepEqual([rest, slices], [left, left]);
  });

  test("a server whose key ran out disappears as soon as the others hear of it", async (t) => {
    const store = await openSharedStore(t);
    const one = await startServer(t, store, "192.0.2.1");
    await startServer(t, store, "192.0.2.2");
    const key = "/registry/masterleases/192.0.2.2";
    const entry = await store.get(key);
    assert.ok(entry, "Kubernetes' own place");
    // As the store does when nobody renews it.
    await store.delete(key, entry.modRevision);
    await eventually(async () => assert.deepEqual((await behind(one)).endpoints, ["192.0.2.1:6443"]), 60_000);
  });

  test("servers of other ports and families stand in slices of their own, which go with them", async (t) => {
    const store = await openSharedStore(t);
    const one = await startServer(t, store, "192.0.2.1");
    const two = await startServer(t, store, "192.0.2.2", 7443);
    const { endpoints, names } = await behind(one);
    assert.deepEqual(endpoints, ["192.0.2.1:6443", "192.0.2.2:7443"]);
    assert.deepEqual(names, ["kubernetes", "kubernetes-ipv4-7443"]);
    await two.stop();
    assert.deepEqual((await behind(one)).names, ["kubernetes"]);
  });

  test("servers that start at the same moment do not disturb each other", async (t) => {
    const store = await openSharedStore(t);
    const addresses = ["192.0.2.1", "192.0.2.2", "192.0.2.3"];
    const all = await Promise.all(addresses.map((address) => startServer(t, store, address)));
    const wanted = addresses.map((address) => `${address}:6443`);
    await eventually(async () => assert.deepEqual((await behind(all[0]!)).endpoints, wanted), 60_000);
    const { spec } = await all[1]!.client.get(services, "kubernetes", where);
    assert.equal(spec?.clusterIP, "10.43.0.1");
  });

  test("addresses are grouped by port and family, in order", () => {
    const servers = [
      { address: "192.0.2.9", port: 6443 },
      { address: "2001:db8::1", port: 6443 },
      { address: "192.0.2.1", port: 6443 },
      { address: "192.0.2.5", port: 443 },
    ];
    const { subsets } = endpointsOf(servers);
    assert.deepEqual(
      subsets!.map(({ addresses, ports }) => [ports![0]!.port, addresses!.map(({ ip }) => ip)]),
      [
        [443, ["192.0.2.5"]],
        [6443, ["192.0.2.1", "192.0.2.9", "2001:db8::1"]],
      ],
    );
    assert.deepEqual(
      endpointSlicesOf(servers).map(({ metadata, addressType }) => [metadata.name, addressType]),
      [
        ["kubernetes", "IPv4"],
        ["kubernetes-ipv4-6443", "IPv4"],
        ["kubernetes-ipv6-6443", "IPv6"],
      ],
    );
    assert.deepEqual(endpointSlicesOf([]), []);
  });
});
