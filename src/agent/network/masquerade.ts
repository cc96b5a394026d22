export const networkTable = "k3ts-network";

/**
 * The nftables text for traffic that leaves the pod network: packets of pods get the node's address on their way out,
 * and packets from outside to another node's pods too, so that the answer takes the way back through this node.
 * Nothing from outside reaches loopback addresses. Replaces the whole table in one transaction.
 */
export function renderMasquerade({ clusterCidr, podCidr }: { clusterCidr: string; podCidr: string }): string {
  return `add table ip ${networkTable}
delete table ip ${networkTable}
table ip ${networkTable} {
  chain postrouting {
    # After the proxy's own masquerade, which knows more about Services.
    type nat hook postrouting priority srcnat + 5; policy accept;
    ip saddr ${clusterCidr} ip daddr ${clusterCidr} return
    ip saddr ${clusterCidr} ip daddr != 224.0.0.0/4 masquerade fully-random
    ip daddr ${podCidr} return
    ip daddr ${clusterCidr} masquerade fully-random
  }
  chain loopback {
    # Loopback addresses may be routed here, for ports of this node; from outside nobody may use them.
    type filter hook prerouting priority raw; policy accept;
    iifname != "lo" ip daddr 127.0.0.0/8 drop
  }
}
`;
}
