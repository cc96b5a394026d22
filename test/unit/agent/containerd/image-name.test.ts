import assert from "node:assert/strict";
import { test } from "node:test";
import { defaultPullPolicy, normalizeImageName, registryOf } from "../../../../src/agent/containerd/image-name.ts";

for (const [name, full] of [
  ["busybox", "docker.io/library/busybox:latest"],
  ["busybox:1.36", "docker.io/library/busybox:1.36"],
  ["k3ts/server", "docker.io/k3ts/server:latest"],
  ["docker.io/busybox", "docker.io/library/busybox:latest"],
  ["registry.k8s.io/pause:3.10", "registry.k8s.io/pause:3.10"],
  ["localhost/a/b", "localhost/a/b:latest"],
  ["host:5000/a", "host:5000/a:latest"],
  [`a@sha256:${"0".repeat(64)}`, `docker.io/library/a@sha256:${"0".repeat(64)}`],
] as const)
  test(`"${name}" is "${full}"`, () => assert.equal(normalizeImageName(name), full));

test("a name that cannot be one is an invalid reference", () => {
  for (const name of ["", "Upper", "a b", "-a"])
    assert.throws(() => normalizeImageName(name), /invalid reference format/);
});

test("the registry is the name's first part", () => {
  assert.equal(registryOf("busybox"), "docker.io");
  assert.equal(registryOf("host:5000/a"), "host:5000");
});

test("latest is pulled always, anything else when it is missing", () => {
  assert.equal(defaultPullPolicy("a"), "Always");
  assert.equal(defaultPullPolicy("host:5000/a"), "Always");
  assert.equal(defaultPullPolicy("a:latest"), "Always");
  assert.equal(defaultPullPolicy("a:1"), "IfNotPresent");
  assert.equal(defaultPullPolicy(`a@sha256:${"0".repeat(64)}`), "IfNotPresent");
});
