import { type Endpoints, endpoints, pods, services } from "../api/generated/core-v1.ts";
import { deepEqual } from "../machinery/equality.ts";
import { type KubeObject, keyOf, splitKey } from "../machinery/object.ts";
import { StatusError } from "../machinery/status.ts";
import { type ControllerFactory, type Watch, watch } from "./controller.ts";
import { planEndpoints } from "./endpoints-plan.ts";
import { mutable } from "./shared/owned.ts";
import { isNamespaceTerminating } from "./shared/pod-control.ts";
import type { PodView } from "./shared/pod-facts.ts";
import { endpointFacts, hasPods, headlessLabel, isHeadless, selects } from "./shared/service-endpoints.ts";

const managedByLabel = "endpoints.kubernetes.io/managed-by";
const manager = "endpoint-controller";
const overCapacity = "endpoints.kubernetes.io/over-capacity";

/** Endpoints that are somebody's lock. */
const leaderAnnotation = "control-plane.alpha.kubernetes.io/leader";

/** Keeps the Endpoints of Services with a selector, for readers that do not know EndpointSlices. */
export const endpointsController: ControllerFactory = {
  name: "endpoint-controller",
  create({ client, informers, events }) {
    const serviceInformer = informers.of(services);
    const podInformer = informers.of(pods);
    const endpointsInformer = informers.of(endpoints);
    const keysOfPod = (pod: PodView) =>
      serviceInformer
        .list(pod.metadata.namespace)
        .filter((service) => selects(service, pod))
        .map((service) => keyOf(service as KubeObject));
    /** Services that went: their Endpoints go with them, whoever wrote those. */
    const gone = new Set<string>();
    const serviceGone: Watch = {
      attach() {
        serviceInformer.on({
          add: (service) => gone.delete(keyOf(service as KubeObject)),
          delete: (service) => gone.add(keyOf(service as KubeObject)),
        });
      },
    };
    return {
      watches: [
        serviceGone,
        watch(serviceInformer, (service) => [keyOf(service as KubeObject)]),
        watch(podInformer, keysOfPod, (pod, old) => !old || endpointFacts(pod) !== endpointFacts(old)),
        watch(endpointsInformer, (object) =>
          object.metadata.labels?.[managedByLabel] === manager ? [keyOf(object as KubeObject)] : [],
        ),
      ],
      async reconcile(key, signal) {
        const { namespace = "", name } = splitKey(key);
        const service = serviceInformer.get(key);
        const existing = endpointsInformer.get(key);
        if (!service) {
          const ours = existing?.metadata.labels?.[managedByLabel] === manager;
          if (!gone.delete(key) && !ours) return undefined;
          if (!existing || existing.metadata.annotations?.[leaderAnnotation] !== undefined) return undefined;
          try {
            await client.delete(endpoints, name, { namespace, signal });
          } catch (error) {
            if (!(error instanceof StatusError && error.code === 404)) throw error;
          }
          return undefined;
        }
        if (!hasPods(service)) return undefined;
        const selected = podInformer.list(namespace).filter((pod) => selects(service, pod));
        const { subsets, truncated } = planEndpoints(service, selected);
        const labels: Record<string, string> = {
          ...(service.metadata.labels as Record<string, string> | undefined),
          [managedByLabel]: manager,
        };
        delete labels[headlessLabel];
        if (isHeadless(service)) labels[headlessLabel] = "";
        const next: Endpoints = existing ? mutable<Endpoints>(existing) : { metadata: { name, namespace } };
        const annotations = { ...next.metadata.annotations };
        delete annotations[overCapacity];
        if (truncated) annotations[overCapacity] = "truncated";
        const same =
          existing &&
          deepEqual(existing.subsets ?? [], subsets) &&
          deepEqual(existing.metadata.labels ?? {}, labels) &&
          deepEqual(existing.metadata.annotations ?? {}, annotations);
        if (same) return undefined;
        next.subsets = [...subsets];
        next.metadata.labels = labels;
        if (Object.keys(annotations).length > 0) next.metadata.annotations = annotations;
        else delete next.metadata.annotations;
        try {
          if (existing) await client.update(endpoints, next, { signal });
          else await client.create(endpoints, next, { namespace, signal });
        } catch (error) {
          if (isNamespaceTerminating(error)) return undefined;
          const [reason, what] = existing
            ? ["FailedToUpdateEndpoint", `update endpoint ${key}`]
            : ["FailedToCreateEndpoint", `create endpoint for service ${key}`];
          events.event(endpoints, next, "Warning", reason, `Failed to ${what}: ${(error as Error).message}`);
          throw error;
        }
        return undefined;
      },
    };
  },
};
