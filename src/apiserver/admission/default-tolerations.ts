import { type Pod, pods } from "../../api/generated/core-v1.ts";
import type { AdmissionPlugin } from "../request.ts";
import { isAbout } from "./kinds.ts";

const toleratedSeconds = 300;

/** Pods stay for five minutes on a node that is not ready or out of reach, unless they say otherwise. */
export const defaultTolerationSeconds: AdmissionPlugin = {
  name: "DefaultTolerationSeconds",
  async admit(attributes) {
    if (!isAbout(attributes, pods, "CREATE", "UPDATE")) return;
    const { spec }: Pod = attributes.object;
    if (!spec) return;
    for (const key of ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"]) {
      const tolerated = spec.tolerations?.some(
        (one) => (!one.key || one.key === key) && (!one.effect || one.effect === "NoExecute"),
      );
      if (tolerated) continue;
      const toleration = { key, operator: "Exists", effect: "NoExecute", tolerationSeconds: toleratedSeconds };
      spec.tolerations = [...(spec.tolerations ?? []), toleration];
    }
  },
};
