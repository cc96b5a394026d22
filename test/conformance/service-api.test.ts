/** The API of services, endpoints, ingresses and address ranges, as their conformance tests ask. */
import assert from "node:assert/strict";
import { type Endpoints, endpoints, pods, type Service, services } from "../../src/api/generated/core-v1.ts";
import { endpointSlices } from "../../src/api/generated/discovery-v1.ts";
import { ingressClasses, ingresses, ipAddresses, serviceCIDRs } from "../../src/api/generated/networking-v1.ts";
import { exerciseApi, isDiscovered, isLater } from "./api-operations.ts";
import { type Cluster, conformance, withHollowNodes } from "./conformance.ts";
import { isGone, soon, watchUntil } from "./waiting.ts";
import { areRunning } from "./workloads.ts";

withHollowNodes({ names: ["one", "two"] });

conformance(
  "[sig-network] Ingress API should support creating Ingress API operations [Conformance]",
  async (_, cluster) => {
    const backend = { service: { name: "none", port: { number: 80 } } };
    const loadBalancer = { ingress: [{ ip: "169.1.1.1" }] };
    await exerciseApi(cluster, {
      type: ingresses,
      make: () => ({ metadata: {}, spec: { defaultBackend: backend, ingressClassName: "none" } }),
      patches: [
        {
          patch: {
            type: "merge",
            body: {
              spec: { rules: [{ host: "foo.bar.com", http: { paths: [{ path: "/", pathType: "Prefix", backend }] } }] },
            },
          },
          check: ({ spec }) => assert.equal(spec?.rules?.[0]?.host, "foo.bar.com"),
        },
      ],
      status: { patch: { loadBalancer }, check: ({ status }) => assert.deepEqual(status?.loadBalancer, loadBalancer) },
    });
  },
);

conformance(
  "[sig-network] IngressClass API should support creating IngressClass API operations [Conformance]",
  (_, cluster) =>
    exerciseApi(cluster, {
      type: ingressClasses,
      make: () => ({ metadata: {}, spec: { controller: "example.com/none" } }),
    }),
);

conformance(
  "[sig-network] EndpointSlice should support creating EndpointSlice API operations [Conformance]",
  (_, cluster) =>
    exerciseApi(cluster, {
      type: endpointSlices,
      make: () => ({ metadata: {}, addressType: "IPv4", endpoints: [{ addresses: ["1.2.3.4", "5.6.7.8"] }] }),
    }),
);

conformance(
  "[sig-network] ServiceCIDR and IPAddress API should support ServiceCIDR API operations [Conformance]",
  async (_, cluster) => {
    const { client } = cluster;
    await isDiscovered(cluster, serviceCIDRs, "status");
    const found = await client.get(serviceCIDRs, "kubernetes");
    assert.deepEqual(found.spec?.cidrs, ["10.43.0.0/16"]);
    await soon(async () => {
      const { status } = await client.get(serviceCIDRs, "kubernetes", { subresource: "status" });
      assert.equal(status?.conditions?.find(({ type }) => type === "Ready")?.status, "True");
    });
    assert.ok((await client.list(serviceCIDRs)).items.some(({ metadata }) => metadata.name === "kubernetes"));
    const body = { metadata: { annotations: { patched: "yes" } } };
    const seen = watchUntil(
      client,
      serviceCIDRs,
      { resourceVersion: found.metadata.resourceVersion! },
      ({ type, object }) => Boolean(type === "MODIFIED" && object.metadata.annotations?.["patched"]),
    );
    await client.patch(serviceCIDRs, "kubernetes", { type: "merge", body });
    await seen;
  },
);

conformance(
  "[sig-network] ServiceCIDR and IPAddress API should support IPAddress API operations [Conformance]",
  (_, cluster) =>
    exerciseApi(cluster, {
      type: ipAddresses,
      names: ["192.168.1.255", "192.168.2.255", "fe80::42:1dff:fe84:f9e2"],
      make: () => ({
        metadata: {},
        spec: { parentRef: { group: "mygroup", resource: "myresources", namespace: "foo", name: "bar" } },
      }),
    }),
);

conformance("[sig-network] API Server should provide secure master service [Conformance]", async (_, { client }) => {
  const { spec } = await client.get(services, "kubernetes", { namespace: "default" });
  assert.deepEqual(
    spec?.ports?.map(({ name, port, protocol }) => [name, port, protocol]),
    [["https", 443, "TCP"]],
  );
});

conformance(
  "[sig-network] API Server should have Endpoints and EndpointSlices pointing to API Server [Conformance]",
  async (_, { client }) => {
    const namespace = "default";
    assert.equal((await client.get(services, "kubernetes", { namespace })).spec?.clusterIP, "10.43.0.1");
    const { subsets } = await client.get(endpoints, "kubernetes", { namespace });
    const addresses = subsets?.flatMap((subset) => subset.addresses?.map(({ ip }) => ip) ?? []);
    assert.equal(addresses?.length, 1);
    const { items } = await client.list(endpointSlices, {
      namespace,
      labelSelector: "kubernetes.io/service-name=kubernetes",
    });
    assert.deepEqual(
      items.flatMap((slice) => slice.endpoints?.flatMap((endpoint) => endpoint.addresses) ?? []),
      addresses,
    );
  },
);

const area = "[sig-network] Services should";
const make = (
  { client, namespace }: Cluster,
  name: string,
  spec: NonNullable<Service["spec"]>,
  labels = {},
): Promise<Service> => client.create(services, { metadata: { name, namespace, labels }, spec }, { namespace });
const ports = [{ name: "http", port: 80, targetPort: 8080 }];

conformance(`${area} find a service from listing all namespaces [Conformance]`, async (_, { client }) => {
  const { items } = await client.list(services);
  assert.ok(items.some(({ metadata }) => metadata.name === "kubernetes" && metadata.namespace === "default"));
});

conformance(`${area} delete a collection of services [Conformance]`, async (_, cluster) => {
  const { client, namespace } = cluster;
  const labels = { mark: namespace };
  await make(cluster, "a", { ports }, labels);
  await make(cluster, "b", { type: "NodePort", ports }, labels);
  await make(cluster, "c", { ports });
  assert.equal((await client.list(services, { namespace })).items.length, 3);
  await client.deleteCollection(services, { namespace, labelSelector: `mark=${namespace}` });
  await soon(async () => {
    const { items } = await client.list(services, { namespace });
    assert.deepEqual(
      items.map(({ metadata }) => metadata.name),
      ["c"],
    );
  });
});

conformance(`${area} complete a service status lifecycle [Conformance]`, async (_, cluster) => {
  const { client, namespace } = cluster;
  const scope = { namespace, subresource: "status" };
  const made = await make(
    cluster,
    "s",
    { type: "LoadBalancer", ports, loadBalancerClass: "example.com/none" },
    { mark: namespace },
  );
  const options = { namespace, resourceVersion: made.metadata.resourceVersion! };
  const sees = (fits: (service: Service) => unknown, type = "MODIFIED") =>
    watchUntil(client, services, options, (event) => event.type === type && Boolean(fits(event.object)));
  assert.deepEqual((await client.get(services, "s", scope)).status?.loadBalancer, {});
  const loadBalancer = { ingress: [{ ip: "203.0.113.1", ipMode: "VIP" }] };
  const body = { metadata: { annotations: { patched: "yes" } }, status: { loadBalancer } };
  const patched = await client.patch(services, "s", { type: "merge", body }, scope);
  assert.deepEqual(patched.status?.loadBalancer, loadBalancer);
  assert.equal(patched.metadata.annotations?.["patched"], "yes");
  await sees(({ status }) => status?.loadBalancer?.ingress?.[0]?.ip === "203.0.113.1");
  await soon(async () => {
    const present = await client.get(services, "s", scope);
    const conditions = [
      { type: "Updated", status: "True", reason: "Test", message: "set", lastTransitionTime: "2026-01-02T03:04:05Z" },
    ];
    await client.update(services, { ...present, status: { ...present.status, conditions } }, scope);
  });
  await sees(({ status }) => status?.conditions?.some(({ type }) => type === "Updated"));
  const label = { metadata: { labels: { patched: "yes" } } };
  await client.patch(services, "s", { type: "strategic", body: label }, { namespace });
  await sees(({ metadata }) => metadata.labels?.["patched"] === "yes");
  await client.delete(services, "s", { namespace });
  await sees(() => true, "DELETED");
});

conformance(
  "[sig-network] Endpoints should test the lifecycle of an Endpoint [Conformance]",
  async (_, { client, namespace }) => {
    const scope = { namespace };
    const name = "e";
    const subsets: Endpoints["subsets"] = [
      { addresses: [{ ip: "10.0.0.24" }], ports: [{ name: "http", port: 80, protocol: "TCP" }] },
    ];
    const labels = { mark: namespace };
    const made = await client.create(endpoints, { metadata: { name, namespace, labels }, subsets }, scope);
    const options = { namespace, resourceVersion: made.metadata.resourceVersion! };
    assert.ok(
      (await client.list(endpoints, { labelSelector: `mark=${namespace}` })).items.some(
        ({ metadata }) => metadata.name === name,
      ),
    );
    const updated = await client.update(
      endpoints,
      { ...made, metadata: { ...made.metadata, labels: { ...labels, life: "updated" } } },
      scope,
    );
    assert.ok(isLater(updated, made));
    assert.equal((await client.get(endpoints, name, scope)).metadata.labels?.["life"], "updated");
    const body = {
      metadata: { labels: { life: "patched" } },
      subsets: [{ addresses: [{ ip: "10.0.0.25" }], ports: [{ name: "http-test", port: 8080 }] }],
    };
    await client.patch(endpoints, name, { type: "strategic", body }, scope);
    await watchUntil(client, endpoints, options, ({ object }) => object.metadata.labels?.["life"] === "patched");
    const { subsets: found } = await client.get(endpoints, name, scope);
    assert.deepEqual(found, [
      { addresses: [{ ip: "10.0.0.25" }], ports: [{ name: "http-test", port: 8080, protocol: "TCP" }] },
    ]);
    await client.deleteCollection(endpoints, { namespace, labelSelector: `mark=${namespace}` });
    await watchUntil(client, endpoints, options, ({ type }) => type === "DELETED");
    await isGone(client, endpoints, name, scope);
  },
);

const slicesOf = async ({ client, namespace }: Cluster, service: string) =>
  (await client.list(endpointSlices, { namespace, labelSelector: `kubernetes.io/service-name=${service}` })).items;

/** A service that selects nothing gets objects that say so, which go with it. */
async function emptyService(cluster: Cluster): Promise<void> {
  const { client, namespace } = cluster;
  await make(cluster, "empty", { selector: { does: "not-exist" }, ports });
  await soon(async () => {
    assert.equal((await client.get(endpoints, "empty", { namespace })).subsets, undefined);
    const slices = await slicesOf(cluster, "empty");
    assert.equal(slices.length, 1);
    assert.deepEqual(slices[0]?.endpoints ?? [], []);
  });
  await client.delete(services, "empty", { namespace });
  await isGone(client, endpoints, "empty", { namespace });
  await soon(async () => assert.deepEqual(await slicesOf(cluster, "empty"), []));
}

/** Services that select one pod, by a number, by a name, and two pods of which only one has the named port. */
async function servedPods(cluster: Cluster): Promise<void> {
  const { client, namespace } = cluster;
  const pod = (name: string, port: { name: string; containerPort: number }, labels: Record<string, string>) =>
    client.create(
      pods,
      { metadata: { name, namespace, labels }, spec: { containers: [{ name: "c", image: "i", ports: [port] }] } },
      { namespace },
    );
  await pod("pod1", { name: "example-name", containerPort: 3000 }, { one: "yes", both: "yes" });
  await pod("pod2", { name: "other-name", containerPort: 3001 }, { both: "yes" });
  await make(cluster, "by-number", { selector: { one: "yes" }, ports: [{ name: "p", port: 80, targetPort: 3000 }] });
  await make(cluster, "by-name", {
    selector: { both: "yes" },
    ports: [{ name: "p", port: 80, targetPort: "example-name" }],
  });
  await areRunning(cluster, 2);
  const ipOf = async (name: string) => (await client.get(pods, name, { namespace })).status?.podIP;
  const [one, two] = [await ipOf("pod1"), await ipOf("pod2")];
  await soon(async () => {
    const { subsets } = await client.get(endpoints, "by-number", { namespace });
    assert.deepEqual(
      subsets?.map(({ addresses, ports }) => [addresses?.map(({ ip }) => ip), ports?.map(({ port }) => port)]),
      [[[one], [3000]]],
    );
    const slices = await slicesOf(cluster, "by-number");
    assert.deepEqual(
      slices.map(({ endpoints, ports }) => [
        endpoints?.map(({ addresses, conditions }) => [addresses, conditions?.ready]),
        ports?.map(({ port }) => port),
      ]),
      [[[[[one], true]], [3000]]],
    );
  });
  await soon(async () => {
    // Each pod under the number that the name has with it; none where it has no such name.
    const slices = await slicesOf(cluster, "by-name");
    const byPort = new Map(
      slices.map(({ endpoints, ports }) => [ports?.[0]?.port, endpoints?.flatMap(({ addresses }) => addresses)]),
    );
    assert.deepEqual(byPort.get(3000), [one]);
    assert.ok(![...byPort].some(([port, addresses]) => port !== undefined && addresses?.includes(two ?? "")));
    const { subsets } = await client.get(endpoints, "by-name", { namespace });
    const withPorts = (subsets ?? []).filter(({ ports }) => (ports ?? []).length > 0);
    assert.deepEqual(
      withPorts.map(({ addresses }) => addresses?.map(({ ip }) => ip)),
      [[one]],
    );
  });
  // A pod that is to end leaves the list of those that are ready.
  await client.delete(pods, "pod1", { namespace });
  await soon(async () => {
    const slices = await slicesOf(cluster, "by-number");
    assert.deepEqual(
      slices.flatMap(({ endpoints }) => (endpoints ?? []).filter(({ conditions }) => conditions?.ready)),
      [],
    );
  });
}

const slices = "[sig-network] EndpointSlice should create";
conformance(
  `${slices} and delete EndpointSlices for a Service with a selector that matches no pods [Conformance]`,
  (_, cluster) => emptyService(cluster),
);
conformance(`${slices} Endpoints and EndpointSlices for Pods matching a Service [Conformance]`, (_, cluster) =>
  servedPods(cluster),
);
const controller = "[sig-network] EndpointsController should create";
conformance(
  `${controller} and delete Endpoints for a Service with a selector that matches no pods [Conformance]`,
  (_, cluster) => emptyService(cluster),
);
conformance(`${controller} Endpoints for Pods matching a Service [Conformance]`, (_, cluster) => servedPods(cluster));

conformance(
  "[sig-network] EndpointSliceMirroring should mirror a custom Endpoints resource through create update and delete [Conformance]",
  async (_, cluster) => {
    const { client, namespace } = cluster;
    const name = "mirrored";
    await make(cluster, name, { ports });
    const subsets = [{ addresses: [{ ip: "10.1.2.3" }], ports: [{ port: 80 }] }];
    await client.create(endpoints, { metadata: { name, namespace }, subsets }, { namespace });
    const isMirrored = (expected: unknown[]) =>
      soon(async () => {
        const found = (await slicesOf(cluster, name)).filter(
          ({ metadata }) =>
            metadata.labels?.["endpointslice.kubernetes.io/managed-by"] === "endpointslicemirroring-controller.k8s.io",
        );
        assert.deepEqual(
          found.flatMap(({ endpoints, ports }) =>
            (endpoints ?? []).map(({ addresses }) => [addresses, ports?.map(({ port }) => port)]),
          ),
          expected,
        );
      });
    await isMirrored([[["10.1.2.3"], [80]]]);
    const body = { subsets: [{ addresses: [{ ip: "10.2.3.4" }], ports: [{ port: 80 }] }] };
    await client.patch(endpoints, name, { type: "merge", body }, { namespace });
    await isMirrored([[["10.2.3.4"], [80]]]);
    await client.delete(endpoints, name, { namespace });
    await isMirrored([]);
  },
);

conformance("[sig-network] Service endpoints latency should not be very high [Conformance]", async (_, cluster) => {
  const { client, namespace } = cluster;
  const labels = { app: "latency" };
  const spec = { containers: [{ name: "c", image: "i" }] };
  await client.create(pods, { metadata: { name: "p", namespace, labels }, spec }, { namespace });
  await areRunning(cluster, 1);
  const started = new Map<string, number>();
  const { metadata } = await client.list(endpoints, { namespace });
  const total = 200;
  const seen = new Map<string, number>();
  const all = watchUntil(client, endpoints, { namespace, resourceVersion: metadata.resourceVersion! }, ({ object }) => {
    const name = object.metadata.name ?? "";
    if (object.subsets?.length && !seen.has(name)) seen.set(name, performance.now());
    return seen.size === total;
  });
  for (let at = 0; at < total; at += 10) {
    const names = Array.from({ length: 10 }, (_, index) => `latency-${at + index}`);
    const begin = async (name: string) => {
      started.set(name, performance.now());
      await make(cluster, name, { selector: labels, ports });
    };
    await Promise.all(names.map(begin));
  }
  await all;
  const latencies = [...seen].map(([name, atMs]) => atMs - started.get(name)!).sort((a, b) => a - b);
  assert.ok(latencies[total / 2]! < 20_000, `half took ${latencies[total / 2]} ms`);
  assert.ok(latencies[Math.floor(total * 0.99)]! < 50_000, `99 of 100 took ${latencies[Math.floor(total * 0.99)]} ms`);
});
