import { defaultCpuUtilization } from "./autoscaling/conversion.ts";
import { ageColumn, integer, none, text, unknown } from "./columns.ts";
import {
  type HorizontalPodAutoscaler,
  type HPAScalingRules,
  horizontalPodAutoscalers,
  type MetricSpec,
  type MetricTarget,
  type MetricValueStatus,
} from "./generated/autoscaling-v2.ts";
import { type KindColumn, type KindEntry, kind } from "./kind-facts.ts";
import { validateAutoscaler, validateAutoscalerUpdate } from "./validation/autoscaler.ts";

/** One target as "current/wanted": "cpu: 12%/80%", "500m/1 (avg)". */
function metricText(spec: MetricSpec, current: MetricValueStatus | undefined): string {
  const named = spec.resource ?? spec.containerResource;
  if (named) return `${named.name}: ${resourceText(named.target, current)}`;
  const target = (spec.external ?? spec.object ?? spec.pods)?.target;
  if (!target) return "<unknown type>";
  if (target.averageValue !== undefined) {
    const average = `${current?.averageValue ?? unknown}/${target.averageValue}`;
    return spec.pods ? average : `${average} (avg)`;
  }
  return `${current?.value ?? unknown}/${target.value ?? unknown}`;
}

function resourceText(target: MetricTarget, current: MetricValueStatus | undefined): string {
  if (target.averageValue !== undefined) return `${current?.averageValue ?? unknown}/${target.averageValue}`;
  const wanted = target.averageUtilization === undefined ? "<auto>" : `${target.averageUtilization}%`;
  return `${current?.averageUtilization === undefined ? unknown : `${current.averageUtilization}%`}/${wanted}`;
}

function targets({ spec, status }: HorizontalPodAutoscaler): string {
  const texts = (spec?.metrics ?? []).map((metric, index) => {
    const now = status?.currentMetrics?.[index];
    const source = now?.resource ?? now?.containerResource ?? now?.external ?? now?.object ?? now?.pods;
    return metricText(metric, source?.current);
  });
  if (texts.length === 0) return none;
  return texts.length > 2 ? `${texts.slice(0, 2).join(", ")} + ${texts.length - 2} more...` : texts.join(", ");
}

export const autoscalerColumns: readonly KindColumn<HorizontalPodAutoscaler>[] = [
  text("Reference", ({ spec }) => `${spec?.scaleTargetRef.kind}/${spec?.scaleTargetRef.name}`),
  text("Targets", targets),
  text("MinPods", ({ spec }) => String(spec?.minReplicas ?? "<unset>")),
  integer("MaxPods", ({ spec }) => spec?.maxReplicas),
  integer("Replicas", ({ status }) => status?.currentReplicas),
  ageColumn,
];

function scalingRules(rules: HPAScalingRules | undefined, defaults: HPAScalingRules): HPAScalingRules {
  return { ...structuredClone(defaults), ...rules };
}

const scaleUp: HPAScalingRules = {
  stabilizationWindowSeconds: 0,
  selectPolicy: "Max",
  policies: [
    { type: "Pods", value: 4, periodSeconds: 15 },
    { type: "Percent", value: 100, periodSeconds: 15 },
  ],
};
const scaleDown: HPAScalingRules = {
  selectPolicy: "Max",
  policies: [{ type: "Percent", value: 100, periodSeconds: 15 }],
};

export const autoscalingV2: readonly KindEntry[] = [
  kind(horizontalPodAutoscalers, {
    shortNames: ["hpa"],
    categories: ["all"],
    columns: autoscalerColumns,
    strategy: {
      ratchets: true,
      validate: validateAutoscaler,
      validateUpdate: validateAutoscalerUpdate,
      applyDefaults({ spec }) {
        if (!spec) return;
        spec.minReplicas ??= 1;
        if (!spec.metrics?.length) {
          const target = { type: "Utilization", averageUtilization: defaultCpuUtilization };
          spec.metrics = [{ type: "Resource", resource: { name: "cpu", target } }];
        }
        if (!spec.behavior) return;
        spec.behavior.scaleUp = scalingRules(spec.behavior.scaleUp, scaleUp);
        spec.behavior.scaleDown = scalingRules(spec.behavior.scaleDown, scaleDown);
      },
    },
  }),
];
