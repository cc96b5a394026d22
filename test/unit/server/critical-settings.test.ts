import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { encodeClusterConfig } from "../../../src/agent/bootstrap/cluster-config.ts";
import { assertSameSettings, criticalSettings, settingsOfConfig } from "../../../src/server/critical-settings.ts";
import type { ServerOptions } from "../../../src/server/server-options.ts";

const options = {
  clusterCidr: "10.42.0.0/16",
  serviceCidr: "10.43.0.0/16",
  clusterDns: "10.43.0.10",
  clusterDomain: "cluster.local",
  flannelBackend: "vxlan",
  agentToken: undefined,
  disabled: new Set(["traefik"]),
  disableProxy: false,
  disableCloudController: false,
  disableHelmController: true,
  disableNetworkPolicy: false,
  httpsPort: 6443,
} as unknown as ServerOptions;

const own = criticalSettings(options);

describe("critical settings", () => {
  test("servers that were started alike find no difference, by store or by the other's reply", () => {
    assertSameSettings(criticalSettings({ ...options, disabled: new Set() }), own);
    const reply = encodeClusterConfig({ ...options, disableDns: false, disableServiceLb: false });
    assertSameSettings(settingsOfConfig(Buffer.from(JSON.stringify(reply))), own);
  });

  for (const [flag, change] of [
    ["cluster-cidr", { clusterCidr: "10.52.0.0/16" }],
    ["service-cidr", { serviceCidr: "10.53.0.0/16" }],
    ["cluster-dns", { clusterDns: "10.43.0.11" }],
    ["cluster-domain", { clusterDomain: "example.test" }],
    ["flannel-backend", { flannelBackend: "host-gw" }],
    ["disable=servicelb", { disabled: new Set(["servicelb"]) }],
    ["disable-network-policy", { disableNetworkPolicy: true }],
    ["disable-cloud-controller", { disableCloudController: true }],
    ["disable-helm-controller", { disableHelmController: false }],
  ] as const) {
    test(`--${flag} has to be the same on all servers`, () => {
      const other = criticalSettings({ ...options, ...change } as ServerOptions);
      const named = new RegExp(`mismatch between servers: --${flag} is "[^"]+" there and "[^"]+" here;`);
      assert.throws(() => assertSameSettings(other, own), named);
    });
  }

  test("the agents' token has to be the same, and is never shown", () => {
    const [one, two] = ["first-secret", "second-secret"].map((agentToken) =>
      criticalSettings({ ...options, agentToken }),
    );
    assertSameSettings(one!, criticalSettings({ ...options, agentToken: "K10::node:first-secret" }));
    for (const there of [one!, own]) {
      assert.throws(
        () => assertSameSettings(there, two!),
        (error: Error) => /--agent-token/.test(error.message) && !/secret|sha256/.test(error.message),
      );
    }
  });

  test("what another version does not know is no difference", () => {
    assertSameSettings({}, own);
    assertSameSettings({ ...own, "of-a-later-version": "x" }, own);
  });
});
