import assert from "node:assert/strict";
import { it } from "node:test";
import { loadBalancerConfig } from "../../../src/cluster/load-balancer-config.ts";

it("the load balancer knows servers by name, and passes published ports on to those whose API answers", () => {
  const servers = ["k3ts-demo-server-0", "k3ts-demo-server-1"];
  assert.equal(
    loadBalancerConfig({ servers, ports: [80] }),
    `backend servers from checked
    server k3ts-demo-server-0 k3ts-demo-server-0:6443
    server k3ts-demo-server-1 k3ts-demo-server-1:6443

backend starting from any
    server k3ts-demo-server-0 k3ts-demo-server-0:6443
    server k3ts-demo-server-1 k3ts-demo-server-1:6443

listen port-80 from any
    bind :80
    server k3ts-demo-server-0 k3ts-demo-server-0:80 track servers/k3ts-demo-server-0
    server k3ts-demo-server-1 k3ts-demo-server-1:80 track servers/k3ts-demo-server-1
`,
  );
});
