import assert from "node:assert/strict";
import { test } from "node:test";
import { type Pod, pods } from "../../../../src/api/generated/core-v1.ts";
import { type PodDisruptionBudget, podDisruptionBudgets } from "../../../../src/api/generated/policy-v1.ts";
import type {
  AuthorizationAttributes,
  BodySubresource,
  ServerContext,
  UserInfo,
} from "../../../../src/apiserver/request.ts";
import {
  localSubjectAccessReview,
  selfSubjectAccessReview,
  subjectAccessReview,
} from "../../../../src/apiserver/subresources/access-reviews.ts";
import { bindingSubresource } from "../../../../src/apiserver/subresources/binding.ts";
import { evictionSubresource } from "../../../../src/apiserver/subresources/eviction.ts";
import { selfSubjectReview, tokenReview } from "../../../../src/apiserver/subresources/token-review.ts";
import { silentLogger } from "../../../../src/machinery/log.ts";
import type { KubeObject, ResourceType } from "../../../../src/machinery/object.ts";
import { StatusError, unauthorized } from "../../../../src/machinery/status.ts";
import { FakeClock } from "../../../support/fake-clock.ts";
import { MemoryClient } from "../memory-client.ts";

function start() {
  const client = new MemoryClient();
  const clock = new FakeClock();
  const asked: AuthorizationAttributes[] = [];
  const context = {
    client,
    clusterClock: clock,
    ioClock: clock,
    logger: silentLogger,
    authorize: async (attributes: AuthorizationAttributes) => {
      asked.push(attributes);
      return { allowed: attributes.verb === "get", reason: "" };
    },
    rewrite: async <T extends KubeObject>(
      type: ResourceType<T>,
      target: { namespace?: string; name: string; dryRun?: boolean },
      change: (object: T) => void,
    ) => {
      const next = structuredClone(await client.get(type, target.name, target));
      change(next);
      return target.dryRun ? next : client.put(type, next);
    },
  } as unknown as ServerContext;
  const post = (
    handler: BodySubresource,
    body: object,
    rest: { name?: string; resource?: string; dryRun?: boolean; user?: UserInfo } = {},
  ) => {
    const { name = "p", resource = "pods", dryRun = false } = rest;
    const info = {
      isResource: true,
      path: "",
      verb: "create",
      group: "",
      version: "v1",
      namespace: "a",
      resource,
      name,
    };
    const user = rest.user ?? { name: "jane", groups: ["g", "system:authenticated"] };
    return handler(context, { info, user, body: { metadata: {}, ...body } as KubeObject, dryRun });
  };
  const putPod = (rest: Partial<Pod> = {}, name = "p") =>
    client.put(pods, {
      metadata: { name, namespace: "a", labels: { app: "x" } },
      spec: { containers: [{ name: "c" }] },
      status: { phase: "Running", conditions: [{ type: "Ready", status: "True" }] },
      ...rest,
    });
  return { client, asked, post, putPod };
}

test("binding sets the node and says that the pod is scheduled, once", async () => {
  const { client, post, putPod } = start();
  putPod();
  const binding = { target: { kind: "Node", name: "n1" } };
  assert.equal((await post(bindingSubresource, binding)).code, 201);
  const bound = await client.get(pods, "p", { namespace: "a" });
  assert.equal(bound.spec?.nodeName, "n1");
  assert.deepEqual(bound.status?.conditions?.at(-1), {
    type: "PodScheduled",
    status: "True",
    lastTransitionTime: "2026-01-01T00:00:00Z",
  });
  await assert.rejects(
    post(bindingSubresource, { target: { kind: "Node", name: "n2" } }),
    /Operation cannot be fulfilled on pods "p": pod p is already assigned to node "n1"/,
  );
});

test("binding refuses what is no node, another uid, pods with gates and pods that are being deleted", async () => {
  const { post, putPod } = start();
  const pod = putPod();
  await assert.rejects(post(bindingSubresource, { target: { kind: "Pod", name: "" } }), {
    code: 422,
    message: /target.kind: Unsupported value: "Pod".*target.name: Required value/,
  });
  const binding = { target: { kind: "Node", name: "n1" } };
  await assert.rejects(post(bindingSubresource, { ...binding, metadata: { name: "p", uid: "other" } }), { code: 409 });
  putPod({ spec: { containers: [], schedulingGates: [{ name: "wait" }] } });
  await assert.rejects(post(bindingSubresource, binding), /has non-empty .spec.schedulingGates/);
  putPod({ metadata: { ...pod.metadata, deletionTimestamp: "2026-01-01T00:00:00Z" } });
  await assert.rejects(post(bindingSubresource, binding), /pod p is being deleted, cannot be assigned to a host/);
});

test("the bindings resource takes the pod's name from the object", async () => {
  const { client, post, putPod } = start();
  putPod({}, "other");
  await post(
    bindingSubresource,
    { metadata: { name: "other" }, target: { name: "n1" } },
    { resource: "bindings", name: "" },
  );
  assert.equal((await client.get(pods, "other", { namespace: "a" })).spec?.nodeName, "n1");
});

const budget = (status: Partial<NonNullable<PodDisruptionBudget["status"]>>): PodDisruptionBudget => ({
  metadata: { name: "b", namespace: "a", generation: 1 },
  spec: { selector: { matchLabels: { app: "x" } } },
  status: {
    observedGeneration: 1,
    disruptionsAllowed: 0,
    currentHealthy: 1,
    desiredHealthy: 1,
    expectedPods: 1,
    ...status,
  },
});

test("an eviction takes a disruption from the budget and deletes the pod; without any left it is 429", async () => {
  const { client, post, putPod } = start();
  putPod();
  client.put(podDisruptionBudgets, budget({}));
  await assert.rejects(post(evictionSubresource, {}), (error: unknown) => {
    assert.ok(error instanceof StatusError);
    assert.equal(error.code, 429);
    assert.equal(error.message, "Cannot evict pod as it would violate the pod's disruption budget.");
    const message = "The disruption budget b needs 1 healthy pods and has 1 currently";
    assert.deepEqual(error.details?.causes, [{ reason: "DisruptionBudget", message }]);
    return true;
  });
  client.put(podDisruptionBudgets, budget({ disruptionsAllowed: 1 }));
  await post(evictionSubresource, {});
  await assert.rejects(client.get(pods, "p", { namespace: "a" }), { code: 404 });
  const { status } = await client.get(podDisruptionBudgets, "b", { namespace: "a" });
  assert.equal(status?.disruptionsAllowed, 0);
  assert.deepEqual(status?.disruptedPods, { p: "2026-01-01T00:00:00Z" });
});

test("pods that are over or without a budget are evicted freely; an uncomputed budget is 429, two are an error", async () => {
  const { client, post, putPod } = start();
  client.put(podDisruptionBudgets, budget({ observedGeneration: 0 }));
  putPod({ status: { phase: "Succeeded" } });
  await post(evictionSubresource, {});
  putPod();
  await assert.rejects(post(evictionSubresource, {}), { code: 429 });
  client.put(podDisruptionBudgets, { ...budget({}), metadata: { name: "c", namespace: "a" } });
  await assert.rejects(post(evictionSubresource, {}), /more than one PodDisruptionBudget/);
  putPod({ metadata: { name: "p", namespace: "a", labels: { app: "free" } } });
  await post(evictionSubresource, {});
});

test("a kubelet evicts only pods on its own node", async () => {
  const { post, putPod } = start();
  putPod({ spec: { nodeName: "n1", containers: [] } });
  const kubelet = (node: string) => ({ name: `system:node:${node}`, groups: ["system:nodes"] });
  await assert.rejects(
    post(evictionSubresource, {}, { user: kubelet("n2") }),
    /can only evict pods with spec.nodeName set to itself/,
  );
  await post(evictionSubresource, {}, { user: kubelet("n1") });
});

test("access reviews ask the authorizer for the right user and refuse questions that make no sense", async () => {
  const { asked, post } = start();
  const resourceAttributes = { verb: "get", resource: "pods", subresource: "log", namespace: "a", name: "p" };
  const self = await post(selfSubjectAccessReview, { spec: { resourceAttributes } });
  assert.deepEqual((self.body as { status: object }).status, { allowed: true });
  assert.deepEqual([asked[0]?.user.name, asked[0]?.resource, asked[0]?.subresource], ["jane", "pods", "log"]);
  const other = await post(subjectAccessReview, {
    spec: { user: "bob", groups: ["x"], nonResourceAttributes: { verb: "post", path: "/metrics" } },
  });
  assert.deepEqual((other.body as { status: object }).status, { allowed: false });
  assert.deepEqual([asked[1]?.user.name, asked[1]?.path], ["bob", "/metrics"]);
  await assert.rejects(post(subjectAccessReview, { spec: { resourceAttributes } }), /at least one of user or group/);
  await assert.rejects(
    post(selfSubjectAccessReview, { spec: {} }),
    /exactly one of nonResourceAttributes or resourceAttributes/,
  );
  const elsewhere = { user: "bob", resourceAttributes: { ...resourceAttributes, namespace: "b" } };
  await assert.rejects(post(localSubjectAccessReview, { spec: elsewhere }), /must match namespace: a/);
});

test("a token review says whose token it is, and never repeats it", async () => {
  const { post } = start();
  const review = tokenReview({
    audiences: ["api"],
    byAudience: async (token, audiences) => {
      if (token === "bad") throw unauthorized();
      return token === "good" ? { user: { name: "system:serviceaccount:a:b", groups: [] }, audiences } : undefined;
    },
    others: [
      async ({ headers }) => (headers.authorization === "Bearer boot" ? { name: "boot", groups: [] } : undefined),
    ],
  });
  const ask = async (token: string, audiences?: string[]) => {
    const { body } = await post(review, { spec: { token, ...(audiences ? { audiences } : {}) } });
    assert.equal(JSON.stringify(body).includes(`"${token}"`), false);
    return (body as { status: { authenticated: boolean; user?: { username: string }; audiences?: string[] } }).status;
  };
  assert.deepEqual((await ask("good", ["vault"])).audiences, ["vault"]);
  assert.equal((await ask("bad")).authenticated, false);
  assert.equal((await ask("unknown")).authenticated, false);
  // The user of this one is named like it: only the answer's flag counts.
  const boot = await post(review, { spec: { token: "boot" } });
  assert.equal((boot.body as { status: { authenticated: boolean } }).status.authenticated, true);
  const foreign = await post(review, { spec: { token: "boot", audiences: ["vault"] } });
  assert.equal((foreign.body as { status: { authenticated: boolean } }).status.authenticated, false);
});

test("whoami answers the user with its groups", async () => {
  const { post } = start();
  const { body } = await post(selfSubjectReview, {});
  const { userInfo } = (body as { status: { userInfo: object } }).status;
  assert.deepEqual(userInfo, { username: "jane", groups: ["g", "system:authenticated"] });
});
