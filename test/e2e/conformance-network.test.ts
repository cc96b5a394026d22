/** What the conformance tests ask of a cluster's network: services of each type, affinity, names and pods of other nodes. */
import assert from "node:assert/strict";
import { describe } from "node:test";
import { nodes as nodeType, type Pod, pods, type Service, services } from "../../src/api/generated/core-v1.ts";
import { type EndpointSlice, endpointSlices } from "../../src/api/generated/discovery-v1.ts";
import { conformance, type Nodes, useNodes } from "../conformance/on-nodes.ts";
import { soon } from "../conformance/waiting.ts";

useNodes({ agents: 1 });

const some = "[sig-network] Services should";
const names = "[sig-network] DNS should";
const granular = "[sig-network] Networking Granular Checks: Pods should function for";

const labels = { app: "web" };
const ports = [{ name: "http", port: 80, targetPort: 80 }];
const probed = { readinessProbe: { tcpSocket: { port: 80 }, periodSeconds: 1 } };
const domain = ({ namespace }: Nodes, name: string) => `${name}.${namespace}.svc.cluster.local`;

const makeService = ({ client, namespace }: Nodes, name: string, spec: Service["spec"]) =>
  client.create(services, { metadata: { name, namespace }, spec: spec! });

/** Changes a service as a client does: reads it, and writes it again until nobody else was faster. */
function change({ client, namespace }: Nodes, name: string, edit: (spec: NonNullable<Service["spec"]>) => void) {
  return soon(async () => {
    const service = structuredClone(await client.get(services, name, { namespace }));
    edit(service.spec!);
    return client.update(services, service, { namespace });
  });
}

/** Web servers that a service selects, and a pod that asks. */
async function makePods(nodes: Nodes, webs: readonly string[]): Promise<void> {
  await Promise.all([nodes.create("asker"), ...webs.map((name) => nodes.create(name, probed, {}, { labels }))]);
  await Promise.all(["asker", ...webs].map(nodes.ready));
}

/** Asks until each of these, and nobody else since the last that was wrong, has answered. */
async function answer(nodes: Nodes, target: string, expected: readonly string[], asker = "asker"): Promise<void> {
  await soon(async () => {
    const script = `for i in 1 2 3 4 5 6 7 8 9 10 11 12; do wget -qO- -T 5 http://${target}/ || exit 1; done`;
    const hosts = (await nodes.exec(asker, ["sh", "-c", script])).trim().split("\n");
    assert.deepEqual([...new Set(hosts)].sort(), [...expected].sort(), target);
  });
}

async function addressesOfNodes({ client }: Nodes): Promise<string[]> {
  const { items } = await client.list(nodeType);
  return items.map(({ status }) => status!.addresses!.find(({ type }) => type === "InternalIP")!.address);
}

/** Under its name, its address and, when it has one, the port of each node. */
async function isReachable(nodes: Nodes, service: Service, webs: readonly string[]): Promise<void> {
  const { clusterIP, ports: at } = service.spec!;
  await answer(nodes, `${service.metadata.name}:80`, webs);
  if (clusterIP) await answer(nodes, `${clusterIP}:80`, webs);
  const nodePort = at?.[0]?.nodePort;
  if (nodePort)
    for (const address of await addressesOfNodes(nodes)) await answer(nodes, `${address}:${nodePort}`, webs);
}

/** The pods and ports that a service's slices have: "pod:port". */
function hasEndpoints({ client, namespace }: Nodes, service: string, expected: readonly string[]): Promise<void> {
  const labelSelector = `kubernetes.io/service-name=${service}`;
  const listed = ({ endpoints, ports: at }: EndpointSlice) =>
    (endpoints ?? []).flatMap(({ targetRef }) =>
      (at ?? []).map(({ name, port }) => `${targetRef?.name}:${name}:${port}`),
    );
  return soon(async () => {
    const { items } = await client.list(endpointSlices, { namespace, labelSelector });
    assert.deepEqual(items.flatMap(listed).sort(), [...expected].sort());
  });
}

describe("the network", { concurrency: 6 }, () => {
  conformance(
    "[sig-architecture] Conformance Tests should have at least two untainted nodes [Conformance]",
    async ({ client }) => {
      // The taint of a node that is not ready goes a moment after it is.
      await soon(async () => {
        const { items } = await client.list(nodeType);
        const open = items.filter(({ spec, status }) => {
          const isReady = status!.conditions!.some((one) => one.type === "Ready" && one.status === "True");
          return (
            isReady &&
            !spec?.unschedulable &&
            !spec?.taints?.some(({ effect }) => /^No(Schedule|Execute)$/.test(effect))
          );
        });
        assert.ok(open.length >= 2, `${open.length} of ${items.length} nodes`);
      });
    },
  );

  conformance(`${some} serve a basic endpoint from pods [Conformance]`, async (nodes) => {
    const service = await makeService(nodes, "web", { selector: labels, ports });
    await hasEndpoints(nodes, "web", []);
    await makePods(nodes, ["one"]);
    await hasEndpoints(nodes, "web", ["one:http:80"]);
    await isReachable(nodes, service, ["one"]);
    await nodes.create("two", probed, {}, { labels });
    await hasEndpoints(nodes, "web", ["one:http:80", "two:http:80"]);
    await nodes.ready("two");
    await isReachable(nodes, service, ["one", "two"]);
    await nodes.remove("one");
    await hasEndpoints(nodes, "web", ["two:http:80"]);
    await isReachable(nodes, service, ["two"]);
    await nodes.remove("two");
    await hasEndpoints(nodes, "web", []);
  });

  conformance(`${some} be able to create a functioning NodePort service [Conformance]`, async (nodes) => {
    const service = await makeService(nodes, "web", { type: "NodePort", selector: labels, ports });
    await makePods(nodes, ["one", "two"]);
    await isReachable(nodes, service, ["one", "two"]);
  });
  const becomes = (type: "ClusterIP" | "NodePort") => async (nodes: Nodes) => {
    const external = await makeService(nodes, "web", { type: "ExternalName", externalName: "foo.example.com" });
    assert.equal(external.spec!.clusterIP, undefined);
    const service = await change(nodes, "web", (spec) => {
      delete spec.externalName;
      Object.assign(spec, { type, selector: labels, ports });
    });
    assert.ok(service.spec!.clusterIP, "it has no address");
    assert.equal(service.spec!.ports![0]!.nodePort !== undefined, type === "NodePort");
    await makePods(nodes, ["one", "two"]);
    await isReachable(nodes, service, ["one", "two"]);
  };
  conformance(`${some} be able to change the type from ExternalName to ClusterIP [Conformance]`, becomes("ClusterIP"));
  conformance(`${some} be able to change the type from ExternalName to NodePort [Conformance]`, becomes("NodePort"));
  const points = (type: "ClusterIP" | "NodePort") => async (nodes: Nodes) => {
    await makeService(nodes, "was", { type, ports });
    await makeService(nodes, "web", { selector: labels, ports });
    await makePods(nodes, ["one", "two"]);
    const service = await change(nodes, "was", (spec) => {
      Object.assign(spec, { type: "ExternalName", externalName: domain(nodes, "web") });
    });
    assert.equal(service.spec!.clusterIP, undefined);
    assert.equal(service.spec!.ports?.[0]?.nodePort, undefined);
    await isReachable(nodes, service, ["one", "two"]);
  };
  conformance(`${some} be able to change the type from ClusterIP to ExternalName [Conformance]`, points("ClusterIP"));
  conformance(`${some} be able to change the type from NodePort to ExternalName [Conformance]`, points("NodePort"));

  const webs = ["one", "two", "three"];
  /** A service that keeps a client on one pod; `turns`: after it was told not to, and then to do so again. */
  const sticks = (type: "ClusterIP" | "NodePort", turns: boolean) => async (nodes: Nodes) => {
    const service = await makeService(nodes, "web", { type, selector: labels, ports, sessionAffinity: "ClientIP" });
    await makePods(nodes, webs);
    const { clusterIP, ports: at } = service.spec!;
    const [address] = await addressesOfNodes(nodes);
    const target = type === "NodePort" ? `${address}:${at![0]!.nodePort}` : `${clusterIP}:80`;
    const stays = () =>
      soon(async () => {
        const script = `for i in $(seq 15); do wget -qO- -T 5 http://${target}/ || exit 1; done`;
        const hosts = (await nodes.exec("asker", ["sh", "-c", script])).trim().split("\n");
        assert.equal(hosts.length, 15);
        assert.equal(new Set(hosts).size, 1, hosts.join(" "));
        assert.ok(webs.includes(hosts[0]!));
      });
    const ways = ["web:80", `${clusterIP}:80`];
    if (type === "NodePort") for (const ip of await addressesOfNodes(nodes)) ways.push(`${ip}:${at![0]!.nodePort}`);
    for (const way of ways)
      await soon(async () => {
        const host = await nodes.exec("asker", ["wget", "-qO-", "-T", "5", `http://${way}/`]);
        assert.ok(webs.includes(host.trim()), `${way} answers ${host}`);
      });
    if (!turns) return stays();
    const set = (sessionAffinity: string) =>
      change(nodes, "web", (spec) => {
        delete spec.sessionAffinityConfig;
        spec.sessionAffinity = sessionAffinity;
      });
    await set("None");
    await answer(nodes, target, webs);
    await set("ClientIP");
    await stays();
  };
  conformance(
    `${some} have session affinity work for service with type clusterIP [LinuxOnly] [Conformance]`,
    sticks("ClusterIP", false),
  );
  conformance(
    `${some} have session affinity work for NodePort service [LinuxOnly] [Conformance]`,
    sticks("NodePort", false),
  );
  conformance(
    `${some} be able to switch session affinity for service with type clusterIP [LinuxOnly] [Conformance]`,
    sticks("ClusterIP", true),
  );
  conformance(
    `${some} be able to switch session affinity for NodePort service [LinuxOnly] [Conformance]`,
    sticks("NodePort", true),
  );

  /** A web server on each node, all of them asked from one of the nodes: by a pod of its own network, or of the node's. */
  const spans = (hostNetwork: boolean) => async (nodes: Nodes) => {
    const { client, namespace, cluster } = nodes;
    const web = cluster.nodes.map((_, index) => `web-${index}`);
    const asks = hostNetwork ? { command: ["sleep", "10000"] } : {};
    await Promise.all([
      nodes.create("asker", asks, { hostNetwork }),
      ...web.map((name, index) => nodes.create(name, probed, { nodeName: cluster.nodes[index]! })),
    ]);
    await Promise.all(["asker", ...web].map(nodes.ready));
    const { items } = await client.list(pods, { namespace });
    const ipOf = (wanted: string) => items.find(({ metadata }: Pod) => metadata.name === wanted)!.status!.podIP!;
    assert.equal(new Set(web.map(ipOf)).size, cluster.nodes.length);
    for (const name of web) await answer(nodes, ipOf(name), [name]);
  };
  conformance(`${granular} intra-pod communication: http [NodeConformance] [Conformance]`, spans(false));
  conformance(`${granular} node-pod communication: http [LinuxOnly] [NodeConformance] [Conformance]`, spans(true));

  conformance(`${some} serve multiport endpoints from pods [Conformance]`, async (nodes) => {
    const target = (name: string, port: number) => ({ name, port, targetPort: name });
    const spec = { selector: labels, ports: [target("first", 80), target("second", 81)] };
    const { spec: made } = await makeService(nodes, "web", spec);
    await hasEndpoints(nodes, "web", []);
    const make = async (pod: string, name: string, containerPort: number) => {
      const env = [{ name: "PORT", value: String(containerPort) }];
      await nodes.create(pod, { env, ports: [{ name, containerPort }] }, {}, { labels });
      await nodes.ready(pod);
    };
    await make("one", "first", 100);
    await hasEndpoints(nodes, "web", ["one:first:100"]);
    await make("two", "second", 101);
    await hasEndpoints(nodes, "web", ["one:first:100", "two:second:101"]);
    await nodes.create("asker");
    await nodes.ready("asker");
    for (const host of ["web", made!.clusterIP!]) {
      await answer(nodes, `${host}:80`, ["one"]);
      await answer(nodes, `${host}:81`, ["two"]);
    }
    await nodes.remove("one");
    await hasEndpoints(nodes, "web", ["two:second:101"]);
    await nodes.remove("two");
    await hasEndpoints(nodes, "web", []);
  });

  conformance(`${names} support configurable pod DNS nameservers [Conformance]`, async (nodes) => {
    const dnsConfig = { nameservers: ["1.1.1.1"], searches: ["resolv.conf.local"] };
    await nodes.create("p", {}, { dnsPolicy: "None", dnsConfig });
    await nodes.ready("p");
    const file = await nodes.exec("p", ["cat", "/etc/resolv.conf"]);
    assert.match(file, /^search resolv\.conf\.local$/m);
    assert.match(file, /^nameserver 1\.1\.1\.1$/m);
  });
  conformance(`${names} provide DNS for ExternalName services [Conformance]`, async (nodes) => {
    const service = "external";
    await makeService(nodes, service, { type: "ExternalName", externalName: "foo.example.com" });
    await nodes.create("asker");
    await nodes.ready("asker");
    const resolves = (type: string, expected: RegExp) =>
      soon(async () => {
        const script = `nslookup -type=${type} ${domain(nodes, service)}. 2>&1 || true`;
        assert.match(await nodes.exec("asker", ["sh", "-c", script]), expected);
      });
    await resolves("cname", /canonical name = foo\.example\.com/);
    await change(nodes, service, (spec) => {
      spec.externalName = "bar.example.com";
    });
    await resolves("cname", /canonical name = bar\.example\.com/);
    const changed = await change(nodes, service, (spec) => Object.assign(spec, { type: "ClusterIP", ports }));
    const address = changed.spec!.clusterIP!.replaceAll(".", "\\.");
    await resolves("a", new RegExp(`Name:\\s+external\\..*\\nAddress(?: 1)?: ${address}\\b`));
  });
});
