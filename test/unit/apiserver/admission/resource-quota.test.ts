import assert from "node:assert/strict";
import { test } from "node:test";
import { type ResourceQuota, resourceQuotas } from "../../../../src/api/generated/core-v1.ts";
import { findResource } from "../../../../src/api/registry.ts";
import { resourceQuota } from "../../../../src/apiserver/admission/resource-quota.ts";
import type { AdmissionAttributes, AdmissionPlugin, ServerContext } from "../../../../src/apiserver/request.ts";
import { mutate } from "../../../../src/apiserver/verbs/admit.ts";
import type { ResourceType } from "../../../../src/machinery/object.ts";
import { FakeClock } from "../../../support/fake-clock.ts";

test("a request that webhooks have looked at twice takes of a quota once", async () => {
  const quota: ResourceQuota = {
    metadata: { name: "q", namespace: "n" },
    spec: { hard: { "count/configmaps": "1" } },
  };
  const list = async ({ resource }: ResourceType) => ({
    metadata: {},
    items: resource === resourceQuotas.resource ? [quota] : [],
  });
  const context = { client: { list }, clusterClock: new FakeClock() } as unknown as ServerContext;
  const again: AdmissionPlugin = {
    name: "Again",
    admit: async ({ rounds }) => {
      rounds!.again = true;
    },
  };
  const plugins = [again, resourceQuota(context)];
  const admitted = (name: string) =>
    mutate(plugins, {
      operation: "CREATE",
      facts: findResource("", "v1", "configmaps")!,
      namespace: "n",
      name,
      object: { apiVersion: "v1", kind: "ConfigMap", metadata: { name, namespace: "n" } },
      dryRun: false,
      rounds: { round: 1, again: false, notes: new Map() },
    } as unknown as AdmissionAttributes);
  await admitted("a");
  await assert.rejects(admitted("b"), /exceeded quota: q, requested: count\/configmaps=1, used: count\/configmaps=1/);
});
