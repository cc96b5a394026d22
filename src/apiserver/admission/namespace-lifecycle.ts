import { namespaces } from "../../api/generated/core-v1.ts";
import type { Client } from "../../client/client.ts";
import { StatusError } from "../../machinery/status.ts";
import type { AdmissionPlugin } from "../request.ts";
import { refusedBy } from "./kinds.ts";

const immortal = new Set(["default", "kube-system", "kube-public"]);

/** Nothing is made in a namespace that is not there or is going, and the system's namespaces stay. */
export function namespaceLifecycle(client: Client): AdmissionPlugin {
  return {
    name: "NamespaceLifecycle",
    async admit(attributes) {
      const { operation, facts, namespace, name } = attributes;
      if (facts.group === "" && facts.resource === "namespaces") {
        if (operation === "DELETE" && immortal.has(name))
          throw refusedBy(attributes, "this namespace may not be deleted");
        return;
      }
      if (!namespace || (operation !== "CREATE" && operation !== "UPDATE")) return;
      // Asking whether something would be allowed makes nothing.
      if (facts.group === "authorization.k8s.io") return;
      const found = await client.get(namespaces, namespace);
      if (operation !== "CREATE" || (found.status?.phase !== "Terminating" && !found.metadata.deletionTimestamp))
        return;
      const refusal = refusedBy(
        attributes,
        `unable to create new content in namespace ${namespace} because it is being terminated`,
      );
      const message = `namespace ${namespace} is being terminated`;
      throw new StatusError(refusal.code, refusal.reason, refusal.message, {
        ...refusal.details,
        causes: [{ reason: "NamespaceTerminating", message, field: "metadata.namespace" }],
      });
    },
  };
}
