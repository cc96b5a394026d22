import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { readRegistries, registryAuths, renderHosts } from "../../../../src/agent/containerd/registries.ts";

test("mirrors become host tables in order, with the TLS settings of their host", () => {
  const hosts = renderHosts({
    mirrors: {
      "docker.io": { endpoint: ["http://mirror.example:5000", "https://other.example/base/v2"], rewrite: {} },
      "*": { endpoint: ["https://any.example"] },
    },
    configs: { "other.example": { tls: { ca_file: "/ca.pem", insecure_skip_verify: true } } },
  });
  assert.equal(
    hosts["docker.io"],
    `server = "https://registry-1.docker.io/v2"
capabilities = ["pull", "resolve", "push"]
override_path = true

[host."http://mirror.example:5000/v2"]
  capabilities = ["pull", "resolve"]
  override_path = true

[host."https://other.example/base/v2"]
  capabilities = ["pull", "resolve"]
  override_path = true
  ca = ["/ca.pem"]
  skip_verify = true
`,
  );
  assert.match(hosts["_default"] ?? "", /^\n\[host."https:\/\/any.example\/v2"\]/);
  assert.match(hosts["other.example"] ?? "", /^server = "https:\/\/other.example\/v2"[\s\S]*ca = \["\/ca.pem"\]/);
});

test("the default endpoint is left out when it is disabled", () => {
  const hosts = renderHosts({ mirrors: { "docker.io": { endpoint: ["http://m"] } } }, { disableDefaultEndpoint: true });
  assert.doesNotMatch(hosts["docker.io"] ?? "", /server =/);
});

test("a rewrite is refused: this containerd would ignore it", () => {
  assert.throws(() => renderHosts({ mirrors: { a: { rewrite: { x: "y" } } } }), /mirrors."a".rewrite is not supported/);
});

test("credentials are found by host, under all spellings", () => {
  assert.deepEqual(
    registryAuths({ configs: { a: { auth: { username: "u", password: "p" } }, b: { auth: { token: "t" } }, c: {} } }),
    {
      a: { username: "u", password: "p" },
      b: { auth: "t" },
    },
  );
});

test("a missing file is no registries; a malformed one is an error that names it", async () => {
  const directory = mkdtempSync(join(tmpdir(), "registries-"));
  try {
    const path = join(directory, "registries.yaml");
    assert.deepEqual(await readRegistries(path), {});
    writeFileSync(path, "mirrors: [");
    await assert.rejects(readRegistries(path), /registries\.yaml/);
    writeFileSync(path, "mirror: {}");
    await assert.rejects(readRegistries(path), /unknown key "mirror"/);
  } finally {
    rmSync(directory, { recursive: true });
  }
});
