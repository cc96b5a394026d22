import { leases } from "../../api/generated/coordination-v1.ts";
import {
  type Node,
  nodes,
  type PersistentVolumeClaim,
  type Pod,
  persistentVolumeClaims,
  pods,
} from "../../api/generated/core-v1.ts";
import { csiNodes } from "../../api/generated/storage-v1.ts";
import type { Client } from "../../client/client.ts";
import { deepEqual } from "../../machinery/equality.ts";
import type { KubeObject } from "../../machinery/object.ts";
import { nodeNameOf } from "../authorization/node.ts";
import type { AdmissionAttributes, AdmissionPlugin } from "../request.ts";
import { refusedBy } from "./kinds.ts";

const mirrorAnnotation = "kubernetes.io/config.mirror";

/** Labels of kubernetes.io and k8s.io that a kubelet may set on its node. */
const ownLabels = new Set([
  "beta.kubernetes.io/arch",
  "beta.kubernetes.io/instance-type",
  "beta.kubernetes.io/os",
  "failure-domain.beta.kubernetes.io/region",
  "failure-domain.beta.kubernetes.io/zone",
  "kubernetes.io/arch",
  "kubernetes.io/hostname",
  "kubernetes.io/os",
  "node.kubernetes.io/instance-type",
  "topology.kubernetes.io/region",
  "topology.kubernetes.io/zone",
]);

/** A kubelet changes its own node and the pods on it, and gives itself no labels that others trust. */
export function nodeRestriction(client: Client): AdmissionPlugin {
  return {
    name: "NodeRestriction",
    async validate(attributes) {
      const node = nodeNameOf(attributes.user);
      if (node === undefined) return;
      const { facts } = attributes;
      if (facts.group === pods.group && facts.resource === pods.resource) return checkPod(attributes, node, client);
      if (facts.group === nodes.group && facts.resource === nodes.resource) return checkNode(attributes, node);
      if (facts.group === persistentVolumeClaims.group && facts.resource === persistentVolumeClaims.resource) {
        return checkClaim(attributes, node);
      }
      const named =
        (facts.group === leases.group && facts.resource === leases.resource) ||
        (facts.group === csiNodes.group && facts.resource === csiNodes.resource);
      if (named && attributes.name !== node) {
        throw refusedBy(attributes, `can only access ${facts.singular} with the same name as the requesting node`);
      }
    },
  };
}

async function checkPod(attributes: AdmissionAttributes, node: string, client: Client): Promise<void> {
  const { operation, subresource } = attributes;
  const nodeOf = (object: KubeObject | undefined) => (object as Pod | undefined)?.spec?.nodeName;
  if (subresource === "status" || (!subresource && operation === "DELETE")) {
    if (nodeOf(attributes.oldObject) !== node) {
      throw refusedBy(
        attributes,
        `node ${JSON.stringify(node)} can only update pod status for pods with spec.nodeName set to itself`,
      );
    }
    // Services and policies find pods by their labels.
    if (subresource && !deepEqual(attributes.object?.metadata.labels, attributes.oldObject?.metadata.labels)) {
      throw refusedBy(attributes, `node ${JSON.stringify(node)} cannot update labels through pod status`);
    }
    return;
  }
  if (subresource === "eviction") {
    const pod = await client.get(pods, attributes.name, { namespace: attributes.namespace ?? "" });
    if (pod.spec?.nodeName === node) return;
    throw refusedBy(attributes, `node ${node} can only evict pods with spec.nodeName set to itself`);
  }
  if (subresource || operation !== "CREATE") {
    throw refusedBy(
      attributes,
      `unexpected operation ${JSON.stringify(operation)}, node ${JSON.stringify(node)} can only create and delete mirror pods`,
    );
  }
  const pod = attributes.object as Pod;
  if (pod.metadata.annotations?.[mirrorAnnotation] === undefined) {
    throw refusedBy(
      attributes,
      `pod does not have "${mirrorAnnotation}" annotation, node ${JSON.stringify(node)} can only create mirror pods`,
    );
  }
  if (pod.spec?.nodeName !== node) {
    throw refusedBy(attributes, `node ${JSON.stringify(node)} can only create pods with spec.nodeName set to itself`);
  }
}

/** Of a claim a kubelet says how far its volume has grown, and nothing else. */
function checkClaim(attributes: AdmissionAttributes, node: string): void {
  const rest = (object: KubeObject | undefined) => {
    const { managedFields: _m, resourceVersion: _r, ...metadata } = object?.metadata ?? {};
    const claim = { ...(object as PersistentVolumeClaim), metadata };
    const {
      capacity: _c,
      conditions: _d,
      allocatedResources: _a,
      allocatedResourceStatuses: _s,
      ...status
    } = claim.status ?? {};
    return { ...claim, status };
  };
  if (attributes.subresource === "status" && deepEqual(rest(attributes.object), rest(attributes.oldObject))) return;
  throw refusedBy(
    attributes,
    `node ${JSON.stringify(node)} may not update fields other than status.capacity and status.conditions`,
  );
}

function checkNode(attributes: AdmissionAttributes, node: string): void {
  const next = attributes.object as Node | undefined;
  const old = attributes.oldObject as Node | undefined;
  const name = attributes.name || next?.metadata.name;
  if (name !== node)
    throw refusedBy(attributes, `node ${JSON.stringify(node)} is not allowed to modify node ${JSON.stringify(name)}`);
  if (attributes.operation === "DELETE")
    throw refusedBy(attributes, `node ${JSON.stringify(node)} is not allowed to delete itself`);
  // A status writer may change metadata, too.
  if (!next || (attributes.subresource && attributes.subresource !== "status")) return;
  if (
    next.spec?.configSource !== undefined &&
    JSON.stringify(next.spec.configSource) !== JSON.stringify(old?.spec?.configSource)
  ) {
    throw refusedBy(
      attributes,
      `node ${JSON.stringify(node)} is not allowed to update configSource to a new non-nil configSource`,
    );
  }
  const before = old?.metadata.labels ?? {};
  const after = next.metadata.labels ?? {};
  const changed = [...new Set([...Object.keys(before), ...Object.keys(after)])].filter(
    (key) => before[key] !== after[key],
  );
  const foreign = changed.filter((key) => !mayLabel(key, attributes.operation)).sort();
  if (foreign.length > 0) {
    throw refusedBy(attributes, `is not allowed to modify labels: ${foreign.join(", ")}`);
  }
  if (
    attributes.operation === "UPDATE" &&
    JSON.stringify(next.spec?.taints ?? []) !== JSON.stringify(old?.spec?.taints ?? [])
  ) {
    throw refusedBy(attributes, `node ${JSON.stringify(node)} is not allowed to modify taints`);
  }
}

function mayLabel(key: string, operation: string): boolean {
  const domain = key.includes("/") ? key.slice(0, key.indexOf("/")) : "";
  const within = (suffix: string) => domain === suffix || domain.endsWith(`.${suffix}`);
  if (within("node-restriction.kubernetes.io")) return false;
  if (!within("kubernetes.io") && !within("k8s.io")) return true;
  if (ownLabels.has(key) || within("kubelet.kubernetes.io")) return true;
  if (within("node.kubernetes.io")) return true;
  // The agent inside a server says so when it registers its node; afterwards nobody may add it through a kubelet.
  return operation === "CREATE" && domain === "node-role.kubernetes.io";
}
