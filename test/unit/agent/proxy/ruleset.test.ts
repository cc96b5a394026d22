import assert from "node:assert/strict";
import { after, test } from "node:test";
import { type RenderInput, render } from "../../../../src/agent/proxy/render.ts";
import { renderChange, renderWhole } from "../../../../src/agent/proxy/ruleset.ts";
import type { ServicePort } from "../../../../src/agent/proxy/service-port.ts";
import { NetworkNamespace, requireNetworkTools } from "../support/netns.ts";

requireNetworkTools();
const namespace = new NetworkNamespace("rules");
after(() => namespace.remove());

const common = { clusterCidr: "10.42.0.0/16", serviceCidr: "10.43.0.0/16", bridgeFiltered: true, hostPorts: [] };

function port(number: number, overrides: Partial<ServicePort> = {}): ServicePort {
  const targets = [1, 2].map((i) => ({ address: `10.42.${i}.${(number % 250) + 2}`, port: 8080, local: i === 1 }));
  return {
    id: `default/s${number}/tcp/http`,
    protocol: "tcp",
    port: 80,
    clusterIp: `10.43.${number >> 8}.${number & 255}`,
    nodePort: undefined,
    externalIps: [],
    loadBalancerIps: [],
    sourceRanges: [],
    affinitySeconds: 0,
    internalLocal: false,
    externalLocal: false,
    targets,
    ...overrides,
  };
}

/** Sets and chains in one order, since the kernel lists them in order of creation and hashes elements. */
function listed(): string[] {
  const text = namespace.exec("nft", ["list", "table", "ip", "k3ts"]);
  const blocks = text
    .replace(/}\n$/, "")
    .split(/\n(?=\t(?:chain|set|map) )/)
    .slice(1);
  return blocks
    .map((block) =>
      block
        .split(/[\n,]\s*/)
        .sort()
        .join("\n"),
    )
    .sort();
}

const input = (servicePorts: ServicePort[], rest: Partial<RenderInput> = {}) =>
  render({ ...common, servicePorts, ...rest });

// Each step is one that a cluster takes; after each the changed table must be what writing it whole gives.
const steps = [
  ["nothing", input([])],
  ["Services come", input([port(20), port(21, { nodePort: 30021 }), port(22, { affinitySeconds: 60 })])],
  [
    "endpoints change",
    input([port(20, { targets: [] }), port(21, { nodePort: 30021, externalLocal: true, internalLocal: true })]),
  ],
  ["an address moves to another Service", input([port(30, { clusterIp: "10.43.0.20" })])],
  [
    "firewall, affinity and host ports",
    input(
      [
        port(31, {
          loadBalancerIps: ["203.0.113.3"],
          sourceRanges: ["10.0.0.0/8", "192.168.0.0/16"],
          affinitySeconds: 5,
          externalLocal: true,
        }),
      ],
      { hostPorts: [{ protocol: "sctp", port: 1, podIp: "10.42.0.2", podPort: 2, hostIp: "192.168.1.1" }] },
    ),
  ],
  [
    "two Services claim one address",
    input([port(32, { externalIps: ["203.0.113.3"] }), port(33, { externalIps: ["203.0.113.3"] })]),
  ],
  ["everything goes", input([])],
] as const;

test("a changed table is the same as one that is written whole, after every kind of change", () => {
  namespace.nft(renderWhole(steps[0][1]));
  for (const [i, [what, ruleset]] of steps.entries()) {
    if (i > 0) namespace.nft(renderChange(steps[i - 1]![1], ruleset));
    const changed = listed();
    namespace.nft(renderWhole(ruleset));
    assert.deepEqual(changed, listed(), what);
  }
});

test("equal input gives no text at all", () => {
  assert.equal(renderChange(input([port(20)]), input([port(20)])), "");
});

test("one changed Service among a thousand gives a handful of lines", () => {
  const ports = Array.from({ length: 1000 }, (_, i) => port(i + 20));
  const before = input(ports);
  const changed = [...ports];
  changed[500] = port(520, { targets: ports[500]!.targets.slice(0, 1) });
  const text = renderChange(before, input(changed));
  assert.deepEqual(text.trim().split("\n"), [
    "flush chain ip k3ts svc/default/s520/tcp/http",
    "add rule ip k3ts svc/default/s520/tcp/http meta l4proto tcp dnat ip to 10.42.1.22:8080",
  ]);
});
