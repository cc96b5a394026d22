import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { validatingWebhookConfigurations } from "../../../../src/api/generated/admissionregistration-v1.ts";
import {
  limitRanges,
  namespaces,
  type Pod,
  persistentVolumeClaims,
  persistentVolumes,
  pods,
  resourceQuotas,
  type Service,
  serviceAccounts,
  services,
} from "../../../../src/api/generated/core-v1.ts";
import { serviceCIDRs } from "../../../../src/api/generated/networking-v1.ts";
import { clusterRoleBindings, clusterRoles, roleBindings } from "../../../../src/api/generated/rbac-v1.ts";
import { priorityClasses } from "../../../../src/api/generated/scheduling-v1.ts";
import type { ResourceFacts } from "../../../../src/api/resource.ts";
import { admissionChain } from "../../../../src/apiserver/admission/chain.ts";
import { createRbac } from "../../../../src/apiserver/authorization/rbac.ts";
import { mastersAuthorizer, unionAuthorizer } from "../../../../src/apiserver/authorization/union.ts";
import type { AdmissionAttributes, ServerContext, UserInfo } from "../../../../src/apiserver/request.ts";
import { silentLogger } from "../../../../src/machinery/log.ts";
import type { KubeObject, ResourceType } from "../../../../src/machinery/object.ts";
import type { Store } from "../../../../src/store/store.ts";
import { FakeClock } from "../../../support/fake-clock.ts";
import { MemoryClient } from "../memory-client.ts";

const admin: UserInfo = { name: "admin", groups: ["system:masters", "system:authenticated"] };

const settle = async () => {
  for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
};

async function start(
  t: TestContext,
  options: { serviceCidr?: string; nodePortRange?: { from: number; to: number } } = {},
) {
  const client = new MemoryClient();
  const stop = new AbortController();
  t.after(() => stop.abort());
  const clock = new FakeClock();
  for (const name of ["default", "kube-system"]) client.put(namespaces, { metadata: { name } });
  client.put(serviceAccounts, { metadata: { name: "default", namespace: "default" } });
  const rbac = createRbac({ client, clock, logger: silentLogger, signal: stop.signal });
  const authorize = unionAuthorizer([mastersAuthorizer, rbac.authorize]);
  const rewrite = async <T extends KubeObject>(
    type: ResourceType<T>,
    target: { namespace?: string; name: string },
    change: (object: T) => void,
  ) => {
    const next = structuredClone(await client.get(type, target.name, target));
    change(next);
    return client.put(type, next);
  };
  const context = {
    rewrite,
    client,
    clusterClock: clock,
    ioClock: clock,
    logger: silentLogger,
    authorize,
  } as unknown as ServerContext;
  const chain = admissionChain({
    context,
    rbac,
    store: { exclusive: true } as Store,
    serviceCidr: options.serviceCidr ?? "10.43.0.0/16",
    nodePortRange: options.nodePortRange ?? { from: 30_000, to: 32_767 },
    signal: stop.signal,
  });
  const attributesOf = <T extends KubeObject>(
    type: ResourceType<T>,
    operation: AdmissionAttributes["operation"],
    object: T | undefined,
    rest: Partial<AdmissionAttributes> = {},
  ): AdmissionAttributes => ({
    operation,
    facts: { ...type, singular: type.kind.toLowerCase(), storage: {} } as unknown as ResourceFacts,
    ...(type.namespaced ? { namespace: object?.metadata.namespace ?? "default" } : {}),
    name: object?.metadata.name ?? "",
    ...(object ? { object } : {}),
    user: admin,
    dryRun: false,
    warn: () => {},
    ...rest,
  });
  const release = (attributes: AdmissionAttributes) => {
    for (const plugin of chain) plugin.release?.(attributes);
  };
  /** Admits as the API server does: all mutating, then all validating; a refusal gives back. */
  const run = async (attributes: AdmissionAttributes) => {
    try {
      for (const plugin of chain) await plugin.admit?.(attributes);
      for (const plugin of chain) await plugin.validate?.(attributes);
    } catch (error) {
      release(attributes);
      throw error;
    }
    return attributes;
  };
  const create = async <T extends KubeObject>(
    type: ResourceType<T>,
    object: T,
    rest: Partial<AdmissionAttributes> = {},
  ) => {
    await run(attributesOf(type, "CREATE", object, rest));
    const stored = client.put(type, object);
    await settle();
    return stored;
  };
  return { client, clock, attributesOf, run, release, create };
}

const pod = (spec: Partial<NonNullable<Pod["spec"]>> = {}): Pod => ({
  metadata: { name: "p", namespace: "default" },
  spec: { containers: [{ name: "c" }], ...spec },
});

test("a pod gets its service account, the token volume in each container, tolerations and a priority", async (t) => {
  const { create } = await start(t);
  const mounted = { name: "own", mountPath: "/var/run/secrets/kubernetes.io/serviceaccount" };
  const { spec } = await create(
    pods,
    pod({ initContainers: [{ name: "i" }], containers: [{ name: "c" }, { name: "d", volumeMounts: [mounted] }] }),
  );
  assert.equal(spec?.serviceAccountName, "default");
  const volume = spec?.volumes?.[0];
  assert.match(volume?.name ?? "", /^kube-api-access-[a-z0-9]{5}$/);
  assert.deepEqual(
    volume?.projected?.sources?.map((source) => Object.keys(source)[0]),
    ["serviceAccountToken", "configMap", "downwardAPI"],
  );
  const mounts = [...spec!.initContainers!, ...spec!.containers].map((container) =>
    container.volumeMounts?.map(({ name }) => name),
  );
  assert.deepEqual(mounts, [[volume?.name], [volume?.name], ["own"]]);
  assert.deepEqual(
    spec?.tolerations?.map(({ key, effect, tolerationSeconds }) => [key, effect, tolerationSeconds]),
    [
      ["node.kubernetes.io/not-ready", "NoExecute", 300],
      ["node.kubernetes.io/unreachable", "NoExecute", 300],
    ],
  );
  assert.equal(spec?.priority, 0);
  assert.equal(spec?.preemptionPolicy, "PreemptLowerPriority");
});

test("a pod of an unknown service account or priority class is refused by name", async (t) => {
  const { create, client } = await start(t);
  await assert.rejects(
    create(pods, pod({ serviceAccountName: "nobody" })),
    /pods "p" is forbidden: error looking up service account default\/nobody: serviceaccount "nobody" not found/,
  );
  await assert.rejects(
    create(pods, pod({ priorityClassName: "high" })),
    /pods "p" is forbidden: no PriorityClass with name high was found/,
  );
  client.put(priorityClasses, { metadata: { name: "high" }, value: 7 });
  assert.equal((await create(pods, pod({ priorityClassName: "high" }))).spec?.priority, 7);
  await assert.rejects(create(pods, pod({ priority: 9 })), /the integer value of priority \(9\) must not be provided/);
});

test("a pod that comes before its namespace's own account waits for it, as long as a controller needs", async (t) => {
  const { create, client, clock } = await start(t);
  const early = create(pods, {
    metadata: { name: "early", namespace: "kube-system" },
    spec: { containers: [{ name: "c" }] },
  });
  await clock.advance(200);
  client.put(serviceAccounts, { metadata: { name: "default", namespace: "kube-system" } });
  await clock.advance(200);
  assert.equal((await early).spec?.serviceAccountName, "default");

  client.put(namespaces, { metadata: { name: "bare" } });
  const refused = assert.rejects(
    create(pods, { metadata: { name: "p", namespace: "bare" }, spec: { containers: [{ name: "c" }] } }),
    /pods "p" is forbidden: error looking up service account bare\/default: serviceaccount "default" not found/,
  );
  await clock.advance(2000);
  await refused;
});

test("automountServiceAccountToken false keeps the token out, the pod's word before the account's", async (t) => {
  const { create, client } = await start(t);
  assert.equal((await create(pods, pod({ automountServiceAccountToken: false }))).spec?.volumes, undefined);
  const account = await client.get(serviceAccounts, "default", { namespace: "default" });
  client.put(serviceAccounts, {
    ...account,
    automountServiceAccountToken: false,
    imagePullSecrets: [{ name: "pull" }],
  });
  const { spec } = await create(pods, pod());
  assert.equal(spec?.volumes, undefined);
  assert.deepEqual(spec?.imagePullSecrets, [{ name: "pull" }]);
  assert.equal((await create(pods, pod({ automountServiceAccountToken: true }))).spec?.volumes?.length, 1);
});

test("nothing is created in a namespace that is not there or is going", async (t) => {
  const { create, client, run, attributesOf } = await start(t);
  const elsewhere = { ...pod(), metadata: { name: "p", namespace: "gone" } };
  await assert.rejects(create(pods, elsewhere), /namespaces "gone" not found/);
  client.put(namespaces, { metadata: { name: "gone" }, status: { phase: "Terminating" } });
  await assert.rejects(
    create(pods, elsewhere),
    /pods "p" is forbidden: unable to create new content in namespace gone because it is being terminated/,
  );
  await assert.rejects(
    run(attributesOf(namespaces, "DELETE", undefined, { name: "kube-system" })),
    /namespaces "kube-system" is forbidden: this namespace may not be deleted/,
  );
});

const service = (name: string, spec: Service["spec"] = {}): Service => ({
  metadata: { name, namespace: "default" },
  spec: { type: "ClusterIP", ports: [{ port: 80, protocol: "TCP" }], ...spec },
});

test("a service gets an address of the dynamic band, a chosen one is its own, and a taken one is refused", async (t) => {
  const { create, client } = await start(t);
  const { spec } = await create(services, service("a"));
  const [, , third, fourth] = spec!.clusterIP!.split(".").map(Number) as [number, number, number, number];
  assert.ok(third * 256 + fourth > 256, spec?.clusterIP);
  assert.deepEqual(
    [spec?.clusterIPs, spec?.ipFamilies, spec?.ipFamilyPolicy],
    [[spec?.clusterIP], ["IPv4"], "SingleStack"],
  );
  await create(services, service("dns", { clusterIP: "10.43.0.10" }));
  await assert.rejects(
    create(services, service("b", { clusterIP: "10.43.0.10" })),
    /Service "b" is invalid: spec.clusterIPs: Invalid value: \["10.43.0.10"\]: failed to allocate IP 10.43.0.10: provided IP is already allocated/,
  );
  await assert.rejects(create(services, service("b", { clusterIP: "10.43.0.1" })), /provided IP is already allocated/);
  await assert.rejects(
    create(services, service("b", { clusterIP: "10.44.0.1" })),
    /The range of valid IPs is 10.43.0.0\/16/,
  );
  await client.delete(services, "dns", { namespace: "default" });
  await settle();
  assert.equal((await create(services, service("b", { clusterIP: "10.43.0.10" }))).spec?.clusterIP, "10.43.0.10");
});

test("headless and external services get no address", async (t) => {
  const { create } = await start(t);
  const headless = (await create(services, service("h", { clusterIP: "None", selector: { a: "b" } }))).spec;
  assert.deepEqual([headless?.clusterIPs, headless?.ipFamilies], [["None"], ["IPv4"]]);
  const external = (await create(services, service("e", { type: "ExternalName", externalName: "x.example" }))).spec;
  assert.deepEqual([external?.clusterIP, external?.ipFamilies], [undefined, undefined]);
});

test("node ports are allocated, shared between TCP and UDP of one port, and refused when taken or out of range", async (t) => {
  const { create } = await start(t);
  const both = [
    { name: "t", port: 53, protocol: "TCP" },
    { name: "u", port: 53, protocol: "UDP" },
  ];
  const ports = (await create(services, service("a", { type: "NodePort", ports: both }))).spec!.ports!;
  assert.ok(ports[0]!.nodePort! >= 30_000 && ports[0]!.nodePort! <= 32_767);
  assert.equal(ports[1]!.nodePort, ports[0]!.nodePort);
  const wish = (nodePort: number) =>
    service("b", { type: "NodePort", ports: [{ port: 80, protocol: "TCP", nodePort }] });
  await assert.rejects(
    create(services, wish(ports[0]!.nodePort!)),
    /spec.ports\[0\].nodePort: Invalid value: \d+: provided port is already allocated/,
  );
  await assert.rejects(create(services, wish(80)), /The range of valid ports is 30000-32767/);
  assert.equal((await create(services, wish(30_080))).spec?.ports?.[0]?.nodePort, 30_080);
});

test("what a failed request had taken is free again, and a full range says so", async (t) => {
  const { create, run, attributesOf, release } = await start(t, { nodePortRange: { from: 30_000, to: 30_001 } });
  const nodePort = (name: string) => service(name, { type: "NodePort" });
  await create(services, nodePort("a"));
  const failed = await run(attributesOf(services, "CREATE", nodePort("b")));
  await assert.rejects(create(services, nodePort("c")), /failed to allocate a nodePort: range is full/);
  release(failed);
  await create(services, nodePort("d"));
});

test("an update keeps what was allocated, also right after the create", async (t) => {
  const { create, client, run, attributesOf } = await start(t);
  const first = service("a", { type: "NodePort" });
  await run(attributesOf(services, "CREATE", first));
  const stored = client.put(services, first);
  const next = service("a", { type: "NodePort" });
  await run(attributesOf(services, "UPDATE", next, { oldObject: stored }));
  assert.equal(next.spec?.clusterIP, stored.spec?.clusterIP);
  assert.equal(next.spec?.ports?.[0]?.nodePort, stored.spec?.ports?.[0]?.nodePort);
  await settle();
  await assert.rejects(create(services, service("b", { clusterIP: stored.spec!.clusterIP! })), /already allocated/);
});

test("a dual-stack cluster gives two addresses to who prefers them; a single-stack one refuses who requires them", async (t) => {
  const dual = await start(t, { serviceCidr: "10.43.0.0/16,fd00:43::/112" });
  const { spec } = await dual.create(services, service("a", { ipFamilyPolicy: "PreferDualStack" }));
  assert.deepEqual(spec?.ipFamilies, ["IPv4", "IPv6"]);
  assert.match(spec?.clusterIPs?.[1] ?? "", /^fd00:43::/);
  const single = await start(t);
  const prefers = (await single.create(services, service("a", { ipFamilyPolicy: "PreferDualStack" }))).spec;
  assert.deepEqual(prefers?.ipFamilies, ["IPv4"]);
  await assert.rejects(
    single.create(services, service("b", { ipFamilyPolicy: "RequireDualStack" })),
    /spec.ipFamilyPolicy: Invalid value: "RequireDualStack": this cluster is not configured for dual-stack services/,
  );
});

test("services that stood before the start keep their numbers", async (t) => {
  const client = new MemoryClient();
  client.put(services, service("old", { clusterIP: "10.43.0.77", clusterIPs: ["10.43.0.77"] }));
  client.put(namespaces, { metadata: { name: "default" } });
  const stop = new AbortController();
  t.after(() => stop.abort());
  const { serviceAllocation } = await import("../../../../src/apiserver/admission/service-allocation.ts");
  const plugin = serviceAllocation({
    client,
    serviceCidrs: ["10.43.0.0/16"],
    nodePortRange: { from: 30_000, to: 32_767 },
    clock: new FakeClock(),
    logger: silentLogger,
    signal: stop.signal,
  });
  const object = service("new", { clusterIP: "10.43.0.77" });
  const facts = { ...services } as unknown as ResourceFacts;
  const attributes = {
    operation: "CREATE" as const,
    facts,
    namespace: "default",
    name: "new",
    object,
    user: admin,
    dryRun: false,
    warn: () => {},
  };
  await assert.rejects(plugin.admit!(attributes), /provided IP is already allocated/);
});

test("nobody grants rights that they do not hold", async (t) => {
  const { create, client } = await start(t);
  const jane = { name: "jane", groups: ["system:authenticated"] };
  const rules = [{ verbs: ["get"], apiGroups: [""], resources: ["secrets"] }];
  const role = (name: string) => ({ metadata: { name }, rules });
  await assert.rejects(
    create(clusterRoles, role("r"), { user: jane }),
    /clusterroles.rbac.authorization.k8s.io "r" is forbidden: user "jane" \(groups=\["system:authenticated"\]\) is attempting to grant RBAC permissions not currently held:\n\{APIGroups:\[""\], Resources:\["secrets"\], Verbs:\["get"\]\}/,
  );
  await create(clusterRoles, role("r"));
  const roleRef = { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: "r" };
  const binding = { metadata: { name: "b", namespace: "default" }, roleRef, subjects: [{ kind: "User", name: "bob" }] };
  await assert.rejects(create(roleBindings, structuredClone(binding), { user: jane }), /not currently held/);
  client.put(clusterRoleBindings, { metadata: { name: "jane" }, roleRef, subjects: [{ kind: "User", name: "jane" }] });
  await settle();
  await create(roleBindings, binding, { user: jane });
});

test("a kubelet creates only mirror pods on its own node and cannot label itself into trust", async (t) => {
  const { create, run, attributesOf } = await start(t);
  const { nodes } = await import("../../../../src/api/generated/core-v1.ts");
  const user = { name: "system:node:n1", groups: ["system:nodes"] };
  await assert.rejects(create(pods, pod({ nodeName: "n1" }), { user }), /node "n1" can only create mirror pods/);
  const mirror = (nodeName: string): Pod => ({
    metadata: { name: "m", namespace: "default", annotations: { "kubernetes.io/config.mirror": "x" } },
    spec: { nodeName, containers: [{ name: "c" }] },
  });
  await create(pods, mirror("n1"), { user });
  await assert.rejects(create(pods, mirror("n2"), { user }), /spec.nodeName set to itself/);
  const node = (labels: Record<string, string>) => ({ metadata: { name: "n1", labels } });
  const made = await create(nodes, node({ "kubernetes.io/hostname": "n1" }), { user });
  assert.deepEqual(made.spec?.taints, [{ key: "node.kubernetes.io/not-ready", effect: "NoSchedule" }]);
  const labelled = { ...structuredClone(made), ...node({ "node-restriction.kubernetes.io/safe": "true" }) };
  await assert.rejects(
    run(attributesOf(nodes, "UPDATE", labelled, { user, oldObject: made })),
    /is not allowed to modify labels: kubernetes.io\/hostname, node-restriction|is not allowed to modify labels: node-restriction/,
  );
  await assert.rejects(create(nodes, { metadata: { name: "n2" } }, { user }), /is not allowed to modify node "n2"/);
});

test("a kubelet that writes a status changes no labels of pods, nodes or claims by that", async (t) => {
  const { run, attributesOf } = await start(t);
  const { nodes, persistentVolumeClaims } = await import("../../../../src/api/generated/core-v1.ts");
  const user = { name: "system:node:n1", groups: ["system:nodes"] };
  const status = <T extends KubeObject>(type: ResourceType<T>, oldObject: T, change: Partial<T>) =>
    run(attributesOf(type, "UPDATE", { ...oldObject, ...change }, { user, oldObject, subresource: "status" }));
  const ours = { ...pod({ nodeName: "n1" }), metadata: { name: "p", namespace: "default", labels: { app: "a" } } };
  await status(pods, ours, { status: { phase: "Running" } });
  const relabelled = { metadata: { ...ours.metadata, labels: { app: "b" } } };
  await assert.rejects(status(pods, ours, relabelled), /node "n1" cannot update labels through pod status/);
  const node = { metadata: { name: "n1" } };
  const trusted = { metadata: { name: "n1", labels: { "node-restriction.kubernetes.io/safe": "true" } } };
  await assert.rejects(status(nodes, node, trusted), /is not allowed to modify labels/);
  const claim = { metadata: { name: "c", namespace: "default" }, status: { phase: "Bound" } };
  await status(persistentVolumeClaims, claim, { status: { phase: "Bound", capacity: { storage: "2Gi" } } });
  for (const change of [{ status: { phase: "Lost" } }, { metadata: { ...claim.metadata, labels: { a: "b" } } }]) {
    await assert.rejects(
      status(persistentVolumeClaims, claim, change),
      /node "n1" may not update fields other than status\.capacity and status\.conditions/,
    );
  }
});

test("containers get a limit range's defaults, and what is outside of it is refused", async (t) => {
  const { create, client } = await start(t);
  const limits = [
    {
      type: "Container",
      default: { cpu: "500m", memory: "256Mi" },
      defaultRequest: { cpu: "100m" },
      max: { cpu: "1", memory: "1Gi" },
      min: { cpu: "50m" },
    },
  ];
  client.put(limitRanges, { metadata: { name: "l", namespace: "default" }, spec: { limits } });
  const made = await create(pods, pod({ containers: [{ name: "c", resources: { limits: { memory: "512Mi" } } }] }));
  assert.deepEqual(made.spec?.containers[0]?.resources, {
    requests: { cpu: "100m", memory: "512Mi" },
    limits: { cpu: "500m", memory: "512Mi" },
  });
  assert.match(made.metadata.annotations?.["kubernetes.io/limit-ranger"] ?? "", /cpu limit for container c/);
  const resources = { requests: { cpu: "10m" }, limits: { cpu: "2", memory: "1Gi" } };
  await assert.rejects(
    create(pods, pod({ containers: [{ name: "c", resources }] })),
    /pods "p" is forbidden: \[minimum cpu usage per Container is 50m, but request is 10m, maximum cpu usage per Container is 1, but limit is 2\]/,
  );
});

test("a resize keeps to the limit range; other updates of a pod are not looked at", async (t) => {
  const { client, run, attributesOf } = await start(t);
  const limits = [{ type: "Container", max: { cpu: "1" } }];
  client.put(limitRanges, { metadata: { name: "l", namespace: "default" }, spec: { limits } });
  const amounts = (cpu: string) => pod({ containers: [{ name: "c", resources: { limits: { cpu } } }] });
  const update = (next: Pod, subresource?: string) =>
    run(attributesOf(pods, "UPDATE", next, { oldObject: amounts("500m"), ...(subresource ? { subresource } : {}) }));
  await update(amounts("1"), "resize");
  await assert.rejects(
    update(amounts("2"), "resize"),
    /pods "p" is forbidden: \[maximum cpu usage per Container is 1, but limit is 2/,
  );
  await update(amounts("2"));
});

test("a quota is never passed, not even by requests at the same moment", async (t) => {
  const { create, client, clock } = await start(t);
  const hard = { pods: "2", "requests.cpu": "1" };
  client.put(resourceQuotas, { metadata: { name: "q", namespace: "default" }, spec: { hard } });
  const named = (name: string, cpu: string): Pod => ({
    metadata: { name, namespace: "default" },
    spec: { containers: [{ name: "c", resources: { requests: { cpu } } }] },
  });
  const outcomes = await Promise.allSettled(["a", "b", "c"].map((name) => create(pods, named(name, "300m"))));
  assert.deepEqual(
    outcomes.map(({ status }) => status),
    ["fulfilled", "fulfilled", "rejected"],
  );
  assert.match(
    String((outcomes[2] as PromiseRejectedResult).reason),
    /pods "c" is forbidden: exceeded quota: q, requested: pods=1, used: pods=2, limited: pods=2/,
  );
  await client.delete(pods, "a", { namespace: "default" });
  await clock.advance(3_000);
  await assert.rejects(
    create(pods, named("d", "800m")),
    /requested: requests.cpu=800m, used: requests.cpu=300m, limited: requests.cpu=1/,
  );
  await assert.rejects(
    create(pods, { ...pod(), metadata: { name: "e", namespace: "default" } }),
    /failed quota: q: must specify requests.cpu for: /,
  );
  await create(pods, named("f", "700m"));
});

test("a webhook that cannot be called refuses what it would have to judge, unless its failures are ignored", async (t) => {
  const { create, client } = await start(t);
  const rule = { operations: ["CREATE"], apiGroups: [""], apiVersions: ["v1"], resources: ["pods"] };
  const hook = (rest: object) => ({
    name: "judge.example.com",
    admissionReviewVersions: ["v1"],
    clientConfig: {},
    sideEffects: "None",
    rules: [rule],
    ...rest,
  });
  const put = (rest: object) =>
    client.put(validatingWebhookConfigurations, { metadata: { name: "w" }, webhooks: [hook(rest)] });
  put({ failurePolicy: "Fail" });
  await assert.rejects(create(pods, pod()), /failed calling webhook "judge.example.com": could not get REST client/);
  await create(serviceAccounts, { metadata: { name: "x", namespace: "default" } });
  put({ failurePolicy: "Ignore" });
  await create(pods, pod());
  put({ failurePolicy: "Fail", namespaceSelector: { matchLabels: { judged: "yes" } } });
  await create(pods, pod());
});

test("a range that is added while the cluster runs gives addresses when the first one is full, and keeps what is taken", async (t) => {
  // 10.43.0.0/30 has two addresses for services, and the first one is the API server's.
  const { create, client } = await start(t, { serviceCidr: "10.43.0.0/30" });
  const named = (name: string, clusterIP?: string): Service => ({
    metadata: { name, namespace: "default" },
    spec: { ports: [{ port: 80 }], ...(clusterIP ? { clusterIP } : {}) },
  });
  assert.equal((await create(services, named("a"))).spec?.clusterIP, "10.43.0.2");
  await assert.rejects(create(services, named("b")), /range is full/);
  // The added one covers the first: what is taken there stays taken.
  client.put(serviceCIDRs, { metadata: { name: "more", uid: "more" }, spec: { cidrs: ["10.43.0.0/29"] } });
  await settle();
  const ips = new Set<string | undefined>();
  for (const name of ["c", "d", "e", "f"]) ips.add((await create(services, named(name))).spec?.clusterIP);
  assert.deepEqual([...ips].sort(), ["10.43.0.3", "10.43.0.4", "10.43.0.5", "10.43.0.6"]);
  await assert.rejects(create(services, named("g")), /range is full/);
  await assert.rejects(create(services, named("h", "10.43.0.4")), /provided IP is already allocated/);
});

test("claims and volumes carry their protection from the start", async (t) => {
  const { create } = await start(t);
  const claim = await create(persistentVolumeClaims, { metadata: { name: "c", namespace: "default" }, spec: {} });
  assert.deepEqual(claim.metadata.finalizers, ["kubernetes.io/pvc-protection"]);
  const volume = await create(persistentVolumes, { metadata: { name: "v", finalizers: ["example.com/mine"] } });
  assert.deepEqual(volume.metadata.finalizers, ["example.com/mine", "kubernetes.io/pv-protection"]);
});
