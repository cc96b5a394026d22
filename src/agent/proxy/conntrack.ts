import { CommandError, run } from "../host/command.ts";
import type { ServicePort } from "./service-port.ts";

/** Selects tracked UDP flows by arguments of `conntrack -D`. */
export type FlowSelector = readonly string[];

interface UdpEntrance {
  /** Arguments that select the flows that came in here. */
  readonly selector: FlowSelector;
  readonly targets: ReadonlySet<string>;
}

/**
 * Which tracked UDP flows must be forgotten when the Services change. A UDP flow has no end, so one whose endpoint is
 * gone would lead there for as long as its client keeps sending, and one that began before there was an endpoint would
 * never find it.
 */
export function staleFlows(old: readonly ServicePort[], next: readonly ServicePort[]): FlowSelector[] {
  const before = entrances(old);
  const after = entrances(next);
  const stale: FlowSelector[] = [];
  for (const [key, { selector, targets }] of before) {
    const present = after.get(key)?.targets;
    for (const target of targets) if (!present?.has(target)) stale.push([...selector, "--dst-nat", target]);
  }
  for (const [key, { selector, targets }] of after) {
    if (targets.size && !before.get(key)?.targets.size) stale.push(selector);
  }
  return stale;
}

function entrances(ports: readonly ServicePort[]): Map<string, UdpEntrance> {
  const found = new Map<string, UdpEntrance>();
  for (const port of ports) {
    if (port.protocol !== "udp") continue;
    const targets = new Set(port.targets.map((target) => target.address));
    for (const address of [port.clusterIp, ...port.externalIps, ...port.loadBalancerIps]) {
      const selector = ["--orig-dst", address, "--orig-port-dst", `${port.port}`];
      found.set(selector.join(" "), { selector, targets });
    }
    if (!port.nodePort) continue;
    const selector = ["--orig-port-dst", `${port.nodePort}`];
    found.set(selector.join(" "), { selector, targets });
  }
  return found;
}

/** Makes the kernel forget these UDP flows; none being there is fine. Throws `CommandError`. */
export async function forgetFlows(selectors: readonly FlowSelector[], signal: AbortSignal): Promise<void> {
  for (const selector of selectors) {
    try {
      await run("conntrack", ["-D", "-p", "udp", ...selector], { signal });
    } catch (error) {
      // It ends with 1 when it deleted nothing.
      if (!(error instanceof CommandError && error.stderr.includes(" 0 flow entries"))) throw error;
    }
  }
}
