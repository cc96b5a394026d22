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
