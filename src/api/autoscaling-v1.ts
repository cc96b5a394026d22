import type { KubeObject } from "../machinery/object.ts";
import { fromV1, toV1 } from "./autoscaling/conversion.ts";
import { autoscalerColumns } from "./autoscaling-v2.ts";
import { type HorizontalPodAutoscaler, horizontalPodAutoscalers } from "./generated/autoscaling-v1.ts";
import type { HorizontalPodAutoscaler as AutoscalerV2 } from "./generated/autoscaling-v2.ts";
import { type KindEntry, kind } from "./kind-facts.ts";
import { validateAutoscaler, validateAutoscalerUpdate } from "./validation/autoscaler.ts";

export const autoscalingV1: readonly KindEntry[] = [
  kind(horizontalPodAutoscalers, {
    shortNames: ["hpa"],
    categories: ["all"],
    storage: {
      version: "v2",
      toStorage: (object: KubeObject) => fromV1(object as HorizontalPodAutoscaler),
      fromStorage: (object: KubeObject) => toV1(object as AutoscalerV2),
    },
    columns: autoscalerColumns.map((column) => ({
      ...column,
      value: (object, nowMs) => column.value(fromV1(object), nowMs),
    })),
    strategy: {
      ratchets: true,
      validate: (object) => validateAutoscaler(fromV1(object)),
      validateUpdate: (object, old, subresource) => {
        return validateAutoscalerUpdate(fromV1(object), fromV1(old), subresource);
      },
      applyDefaults({ spec }) {
        if (spec) spec.minReplicas ??= 1;
      },
    },
  }),
];
