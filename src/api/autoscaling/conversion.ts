import type { HorizontalPodAutoscaler as AutoscalerV1 } from "../generated/autoscaling-v1.ts";
import type { HorizontalPodAutoscaler, MetricSpec } from "../generated/autoscaling-v2.ts";

/**
 * What version 1 has no field for travels in annotations. Kubernetes writes the metrics there in a shape of their own;
 * here they keep the shape of version 2, so they are for the way through version 1 and back only.
 */
const prefix = "autoscaling.alpha.kubernetes.io/";
const carried = {
  metrics: `${prefix}metrics`,
  behavior: `${prefix}behavior`,
  conditions: `${prefix}conditions`,
  currentMetrics: `${prefix}current-metrics`,
};

function cpuTarget(metric: MetricSpec): number | undefined {
  const { resource } = metric;
  return metric.type === "Resource" && resource?.name === "cpu" ? resource.target.averageUtilization : undefined;
}

function cpuMetric(averageUtilization: number): MetricSpec {
  return { type: "Resource", resource: { name: "cpu", target: { type: "Utilization", averageUtilization } } };
}

/** The version that is stored as clients of autoscaling/v1 see it. */
export function toV1({ metadata, spec, status }: HorizontalPodAutoscaler): AutoscalerV1 {
  const annotations: Record<string, string> = { ...metadata.annotations };
  const carry = (key: string, value: unknown) => {
    annotations[key] = JSON.stringify(value);
  };
  const others = (spec?.metrics ?? []).filter((metric) => cpuTarget(metric) === undefined);
  if (others.length > 0) carry(carried.metrics, others);
  if (spec?.behavior) carry(carried.behavior, spec.behavior);
  if (status?.conditions?.length) carry(carried.conditions, status.conditions);
  if (status?.currentMetrics?.length) carry(carried.currentMetrics, status.currentMetrics);
  const target = (spec?.metrics ?? []).map(cpuTarget).find((value) => value !== undefined);
  const current = status?.currentMetrics?.find((metric) => metric.resource?.name === "cpu");
  const utilization = current?.resource?.current.averageUtilization;
  const observed = status?.observedGeneration;
  return {
    apiVersion: "autoscaling/v1",
    kind: "HorizontalPodAutoscaler",
    metadata: { ...metadata, ...(Object.keys(annotations).length > 0 && { annotations }) },
    ...(spec && {
      spec: {
        scaleTargetRef: spec.scaleTargetRef,
        maxReplicas: spec.maxReplicas,
        ...(spec.minReplicas !== undefined && { minReplicas: spec.minReplicas }),
        ...(target !== undefined && { targetCPUUtilizationPercentage: target }),
      },
    }),
    status: {
      currentReplicas: status?.currentReplicas ?? 0,
      desiredReplicas: status?.desiredReplicas ?? 0,
      ...(utilization !== undefined && { currentCPUUtilizationPercentage: utilization }),
      ...(status?.lastScaleTime && { lastScaleTime: status.lastScaleTime }),
      ...(observed !== undefined && { observedGeneration: observed }),
    },
  };
}

/** An object of autoscaling/v1 as it is stored. */
export function fromV1({ metadata, spec, status }: AutoscalerV1): HorizontalPodAutoscaler {
  const annotations = { ...metadata.annotations };
  const take = <T>(key: string): T | undefined => {
    const text = annotations[key];
    delete annotations[key];
    if (text === undefined) return undefined;
    try {
      return JSON.parse(text) as T;
    } catch {
      // Whoever wrote it by hand wrote no JSON; Kubernetes drops it as well.
      return undefined;
    }
  };
  const metrics = take<MetricSpec[]>(carried.metrics) ?? [];
  const behavior = take<NonNullable<HorizontalPodAutoscaler["spec"]>["behavior"]>(carried.behavior);
  const conditions = take<NonNullable<HorizontalPodAutoscaler["status"]>["conditions"]>(carried.conditions);
  const currentMetrics = take<NonNullable<HorizontalPodAutoscaler["status"]>["currentMetrics"]>(carried.currentMetrics);
  if (spec?.targetCPUUtilizationPercentage !== undefined) metrics.push(cpuMetric(spec.targetCPUUtilizationPercentage));
  const { annotations: _, ...rest } = metadata;
  return {
    apiVersion: "autoscaling/v2",
    kind: "HorizontalPodAutoscaler",
    metadata: { ...rest, ...(Object.keys(annotations).length > 0 && { annotations }) },
    ...(spec && {
      spec: {
        scaleTargetRef: spec.scaleTargetRef,
        maxReplicas: spec.maxReplicas,
        ...(spec.minReplicas !== undefined && { minReplicas: spec.minReplicas }),
        metrics: metrics.length > 0 ? metrics : [cpuMetric(defaultCpuUtilization)],
        ...(behavior && { behavior }),
      },
    }),
    status: {
      desiredReplicas: status?.desiredReplicas ?? 0,
      currentReplicas: status?.currentReplicas ?? 0,
      ...(status?.lastScaleTime && { lastScaleTime: status.lastScaleTime }),
      ...(status?.observedGeneration !== undefined && { observedGeneration: status.observedGeneration }),
      ...(conditions && { conditions }),
      ...(currentMetrics && { currentMetrics }),
    },
  };
}

/** The percentage of requested cpu that an autoscaler without metrics aims at. */
export const defaultCpuUtilization = 80;
