/** What admission policies make of requests, as the conformance tests of both kinds of policy ask. */
import assert from "node:assert/strict";
import {
  mutatingAdmissionPolicies,
  mutatingAdmissionPolicyBindings,
  validatingAdmissionPolicies,
  validatingAdmissionPolicyBindings,
} from "../../src/api/generated/admissionregistration-v1.ts";
import { type Deployment, deployments, replicaSets } from "../../src/api/generated/apps-v1.ts";
import { type Cluster, conformance } from "./conformance.ts";
import { soon } from "./waiting.ts";

const validating = "[sig-api-machinery] ValidatingAdmissionPolicy [Privileged:ClusterAdmin] should";
const mutating = "[sig-api-machinery] MutatingAdmissionPolicy [Privileged:ClusterAdmin] should";

/** Of one namespace, so that no other case's objects are meant. */
const constraints = (namespace: string) => ({
  namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": namespace } },
  resourceRules: [
    { operations: ["CREATE", "UPDATE"], apiGroups: ["apps"], apiVersions: ["v1"], resources: ["deployments"] },
  ],
});

const deployment = (name: string, replicas: number): Deployment => ({
  metadata: { name },
  spec: {
    replicas,
    selector: { matchLabels: { app: name } },
    template: { metadata: { labels: { app: name } }, spec: { containers: [{ name: "c", image: "i" }] } },
  },
});

async function bindValidations({ client, namespace }: Cluster, spec: object): Promise<void> {
  const name = `${namespace}.policy.example.com`;
  await client.create(validatingAdmissionPolicies, {
    metadata: { name },
    spec: { matchConstraints: constraints(namespace), ...spec },
  });
  await client.create(validatingAdmissionPolicyBindings, {
    metadata: { name },
    spec: { policyName: name, validationActions: ["Deny"], matchResources: constraints(namespace) },
  });
}

/** Waits until a deployment of one replica is refused as invalid, and shows that one of `good` and a ReplicaSet are not. */
async function judges({ client, namespace }: Cluster, good: number): Promise<void> {
  const dryRun = { namespace, dryRun: true };
  await soon(() => assert.rejects(client.create(deployments, deployment("one", 1), dryRun), { reason: "Invalid" }));
  await client.create(deployments, deployment("good", good), dryRun);
  await client.create(replicaSets, deployment("other", 1) as never, dryRun);
}

conformance(`${validating} validate against a Deployment [Conformance]`, async (_, cluster) => {
  await bindValidations(cluster, {
    validations: [
      {
        expression: "object.spec.replicas > 1",
        messageExpression: "'wants replicas > 1, got ' + object.spec.replicas",
      },
      { expression: `namespaceObject.metadata.name == '${cluster.namespace}'`, message: "another namespace" },
    ],
  });
  await judges(cluster, 2);
});

conformance(`${validating} allow expressions to refer variables. [Conformance]`, async (_, cluster) => {
  await bindValidations(cluster, {
    variables: [
      { name: "replicas", expression: "object.spec.replicas" },
      { name: "oddReplicas", expression: "variables.replicas % 2 == 1" },
    ],
    validations: [{ expression: "variables.replicas > 1" }, { expression: "variables.oddReplicas" }],
  });
  await judges(cluster, 3);
});

/** Waits until a deployment comes out changed. */
async function mutates({ client, namespace }: Cluster, expression: string, changed: (made: Deployment) => void) {
  const name = `${namespace}.policy.example.com`;
  await client.create(mutatingAdmissionPolicies, {
    metadata: { name },
    spec: {
      matchConstraints: constraints(namespace),
      reinvocationPolicy: "Never",
      mutations: [{ patchType: "ApplyConfiguration", applyConfiguration: { expression } }],
    },
  });
  await client.create(mutatingAdmissionPolicyBindings, {
    metadata: { name },
    spec: { policyName: name, matchResources: constraints(namespace) },
  });
  const options = { namespace, dryRun: true };
  await soon(async () => changed(await client.create(deployments, deployment("marker", 1), options)));
}

conformance(`${mutating} mutate a Deployment with annotations [Conformance]`, (_, cluster) =>
  mutates(cluster, `Object{metadata: Object.metadata{annotations: {"mutated-by": "policy"}}}`, ({ metadata }) =>
    assert.equal(metadata.annotations?.["mutated-by"], "policy"),
  ),
);

conformance(`${mutating} mutate a Deployment [Conformance]`, (_, cluster) =>
  mutates(cluster, "Object{spec: Object.spec{replicas: 1337}}", ({ spec }) => assert.equal(spec?.replicas, 1337)),
);
