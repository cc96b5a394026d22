import { nodes, pods, services } from "../api/generated/core-v1.ts";
import { endpointSlices } from "../api/generated/discovery-v1.ts";
import { type KubeObject, keyOf } from "../machinery/object.ts";
import { type ControllerFactory, type Watch, watch } from "./controller.ts";
import { managedByLabel, planSlices, type SliceView, serviceNameLabel, sliceManager } from "./endpoint-slice-plan.ts";
import { Expectations } from "./shared/expectations.ts";
import { controllerReference } from "./shared/owned.ts";
import type { PodView } from "./shared/pod-facts.ts";
import { endpointFacts, hasPods, selects } from "./shared/service-endpoints.ts";
import { SliceWriter } from "./shared/slice-writer.ts";

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
          add: (slice) => {
            if (isOurs(slice)) expectations.creationObserved(serviceKey(slice));
          },
          delete: (slice) => expectations.deletionObserved(serviceKey(slice), slice.metadata.uid ?? ""),
        });
      },
    };

    const writer = new SliceWriter(client, expectations);

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
          for (const slice of own) await writer.remove(key, slice, signal);
          expectations.forget(key);
          return undefined;
        }
        if (service.metadata.deletionTimestamp || !expectations.satisfied(key)) return undefined;
        if (!hasPods(service)) return undefined;
        const selected = podInformer.list(service.metadata.namespace).filter((pod) => selects(service, pod));
        const plan = planSlices(service, selected, own, zoneOf);
        const { name = "", namespace = "" } = service.metadata;
        for (const content of plan.create) {
          const metadata = {
            generateName: `${name.slice(0, 57)}-`,
            namespace,
            labels: { ...content.labels },
            ownerReferences: [controllerReference(services, service)],
          };
          await writer.create(key, metadata, content, signal);
        }
        for (const { slice, content } of plan.update)
          await writer.update(slice, { labels: { ...content.labels } }, content, signal);
        for (const slice of plan.remove) await writer.remove(key, slice, signal);
        return undefined;
      },
    };
  },
};
