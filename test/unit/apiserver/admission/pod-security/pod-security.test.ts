import assert from "node:assert/strict";
import { test } from "node:test";
import { deployments } from "../../../../../src/api/generated/apps-v1.ts";
import { cronJobs } from "../../../../../src/api/generated/batch-v1.ts";
import { namespaces, type Pod, pods } from "../../../../../src/api/generated/core-v1.ts";
import type { ResourceFacts } from "../../../../../src/api/resource.ts";
import { podSecurity } from "../../../../../src/apiserver/admission/pod-security/pod-security.ts";
import type { AdmissionAttributes } from "../../../../../src/apiserver/request.ts";
import type { KubeObject, ResourceType } from "../../../../../src/machinery/object.ts";
import { StatusError } from "../../../../../src/machinery/status.ts";
import { FakeClock } from "../../../../support/fake-clock.ts";
import { MemoryClient } from "../../memory-client.ts";

const prefix = "pod-security.kubernetes.io/";

function labels(modes: Record<string, string>): Record<string, string> {
  return Object.fromEntries(Object.entries(modes).map(([mode, value]) => [prefix + mode, value]));
}

function start(modes: Record<string, string> = {}) {
  const client = new MemoryClient();
  client.put(namespaces, { metadata: { name: "ns", labels: labels(modes) } });
  const plugin = podSecurity(client, new FakeClock());
  /** What the plugin says: warnings, then the refusal. */
  const ask = async <T extends KubeObject>(
    type: ResourceType<T>,
    object: T,
    rest: Partial<AdmissionAttributes> = {},
  ): Promise<{ warnings: string[]; error: StatusError | undefined }> => {
    const warnings: string[] = [];
    const error = await plugin.validate!({
      operation: "CREATE",
      facts: type as unknown as ResourceFacts,
      namespace: "ns",
      name: object.metadata.name ?? "",
      object,
      user: { name: "someone", groups: [] },
      dryRun: false,
      warn: (text) => warnings.push(text),
      ...rest,
    }).then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
    assert.ok(error === undefined || error instanceof StatusError);
    return { warnings, error };
  };
  return { client, ask };
}

const pod = (name: string, spec: Partial<NonNullable<Pod["spec"]>> = {}, metadata = {}): Pod => ({
  metadata: { name, namespace: "ns", ...metadata },
  spec: { containers: [{ name: "c", image: "one" }], ...spec },
});

const hostNetwork = { hostNetwork: true };

test("a namespace without labels takes every pod in silence", async () => {
  const { ask } = start();
  assert.deepEqual(await ask(pods, pod("x", hostNetwork)), { warnings: [], error: undefined });
});

test("a pod that violates what is enforced is refused with the text that people search for", async () => {
  const { ask } = start({ enforce: "restricted" });
  const { error, warnings } = await ask(pods, pod("x"));
  assert.equal(error?.code, 403);
  assert.equal(error.reason, "Forbidden");
  assert.match(
    error.message,
    /^pods "x" is forbidden: violates PodSecurity "restricted:latest": allowPrivilegeEscalation != false \(container "c" must set securityContext\.allowPrivilegeEscalation=false\), /,
  );
  assert.deepEqual(warnings, []);
  assert.deepEqual(error.details, { name: "x", kind: "pods" });
});

test("the pinned version is the one that judges, and is named", async () => {
  const { ask } = start({ enforce: "baseline", "enforce-version": "v1.20" });
  const probed = { containers: [{ name: "c", livenessProbe: { tcpSocket: { port: 1, host: "h" } } }] };
  assert.equal((await ask(pods, pod("x", probed))).error, undefined);
  assert.match((await ask(pods, pod("x", hostNetwork))).error!.message, /violates PodSecurity "baseline:v1\.20": host/);
});

test("warnings follow the level of warnings, which is the enforced one where nothing else is said", async () => {
  const warned = start({ warn: "baseline" });
  const said = 'would violate PodSecurity "baseline:latest": host namespaces (hostNetwork=true)';
  assert.deepEqual(await warned.ask(pods, pod("x", hostNetwork)), { warnings: [said], error: undefined });

  const template = { spec: pod("x", hostNetwork).spec! };
  const deployment = { metadata: { name: "d", namespace: "ns" }, spec: { selector: {}, template } };
  const enforced = start({ enforce: "baseline", "enforce-version": "v1.30" });
  assert.deepEqual(await enforced.ask(deployments, deployment), {
    warnings: [said.replace("latest", "v1.30")],
    error: undefined,
  });
  const silenced = start({ enforce: "baseline", warn: "privileged" });
  assert.deepEqual((await silenced.ask(deployments, deployment)).warnings, []);
  const cronJob = {
    metadata: deployment.metadata,
    spec: { schedule: "* * * * *", jobTemplate: { spec: { template } } },
  };
  assert.deepEqual((await warned.ask(cronJobs, cronJob)).warnings, [said]);
});

test("an update that changes no image and adds no container is let pass, so is a status", async () => {
  const { ask } = start({ enforce: "baseline" });
  const old = pod("x", hostNetwork);
  const labelled = pod("x", hostNetwork, { labels: { a: "b" } });
  const update = { operation: "UPDATE", oldObject: old } as const;
  assert.equal((await ask(pods, labelled, update)).error, undefined);
  const other = pod("x", { ...hostNetwork, containers: [{ name: "c", image: "two" }] });
  assert.equal((await ask(pods, other, update)).error?.code, 403);
  assert.equal((await ask(pods, other, { ...update, subresource: "status" })).error, undefined);
});

test("an ephemeral container has to keep to the level, too", async () => {
  const { ask } = start({ enforce: "baseline" });
  const old = pod("x");
  const debugged = pod("x", { ephemeralContainers: [{ name: "e", securityContext: { privileged: true } }] });
  const { error } = await ask(pods, debugged, {
    operation: "UPDATE",
    oldObject: old,
    subresource: "ephemeralcontainers",
  });
  assert.equal(
    error?.message,
    'pods "x" is forbidden: violates PodSecurity "baseline:latest": privileged (container "e" must not set securityContext.privileged=true)',
  );
});

test("wrong labels are refused, but for those that were there before", async () => {
  const { ask } = start();
  const wrong = { metadata: { name: "n", labels: labels({ enforce: "strict", "warn-version": "1.25" }) } };
  const { error } = await ask(namespaces, wrong);
  assert.equal(error?.code, 422);
  assert.equal(
    error.message,
    'Namespace "n" is invalid: [metadata.labels[pod-security.kubernetes.io/enforce]: Invalid value: "strict": must be one of privileged, baseline, restricted, metadata.labels[pod-security.kubernetes.io/warn-version]: Invalid value: "1.25": must be "latest" or "v1.x"]',
  );
  const next = { metadata: { name: "n", labels: { ...wrong.metadata.labels, other: "label" } } };
  assert.equal((await ask(namespaces, next, { operation: "UPDATE", oldObject: wrong })).error, undefined);
});

test("where the label is wrong, what enforces is as strict as can be", async () => {
  const { ask } = start({ enforce: "strict" });
  assert.match((await ask(pods, pod("x"))).error!.message, /violates PodSecurity "restricted:latest"/);
});

test("a stricter label warns of the pods that are there, one line for those with the same reasons", async () => {
  const { client, ask } = start();
  client.put(pods, pod("b", hostNetwork));
  client.put(pods, pod("a", hostNetwork));
  client.put(pods, pod("c", { hostPID: true, containers: [{ name: "c", securityContext: { privileged: true } }] }));
  client.put(pods, pod("fine"));
  const namespace = (level: string) => ({ metadata: { name: "ns", labels: labels({ enforce: level }) } });
  const change = (from: string, to: string) =>
    ask(namespaces, namespace(to), { operation: "UPDATE", oldObject: namespace(from) });
  assert.deepEqual((await change("privileged", "baseline")).warnings, [
    'existing pods in namespace "ns" violate the new PodSecurity enforce level "baseline:latest"',
    "a (and 1 other pod): host namespaces",
    "c: host namespaces, privileged",
  ]);
  assert.deepEqual((await change("restricted", "baseline")).warnings, []);
  assert.deepEqual((await change("baseline", "baseline")).warnings, []);
});
