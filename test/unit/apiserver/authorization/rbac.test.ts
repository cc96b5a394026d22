import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { pods } from "../../../../src/api/generated/core-v1.ts";
import { clusterRoleBindings, clusterRoles, roleBindings, roles } from "../../../../src/api/generated/rbac-v1.ts";
import { startAuthorization } from "../../../../src/apiserver/authorization/authorization.ts";
import { bootstrapPolicy, reconcileBootstrapPolicy } from "../../../../src/apiserver/authorization/bootstrap-policy.ts";
import { forbiddenError } from "../../../../src/apiserver/authorization/forbidden-error.ts";
import { uncovered } from "../../../../src/apiserver/authorization/rbac-rules.ts";
import type { AuthorizationAttributes, UserInfo } from "../../../../src/apiserver/request.ts";
import { silentLogger } from "../../../../src/machinery/log.ts";
import { FakeClock } from "../../../support/fake-clock.ts";
import { MemoryClient } from "../memory-client.ts";

const settle = async () => {
  for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
};

async function start(t: TestContext) {
  const client = new MemoryClient();
  const stop = new AbortController();
  t.after(() => stop.abort());
  const authorization = startAuthorization({
    client,
    clock: new FakeClock(),
    logger: silentLogger,
    signal: stop.signal,
  });
  await authorization.ready();
  await settle();
  const user = (name: string, ...groups: string[]): UserInfo => ({ name, groups: [...groups, "system:authenticated"] });
  const may = async (who: UserInfo, verb: string, what: string, rest: Partial<AuthorizationAttributes> = {}) => {
    const [resource, subresource] = what.split("/") as [string, string | undefined];
    const attributes = { user: who, verb, group: "", resource, ...(subresource ? { subresource } : {}), ...rest };
    return (await authorization.authorize(attributes)).allowed;
  };
  return { client, authorization, user, may };
}

test("the default policy lets members of system:masters do everything and strangers only discover", async (t) => {
  const { may, user } = await start(t);
  assert.equal(await may(user("admin", "system:masters"), "delete", "nodes"), true);
  assert.equal(await may(user("jane"), "list", "pods", { namespace: "default" }), false);
  assert.equal(await may(user("jane"), "get", "", { path: "/apis/apps/v1" }), true);
  assert.equal(await may(user("jane"), "get", "", { path: "/metrics" }), false);
  const review = { group: "authorization.k8s.io" };
  assert.equal(await may(user("jane"), "create", "selfsubjectaccessreviews", review), true);
});

test("the controller manager may do what its controllers do, and no more", async (t) => {
  const { may, user } = await start(t);
  const manager = user("system:kube-controller-manager");
  assert.equal(await may(manager, "create", "pods", { namespace: "a" }), true);
  assert.equal(await may(manager, "update", "deployments/status", { namespace: "a", group: "apps" }), true);
  assert.equal(await may(manager, "update", "namespaces/finalize", { name: "a" }), true);
  assert.equal(await may(manager, "create", "serviceaccounts", { namespace: "a" }), true);
  assert.equal(await may(manager, "create", "pods/exec", { namespace: "a" }), false);
  assert.equal(await may(manager, "create", "clusterrolebindings", { group: "rbac.authorization.k8s.io" }), false);
  const scheduler = user("system:kube-scheduler");
  assert.equal(await may(scheduler, "create", "pods/binding", { namespace: "a" }), true);
  assert.equal(await may(scheduler, "create", "pods", { namespace: "a" }), false);
});

test("a role binding to edit gives rights in its namespace only, through aggregation those of view too", async (t) => {
  const { client, may, user } = await start(t);
  client.put(roleBindings, {
    metadata: { name: "b", namespace: "a" },
    roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: "edit" },
    subjects: [
      { kind: "User", name: "jane" },
      { kind: "ServiceAccount", name: "robot" },
    ],
  });
  await settle();
  assert.equal(await may(user("jane"), "create", "pods", { namespace: "a" }), true);
  assert.equal(await may(user("jane"), "get", "pods/log", { namespace: "a" }), true);
  assert.equal(await may(user("jane"), "create", "pods", { namespace: "b" }), false);
  assert.equal(await may(user("system:serviceaccount:a:robot"), "create", "pods", { namespace: "a" }), true);
  assert.equal(
    await may(user("jane"), "create", "roles", { namespace: "a", group: "rbac.authorization.k8s.io" }),
    false,
  );
});

test("a change of roles counts at once, and a missing role is named in the refusal", async (t) => {
  const { client, may, user, authorization } = await start(t);
  client.put(roleBindings, {
    metadata: { name: "b", namespace: "a" },
    roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "Role", name: "readers" },
    subjects: [{ kind: "Group", name: "staff" }],
  });
  await settle();
  const who = user("jane", "staff");
  const refusal = await authorization.authorize({
    user: who,
    verb: "get",
    group: "",
    resource: "pods",
    namespace: "a",
  });
  assert.deepEqual(refusal, { allowed: false, reason: 'RBAC: role.rbac.authorization.k8s.io "readers" not found' });
  client.put(roles, {
    metadata: { name: "readers", namespace: "a" },
    rules: [{ verbs: ["get"], apiGroups: [""], resources: ["pods"], resourceNames: ["one"] }],
  });
  await settle();
  assert.equal(await may(who, "get", "pods", { namespace: "a", name: "one" }), true);
  assert.equal(await may(who, "get", "pods", { namespace: "a", name: "two" }), false);
  assert.equal(await may(who, "get", "pods/log", { namespace: "a", name: "one" }), false);
  await client.delete(roleBindings, "b", { namespace: "a" });
  await settle();
  assert.equal(await may(who, "get", "pods", { namespace: "a", name: "one" }), false);
});

test("a ClusterRole with an aggregation label is gathered into the role that selects it", async (t) => {
  const { client } = await start(t);
  client.put(clusterRoles, {
    metadata: { name: "crontabs", labels: { "rbac.authorization.k8s.io/aggregate-to-view": "true" } },
    rules: [{ verbs: ["get"], apiGroups: ["example.com"], resources: ["crontabs"] }],
  });
  await settle();
  for (const name of ["view", "edit", "admin"]) {
    const role = await client.get(clusterRoles, name);
    assert.ok(
      role.rules?.some((rule) => rule.resources?.includes("crontabs")),
      name,
    );
  }
});

test("a kubelet reads only the secrets of its own pods and only its own lease", async (t) => {
  const { client, may, user } = await start(t);
  client.put(pods, {
    metadata: { name: "p", namespace: "a" },
    spec: {
      nodeName: "n1",
      serviceAccountName: "robot",
      containers: [{ name: "c", env: [{ name: "X", valueFrom: { secretKeyRef: { name: "s", key: "k" } } }] }],
    },
  });
  await settle();
  const kubelet = user("system:node:n1", "system:nodes");
  assert.equal(await may(kubelet, "get", "secrets", { namespace: "a", name: "s" }), true);
  assert.equal(await may(kubelet, "get", "secrets", { namespace: "a", name: "other" }), false);
  assert.equal(await may(kubelet, "get", "secrets", { namespace: "b", name: "s" }), false);
  assert.equal(await may(kubelet, "list", "secrets", { namespace: "a" }), false);
  assert.equal(
    await may(user("system:node:n2", "system:nodes"), "get", "secrets", { namespace: "a", name: "s" }),
    false,
  );
  assert.equal(await may(kubelet, "create", "serviceaccounts/token", { namespace: "a", name: "robot" }), true);
  assert.equal(await may(kubelet, "create", "serviceaccounts/token", { namespace: "a", name: "default" }), false);
  const lease = { group: "coordination.k8s.io", namespace: "kube-node-lease" };
  assert.equal(await may(kubelet, "update", "leases", { ...lease, name: "n1" }), true);
  assert.equal(await may(kubelet, "update", "leases", { ...lease, name: "n2" }), false);
  assert.equal(await may(kubelet, "patch", "pods/status", { namespace: "a", name: "p" }), true);
  assert.equal(await may(kubelet, "create", "deployments", { namespace: "a", group: "apps" }), false);
});

test("the default policy is made once, restored where incomplete, and left alone where autoupdate is off", async () => {
  const client = new MemoryClient();
  await reconcileBootstrapPolicy(client, silentLogger);
  const policy = bootstrapPolicy();
  assert.equal((await client.list(clusterRoles)).items.length, policy.clusterRoles.length);
  assert.equal((await client.list(roleBindings)).items.length, policy.roleBindings.length);
  const before = (await client.list(clusterRoles)).metadata.resourceVersion;
  await reconcileBootstrapPolicy(client, silentLogger);
  assert.equal((await client.list(clusterRoles)).metadata.resourceVersion, before);

  const dns = await client.get(clusterRoles, "system:kube-dns");
  client.put(clusterRoles, { ...dns, rules: [] });
  const discovery = await client.get(clusterRoles, "system:discovery");
  const annotations = { "rbac.authorization.kubernetes.io/autoupdate": "false" };
  client.put(clusterRoles, { ...discovery, metadata: { ...discovery.metadata, annotations }, rules: [] });
  const binding = await client.get(clusterRoleBindings, "cluster-admin");
  client.put(clusterRoleBindings, { ...binding, subjects: [{ kind: "User", name: "extra" }] });
  await reconcileBootstrapPolicy(client, silentLogger);
  assert.deepEqual(uncovered((await client.get(clusterRoles, "system:kube-dns")).rules!, dns.rules!), []);
  assert.deepEqual((await client.get(clusterRoles, "system:discovery")).rules, []);
  const subjects = (await client.get(clusterRoleBindings, "cluster-admin")).subjects!;
  assert.deepEqual(
    subjects.map(({ name }) => name),
    ["extra", "system:masters"],
  );
});

test("what a grantor does not hold is found verb by verb and resource by resource", () => {
  const held = [{ verbs: ["get", "list"], apiGroups: [""], resources: ["pods"] }];
  const wanted = [{ verbs: ["get", "delete"], apiGroups: [""], resources: ["pods", "pods/log"] }];
  const missing = uncovered(held, wanted).map(({ verbs, resources }) => `${verbs[0]} ${resources?.[0]}`);
  assert.deepEqual(missing, ["get pods/log", "delete pods", "delete pods/log"]);
  assert.deepEqual(uncovered([{ verbs: ["*"], apiGroups: ["*"], resources: ["*"] }], wanted), []);
});

test("a refusal has the words of Kubernetes", () => {
  const user = { name: "x", groups: [] };
  const text = (attributes: Partial<AuthorizationAttributes>) =>
    forbiddenError({ user, verb: "list", group: "", resource: "pods", ...attributes }).message;
  assert.equal(
    text({ namespace: "default" }),
    'pods is forbidden: User "x" cannot list resource "pods" in API group "" in the namespace "default"',
  );
  assert.equal(
    text({ verb: "get", group: "apps", resource: "deployments", subresource: "scale", name: "d", namespace: "a" }),
    'deployments.apps "d" is forbidden: User "x" cannot get resource "deployments/scale" in API group "apps" in the namespace "a"',
  );
  assert.equal(
    text({ resource: "nodes" }),
    'nodes is forbidden: User "x" cannot list resource "nodes" in API group "" at the cluster scope',
  );
  assert.equal(text({ verb: "get", path: "/metrics" }), 'forbidden: User "x" cannot get path "/metrics"');
});
