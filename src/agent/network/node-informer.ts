import { type Node, nodes } from "../../api/generated/core-v1.ts";
import type { Client } from "../../client/client.ts";
import { createInformer, type Informer } from "../../client/informer.ts";
import type { Clock } from "../../machinery/clock.ts";
import type { Logger } from "../../machinery/log.ts";

/** Follows all Nodes until the signal aborts, keeping of each what the network and DNS of a node need. */
export function followNodes(options: {
  client: Client;
  clock: Clock;
  logger: Logger;
  signal: AbortSignal;
}): Informer<Node> {
  const { client, clock, logger, signal } = options;
  const informer = createInformer(client, nodes, { clock, logger, transform: networkPartOf });
  void informer.start(signal);
  return informer;
}

/** Nodes carry long lists of images; of all that, little is needed. */
function networkPartOf({ metadata, spec, status }: Node): Node {
  const { name, uid, resourceVersion, annotations } = metadata;
  const { podCIDR, podCIDRs } = spec ?? {};
  return {
    metadata: {
      ...(name ? { name } : {}),
      ...(uid ? { uid } : {}),
      ...(resourceVersion ? { resourceVersion } : {}),
      ...(annotations ? { annotations } : {}),
    },
    spec: { ...(podCIDR ? { podCIDR } : {}), ...(podCIDRs ? { podCIDRs } : {}) },
    status: { ...(status?.addresses ? { addresses: status.addresses } : {}) },
  };
}
