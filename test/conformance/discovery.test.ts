/** Discovery, aggregated discovery, the version and table conversion, as their conformance tests ask. */
import assert from "node:assert/strict";
import { type Cluster, conformance } from "./conformance.ts";
import { definitionOf } from "./custom-resource.ts";
import { soon } from "./waiting.ts";

/** Group-versions that every cluster has, each with one of its resources. */
const everywhere = {
  v1: "namespaces",
  "admissionregistration.k8s.io/v1": "validatingwebhookconfigurations",
  "apiextensions.k8s.io/v1": "customresourcedefinitions",
  "apiregistration.k8s.io/v1": "apiservices",
  "apps/v1": "deployments",
  "authentication.k8s.io/v1": "tokenreviews",
  "authorization.k8s.io/v1": "selfsubjectaccessreviews",
  "autoscaling/v1": "horizontalpodautoscalers",
  "autoscaling/v2": "horizontalpodautoscalers",
  "batch/v1": "jobs",
  "certificates.k8s.io/v1": "certificatesigningrequests",
  "coordination.k8s.io/v1": "leases",
  "discovery.k8s.io/v1": "endpointslices",
  "events.k8s.io/v1": "events",
  "networking.k8s.io/v1": "ingresses",
  "node.k8s.io/v1": "runtimeclasses",
  "policy/v1": "poddisruptionbudgets",
  "scheduling.k8s.io/v1": "priorityclasses",
  "storage.k8s.io/v1": "csinodes",
};

interface Group {
  name: string;
  versions: { groupVersion: string; version: string }[];
  preferredVersion: { groupVersion: string };
}

conformance(
  "[sig-api-machinery] Discovery should validate PreferredVersion for each APIGroup [Conformance]",
  async (_, { read }) => {
    const { groups } = await read<{ groups: Group[] }>("/apis/");
    assert.ok(groups.length > 15);
    for (const { name } of groups) {
      const group = await read<Group>(`/apis/${name}/`);
      const versions = group.versions.map(({ groupVersion }) => groupVersion);
      assert.ok(versions.includes(group.preferredVersion.groupVersion), `${name}: ${versions.join()}`);
    }
  },
);

conformance(
  "[sig-api-machinery] Discovery should locate the groupVersion and a resource within each APIGroup [Conformance]",
  async (_, { read }) => {
    for (const [groupVersion, resource] of Object.entries(everywhere)) {
      const path = groupVersion === "v1" ? "/api/v1" : `/apis/${groupVersion}`;
      const list = await read<{ groupVersion: string; resources: { name: string }[] }>(path);
      assert.equal(list.groupVersion, groupVersion);
      assert.ok(
        list.resources.some(({ name }) => name === resource),
        `${path} lacks ${resource}`,
      );
    }
  },
);

const v2 = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
/** As client libraries ask: whatever the server has of these. */
const anyDiscovery = `${v2},application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json`;

interface Aggregated {
  kind: string;
  apiVersion: string;
  items: { metadata: { name?: string }; versions: { version: string; resources: { resource: string }[] }[] }[];
}

/** "apps/v1 deployments" of all that a root's aggregated document says. */
async function aggregated({ send }: Cluster, path: string, accept: string): Promise<Set<string>> {
  const { code, headers, json } = await send(path, { headers: { accept } });
  assert.equal(code, 200);
  assert.equal(headers["content-type"], v2);
  const document = json<Aggregated>();
  assert.deepEqual([document.kind, document.apiVersion], ["APIGroupDiscoveryList", "apidiscovery.k8s.io/v2"]);
  const lines = new Set<string>();
  for (const { metadata, versions } of document.items) {
    for (const { version, resources } of versions) {
      const groupVersion = metadata.name ? `${metadata.name}/${version}` : version;
      for (const { resource } of resources) lines.add(`${groupVersion} ${resource}`);
    }
  }
  return lines;
}

async function aggregatesEverything(cluster: Cluster, accept: string): Promise<void> {
  const found = new Set([
    ...(await aggregated(cluster, "/api", accept)),
    ...(await aggregated(cluster, "/apis", accept)),
  ]);
  for (const [groupVersion, resource] of Object.entries(everywhere)) {
    assert.ok(found.has(`${groupVersion} ${resource}`), `${groupVersion} ${resource}`);
  }
}

async function aggregatesCustomResources(cluster: Cluster, accept: string): Promise<void> {
  const { create, type } = definitionOf(cluster, { versions: [{ name: "v1" }] });
  await create();
  const line = `${type.group}/v1 ${type.resource}`;
  await soon(async () => assert.ok((await aggregated(cluster, "/apis", accept)).has(line)));
}

const aggregation = "[sig-api-machinery] AggregatedDiscovery should support";
conformance(`${aggregation} raw aggregated discovery endpoint Accept headers [Conformance]`, (_, cluster) =>
  aggregatesEverything(cluster, v2),
);
conformance(`${aggregation} aggregated discovery interface [Conformance]`, (_, cluster) =>
  aggregatesEverything(cluster, anyDiscovery),
);
conformance(`${aggregation} raw aggregated discovery request for CRDs [Conformance]`, (_, cluster) =>
  aggregatesCustomResources(cluster, v2),
);
conformance(`${aggregation} aggregated discovery interface for CRDs [Conformance]`, (_, cluster) =>
  aggregatesCustomResources(cluster, anyDiscovery),
);

conformance("[sig-api-machinery] server version should find the server version [Conformance]", async (_, { read }) => {
  const version = await read<{ major: string; minor: string }>("/version");
  assert.match(version.major, /^[1-9][0-9]*$/);
  assert.match(version.minor, /^[0-9]+\+?$/);
});

conformance(
  "[sig-api-machinery] Servers with support for Table transformation should return a 406 for a backend which does not implement metadata [Conformance]",
  async (_, { send }) => {
    const { code } = await send("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", {
      method: "POST",
      headers: { accept: "application/json;as=Table;v=v1;g=meta.k8s.io" },
      body: {
        apiVersion: "authorization.k8s.io/v1",
        kind: "SelfSubjectAccessReview",
        spec: { resourceAttributes: { namespace: "default", verb: "get", resource: "pods" } },
      },
    });
    assert.equal(code, 406);
  },
);
