import assert from "node:assert/strict";
import { test } from "node:test";
import { applyConfigTemplate, renderContainerdConfig } from "../../../../src/agent/containerd/containerd-config.ts";

const settings = {
  rootDir: "/var/lib/rancher/k3s/agent/containerd",
  stateDir: "/run/k3s/containerd",
  socketPath: "/run/k3s/containerd/containerd.sock",
  cniConfDir: "/var/lib/rancher/k3s/agent/etc/cni/net.d",
  cniBinDirs: ["/usr/libexec/cni"],
  certsDir: "/certs.d",
  snapshotter: "native",
  pauseImage: "rancher/mirrored-pause:3.6",
  restrictOomScoreAdj: true,
  defaultRuntime: "runc",
  disableApparmor: true,
  auths: { "registry.example:5000": { username: "u", password: 'p"q' } },
};

test("the configuration carries the settings, with strings quoted and the pause image by its full name", () => {
  const text = renderContainerdConfig(settings);
  assert.match(text, /^version = 3$/m);
  assert.match(text, /restrict_oom_score_adj = true/);
  assert.match(text, /snapshotter = "native"/);
  assert.match(text, /sandbox = "docker.io\/rancher\/mirrored-pause:3.6"/);
  assert.match(text, /configs\."registry.example:5000"\.auth\]\n {2}username = "u"\n {2}password = "p\\"q"/);
});

test("a template includes the generated text; any other action is refused", () => {
  assert.equal(applyConfigTemplate('{{ template "base" . }}\n[x]\n', "a$&b", "t"), "a$&b\n[x]\n");
  assert.equal(applyConfigTemplate("{{/* a comment */}}plain", "base", "t"), "plain");
  assert.throws(
    () => applyConfigTemplate("{{ if .X }}", "base", "/dir/config-v3.toml.tmpl"),
    /config-v3.*\{\{ if \.X \}\}/,
  );
});
