import assert from "node:assert/strict";
import { readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import {
  adaptKubeconfig,
  mergeKubeconfig,
  readKubeconfigFile,
  removeFromKubeconfig,
  writeKubeconfigFile,
} from "../../../src/cluster/kubeconfig-file.ts";
import { containerOptions, parsePort } from "../../../src/cluster/node-spec.ts";
import { renderKubeconfig } from "../../../src/server/kubeconfig.ts";
import { temporaryDirectory } from "../../support/temporary-directory.ts";

const ours = () =>
  adaptKubeconfig(
    renderKubeconfig("https://127.0.0.1:6443", "ca", { certificate: "c", key: "k" }),
    "k3ts-dev",
    "https://127.0.0.1:40000",
  );

describe("kubeconfig", () => {
  it("gets the cluster's name and the address from outside", () => {
    const file = ours();
    assert.equal(file.clusters[0]?.cluster.server, "https://127.0.0.1:40000");
    assert.deepEqual(file.contexts, [{ name: "k3ts-dev", context: { cluster: "k3ts-dev", user: "k3ts-dev" } }]);
  });

  it("merging keeps what others wrote, and merging twice changes nothing", (test) => {
    const path = join(temporaryDirectory(test), "config");
    writeFileSync(
      path,
      "apiVersion: v1\nkind: Config\nclusters:\n- name: other\n  cluster: {server: 'https://x'}\ncontexts: []\nusers: []\ncurrent-context: other\npreferences: {colors: true}\n",
    );
    writeKubeconfigFile(path, mergeKubeconfig(readKubeconfigFile(path), ours(), true));
    const once = readFileSync(path, "utf8");
    const file = readKubeconfigFile(path);
    assert.deepEqual(
      file.clusters.map(({ name }) => name),
      ["other", "k3ts-dev"],
    );
    assert.equal(file["current-context"], "k3ts-dev");
    assert.deepEqual(file["preferences"], { colors: true });
    assert.equal(statSync(path).mode & 0o777, 0o600);
    writeKubeconfigFile(path, mergeKubeconfig(readKubeconfigFile(path), ours(), true));
    assert.equal(readFileSync(path, "utf8"), once);
    writeKubeconfigFile(path, removeFromKubeconfig(readKubeconfigFile(path), "k3ts-dev"));
    assert.deepEqual(
      readKubeconfigFile(path).clusters.map(({ name }) => name),
      ["other"],
    );
  });

  it("a file that is no kubeconfig is left as it is", (test) => {
    const path = join(temporaryDirectory(test), "config");
    writeFileSync(path, "- just\n- a list\n");
    assert.throws(() => readKubeconfigFile(path), /is not a kubeconfig/);
  });
});

describe("node containers", () => {
  it("only the first server publishes the API; agents publish nothing", () => {
    const agent = containerOptions({ cluster: "dev", role: "agent", index: 0, image: "k3ts/agent", token: "t" });
    assert.deepEqual(agent.HostConfig?.PortBindings, {});
    assert.ok(agent.Env?.includes("K3S_URL=https://k3ts-dev-server-0:6443"));
    const server = containerOptions({
      cluster: "dev",
      role: "server",
      index: 0,
      image: "k3ts/server",
      token: "t",
      api: { host: "127.0.0.1", port: 40000 },
    });
    assert.deepEqual(server.HostConfig?.PortBindings, { "6443/tcp": [{ HostIp: "127.0.0.1", HostPort: "40000" }] });
  });

  it("ports are host:container, with an address and a protocol if need be", () => {
    assert.deepEqual(parsePort("8080:80"), { address: "0.0.0.0", host: "8080", container: "80/tcp" });
    assert.deepEqual(parsePort("127.0.0.1:53:53/udp"), { address: "127.0.0.1", host: "53", container: "53/udp" });
    assert.throws(() => parsePort("http"), /invalid port "http"/);
  });
});
