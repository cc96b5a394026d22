import type { HostPort } from "./host-port.ts";
import type { Chain, NftSet, Ruleset } from "./ruleset.ts";
import type { ServicePort, Target } from "./service-port.ts";

export interface RenderInput {
  readonly servicePorts: readonly ServicePort[];
  readonly hostPorts: readonly HostPort[];
  /** The pods' range: who comes from there needs no masquerade. */
  readonly clusterCidr: string;
  readonly serviceCidr: string;
  /** Do packets between pods of one bridge pass these rules? If not, such Service traffic is masqueraded. */
  readonly bridgeFiltered: boolean;
}

/** kube-proxy's bit: set on packets of connections that get the node's address. */
const masqueradeMark = "0x4000";
const endpointKey = "ipv4_addr . inet_proto . inet_service";

/**
 * The whole table for these Services and host ports; a function of its input alone.
 *
 * A connection finds its Service through one look-up in a verdict map, whatever their number; a Service's chain picks an
 * endpoint by a random number through an anonymous map. Only client affinity is a row of rules, one an endpoint.
 */
export function render(input: RenderInput): Ruleset {
  const builder = new Builder(input);
  for (const port of input.servicePorts) builder.addServicePort(port);
  for (const port of input.hostPorts) builder.addHostPort(port);
  return builder.ruleset();
}

class Builder {
  readonly #input: RenderInput;
  readonly #chains = new Map<string, Chain>();
  readonly #affinitySets = new Map<string, NftSet>();
  readonly #serviceIps = new Map<string, string>();
  readonly #nodePorts = new Map<string, string>();
  readonly #refusedIps = new Map<string, string>();
  readonly #refusedNodePorts = new Map<string, string>();
  readonly #firewallIps = new Map<string, string>();
  readonly #hostPorts = new Map<string, string>();
  readonly #hostPortIps = new Map<string, string>();
  readonly #hairpin = new Map<string, string>();

  constructor(input: RenderInput) {
    this.#input = input;
  }

  addServicePort(port: ServicePort): void {
    const { id, protocol } = port;
    const key = (address: string) => `${address} . ${protocol} . ${port.port}`;
    const local = port.targets.filter((target) => target.local);
    for (const { address } of local) this.#hairpin.set(`${address} . ${address}`, "");

    const internal = port.internalLocal ? local : port.targets;
    const service = `svc/${id}`;
    if (internal.length) {
      this.#balance(service, port, internal);
      put(this.#serviceIps, key(port.clusterIp), `goto ${service}`);
    } else {
      put(this.#refusedIps, key(port.clusterIp), refusal(port, port.internalLocal));
    }

    const balancerIps = port.loadBalancerIps.filter((address) => !port.externalIps.includes(address));
    const externalIps = [...port.externalIps, ...balancerIps];
    if (!externalIps.length && !port.nodePort) return;
    const usable = port.externalLocal ? local : port.targets;
    const external = `ext/${id}`;
    if (port.targets.length) this.#external(external, service, port, local);
    // With the Local policy the chain also serves this node's own traffic; what it does not take is refused after it.
    const served = port.targets.length > 0;
    const refused = !usable.length;
    for (const address of externalIps) {
      if (served) put(this.#serviceIps, key(address), `goto ${external}`);
      if (refused) put(this.#refusedIps, key(address), refusal(port, port.externalLocal));
    }
    if (port.nodePort) {
      const nodeKey = `${protocol} . ${port.nodePort}`;
      if (served) put(this.#nodePorts, nodeKey, `goto ${external}`);
      if (refused) put(this.#refusedNodePorts, nodeKey, refusal(port, port.externalLocal));
    }
    if (port.sourceRanges.length && balancerIps.length) {
      const firewall = `fw/${id}`;
      this.#chains.set(firewall, { rules: [`ip saddr != { ${port.sourceRanges.join(", ")} } drop`] });
      for (const address of balancerIps) put(this.#firewallIps, key(address), `goto ${firewall}`);
    }
  }

  addHostPort({ protocol, port, hostIp, podIp, podPort }: HostPort): void {
    const target = `${podIp} . ${podPort}`;
    this.#hairpin.set(`${podIp} . ${podIp}`, "");
    if (hostIp) put(this.#hostPortIps, `${hostIp} . ${protocol} . ${port}`, target);
    else put(this.#hostPorts, `${protocol} . ${port}`, target);
  }

  /** Traffic that enters from outside the cluster's own addresses. */
  #external(name: string, service: string, port: ServicePort, local: readonly Target[]): void {
    const whole = this.#wholeChain(service, port);
    if (!port.externalLocal) {
      this.#chains.set(name, { rules: [`jump mark-for-masquerade`, `goto ${whole}`] });
      return;
    }
    const rules = [
      // Pods and this node itself get every endpoint: nobody's source address is at stake.
      `ip saddr ${this.#input.clusterCidr} goto ${whole}`,
      "fib saddr type local jump mark-for-masquerade",
      `fib saddr type local goto ${whole}`,
    ];
    if (local.length) rules.push(...this.#balanceRules(port, local));
    this.#chains.set(name, { rules });
  }

  /** The chain over all endpoints; the Service's own one unless that is limited to this node. */
  #wholeChain(service: string, port: ServicePort): string {
    if (!port.internalLocal) return service;
    const name = `all/${port.id}`;
    this.#balance(name, port, port.targets);
    return name;
  }

  #balance(name: string, port: ServicePort, targets: readonly Target[]): void {
    this.#chains.set(name, { rules: this.#balanceRules(port, targets) });
  }

  /** Rules that send a connection to one of the endpoints, each as likely as the others. */
  #balanceRules(port: ServicePort, targets: readonly Target[]): string[] {
    const { protocol, affinitySeconds, id } = port;
    if (!affinitySeconds) {
      if (targets.length === 1)
        return [`meta l4proto ${protocol} dnat ip to ${targets[0]!.address}:${targets[0]!.port}`];
      const choices = targets.map(({ address, port }, i) => `${i} : ${address} . ${port}`).join(", ");
      return [`meta l4proto ${protocol} dnat ip addr . port to numgen random mod ${targets.length} map { ${choices} }`];
    }
    const stay: string[] = [];
    const choices: string[] = [];
    for (const [i, { address, port }] of targets.entries()) {
      const [chain, set] = [`ep/${id}/${address}/${port}`, `aff/${id}/${address}/${port}`];
      const spec = `type ipv4_addr; flags dynamic,timeout; timeout ${affinitySeconds}s;`;
      this.#affinitySets.set(set, { kind: "set", spec });
      const remember = `update @${set} { ip saddr }`;
      this.#chains.set(chain, { rules: [remember, `meta l4proto ${protocol} dnat ip to ${address}:${port}`] });
      stay.push(`ip saddr @${set} goto ${chain}`);
      choices.push(`${i} : goto ${chain}`);
    }
    return [...stay, `numgen random mod ${targets.length} vmap { ${choices.join(", ")} }`];
  }

  ruleset(): Ruleset {
    const sets = new Map<string, NftSet>(this.#affinitySets);
    const map = (name: string, type: string, elements: Map<string, string>) =>
      sets.set(name, { kind: "map", spec: `type ${type};`, elements });
    map("service-ips", `${endpointKey} : verdict`, this.#serviceIps);
    map("service-nodeports", "inet_proto . inet_service : verdict", this.#nodePorts);
    map("refused-ips", `${endpointKey} : verdict`, this.#refusedIps);
    map("refused-nodeports", "inet_proto . inet_service : verdict", this.#refusedNodePorts);
    map("firewall-ips", `${endpointKey} : verdict`, this.#firewallIps);
    map("host-ports", "inet_proto . inet_service : ipv4_addr . inet_service", this.#hostPorts);
    map("host-port-ips", `${endpointKey} : ipv4_addr . inet_service`, this.#hostPortIps);
    sets.set("hairpin", { kind: "set", spec: "type ipv4_addr . ipv4_addr;", elements: this.#hairpin });
    return { chains: new Map([...this.#baseChains(), ...this.#chains]), sets };
  }

  #baseChains(): Map<string, Chain> {
    const { clusterCidr, serviceCidr, bridgeFiltered } = this.#input;
    const base = (type: string, hook: string, priority: string, rules: string[]): Chain => ({
      hook: `type ${type} hook ${hook} priority ${priority}; policy accept;`,
      rules,
    });
    const lookUp = "ip daddr . meta l4proto . th dport";
    const firewall = [`ct state new ${lookUp} vmap @firewall-ips`];
    // A packet that still has a Service's address here found nobody to serve it.
    const leftOver = [`ct state new ip daddr ${serviceCidr} goto reject-it`];
    const refused = [`ct state new ${lookUp} vmap @refused-ips`];
    return new Map([
      ["firewall-prerouting", base("filter", "prerouting", "dstnat - 10", firewall)],
      ["firewall-output", base("filter", "output", "-110", firewall)],
      ["nat-prerouting", base("nat", "prerouting", "dstnat", ["jump services"])],
      ["nat-output", base("nat", "output", "-100", ["jump services"])],
      [
        "services",
        {
          rules: [
            // An address of the service range that this node has itself is served by a program here: the cluster's DNS.
            `ip daddr ${serviceCidr} fib daddr type local return`,
            `ip daddr ${serviceCidr} ip saddr != ${clusterCidr} jump mark-for-masquerade`,
            `${lookUp} vmap @service-ips`,
            "fib daddr type != local return",
            "meta l4proto . th dport vmap @service-nodeports",
            ...["tcp", "udp", "sctp"].flatMap((protocol) => [
              `meta l4proto ${protocol} dnat ip addr . port to ${lookUp} map @host-port-ips`,
              `meta l4proto ${protocol} dnat ip addr . port to meta l4proto . th dport map @host-ports`,
            ]),
          ],
        },
      ],
      [
        "nat-postrouting",
        base("nat", "postrouting", "srcnat", [
          // Only what these rules sent elsewhere; everything else is none of the proxy's business.
          "ct status and dnat == 0 return",
          `meta mark and ${masqueradeMark} == ${masqueradeMark} masquerade fully-random`,
          "ip saddr . ip daddr @hairpin masquerade fully-random",
          "ip saddr 127.0.0.0/8 masquerade fully-random",
          ...(bridgeFiltered ? [] : [`ip saddr ${clusterCidr} ip daddr ${clusterCidr} masquerade fully-random`]),
        ]),
      ],
      [
        "filter-input",
        base("filter", "input", "filter", [
          `ip daddr ${serviceCidr} return`,
          ...refused,
          "ct state new meta l4proto . th dport vmap @refused-nodeports",
        ]),
      ],
      ["filter-forward", base("filter", "forward", "filter", ["ct state invalid drop", ...refused, ...leftOver])],
      [
        "filter-output",
        base("filter", "output", "filter", [
          'oifname "lo" ct state new meta l4proto . th dport vmap @refused-nodeports',
          'oifname "lo" return',
          ...refused,
          ...leftOver,
        ]),
      ],
      ["mark-for-masquerade", { rules: [`meta mark set meta mark or ${masqueradeMark}`] }],
      // The kernel sends few ICMP errors a second to one client; resets are not limited.
      ["reject-it", { rules: ["meta l4proto tcp reject with tcp reset", "reject"] }],
    ]);
  }
}

/** Refused at once, so that clients need not wait; but where only this node has no endpoint, others may: dropped. */
function refusal(port: ServicePort, localOnly: boolean): string {
  return localOnly && port.targets.length ? "drop" : "goto reject-it";
}

/** The first Service that claims an address and port keeps it; a second entry would make the kernel refuse the table. */
function put(map: Map<string, string>, key: string, value: string): void {
  if (!map.has(key)) map.set(key, value);
}
