import { type Namespace, namespaces } from "../../api/generated/core-v1.ts";
import { type FieldError, fieldError, invalid, notBuilt } from "../../machinery/status.ts";
import type { AdmissionPlugin } from "../request.ts";
import { isAbout } from "./kinds.ts";

const prefix = "pod-security.kubernetes.io/";
const levels = ["baseline", "privileged", "restricted"];

/**
 * Namespaces say by labels which pods they take. Everything is taken so far: a namespace that demands less is refused,
 * since a demand that nobody enforces would be worse than none.
 */
export const podSecurity: AdmissionPlugin = {
  name: "PodSecurity",
  async validate(attributes) {
    if (!isAbout(attributes, namespaces, "CREATE", "UPDATE")) return;
    const { labels = {} } = (attributes.object as Namespace).metadata;
    const errors: FieldError[] = [];
    for (const mode of ["enforce", "audit", "warn"]) {
      const level = labels[prefix + mode];
      if (level !== undefined && !levels.includes(level)) {
        errors.push(
          fieldError.invalid(`metadata.labels[${prefix}${mode}]`, level, `must be one of ${levels.join(", ")}`),
        );
      }
    }
    if (errors.length > 0) throw invalid({ group: "", resource: "Namespace" }, attributes.name, errors);
    const demanded = labels[`${prefix}enforce`];
    const before = attributes.oldObject?.metadata.labels?.[`${prefix}enforce`];
    if (demanded && demanded !== "privileged" && demanded !== before) {
      throw notBuilt(`Enforcing the pod security level ${JSON.stringify(demanded)}`);
    }
  },
};
