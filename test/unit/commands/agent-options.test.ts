import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { agentOptionsFrom } from "../../../src/commands/agent-options.ts";
import { readFlags } from "../../../src/commands/flag-values.ts";
import { agentFlags } from "../../../src/commands/flags.ts";

function loadBalancerPort(args: readonly string[], environment: Record<string, string> = {}, controlPlane = false) {
  const flags = readFlags("k3ts agent", agentFlags, args, environment, () => {});
  const role = { controlPlane, server: "https://server:6443", token: "secret" };
  return agentOptionsFrom(flags, args, environment, role).loadBalancerPort;
}

describe("the load balancer of an agent (K3s documentation, agent)", () => {
  test("listens on 6444, or where the flag or its variable says", () => {
    assert.equal(loadBalancerPort([]), 6444);
    assert.equal(loadBalancerPort(["--lb-server-port", "7444"]), 7444);
    assert.equal(loadBalancerPort([], { K3S_LB_SERVER_PORT: "8444" }), 8444);
  });

  test("is not there where it is turned off, nor beside a control plane", () => {
    assert.equal(loadBalancerPort(["--disable-apiserver-lb"]), undefined);
    assert.equal(loadBalancerPort([], {}, true), undefined);
  });

  test("has a port that can be one", () => {
    for (const port of ["0", "65536"]) {
      assert.throws(() => loadBalancerPort([`--lb-server-port=${port}`]), {
        name: "ConfigurationError",
        message: `invalid value "${port}" for --lb-server-port: use a port from 1 to 65535`,
      });
    }
  });
});
