import { customResourceDefinitions } from "../api/generated/apiextensions-v1.ts";
import type { Scale } from "../api/generated/autoscaling-v1.ts";
import {
  type HorizontalPodAutoscaler,
  type HorizontalPodAutoscalerCondition,
  horizontalPodAutoscalers,
  type MetricSpec,
  type MetricStatus,
} from "../api/generated/autoscaling-v2.ts";
import { pods } from "../api/generated/core-v1.ts";
import { formatTime } from "../machinery/clock.ts";
import { parseDuration } from "../machinery/duration.ts";
import { deepEqual } from "../machinery/equality.ts";
import { parseLabelSelector } from "../machinery/label-selector.ts";
import { type DeepReadonly, type KubeObject, keyOf, parseApiVersion, type ResourceType } from "../machinery/object.ts";
import { milliQuantity, parseQuantity, Quantity } from "../machinery/quantity.ts";
import { StatusError } from "../machinery/status.ts";
import { type ControllerFactory, watch } from "./controller.ts";
import { type Aim, type PodUse, proposeReplicas, type Tolerances } from "./horizontal-pod-autoscaler-metrics.ts";
import { type AutoscalerView, type Memory, normalize, noteScaling } from "./horizontal-pod-autoscaler-rate.ts";
import { customResourceType } from "./shared/custom-resources.ts";
import { labelsOf, mutable } from "./shared/owned.ts";

/** How often each autoscaler looks (Kubernetes' default). */
const periodMs = 15_000;
const defaultTolerance = 0.1;

/** What the resource metrics API says of a pod. */
interface PodMetrics extends KubeObject {
  readonly timestamp?: string;
  readonly window?: string;
  readonly containers?: readonly { readonly name: string; readonly usage: Readonly<Record<string, string>> }[];
}
const podMetrics: ResourceType<PodMetrics> = {
  group: "metrics.k8s.io",
  version: "v1beta1",
  resource: "pods",
  kind: "PodMetrics",
  namespaced: true,
};

/** Why a metric gives no number; the reason of its condition and event. */
class MetricError extends Error {
  readonly reason: string;

  constructor(reason: string, message: string) {
    super(message);
    this.reason = reason;
  }
}

interface Found {
  readonly replicas: number;
  readonly name: string;
  readonly status: MetricStatus;
}

type Conditions = Map<string, HorizontalPodAutoscalerCondition>;

/** Sets the number of replicas of workloads by what their pods use. */
export const horizontalPodAutoscaler: ControllerFactory = {
  name: "horizontal-pod-autoscaler",
  create({ client, clock, informers, events, resources }) {
    const autoscalers = informers.of(horizontalPodAutoscalers);
    const podInformer = informers.of(pods);
    const crds = informers.of(customResourceDefinitions);
    const memories = new Map<string, Memory>();
    const tell = (object: AutoscalerView, severity: "Normal" | "Warning", reason: string, text: string) =>
      events.event(horizontalPodAutoscalers, object, severity, reason, text);

    const targetType = ({ apiVersion = "v1", kind }: { readonly apiVersion?: string; readonly kind: string }) => {
      const { group } = parseApiVersion(apiVersion);
      const builtIn = resources.find((type) => type.group === group && type.kind === kind);
      if (builtIn) return builtIn;
      for (const crd of crds.list()) {
        const type = crd.spec.group === group && crd.spec.names.kind === kind ? customResourceType(crd) : undefined;
        if (type) return type;
      }
      throw new Error(`no matches for kind ${JSON.stringify(kind)} in group ${JSON.stringify(group)}`);
    };

    async function usesOf(
      namespace: string,
      selector: string,
      resource: string,
      container: string | undefined,
      signal: AbortSignal,
    ): Promise<Map<string, PodUse>> {
      let items: readonly PodMetrics[];
      try {
        items = (await client.list(podMetrics, { namespace, labelSelector: selector, signal })).items;
      } catch (error) {
        const missing = error instanceof StatusError && error.code === 404;
        const why = missing
          ? "the server could not find the requested resource (get pods.metrics.k8s.io)"
          : (error as Error).message;
        throw new Error(`unable to fetch metrics from resource metrics API: ${why}`);
      }
      if (items.length === 0) throw new Error("no metrics returned from resource metrics API");
      const uses = new Map<string, PodUse>();
      for (const { metadata, timestamp, window, containers = [] } of items) {
        const counted = containers.filter(({ name }) => container === undefined || name === container);
        const amounts = counted.map(({ usage }) => usage[resource]);
        if (amounts.length === 0 || amounts.some((amount) => amount === undefined)) continue;
        const milli = amounts.reduce((sum, amount) => sum + parseQuantity(amount!).toMilli(), 0);
        uses.set(metadata.name ?? "", {
          milli,
          atMs: Date.parse(timestamp ?? "") || clock.now(),
          windowMs: parseDuration(window ?? "0s"),
        });
      }
      return uses;
    }

    async function byResource(
      object: AutoscalerView,
      metric: DeepReadonly<MetricSpec>,
      scale: Scale,
      signal: AbortSignal,
    ): Promise<Found> {
      const namespace = object.metadata.namespace ?? "";
      const source = metric.resource ?? metric.containerResource;
      const { name: resource = "", target } = source ?? {};
      const container = metric.containerResource?.container;
      const utilization = target?.averageUtilization;
      const average = target?.averageValue;
      let aim: Aim;
      if (average !== undefined) aim = { averageMilli: parseQuantity(average).toMilli() };
      else if (utilization !== undefined) aim = { utilization };
      else {
        throw new Error(
          "invalid resource metric source: neither an average utilization target nor an average value (usage) target was set",
        );
      }
      const selector = scale.status?.selector ?? "";
      const matching = podInformer.list(namespace).filter((pod) => parseLabelSelector(selector).matches(labelsOf(pod)));
      const what = average === undefined ? "utilization" : "usage";
      try {
        const uses = await usesOf(namespace, selector, resource, container, signal).catch((error: Error) => {
          throw new Error(`unable to get metrics for resource ${resource}: ${error.message}`);
        });
        const proposal = proposeReplicas(scale.spec?.replicas ?? 0, matching, uses, {
          resource,
          container,
          aim,
          tolerances: tolerancesOf(object),
          nowMs: clock.now(),
        });
        const value = milliQuantity(proposal.averageMilli);
        const averageValue = String(resource === "memory" ? new Quantity(value.nano, "BinarySI") : value);
        const current = {
          averageValue,
          ...(proposal.utilization === undefined ? {} : { averageUtilization: proposal.utilization }),
        };
        const kind = container === undefined ? "resource" : "container resource";
        return {
          replicas: proposal.replicas,
          name:
            average === undefined ? `${resource} ${kind} utilization (percentage of request)` : `${resource} resource`,
          status:
            container === undefined
              ? { type: "Resource", resource: { name: resource, current } }
              : { type: "ContainerResource", containerResource: { name: resource, container, current } },
        };
      } catch (error) {
        throw new Error(`failed to get ${resource} ${what}: ${(error as Error).message}`);
      }
    }

    async function byMetric(
      object: AutoscalerView,
      metric: DeepReadonly<MetricSpec>,
      scale: Scale,
      signal: AbortSignal,
    ): Promise<Found> {
      const custom =
        "unable to fetch metrics from custom metrics API: no custom metrics API (custom.metrics.k8s.io) registered";
      switch (metric.type) {
        case "Resource":
        case "ContainerResource":
          try {
            return await byResource(object, metric, scale, signal);
          } catch (error) {
            const reason = metric.type === "Resource" ? "FailedGetResourceMetric" : "FailedGetContainerResourceMetric";
            throw new MetricError(reason, (error as Error).message);
          }
        case "Pods":
          throw new MetricError("FailedGetPodsMetric", `unable to get metric ${metric.pods?.metric.name}: ${custom}`);
        case "Object": {
          const { kind, name } = metric.object?.describedObject ?? { kind: "", name: "" };
          const where = `${kind} ${object.metadata.namespace}/${name}`;
          const text = `unable to get metric ${metric.object?.metric.name}: ${custom} on ${where}`;
          throw new MetricError("FailedGetObjectMetric", text);
        }
        case "External": {
          const name = metric.external?.metric.name;
          const why = `unable to fetch metrics from external metrics API: the server could not find the requested resource (get ${name}.external.metrics.k8s.io)`;
          const text = `unable to get external metric ${object.metadata.namespace}/${name}: ${why}`;
          throw new MetricError("FailedGetExternalMetric", text);
        }
        default:
          throw new MetricError("InvalidMetricSourceType", `unknown metric source type ${JSON.stringify(metric.type)}`);
      }
    }

    /** The highest number that any metric asks for. Throws an Error when that cannot be known. */
    async function byMetrics(
      object: AutoscalerView,
      scale: Scale,
      put: (type: string, status: string, reason: string, message: string) => void,
      signal: AbortSignal,
    ): Promise<{ readonly highest?: Found; readonly statuses: MetricStatus[]; readonly error?: Error }> {
      const metrics = object.spec?.metrics ?? [];
      if (!scale.status?.selector) {
        tell(object, "Warning", "SelectorRequired", "selector is required");
        put("ScalingActive", "False", "InvalidSelector", "the HPA target's scale is missing a selector");
        return { statuses: [], error: new Error("selector is required") };
      }
      const statuses: MetricStatus[] = [];
      let highest: Found | undefined;
      const failures: { readonly reason: string; readonly message: string; readonly full: string }[] = [];
      for (const metric of metrics) {
        try {
          const found = await byMetric(object, metric, scale, signal);
          statuses.push(found.status);
          if (!highest || found.replicas > highest.replicas) highest = found;
        } catch (error) {
          if (!(error instanceof MetricError)) throw error;
          statuses.push({ type: "" });
          tell(object, "Warning", error.reason, error.message);
          const full = `failed to get ${describe(metric)} value: ${error.message}`;
          failures.push({ reason: error.reason, message: error.message, full });
        }
      }
      const [first] = failures;
      const error = first
        ? new Error(
            `invalid metrics (${failures.length} invalid out of ${metrics.length}), first error is: ${first.full}`,
          )
        : undefined;
      const blocked = first && (!highest || highest.replicas < (scale.spec?.replicas ?? 0));
      if (first && blocked) {
        put(
          "ScalingActive",
          "False",
          first.reason,
          `the HPA was unable to compute the replica count: ${first.message}`,
        );
        return { statuses, ...(error ? { error } : {}) };
      }
      const name = highest?.name ?? "";
      const text = `the HPA was able to successfully calculate a replica count from ${name}`;
      put("ScalingActive", "True", "ValidMetricFound", text);
      return { ...(highest ? { highest } : {}), statuses };
    }

    async function reconcile(object: AutoscalerView, key: string, signal: AbortSignal): Promise<void> {
      const nowMs = clock.now();
      const conditions: Conditions = new Map(
        (object.status?.conditions ?? []).map((one) => [one.type, { ...one } as HorizontalPodAutoscalerCondition]),
      );
      const put = (type: string, status: string, reason: string, message: string) => {
        const old = conditions.get(type);
        const lastTransitionTime =
          old?.status === status && old.lastTransitionTime ? old.lastTransitionTime : formatTime(nowMs);
        conditions.set(type, { type, status, reason, message, lastTransitionTime });
      };
      const next = mutable<HorizontalPodAutoscaler>(object);
      const save = async (more: Partial<NonNullable<HorizontalPodAutoscaler["status"]>>) => {
        const status = {
          desiredReplicas: object.status?.desiredReplicas ?? 0,
          ...next.status,
          ...more,
          conditions: [...conditions.values()],
        };
        if (deepEqual(object.status ?? {}, status)) return;
        await client.update(horizontalPodAutoscalers, { ...next, status }, { subresource: "status", signal });
      };
      const namespace = object.metadata.namespace ?? "";
      const {
        scaleTargetRef: target,
        minReplicas = 1,
        maxReplicas = 1,
      } = object.spec ?? {
        scaleTargetRef: { kind: "", name: "" },
      };
      let type: ResourceType;
      let scale: Scale;
      try {
        type = targetType(target);
        scale = (await client.get(type, target.name, { namespace, subresource: "scale", signal })) as unknown as Scale;
      } catch (error) {
        const text = (error as Error).message;
        tell(object, "Warning", "FailedGetScale", text);
        const message = `the HPA controller was unable to get the target's current scale: ${text}`;
        put("AbleToScale", "False", "FailedGetScale", message);
        return save({});
      }
      put("AbleToScale", "True", "SucceededGetScale", "the HPA controller was able to get the target's current scale");
      const current = scale.spec?.replicas ?? 0;
      let memory = memories.get(key);
      if (!memory) {
        memory = { recommendations: [{ replicas: current, atMs: nowMs }], ups: [], downs: [] };
        memories.set(key, memory);
      }

      let desired = current;
      let why = "";
      let statuses: MetricStatus[] = [];
      if (current === 0) {
        const text = "scaling is disabled since the replica count of the target is zero";
        put("ScalingActive", "False", "ScalingDisabled", text);
      } else if (current > maxReplicas) {
        [desired, why] = [maxReplicas, "Current number of replicas above Spec.MaxReplicas"];
      } else if (current < minReplicas) {
        [desired, why] = [minReplicas, "Current number of replicas below Spec.MinReplicas"];
      } else {
        const found = await byMetrics(object, scale, put, signal);
        statuses = found.statuses;
        if (!found.highest) {
          if (found.error) tell(object, "Warning", "FailedComputeMetricsReplicas", found.error.message);
          return save({ currentReplicas: current, currentMetrics: statuses });
        }
        why = found.highest.replicas > current ? `${found.highest.name} above target` : "All metrics below target";
        const verdict = normalize(object, memory, current, found.highest.replicas, nowMs);
        put("AbleToScale", "True", verdict.able.reason, verdict.able.message);
        const { is, reason, message } = verdict.limited;
        put("ScalingLimited", is ? "True" : "False", reason, message);
        desired = verdict.replicas;
      }
      if (desired === current)
        return save({ currentReplicas: current, desiredReplicas: desired, currentMetrics: statuses });
      try {
        const wanted = { ...scale, spec: { ...scale.spec, replicas: desired } } as unknown as KubeObject;
        await client.update(type, wanted, { namespace, subresource: "scale", signal });
      } catch (error) {
        const text = (error as Error).message;
        tell(object, "Warning", "FailedRescale", `New size: ${desired}; reason: ${why}; error: ${text}`);
        put(
          "AbleToScale",
          "False",
          "FailedUpdateScale",
          `the HPA controller was unable to update the target scale: ${text}`,
        );
        return save({ currentReplicas: current, currentMetrics: statuses });
      }
      put(
        "AbleToScale",
        "True",
        "SucceededRescale",
        `the HPA controller was able to update the target scale to ${desired}`,
      );
      tell(object, "Normal", "SuccessfulRescale", `New size: ${desired}; reason: ${why}`);
      noteScaling(object, memory, current, desired, nowMs);
      const lastScaleTime = formatTime(nowMs);
      return save({ currentReplicas: current, desiredReplicas: desired, currentMetrics: statuses, lastScaleTime });
    }

    return {
      watches: [
        watch(
          autoscalers,
          (object) => [keyOf(object as KubeObject)],
          (object, old) => !old || !deepEqual(object.spec, old.spec),
        ),
      ],
      async reconcile(key, signal) {
        const object = autoscalers.get(key);
        if (!object) {
          memories.delete(key);
          return undefined;
        }
        await reconcile(object, key, signal);
        return { requeueAfterMs: periodMs };
      },
    };
  },
};

function tolerancesOf({ spec }: AutoscalerView): Tolerances {
  const read = (text: string | undefined) => (text === undefined ? defaultTolerance : parseQuantity(text).toNumber());
  return { up: read(spec?.behavior?.scaleUp?.tolerance), down: read(spec?.behavior?.scaleDown?.tolerance) };
}

/** A metric as messages name it. */
function describe(metric: DeepReadonly<MetricSpec>): string {
  switch (metric.type) {
    case "Resource":
      return `${metric.resource?.name} resource metric`;
    case "ContainerResource":
      return `${metric.containerResource?.container} container metric`;
    case "Pods":
      return "pods metric";
    case "Object":
      return "object metric";
    default:
      return `${metric.external?.metric.name} external metric`;
  }
}
