import assert from "node:assert/strict";
import { test } from "node:test";
import { builtInResources, findResource } from "../../../src/api/registry.ts";
import { builtInSchema, builtInSchemaNames } from "../../../src/api/schemas.ts";
import type { KubeObject } from "../../../src/machinery/object.ts";
import { created, resource } from "./support.ts";

test("every GA group-version of Kubernetes v1.36 is served", () => {
  const served = new Set(builtInResources.map(({ group, version }) => `${group}/${version}`));
  assert.equal(served.size, 22);
  for (const groupVersion of ["/v1", "apps/v1", "autoscaling/v2", "events.k8s.io/v1", "resource.k8s.io/v1"]) {
    assert.ok(served.has(groupVersion), groupVersion);
  }
});

test("store prefixes are the keys that Kubernetes uses in etcd", () => {
  const prefixes: Record<string, string> = {
    "v1/pods": "pods",
    "v1/nodes": "minions",
    "v1/services": "services/specs",
    "v1/endpoints": "services/endpoints",
    "v1/replicationcontrollers": "controllers",
    "networking.k8s.io/v1/ingresses": "ingress",
    "apiextensions.k8s.io/v1/customresourcedefinitions": "apiextensions.k8s.io/customresourcedefinitions",
    "apiregistration.k8s.io/v1/apiservices": "apiregistration.k8s.io/apiservices",
  };
  for (const [path, prefix] of Object.entries(prefixes)) assert.equal(resource(path).storage?.prefix, prefix, path);
});

test("reviews and bindings are answered and never stored", () => {
  for (const path of [
    "authorization.k8s.io/v1/subjectaccessreviews",
    "authentication.k8s.io/v1/tokenreviews",
    "v1/bindings",
  ]) {
    assert.equal(resource(path).storage, undefined, path);
  }
});

test("every kind has a schema, a strategy, a name column, and columns that survive an empty object", () => {
  for (const facts of builtInResources) {
    assert.equal(facts.schema.type, "object", facts.resource);
    assert.ok(facts.strategy.prepareForCreate, facts.resource);
    assert.ok(
      facts.columns.some(({ format }) => format === "name"),
      facts.resource,
    );
  }
  for (const path of ["v1/pods", "v1/nodes", "v1/services", "v1/namespaces", "v1/secrets", "apps/v1/deployments"]) {
    for (const column of resource(path).columns) column.value({ metadata: { name: "x" } }, 0);
  }
});

test("every schema of the graph can be linked", () => {
  for (const name of builtInSchemaNames()) assert.ok(Object.keys(builtInSchema(name).fields ?? {}).length > 0, name);
});

test("the schema says what Go's struct tags say", () => {
  const spec = builtInSchema("io.k8s.api.core.v1.PodSpec").fields!;
  const containers = spec["containers"]!;
  assert.deepEqual(containers.schema.listMapKeys, ["name"]);
  assert.equal(containers.schema.listType, "map");
  assert.deepEqual([containers.patchStrategy, containers.patchMergeKey], [["merge"], "name"]);
  assert.deepEqual([containers.empty, containers.required, containers.proto], ["always", true, 2]);
  assert.equal(spec["nodeSelector"]!.schema.mapType, "atomic");
  assert.equal(spec["overhead"]!.schema.items?.type, "quantity");
  const volume = builtInSchema("io.k8s.api.core.v1.Volume").fields!;
  assert.deepEqual([volume["configMap"]!.proto, volume["configMap"]!.protoPath], [19, [2]]);
  assert.deepEqual(volume["secret"]!.schema.fields!["items"]!.schema.items?.name, "io.k8s.api.core.v1.KeyToPath");
  const port = builtInSchema("io.k8s.api.core.v1.ServicePort").fields!;
  assert.equal(port["protocol"]!.default, "TCP");
});

test("generation starts at 1, rises with the spec, and nobody else sets it", () => {
  const path = "apps/v1/deployments";
  const { strategy } = resource(path);
  const old = created(path, { metadata: { name: "d", generation: 7 }, spec: { template: {} } });
  assert.equal(old.metadata.generation, 1);
  const same = structuredClone(old);
  same.metadata.generation = 9;
  same.metadata.labels = { a: "b" };
  strategy.prepareForUpdate!(same, old);
  assert.equal(same.metadata.generation, 1);
  const scaled = structuredClone(old);
  scaled.spec.replicas = 5;
  strategy.prepareForUpdate!(scaled, old);
  assert.equal(scaled.metadata.generation, 2);
});

test("writers of the object cannot write its status, and writers of the status nothing else", () => {
  const path = "apps/v1/deployments";
  const { strategy } = resource(path);
  const old = created(path, { metadata: { name: "d" }, spec: { template: {} }, status: { replicas: 3 } });
  assert.deepEqual(old.status, {});
  const object = structuredClone(old);
  object.status = { replicas: 3 };
  strategy.prepareForUpdate!(object, old);
  assert.deepEqual(object.status, {});
  const status = structuredClone(old);
  status.status = { replicas: 3 };
  status.spec.replicas = 9;
  strategy.prepareForStatusUpdate!(status, old);
  assert.deepEqual([status.status, status.spec.replicas, status.metadata.generation], [{ replicas: 3 }, 1, 1]);
});

test("a node brings its status along when it registers", () => {
  const node = created("v1/nodes", { metadata: { name: "n" }, status: { capacity: { cpu: "2" } } });
  assert.deepEqual(node.status.allocatable, { cpu: "2" });
});

test("a cluster-scoped review is found under its group", () => {
  assert.equal(findResource("authorization.k8s.io", "v1", "selfsubjectaccessreviews")?.namespaced, false);
  assert.equal(findResource("", "v1", "nothing"), undefined);
});

test("a certificate request cannot name another requestor", () => {
  const { spec } = created("certificates.k8s.io/v1/certificatesigningrequests", {
    metadata: { name: "c" },
    spec: { request: "eA==", signerName: "a.example.com/b", username: "system:admin", groups: ["system:masters"] },
  });
  assert.deepEqual([spec.username, spec.groups], [undefined, undefined]);
});

test("a DaemonSet's template generation, kept in an annotation, is not for writers of its status to lose", () => {
  const { strategy } = findResource("apps", "v1", "daemonsets")!;
  const key = "deprecated.daemonset.template.generation";
  const old = { metadata: { name: "d", annotations: { [key]: "3", own: "1" } } };
  const next: KubeObject = { metadata: { name: "d" } };
  strategy.prepareForStatusUpdate!(next, old);
  assert.deepEqual(next.metadata.annotations, { [key]: "3" });
});
