/** Names under which the images are built and published. */
export const serverImage = "k3ts/server";
export const agentImage = "k3ts/agent";
export const loadBalancerImage = "k3ts/loadbalancer";
