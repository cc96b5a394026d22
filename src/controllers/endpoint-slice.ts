import { nodes, pods, services } from "../api/generated/core-v1.ts";
import { type EndpointSlice, endpointSlices } from "../api/generated/discovery-v1.ts";
import { type KubeObject, keyOf } from "../machinery/object.ts";
import { StatusError } from "../machinery/status.ts";
import { type ControllerFactory, type Watch, watch } from "./controller.ts";
import {
  managedByLabel,
  planSlices,
  type SliceContent,
  type SliceView,
  serviceNameLabel,
  sliceManager,
} from "./endpoint-slice-plan.ts";
import { Expectations } from "./shared/expectations.ts";
import { controllerReference, mutable } from "./shared/owned.ts";
import { isNamespaceTerminating } from "./shared/pod-control.ts";
import type { PodView } from "./shared/pod-facts.ts";
import { endpointFacts, hasPods, type ServiceView, selects } from "./shared/service-endpoints.ts";

/** Keeps the EndpointSlices of Services with a selector. */
export const endpointSliceController: ControllerFactory = {
  name: "endpointslice-controller",
  create({ client, clock, informers }) {
    const serviceInformer = informers.of(services);
    const podInformer = informers.of(pods);
    const nodeInformer = informers.of(nodes);
    const slices = informers.of(endpointSlices);
    const expectations = new Expectations(clock);
    const serviceKey = (slice: SliceView) => `${slice.metadata.namespace}/${slice.metadata.labels?.[serviceNameLabel]}`;
    const isOurs = (slice: SliceView) => slice.metadata.labels?.[managedByLabel] === sliceManager;
    slices.addIndex("service", (slice) => (isOurs(slice) ? [serviceKey(slice)] : []));

    const keysOfPod = (pod: PodView) =>
      serviceInformer
        .list(pod.metadata.namespace)
        .filter((service) => selects(service, pod))
        .map((service) => keyOf(service as KubeObject));
    const zoneOf = (node: string) => nodeInformer.get(node)?.metadata.labels?.["topology.kubernetes.io/zone"];

    const observeSlices: Watch = {
      attach() {
        slices.on({
          add: (slice) => expectations.creationObserved(serviceKey(slice)),
          delete: (slice) => expectations.deletionObserved(serviceKey(slice), slice.metadata.uid ?? ""),
        });
      },
    };

    const createSlice = async (key: string, service: ServiceView, content: SliceContent, signal: AbortSignal) => {
      expectations.expectCreations(key, 1);
      const { name = "", namespace = "" } = service.metadata;
      try {
        const metadata = {
          generateName: `${name.slice(0, 57)}-`,
          namespace,
          labels: { ...content.labels },
          ownerReferences: [controllerReference(services, service)],
        };
        await client.create(endpointSlices, { metadata, ...bodyOf(content) }, { namespace, signal });
      } catch (error) {
        expectations.creationObserved(key);
        if (!isNamespaceTerminating(error)) throw error;
      }
    };
    const updateSlice = async (slice: SliceView, content: SliceContent, signal: AbortSignal) => {
      const next = { ...mutable<EndpointSlice>(slice), ...bodyOf(content) };
      next.metadata.labels = { ...content.labels };
      await client.update(endpointSlices, next, { signal });
    };
    const deleteSlice = async (key: string, slice: SliceView, signal: AbortSignal) => {
      const { name = "", namespace = "", uid = "" } = slice.metadata;
      expectations.expectDeletions(key, [uid]);
      try {
        await client.delete(endpointSlices, name, { namespace, preconditions: { uid }, signal });
      } catch (error) {
        expectations.deletionObserved(key, uid);
        if (!(error instanceof StatusError && (error.code === 404 || error.code === 409))) throw error;
      }
    };

    return {
      watches: [
        watch(serviceInformer, (service) => [keyOf(service as KubeObject)]),
        watch(podInformer, keysOfPod, (pod, old) => !old || endpointFacts(pod) !== endpointFacts(old)),
        observeSlices,
        watch(slices, (slice) => (isOurs(slice) ? [serviceKey(slice)] : [])),
      ],
      async reconcile(key, signal) {
        const service = serviceInformer.get(key);
        const own = slices.byIndex("service", key).filter(({ metadata }) => !metadata.deletionTimestamp);
        if (!service) {
          // The garbage collector would do it too, a little later.
          for (const slice of own) await deleteSlice(key, slice, signal);
          expectations.forget(key);
          return undefined;
        }
        if (service.metadata.deletionTimestamp || !expectations.satisfied(key)) return undefined;
        if (!hasPods(service)) return undefined;
        const selected = podInformer.list(service.metadata.namespace).filter((pod) => selects(service, pod));
        const plan = planSlices(service, selected, own, zoneOf);
        for (const content of plan.create) await createSlice(key, service, content, signal);
        for (const { slice, content } of plan.update) await updateSlice(slice, content, signal);
        for (const slice of plan.remove) await deleteSlice(key, slice, signal);
        return undefined;
      },
    };
  },
};

function bodyOf({
  addressType,
  ports,
  endpoints,
}: SliceContent): Pick<EndpointSlice, "addressType" | "ports" | "endpoints"> {
  return { addressType, ports: ports.map((port) => ({ ...port })), endpoints: [...endpoints] };
}
