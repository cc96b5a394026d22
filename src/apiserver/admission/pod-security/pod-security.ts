import { type Container, type Namespace, namespaces, type Pod, pods } from "../../../api/generated/core-v1.ts";
import type { Client } from "../../../client/client.ts";
import type { Clock } from "../../../machinery/clock.ts";
import { deepEqual } from "../../../machinery/equality.ts";
import type { KubeObject } from "../../../machinery/object.ts";
import { internalError, invalid } from "../../../machinery/status.ts";
import type { AdmissionAttributes, AdmissionPlugin } from "../../request.ts";
import { refusedBy } from "../kinds.ts";
import type { CheckedPod } from "./check.ts";
import { detailed, evaluate } from "./evaluate.ts";
import { warningsAbout } from "./existing-pods.ts";
import { asksNothing, compareLevels, isSame, type Policy, readPolicy, textOf } from "./policy.ts";

/** Subresources of pods that cannot change what the checks look at. */
const harmlessSubresources = new Set([
  "exec",
  "attach",
  "binding",
  "eviction",
  "log",
  "portforward",
  "proxy",
  "status",
]);

interface Template {
  readonly metadata?: CheckedPod["metadata"];
  readonly spec?: CheckedPod["spec"];
}

type Workload = KubeObject & {
  readonly template?: Template;
  readonly spec?: { readonly template?: Template; readonly jobTemplate?: { readonly spec?: { template?: Template } } };
};

const fromSpec = ({ spec }: Workload) => spec?.template;

/** Where the kinds that make pods keep what they make them of. */
const templates: Readonly<Record<string, (object: Workload) => Template | undefined>> = {
  "/podtemplates": ({ template }) => template,
  "/replicationcontrollers": fromSpec,
  "apps/daemonsets": fromSpec,
  "apps/deployments": fromSpec,
  "apps/replicasets": fromSpec,
  "apps/statefulsets": fromSpec,
  "batch/cronjobs": ({ spec }) => spec?.jobTemplate?.spec?.template,
  "batch/jobs": fromSpec,
};

/**
 * The pod security standards: a namespace's labels say which level it enforces on pods and which it warns about, on pods
 * and on what makes them. Nothing keeps an audit log, so the level for audits is read and has no effect.
 */
export function podSecurity(client: Client, clock: Clock): AdmissionPlugin {
  const policyOf = async ({ namespace = "" }: AdmissionAttributes): Promise<Policy> => {
    const found = await client.get(namespaces, namespace).catch(() => {
      throw internalError(new Error(`failed to lookup namespace ${JSON.stringify(namespace)}`));
    });
    return readPolicy(found.metadata.labels).policy;
  };

  const checkPod = async (attributes: AdmissionAttributes) => {
    if (harmlessSubresources.has(attributes.subresource ?? "")) return;
    const pod = attributes.object as Pod;
    const { operation, oldObject } = attributes;
    if (operation === "UPDATE" && !changesContainers(pod, oldObject as Pod)) return;
    const policy = await policyOf(attributes);
    if (asksNothing(policy)) return;
    const { metadata, spec = { containers: [] } } = pod;
    const violations = evaluate(policy.enforce, { metadata, spec });
    if (violations.length > 0) {
      throw refusedBy(attributes, `violates PodSecurity "${textOf(policy.enforce)}": ${detailed(violations)}`);
    }
    warn(attributes, policy, { metadata, spec });
  };

  const checkNamespace = async (attributes: AdmissionAttributes) => {
    if (attributes.subresource) return;
    const { metadata } = attributes.object as Namespace;
    const before = attributes.oldObject?.metadata.labels;
    // Most updates change no label, and what was let pass once may stay.
    if (attributes.operation === "UPDATE" && deepEqual(metadata.labels, before)) return;
    const { policy, errors } = readPolicy(metadata.labels);
    const old = readPolicy(before);
    const known = attributes.operation === "UPDATE" && deepEqual(errors, old.errors);
    const name = metadata.name ?? attributes.name;
    if (errors.length > 0 && !known) throw invalid({ group: "", resource: "Namespace" }, name, errors);
    if (attributes.operation === "CREATE") return;
    const { enforce } = policy;
    const was = old.policy.enforce;
    if (enforce.level === "privileged" || isSame(enforce, was)) return;
    if (enforce.minor === was.minor && compareLevels(enforce.level, was.level) < 0) return;
    const { items } = await client.list(pods, { namespace: name, resourceVersion: "0" });
    for (const text of warningsAbout(items, name, enforce, clock)) attributes.warn(text);
  };

  const checkWorkload = async (attributes: AdmissionAttributes, template: Template | undefined) => {
    if (!template) return;
    const policy = await policyOf(attributes);
    if (policy.warn.level === "privileged") return;
    warn(attributes, policy, { metadata: template.metadata, spec: template.spec ?? { containers: [] } });
  };

  return {
    name: "PodSecurity",
    async validate(attributes) {
      const { facts, operation, subresource } = attributes;
      if ((operation !== "CREATE" && operation !== "UPDATE") || facts.custom) return;
      const resource = `${facts.group}/${facts.resource}`;
      if (resource === "/pods") return checkPod(attributes);
      if (resource === "/namespaces") return checkNamespace(attributes);
      const templateOf = Object.hasOwn(templates, resource) ? templates[resource] : undefined;
      if (templateOf && !subresource) return checkWorkload(attributes, templateOf(attributes.object as Workload));
    },
  };
}

function warn({ warn }: AdmissionAttributes, policy: Policy, pod: CheckedPod): void {
  const violations = evaluate(policy.warn, pod);
  if (violations.length > 0) warn(`would violate PodSecurity "${textOf(policy.warn)}": ${detailed(violations)}`);
}

/** Of what the checks look at, an update can change images and add ephemeral containers. */
function changesContainers({ spec }: Pod, { spec: old }: Pod): boolean {
  const differ = (now: readonly Container[] = [], then: readonly Container[] = []) =>
    now.length !== then.length || now.some(({ image }, index) => image !== then[index]!.image);
  if (differ(spec?.containers, old?.containers) || differ(spec?.initContainers, old?.initContainers)) return true;
  return (spec?.ephemeralContainers ?? []).some(({ name, image }) => {
    const before = old?.ephemeralContainers?.find((one) => one.name === name);
    return before?.image !== image || !before;
  });
}
