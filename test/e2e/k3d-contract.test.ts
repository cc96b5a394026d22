import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { chmodSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { serverImage } from "../../src/commands/images.ts";
import { run, tryRun } from "../../tools/run.ts";
import { eventually } from "../support/eventually.ts";
import { temporaryDirectory } from "../support/temporary-directory.ts";

/**
 * The container as k3d makes and ends it: an entry script of its own in front of /bin/k3s, an init of Docker's, a
 * kubeconfig elsewhere, names injected through the packaged CoreDNS manifest.
 */

/** What k3d's entry script does around the server: uncordon once it is up, drain when it is told to stop. */
const entryScript = `#!/bin/sh
set -o errexit
set -o nounset
mount --make-rshared /
/bin/k3s "$@" &
server=$!
until kubectl uncordon "$HOSTNAME"; do sleep 1; done
finish() {
  kubectl drain "$HOSTNAME" --force --delete-emptydir-data --ignore-daemonsets --disable-eviction
  kill -15 $server
  wait $server
  echo "drained and ended"
  exit 0
}
trap finish SIGTERM SIGINT SIGQUIT SIGHUP
echo "entry script waits"
wait $server
`;

test("a server runs under k3d's entry script, from creation to an ordered end", async (t) => {
  const name = `test-k3d-${randomBytes(4).toString("hex")}`;
  const directory = temporaryDirectory(t);
  t.after(() => tryRun("docker", ["rm", "-fv", name]));
  const script = join(directory, "k3d-entrypoint.sh");
  writeFileSync(script, entryScript);
  chmodSync(script, 0o744);
  await run("docker", [
    ...["create", "--name", name, "--hostname", name, "--privileged", "--init", "--userns", "host"],
    ...["--tmpfs", "/run", "--tmpfs", "/var/run", "-e", "K3S_TOKEN=secret"],
    ...["-e", "K3S_KUBECONFIG_OUTPUT=/output/kubeconfig.yaml", "--entrypoint", "/bin/k3d-entrypoint.sh"],
    ...[serverImage, "server", "--tls-san", "0.0.0.0", "--tls-san", `k3d-${name}-serverlb`],
  ]);
  await run("docker", ["cp", script, `${name}:/bin/k3d-entrypoint.sh`]);
  await run("docker", ["start", name]);
  const log = async () => {
    const { stdout, stderr } = await tryRun("docker", ["logs", name]);
    return stdout + stderr;
  };
  await eventually(async () => assert.match(await log(), /entry script waits/), 180_000);
  // The lines that k3d waits for, in any case of letters.
  await eventually(async () => {
    const text = (await log()).toLowerCase();
    for (const line of [
      "containerd is now running",
      "running kube-apiserver",
      "k3s is up and running",
      "cluster dns configmap",
    ]) {
      assert.ok(text.includes(line), `the log lacks "${line}"`);
    }
  }, 120_000);

  // k3d copies this very file out, and needs a regular one with entries that are called `default`.
  const kubeconfig = await run("docker", [
    "exec",
    name,
    "sh",
    "-c",
    "test ! -L /output/kubeconfig.yaml && cat /output/kubeconfig.yaml",
  ]);
  assert.match(kubeconfig, /current-context: default/);
  assert.match(kubeconfig, /^ {4}server: https:\/\/127\.0\.0\.1:6443$/m);

  // k3d adds its host's name to every ConfigMap of this manifest.
  const manifest = "/var/lib/rancher/k3s/server/manifests/coredns.yaml";
  const indented = "\\ \\ NodeHosts: |\\n    192.0.2.9 host.k3d.internal";
  await run("docker", ["exec", name, "sh", "-c", `sed -i 's/^  Corefile: |/${indented}\\n&/' ${manifest}`]);
  await eventually(async () => {
    assert.match(await run("docker", ["exec", name, "nslookup", "host.k3d.internal", "10.43.0.10"]), /192\.0\.2\.9/);
  }, 120_000);

  await run("docker", ["stop", "-t", "180", name]);
  const end = await log();
  assert.match(end, /drained/);
  assert.match(end, /drained and ended/);
  assert.equal((await run("docker", ["inspect", "--format", "{{.State.ExitCode}}", name])).trim(), "0");
});
