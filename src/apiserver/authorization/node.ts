import { type PersistentVolumeClaim, type Pod, persistentVolumeClaims, pods } from "../../api/generated/core-v1.ts";
import type { Client } from "../../client/client.ts";
import { createInformer } from "../../client/informer.ts";
import type { Clock } from "../../machinery/clock.ts";
import type { Logger } from "../../machinery/log.ts";
import type { DeepReadonly } from "../../machinery/object.ts";
import type { AuthorizationAttributes, AuthorizationDecision, Authorizer, UserInfo } from "../request.ts";
import { nodeRules } from "./node-rules.ts";
import { podReferences } from "./pod-references.ts";
import { ruleAllows } from "./rbac-rules.ts";

const byNode = "node";
const userPrefix = "system:node:";

/** The node that a user is the kubelet of. */
export function nodeNameOf(user: UserInfo): string | undefined {
  if (!user.name.startsWith(userPrefix) || !user.groups.includes("system:nodes")) return undefined;
  return user.name.slice(userPrefix.length) || undefined;
}

/**
 * Kubelets: what every node needs (see `nodeRules`), and of secrets, config maps, claims, volumes and service account
 * tokens only what a pod bound to that node refers to. Says nothing about other users.
 */
export function nodeAuthorizer(options: {
  readonly client: Client;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}): Authorizer {
  const { client, clock, logger, signal } = options;
  const informer = createInformer(client, pods, {
    clock,
    logger,
    indexers: { [byNode]: (pod: DeepReadonly<Pod>) => (pod.spec?.nodeName ? [pod.spec.nodeName] : []) },
  });
  void informer.start(signal);
  const podsOf = async (node: string) => {
    if (!informer.hasSynced) await informer.synced(signal);
    return informer.byIndex(byNode, node);
  };

  const refersTo = async (
    node: string,
    kind: "secrets" | "configMaps" | "claims",
    attributes: AuthorizationAttributes,
  ) =>
    (await podsOf(node)).some(
      (pod) => pod.metadata.namespace === attributes.namespace && podReferences(pod)[kind].has(attributes.name ?? ""),
    );

  const claimsVolume = async (node: string, volume: string): Promise<boolean> => {
    for (const pod of await podsOf(node)) {
      for (const name of podReferences(pod).claims) {
        const namespace = pod.metadata.namespace!;
        const claim: PersistentVolumeClaim | undefined = await client
          .get(persistentVolumeClaims, name, { namespace })
          .catch(() => undefined);
        if (claim?.spec?.volumeName === volume) return true;
      }
    }
    return false;
  };

  const decideRelated = async (
    node: string,
    a: AuthorizationAttributes,
  ): Promise<AuthorizationDecision | undefined> => {
    const whole = a.subresource ? `${a.resource}/${a.subresource}` : a.resource;
    const readsOne = a.verb === "get" || ((a.verb === "list" || a.verb === "watch") && !!a.name);
    const related = async (found: boolean | Promise<boolean>) =>
      (await found) ? allowed : refused(`no relationship found between node '${node}' and this object`);
    switch (`${a.group}/${whole}`) {
      case "/secrets":
        if (!readsOne) return refused("can only read resources of this type");
        return related(refersTo(node, "secrets", a));
      case "/configmaps":
        if (!readsOne) return refused("can only read resources of this type");
        return related(refersTo(node, "configMaps", a));
      case "/persistentvolumeclaims":
        if (a.verb !== "get") return refused("can only get individual resources of this type");
        return related(refersTo(node, "claims", a));
      case "/persistentvolumeclaims/status":
        if (!["get", "update", "patch"].includes(a.verb)) return refused("can only get and update status");
        return related(refersTo(node, "claims", a));
      case "/persistentvolumes":
        if (a.verb !== "get") return refused("can only get individual resources of this type");
        return related(claimsVolume(node, a.name ?? ""));
      case "/serviceaccounts/token":
        if (a.verb !== "create") return refused("can only create tokens for individual service accounts");
        return related(
          podsOf(node).then((list) =>
            list.some(
              (pod) => pod.metadata.namespace === a.namespace && (pod.spec?.serviceAccountName || "default") === a.name,
            ),
          ),
        );
      case "coordination.k8s.io/leases":
        if (!["get", "create", "update", "patch", "delete"].includes(a.verb))
          return refused("can only get, create, update, patch, or delete a node lease");
        if (a.namespace !== "kube-node-lease")
          return refused(`can only access leases in the "kube-node-lease" system namespace`);
        // The name of an object that is being created stands in its body: NodeRestriction compares it.
        return a.verb === "create" || a.name === node
          ? allowed
          : refused("can only access node lease with the same name as the requesting node");
      case "storage.k8s.io/csinodes":
        if (!["get", "create", "update", "patch", "delete"].includes(a.verb))
          return refused("can only get, create, update, patch, or delete a CSINode");
        return a.verb === "create" || a.name === node
          ? allowed
          : refused("can only access CSINode with the same name as the requesting node");
      default:
        return undefined;
    }
  };

  return async (attributes) => {
    const node = nodeNameOf(attributes.user);
    if (node === undefined) return refused("");
    if (attributes.path === undefined) {
      const decision = await decideRelated(node, attributes);
      if (decision) return decision;
    }
    return nodeRules().some((rule) => ruleAllows(rule, attributes)) ? allowed : refused("");
  };
}

const allowed: AuthorizationDecision = { allowed: true, reason: "" };
const refused = (reason: string): AuthorizationDecision => ({ allowed: false, reason });
