import { endpoints, services } from "../api/generated/core-v1.ts";
import { type EndpointSlice, endpointSlices } from "../api/generated/discovery-v1.ts";
import type { DeepReadonly } from "../machinery/object.ts";
import { type KubeObject, keyOf } from "../machinery/object.ts";
import { type ControllerFactory, type Watch, watch } from "./controller.ts";
import {
  type EndpointsView,
  isMirrored,
  managedByLabel,
  mirroringManager,
  planMirrors,
  serviceNameLabel,
} from "./endpoint-slice-mirroring-plan.ts";
import { Expectations } from "./shared/expectations.ts";
import { controllerReference } from "./shared/owned.ts";
import { SliceWriter } from "./shared/slice-writer.ts";

type SliceView = DeepReadonly<EndpointSlice>;

/** Makes EndpointSlices of the Endpoints that people write for Services without a selector. */
export const endpointSliceMirroringController: ControllerFactory = {
  name: "endpointslicemirroring-controller",
  create({ client, clock, informers, events }) {
    const endpointsInformer = informers.of(endpoints);
    const serviceInformer = informers.of(services);
    const slices = informers.of(endpointSlices);
    const expectations = new Expectations(clock);
    const ownerKey = ({ metadata }: SliceView) => `${metadata.namespace}/${metadata.labels?.[serviceNameLabel]}`;
    const isOurs = (slice: SliceView) => slice.metadata.labels?.[managedByLabel] === mirroringManager;
    slices.addIndex("mirrored", (slice) => (isOurs(slice) ? [ownerKey(slice)] : []));

    const observed: Watch = {
      attach() {
        slices.on({
          add: (slice) => {
            if (isOurs(slice)) expectations.creationObserved(ownerKey(slice));
          },
          delete: (slice) => expectations.deletionObserved(ownerKey(slice), slice.metadata.uid ?? ""),
        });
      },
    };
    const hasSelector = (key: string) => serviceInformer.get(key)?.spec?.selector !== undefined;
    /** Endpoints of Services with a selector are the cluster's own: nothing is to be done for them. */
    const keysOfEndpoints = (object: EndpointsView): string[] => {
      const key = keyOf(object as KubeObject);
      const concerned = isMirrored(object) && !hasSelector(key);
      return concerned || slices.byIndex("mirrored", key).length > 0 ? [key] : [];
    };

    const writer = new SliceWriter(client, expectations);
    return {
      watches: [
        observed,
        watch(endpointsInformer, keysOfEndpoints),
        watch(
          serviceInformer,
          (service) => [keyOf(service as KubeObject)],
          ({ spec }, old) => !old || (spec?.selector === undefined) !== (old.spec?.selector === undefined),
        ),
        watch(slices, (slice) => (isOurs(slice) ? [ownerKey(slice)] : [])),
      ],
      async reconcile(key, signal) {
        const object = endpointsInformer.get(key);
        const own = slices.byIndex("mirrored", key).filter(({ metadata }) => !metadata.deletionTimestamp);
        const service = serviceInformer.get(key);
        if (!object || !isMirrored(object) || !service || service.spec?.selector !== undefined) {
          for (const slice of own) await writer.remove(key, slice, signal);
          expectations.forget(key);
          return undefined;
        }
        if (!expectations.satisfied(key)) return undefined;
        const plan = planMirrors(object, own);
        if (plan.invalid > 0) {
          const text = `Skipped ${plan.invalid} invalid IP addresses when mirroring to EndpointSlices`;
          events.event(endpoints, object, "Warning", "InvalidIPAddress", text);
        }
        if (plan.skipped > plan.invalid) {
          const text = `A max of 1000 addresses can be mirrored to EndpointSlices per Endpoints subset. ${plan.skipped} addresses were skipped`;
          events.event(endpoints, object, "Warning", "TooManyAddressesToMirror", text);
        }
        const { name = "", namespace = "", deletionTimestamp } = object.metadata;
        const ownerReferences = [controllerReference(endpoints, object)];
        for (const mirror of deletionTimestamp ? [] : plan.create) {
          const labels = { ...mirror.labels };
          const annotations =
            Object.keys(mirror.annotations).length > 0 ? { annotations: { ...mirror.annotations } } : {};
          const metadata = { generateName: `${name}-`, namespace, labels, ...annotations, ownerReferences };
          await writer.create(key, metadata, mirror, signal);
        }
        for (const { slice, mirror } of plan.update) {
          const metadata = { labels: { ...mirror.labels }, annotations: { ...mirror.annotations }, ownerReferences };
          await writer.update(slice, metadata, mirror, signal);
        }
        for (const slice of plan.remove) await writer.remove(key, slice, signal);
        return undefined;
      },
    };
  },
};
