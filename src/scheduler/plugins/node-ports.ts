import type { Plugin } from "../framework.ts";
import { type HostPort, podHostPorts } from "../pod-resources.ts";

const anyAddress = new Set(["", "0.0.0.0", "::"]);

function collide(a: HostPort, b: HostPort): boolean {
  if (a.port !== b.port || a.protocol !== b.protocol) return false;
  return a.ip === b.ip || anyAddress.has(a.ip) || anyAddress.has(b.ip);
}

/** Two pods cannot have the same port of a node. */
export const nodePorts: Plugin = {
  name: "NodePorts",
  retryOn: ["node-added", "pod-deleted"],
  start(pod) {
    const wanted = podHostPorts(pod);
    if (wanted.length === 0) return undefined;
    return {
      filter(node) {
        const taken = node.ports;
        return wanted.some((port) => taken.some((other) => collide(port, other)))
          ? [{ reason: "node(s) didn't have free ports for the requested pod ports" }]
          : [];
      },
    };
  },
};
