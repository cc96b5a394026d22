import assert from "node:assert/strict";
import { test } from "node:test";
import { priorityLevelConfigurations } from "../../../src/api/generated/flowcontrol-v1.ts";
import { startSystemObjects } from "../../../src/apiserver/system-objects.ts";
import { silentLogger } from "../../../src/machinery/log.ts";
import type { ResourceType } from "../../../src/machinery/object.ts";
import { FakeClock } from "../../support/fake-clock.ts";
import { ApiHarness, type Json } from "./harness.ts";
import { MemoryClient } from "./memory-client.ts";

const group = "/apis/flowcontrol.apiserver.k8s.io/v1";

test("the flow control objects of every cluster are there, and the mandatory ones stay as they are", async (t) => {
  const server = await ApiHarness.start();
  t.after(() => server.stop());
  const names = async (resource: string) => {
    const { body } = await server.request("GET", `${group}/${resource}`);
    return body.items.map(({ metadata }: Json) => metadata.name).sort();
  };
  const levels = [
    "catch-all",
    "exempt",
    "global-default",
    "leader-election",
    "node-high",
    "system",
    "workload-high",
    "workload-low",
  ];
  assert.deepEqual(await names("prioritylevelconfigurations"), levels);
  const schemas = await names("flowschemas");
  for (const name of ["catch-all", "exempt", "global-default", "probes", "service-accounts", "system-nodes"]) {
    assert.ok(schemas.includes(name), name);
  }
  const path = `${group}/prioritylevelconfigurations/catch-all`;
  const { body: level } = await server.request("GET", path);
  level.spec.limited.nominalConcurrencyShares = 7;
  const { code, body } = await server.request("PUT", path, { body: level });
  assert.equal(code, 422);
  assert.match(body.message, /spec of 'catch-all' .*must equal the fixed value/);
});

test("a start brings back what is missing and ours, and leaves what its owner has taken over", async () => {
  const client = new MemoryClient();
  // The range of services gets its condition by a patch, which is of no interest here.
  Object.assign(client, { patch: (type: ResourceType, name: string) => client.get(type, name) });
  const start = () =>
    startSystemObjects({
      client,
      clock: new FakeClock(),
      logger: silentLogger,
      serviceCidr: "10.43.0.0/16",
    });
  const read = async (name: string): Promise<Json> =>
    structuredClone(await client.get(priorityLevelConfigurations, name));
  const shares = async (name: string) => (await read(name)).spec.limited.nominalConcurrencyShares;
  await start();
  for (const [name, autoUpdate] of [
    ["catch-all", "false"],
    ["system", "true"],
    ["workload-low", "false"],
  ] as const) {
    const level = await read(name);
    level.metadata.annotations["apf.kubernetes.io/autoupdate-spec"] = autoUpdate;
    level.spec.limited.nominalConcurrencyShares = 1;
    client.put(priorityLevelConfigurations, level);
  }
  await client.delete(priorityLevelConfigurations, "node-high");
  await start();
  assert.equal(await shares("catch-all"), 5);
  assert.equal(await shares("system"), 30);
  assert.equal(await shares("workload-low"), 1);
  assert.equal(await shares("node-high"), 40);
});
