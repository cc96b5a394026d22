/** Admission webhooks, at an address outside of the cluster. Authority: the conformance tests of AdmissionWebhook. */
import assert from "node:assert/strict";
import { after, before } from "node:test";
import {
  type MutatingWebhook,
  mutatingWebhookConfigurations,
  type ValidatingWebhook,
  validatingWebhookConfigurations,
} from "../../src/api/generated/admissionregistration-v1.ts";
import { customResourceDefinitions } from "../../src/api/generated/apiextensions-v1.ts";
import { type ConfigMap, configMaps, namespaces, type Pod, pods } from "../../src/api/generated/core-v1.ts";
import type { KubeObject, ResourceType } from "../../src/machinery/object.ts";
import { allow, change, deny } from "../support/webhook-answers.ts";
import { type WebhookHandler, WebhookServer } from "../support/webhook-server.ts";
import { type Cluster, conformance } from "./conformance.ts";
import { type CustomObject, definitionOf } from "./custom-resource.ts";
import { isGone, soon } from "./waiting.ts";

const suite = "[sig-api-machinery] AdmissionWebhook [Privileged:ClusterAdmin]";

/** Adds the next stage to an object's data, as the suite's webhook does. */
const stages: WebhookHandler = (review) => {
  const { data = {} } = review.request.object;
  const next = data["mutation-stage-1"] ? "mutation-stage-2" : data["mutation-start"] ? "mutation-stage-1" : undefined;
  return next && !data[next] ? change(review, [{ op: "add", path: `/data/${next}`, value: "yes" }]) : allow(review);
};

const handlers: Readonly<Record<string, WebhookHandler>> = {
  "/always-deny": (review) => deny(review, { message: "this webhook denies all requests" }),
  "/configmaps": (review) =>
    review.request.object?.data?.["webhook-e2e-test"] === "webhook-disallow"
      ? deny(review, { reason: "the configmap contains unwanted key and value" })
      : allow(review),
  "/pods": async (review) => {
    const { metadata, spec } = review.request.object;
    if (metadata.name === "hanging") await hung;
    if (metadata.labels?.unwanted !== "yes" || spec.containers[0].name !== "unwanted") return allow(review);
    return deny(review, { reason: "the pod contains unwanted label; the pod contains unwanted container name;" });
  },
  "/mutating-pods": (review) =>
    change(review, [
      { op: "add", path: "/spec/initContainers", value: [{ name: "webhook-added", image: "image", resources: {} }] },
    ]),
  "/pods/attach": (review) => deny(review, { message: "attaching to pod 'to-be-attached' is not allowed" }),
  "/slow": async (review) => {
    await hung;
    return allow(review);
  },
  "/quick": (review) => allow(review),
  "/mutating": stages,
  "/metadata": (review) => change(review, [{ op: "add", path: "/metadata/labels", value: { touched: "yes" } }]),
};

let server: WebhookServer;
let release: () => void = () => {};
const hung = new Promise<void>((resolve) => {
  release = resolve;
});
before(async () => {
  server = await WebhookServer.start((review, path) => handlers[new URL(path, "https://x").pathname]!(review, path));
});
after(async () => {
  release();
  await server.stop();
});

const rule = (resources: string, operations = ["CREATE"], apiGroups = [""], apiVersions = ["v1"]) => ({
  operations,
  apiGroups,
  apiVersions,
  resources: [resources],
});

/** A webhook for one namespace. */
function webhook(cluster: Cluster, path: string, more: Partial<MutatingWebhook & ValidatingWebhook> = {}) {
  return {
    name: `${path.slice(1).replaceAll("/", "-")}.k8s.example.com`,
    rules: [rule("configmaps")],
    clientConfig: server.at(path),
    sideEffects: "None",
    admissionReviewVersions: ["v1", "v1beta1"],
    // All the time that may be given, for machines that do other things meanwhile.
    timeoutSeconds: 30,
    namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": cluster.namespace } },
    ...more,
  };
}

const types = { mutating: mutatingWebhookConfigurations, validating: validatingWebhookConfigurations };

/** Creates a configuration that goes with its case. */
async function register(
  t: import("node:test").TestContext,
  { client, namespace }: Cluster,
  kind: "mutating" | "validating",
  webhooks: (MutatingWebhook & ValidatingWebhook)[],
  metadata: object = {},
) {
  const type = types[kind] as ResourceType<KubeObject & { webhooks?: MutatingWebhook[] }>;
  const created = await client.create(type, { metadata: { name: `${namespace}-${kind}`, ...metadata }, webhooks });
  const name = created.metadata.name!;
  t.after(() => client.delete(type, name).catch(() => {}));
  return { type, name, created };
}

const unwanted = { "webhook-e2e-test": "webhook-disallow" };

const makeMap = ({ client, namespace }: Cluster, name: string, data: Record<string, string> = {}) =>
  client.create(configMaps, { metadata: { name, namespace }, data }) as Promise<ConfigMap>;

const makePod = ({ client, namespace }: Cluster, name: string, container = "main", labels = {}) =>
  client.create(pods, {
    metadata: { name, namespace, labels },
    spec: { containers: [{ name: container, image: "image" }] },
  }) as Promise<Pod>;

for (const [kind, path] of [
  ["mutating", "/mutating"],
  ["validating", "/configmaps"],
] as const) {
  const works = async (cluster: Cluster, name: string): Promise<boolean> => {
    const data: Record<string, string> = kind === "mutating" ? { "mutation-start": "yes" } : unwanted;
    return makeMap(cluster, name, data).then(
      (made) => Boolean(made.data?.["mutation-stage-1"]),
      (error) => {
        assert.match(error.message, /denied the request: the configmap contains unwanted key and value/);
        return true;
      },
    );
  };

  const lists = async (t: import("node:test").TestContext, cluster: Cluster) => {
    const labels = { "e2e-list-test": cluster.namespace };
    const labelSelector = `e2e-list-test=${cluster.namespace}`;
    for (let i = 0; i < 10; i++) {
      await register(t, cluster, kind, [webhook(cluster, path)], { name: `${cluster.namespace}-${i}`, labels });
    }
    assert.equal((await cluster.client.list(types[kind] as ResourceType, { labelSelector })).items.length, 10);
    assert.ok(await works(cluster, "with"));
    await cluster.client.deleteCollection(types[kind] as ResourceType, { labelSelector });
    assert.equal((await cluster.client.list(types[kind] as ResourceType, { labelSelector })).items.length, 0);
    assert.equal(await works(cluster, "without"), false);
  };

  const changes = async (t: import("node:test").TestContext, cluster: Cluster) => {
    const { type, name } = await register(t, cluster, kind, [webhook(cluster, path)]);
    assert.ok(await works(cluster, "first"));
    const present = structuredClone(await cluster.client.get(type, name));
    present.webhooks![0]!.rules![0]!.operations = ["UPDATE"];
    const updated = await cluster.client.update(type, present);
    assert.equal(await works(cluster, "second"), false);
    const body = [{ op: "replace", path: "/webhooks/0/rules/0/operations", value: ["CREATE"] }];
    const patched = await cluster.client.patch(type, name, { type: "json", body });
    assert.ok(Number(patched.metadata.resourceVersion) > Number(updated.metadata.resourceVersion));
    assert.ok(await works(cluster, "third"));
  };

  const conditions = async (t: import("node:test").TestContext, cluster: Cluster) => {
    const matchConditions = [{ name: "first", expression: "object.metadata.name == 'first'" }];
    const { type, name, created } = await register(t, cluster, kind, [webhook(cluster, path, { matchConditions })]);
    assert.deepEqual(created.webhooks![0]!.matchConditions, matchConditions);
    const next = structuredClone(await cluster.client.get(type, name));
    next.webhooks![0]!.matchConditions = [{ name: "other", expression: "request.name != 'other'" }];
    await cluster.client.update(type, next);
    const read = await cluster.client.get(type, name);
    assert.deepEqual(read.webhooks![0]!.matchConditions, next.webhooks![0]!.matchConditions);
  };

  const rejects = async (t: import("node:test").TestContext, cluster: Cluster) => {
    const matchConditions = [{ name: "invalid", expression: "... [] bad expression" }];
    await assert.rejects(register(t, cluster, kind, [webhook(cluster, path, { matchConditions })]), {
      code: 422,
      message: /webhooks\[0\]\.matchConditions\[0\]\.expression: Invalid value: .*compilation failed/s,
    });
  };

  if (kind === "mutating") {
    conformance(`${suite} listing mutating webhooks should work [Conformance]`, lists);
    conformance(`${suite} patching/updating a mutating webhook should work [Conformance]`, changes);
    conformance(
      `${suite} should be able to create and update mutating webhook configurations with match conditions [Conformance]`,
      conditions,
    );
    conformance(
      `${suite} should reject mutating webhook configurations with invalid match conditions [Conformance]`,
      rejects,
    );
  } else {
    conformance(`${suite} listing validating webhooks should work [Conformance]`, lists);
    conformance(`${suite} patching/updating a validating webhook should work [Conformance]`, changes);
    conformance(
      `${suite} should be able to create and update validating webhook configurations with match conditions [Conformance]`,
      conditions,
    );
    conformance(
      `${suite} should reject validating webhook configurations with invalid match conditions [Conformance]`,
      rejects,
    );
  }
}

conformance(`${suite} should be able to deny attaching pod [Conformance]`, async (t, cluster) => {
  await register(t, cluster, "validating", [
    webhook(cluster, "/pods/attach", { rules: [rule("pods/attach", ["CONNECT"])] }),
  ]);
  await makePod(cluster, "to-be-attached");
  const path = `/api/v1/namespaces/${cluster.namespace}/pods/to-be-attached/attach?container=main&stdin=true&stdout=true`;
  const headers = { connection: "Upgrade", upgrade: "SPDY/3.1", "x-stream-protocol-version": "v4.channel.k8s.io" };
  const { code, text } = await cluster.send(path, { method: "POST", headers });
  assert.equal(code, 400);
  assert.match(text, /attaching to pod 'to-be-attached' is not allowed/);
  const { request } = server.reviews.at(-1);
  assert.deepEqual([request.operation, request.subResource, request.name], ["CONNECT", "attach", "to-be-attached"]);
  assert.deepEqual(request.object, {
    kind: "PodAttachOptions",
    apiVersion: "v1",
    stdin: true,
    stdout: true,
    container: "main",
  });
});

conformance(
  `${suite} should be able to deny custom resource creation, update and deletion [Conformance]`,
  async (t, cluster) => {
    const crd = definitionOf(cluster, { versions: [{ name: "v1" }] });
    await crd.create();
    const { group } = crd.type;
    const judge: WebhookHandler = (review) => {
      const { object, oldObject, operation } = review.request;
      const wrong = operation === "DELETE" ? oldObject.data?.key === "keep" : object.data?.key === "bad";
      return wrong ? deny(review, { message: "the custom resource contains unwanted data" }) : allow(review);
    };
    (handlers as Record<string, WebhookHandler>)["/custom-resource"] = judge;
    const rules = [rule(crd.type.resource, ["CREATE", "UPDATE", "DELETE"], [group], ["*"])];
    await register(t, cluster, "validating", [webhook(cluster, "/custom-resource", { rules })]);
    const { client, namespace } = cluster;
    const make = (name: string, key: string) =>
      client.create(crd.type, { metadata: { name, namespace }, data: { key } } as unknown as CustomObject);
    const denied = { message: /denied the request: the custom resource contains unwanted data/ };
    await assert.rejects(make("bad", "bad"), denied);
    await make("kept", "keep");
    const patch = (key: string) =>
      client.patch(crd.type, "kept", { type: "merge", body: { data: { key } } }, { namespace });
    await assert.rejects(patch("bad"), denied);
    await assert.rejects(client.delete(crd.type, "kept", { namespace }), denied);
    await client.get(crd.type, "kept", { namespace });
    await patch("free");
    await client.delete(crd.type, "kept", { namespace });
    await isGone(client, crd.type, "kept", { namespace });
  },
);

conformance(`${suite} should be able to deny pod and configmap creation [Conformance]`, async (t, cluster) => {
  const { client, namespace } = cluster;
  const skip = { key: "skip-webhook", operator: "NotIn", values: [namespace] };
  const label = { key: "case", operator: "In", values: [namespace] };
  const namespaceSelector = { matchExpressions: [skip, label] };
  await client.patch(namespaces, namespace, { type: "merge", body: { metadata: { labels: { case: namespace } } } });
  await register(t, cluster, "validating", [
    webhook(cluster, "/pods", {
      rules: [rule("pods")],
      namespaceSelector,
      objectSelector: { matchLabels: { unwanted: "yes" } },
    }),
    // Only the one that hangs is short of time.
    webhook(cluster, "/pods", {
      name: "hanging.k8s.example.com",
      rules: [rule("pods")],
      timeoutSeconds: 3,
      namespaceSelector,
      objectSelector: { matchLabels: { hangs: "yes" } },
    }),
    webhook(cluster, "/configmaps", { rules: [rule("configmaps", ["CREATE", "UPDATE", "DELETE"])], namespaceSelector }),
  ]);
  await assert.rejects(makePod(cluster, "bad", "unwanted", { unwanted: "yes" }), {
    message: /denied the request: the pod contains unwanted label; the pod contains unwanted container name/,
  });
  await assert.rejects(makePod(cluster, "hanging", "main", { hangs: "yes" }), {
    code: 500,
    message:
      /failed calling webhook "hanging\.k8s\.example\.com": failed to call webhook: Post "https:\/\/localhost:\d+\/pods\?timeout=3s": context deadline exceeded/,
  });
  await assert.rejects(client.get(pods, "hanging", { namespace }), { code: 404 });
  const denied = { message: /denied the request: the configmap contains unwanted key and value/ };
  await assert.rejects(makeMap(cluster, "bad", unwanted), denied);
  const allowed = await makeMap(cluster, "allowed", { admit: "this" });
  await assert.rejects(client.update(configMaps, { ...allowed, data: unwanted }), denied);
  const body = { data: unwanted };
  await assert.rejects(client.patch(configMaps, "allowed", { type: "strategic", body }, { namespace }), denied);
  const skipped = `${namespace}-skipped`;
  await client.create(namespaces, {
    metadata: { name: skipped, labels: { "skip-webhook": namespace, case: namespace } },
  });
  await soon(() => makeMap({ ...cluster, namespace: skipped }, "bad", unwanted));
});

conformance(`${suite} should deny crd creation [Conformance]`, async (t, cluster) => {
  const crd = definitionOf(cluster, { versions: [{ name: "v1" }] });
  await register(t, cluster, "validating", [
    webhook(cluster, "/always-deny", {
      rules: [rule("customresourcedefinitions", ["CREATE"], ["apiextensions.k8s.io"], ["*"])],
      objectSelector: { matchLabels: { case: cluster.namespace } },
    }),
  ]);
  const { metadata, ...rest } = crd.body;
  const body = { ...rest, metadata: { ...metadata, labels: { case: cluster.namespace } } };
  await assert.rejects(cluster.client.create(customResourceDefinitions, body), {
    message: /admission webhook "always-deny\.k8s\.example\.com" denied the request: this webhook denies all requests/,
  });
});

conformance(`${suite} should honor timeout [Conformance]`, async (t, cluster) => {
  const within = async (path: string, more: Partial<MutatingWebhook>, name: string) => {
    const { type, name: configuration } = await register(t, cluster, "validating", [webhook(cluster, path, more)]);
    try {
      return await makeMap(cluster, name);
    } finally {
      await cluster.client.delete(type, configuration);
    }
  };
  await assert.rejects(within("/slow", { timeoutSeconds: 1, failurePolicy: "Fail" }, "refused"), {
    code: 500,
    message: /\/slow\?timeout=1s": context deadline exceeded/,
  });
  await within("/slow", { timeoutSeconds: 1, failurePolicy: "Ignore" }, "ignored");
  await within("/quick", { timeoutSeconds: 30 }, "in-time");
  const { timeoutSeconds: _, ...plain } = webhook(cluster, "/quick");
  const { type, name } = await register(t, cluster, "validating", [plain]);
  const { webhooks } = await cluster.client.get(type, name);
  assert.equal(webhooks![0]!.timeoutSeconds, 10, "the default");
});

conformance(`${suite} should include webhook resources in discovery documents [Conformance]`, async (_, cluster) => {
  interface Versioned {
    readonly groupVersion: string;
  }
  const { groups } = await cluster.read<{ groups: { name: string; versions: Versioned[] }[] }>("/apis");
  const group = groups.find(({ name }) => name === "admissionregistration.k8s.io");
  assert.ok(group?.versions.some(({ groupVersion }) => groupVersion === "admissionregistration.k8s.io/v1"));
  const one = await cluster.read<{ versions: Versioned[] }>("/apis/admissionregistration.k8s.io");
  assert.ok(one.versions.some(({ groupVersion }) => groupVersion === "admissionregistration.k8s.io/v1"));
  const { resources } = await cluster.read<{ resources: { name: string }[] }>("/apis/admissionregistration.k8s.io/v1");
  const names = resources.map(({ name }) => name);
  assert.ok(names.includes("mutatingwebhookconfigurations") && names.includes("validatingwebhookconfigurations"));
});

conformance(`${suite} should mutate configmap [Conformance]`, async (t, cluster) => {
  await register(t, cluster, "mutating", [
    webhook(cluster, "/mutating", { name: "first.k8s.example.com" }),
    webhook(cluster, "/mutating", { name: "second.k8s.example.com" }),
  ]);
  const { data } = await makeMap(cluster, "map", { "mutation-start": "yes" });
  assert.deepEqual(data, { "mutation-start": "yes", "mutation-stage-1": "yes", "mutation-stage-2": "yes" });
});

const stageSchema = (properties: object) => ({
  openAPIV3Schema: { type: "object", properties: { data: { type: "object", properties } } },
});

/** Two webhooks, one after the other, for a custom resource. */
async function registerStages(t: import("node:test").TestContext, cluster: Cluster, { group, resource }: ResourceType) {
  const rules = [rule(resource, ["CREATE", "UPDATE"], [group], ["v1"])];
  await register(t, cluster, "mutating", [
    webhook(cluster, "/mutating", { name: "first.k8s.example.com", rules }),
    webhook(cluster, "/mutating", { name: "second.k8s.example.com", rules }),
  ]);
}

const start = ({ namespace }: Cluster) =>
  ({ metadata: { name: "one", namespace }, data: { "mutation-start": "yes" } }) as unknown as CustomObject;

conformance(`${suite} should mutate custom resource [Conformance]`, async (t, cluster) => {
  const crd = definitionOf(cluster, { versions: [{ name: "v1" }] });
  await crd.create();
  await registerStages(t, cluster, crd.type);
  const { data } = await cluster.client.create(crd.type, start(cluster));
  assert.deepEqual(data, { "mutation-start": "yes", "mutation-stage-1": "yes", "mutation-stage-2": "yes" });
});

conformance(
  `${suite} should mutate custom resource with different stored version [Conformance]`,
  async (t, cluster) => {
    const crd = definitionOf(cluster, { versions: [{ name: "v1" }, { name: "v2" }] });
    await crd.create();
    await registerStages(t, cluster, crd.type);
    const { client, namespace } = cluster;
    await client.create(crd.type, start(cluster));
    const versions = crd.body.spec.versions.map((version) => ({ ...version, storage: version.name === "v2" }));
    await client.patch(customResourceDefinitions, crd.name, { type: "strategic", body: { spec: { versions } } });
    const body = [{ op: "add", path: "/dummy", value: "test" }];
    // The rules name v1 only: a request for v2 is one for the same objects.
    const patched = await soon(() => client.patch(crd.typeOf("v2"), "one", { type: "json", body }, { namespace }));
    assert.deepEqual(patched["data"], {
      "mutation-start": "yes",
      "mutation-stage-1": "yes",
      "mutation-stage-2": "yes",
    });
    assert.equal(patched["dummy"], "test");
    const { request } = server.reviews.at(-1);
    assert.deepEqual(
      [request.resource.version, request.kind.version, request.requestResource.version, request.object.apiVersion],
      ["v1", "v1", "v2", `${crd.type.group}/v1`],
    );
  },
);

conformance(`${suite} should mutate custom resource with pruning [Conformance]`, async (t, cluster) => {
  const text = { type: "string" };
  const schema = stageSchema({ "mutation-start": text, "mutation-stage-1": text }) as never;
  const crd = definitionOf(cluster, { versions: [{ name: "v1", schema }] });
  await crd.create();
  await registerStages(t, cluster, crd.type);
  const { data } = await cluster.client.create(crd.type, start(cluster));
  assert.deepEqual(data, { "mutation-start": "yes", "mutation-stage-1": "yes" });
});

conformance(`${suite} should mutate everything except 'skip-me' configmaps [Conformance]`, async (t, cluster) => {
  const matchConditions = [{ name: "skip-me", expression: "object.metadata.name != 'skip-me'" }];
  await register(t, cluster, "mutating", [webhook(cluster, "/mutating", { matchConditions })]);
  const skipped = await makeMap(cluster, "skip-me", { "mutation-start": "yes" });
  assert.deepEqual(skipped.data, { "mutation-start": "yes" });
  const mutated = await makeMap(cluster, "other", { "mutation-start": "yes" });
  assert.deepEqual(mutated.data, { "mutation-start": "yes", "mutation-stage-1": "yes" });
});

conformance(`${suite} should mutate pod and apply defaults after mutation [Conformance]`, async (t, cluster) => {
  await register(t, cluster, "mutating", [webhook(cluster, "/mutating-pods", { rules: [rule("pods")] })]);
  const { spec } = await makePod(cluster, "pod");
  assert.equal(spec?.initContainers?.length, 1);
  const [added] = spec.initContainers;
  assert.deepEqual([added!.name, added!.terminationMessagePolicy], ["webhook-added", "File"]);
  assert.ok(added!.volumeMounts?.length, "the service account's token is mounted into what the webhook added");
});

conformance(
  `${suite} should not be able to mutate or prevent deletion of webhook configuration objects [Conformance]`,
  async (t, cluster) => {
    const all = (path: string, operations: string[]) =>
      webhook(cluster, path, {
        rules: ["validatingwebhookconfigurations", "mutatingwebhookconfigurations"].map((resource) =>
          rule(resource, operations, ["admissionregistration.k8s.io"], ["*"]),
        ),
        namespaceSelector: {},
      });
    await register(t, cluster, "validating", [all("/always-deny", ["DELETE"])]);
    await register(t, cluster, "mutating", [all("/metadata", ["CREATE"])]);
    for (const kind of ["mutating", "validating"] as const) {
      const dummy = webhook(cluster, "/quick", { rules: [rule("nothing")] });
      const name = `${cluster.namespace}-dummy-${kind}`;
      const { type, created } = await register(t, cluster, kind, [dummy], { name });
      assert.equal(created.metadata.labels, undefined);
      await cluster.client.delete(type, name);
      await isGone(cluster.client, type, name);
    }
  },
);

conformance(
  `${suite} should unconditionally reject operations on fail closed webhook [Conformance]`,
  async (t, cluster) => {
    await register(t, cluster, "validating", [
      // Without its authority the webhook is not trusted.
      webhook(cluster, "/quick", { clientConfig: { url: server.at("/quick").url }, failurePolicy: "Fail" }),
    ]);
    await assert.rejects(makeMap(cluster, "map"), {
      code: 500,
      reason: "InternalError",
      message:
        /failed calling webhook "quick\.k8s\.example\.com": failed to call webhook: Post "[^"]+": tls: failed to verify certificate: x509: certificate signed by unknown authority/,
    });
  },
);
