import assert from "node:assert/strict";
import { readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { rememberedServers, rememberServers } from "../../../../src/agent/load-balancer/remembered-servers.ts";
import { parseJson } from "../../../../src/machinery/json.ts";
import { temporaryDirectory } from "../../../support/temporary-directory.ts";

const url = "https://server:6443";
const addresses = ["10.0.0.1:6443", "[fd00::1]:6443"];

test("servers are remembered in K3s' form, readable by their owner only", async (t) => {
  const path = join(temporaryDirectory(t), "etc", "k3s-agent-load-balancer.json");
  await rememberServers(path, url, addresses);
  assert.deepEqual(parseJson(readFileSync(path, "utf8")), { ServerURL: url, ServerAddresses: addresses });
  assert.equal(statSync(path).mode & 0o777, 0o600);
  assert.deepEqual(rememberedServers(path, url), addresses);
});

test("servers of another URL are not taken: it may be another cluster's", async (t) => {
  const path = join(temporaryDirectory(t), "state.json");
  await rememberServers(path, url, addresses);
  assert.deepEqual(rememberedServers(path, "https://other:6443"), []);
});

test("a missing or damaged file is no memory at all", (t) => {
  const path = join(temporaryDirectory(t), "state.json");
  assert.deepEqual(rememberedServers(path, url), []);
  for (const content of ["", "{", "null", `{"ServerURL":"${url}","ServerAddresses":"10.0.0.1:6443"}`]) {
    writeFileSync(path, content);
    assert.deepEqual(rememberedServers(path, url), [], content);
  }
  writeFileSync(
    path,
    `{"ServerURL":"${url}","ServerAddresses":[1,"nonsense","10.0.0.2:70000","10.0.0.3:0","10.0.0.1:6443"]}`,
  );
  assert.deepEqual(rememberedServers(path, url), ["10.0.0.1:6443"]);
});
