import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { parse } from "yaml";
import { loadBalancerConfig } from "../../../src/cluster/load-balancer-config.ts";

interface ComposeFile {
  services: Record<string, { hostname?: string; volumes?: string[] }>;
  configs: { servers: { content: string } };
  volumes: Record<string, null>;
}

for (const name of ["postgres", "etcd"]) {
  test(`compose/${name}.yaml balances the servers that it has, as k3ts cluster create does`, () => {
    const file = join(import.meta.dirname, `../../../compose/${name}.yaml`);
    const { services, configs, volumes } = parse(readFileSync(file, "utf8"), { merge: true }) as ComposeFile;
    const servers = Object.keys(services).filter((service) => service.startsWith("server-"));
    assert.equal(configs.servers.content, loadBalancerConfig({ servers, ports: [] }));
    for (const [service, { hostname }] of Object.entries(services)) {
      if (/^(server|agent)-/.test(service)) assert.equal(hostname, service);
    }
    const used = Object.values(services).flatMap((service) => service.volumes ?? []);
    assert.deepEqual(used.map((volume) => volume.split(":")[0]).sort(), Object.keys(volumes).sort());
  });
}
