import { hostPortsCollide, podHostPorts } from "../../api/pod/host-ports.ts";
import type { Plugin } from "../framework.ts";

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
        return wanted.some((port) => taken.some((other) => hostPortsCollide(port, other)))
          ? [{ reason: "node(s) didn't have free ports for the requested pod ports" }]
          : [];
      },
    };
  },
};
