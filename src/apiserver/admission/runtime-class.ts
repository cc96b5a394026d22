import { isDeepStrictEqual } from "node:util";
import { type Pod, pods } from "../../api/generated/core-v1.ts";
import { runtimeClasses } from "../../api/generated/node-v1.ts";
import type { Client } from "../../client/client.ts";
import { StatusError } from "../../machinery/status.ts";
import type { AdmissionPlugin } from "../request.ts";
import { isAbout, refusedBy } from "./kinds.ts";

/** A pod's runtime class has to exist; its overhead and its scheduling rules become the pod's. */
export function runtimeClass(client: Client): AdmissionPlugin {
  return {
    name: "RuntimeClass",
    async admit(attributes) {
      if (!isAbout(attributes, pods, "CREATE")) return;
      const { spec }: Pod = attributes.object;
      const name = spec?.runtimeClassName;
      if (!spec || !name) return;
      const found = await client.get(runtimeClasses, name).catch((error: unknown) => {
        if (!(error instanceof StatusError && error.code === 404)) throw error;
        throw refusedBy(attributes, `pod rejected: RuntimeClass ${JSON.stringify(name)} not found`);
      });
      const overhead = found.overhead?.podFixed;
      if (spec.overhead && !isDeepStrictEqual(spec.overhead, overhead ?? {})) {
        throw refusedBy(attributes, "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead");
      }
      if (overhead) spec.overhead = { ...overhead };
      for (const [key, value] of Object.entries(found.scheduling?.nodeSelector ?? {})) {
        const own = spec.nodeSelector?.[key];
        if (own !== undefined && own !== value) {
          throw refusedBy(
            attributes,
            `conflict: runtimeClass.scheduling.nodeSelector[${key}] = ${value}; pod.spec.nodeSelector[${key}] = ${own}`,
          );
        }
        spec.nodeSelector = { ...spec.nodeSelector, [key]: value };
      }
      const added = (found.scheduling?.tolerations ?? []).filter(
        (one) => !spec.tolerations?.some((own) => isDeepStrictEqual(own, one)),
      );
      if (added.length > 0) spec.tolerations = [...(spec.tolerations ?? []), ...structuredClone(added)];
    },
  };
}
