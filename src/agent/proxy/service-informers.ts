import { type Service, services } from "../../api/generated/core-v1.ts";
import { type EndpointSlice, endpointSlices } from "../../api/generated/discovery-v1.ts";
import type { Client } from "../../client/client.ts";
import { createInformer, type Informer } from "../../client/informer.ts";
import type { Clock } from "../../machinery/clock.ts";
import type { Logger } from "../../machinery/log.ts";
import type { DeepReadonly, KubeObject } from "../../machinery/object.ts";

/** Services and their endpoints, which a node's proxy and its DNS both follow: one copy serves both. */
export interface ServiceInformers {
  readonly services: Informer<Service>;
  readonly endpointSlices: Informer<EndpointSlice>;
}

interface FollowOptions {
  readonly client: Client;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

/** Follows all Services and EndpointSlices until the signal aborts. */
export function followServices(options: FollowOptions): ServiceInformers {
  const { client, clock, logger, signal } = options;
  const informers = {
    services: createInformer(client, services, { clock, logger, transform: withoutHistory }),
    endpointSlices: createInformer(client, endpointSlices, { clock, logger, transform: withoutHistory }),
  };
  informers.endpointSlices.addIndex("service", (slice) => [serviceKeyOf(slice)]);
  void informers.services.start(signal);
  void informers.endpointSlices.start(signal);
  return informers;
}

/** Follows the API's own EndpointSlices only, on a node without proxy and DNS. */
export function followApiEndpoints({ client, clock, logger, signal }: FollowOptions): Informer<EndpointSlice> {
  const informer = createInformer(client, endpointSlices, {
    namespace: "default",
    labelSelector: "kubernetes.io/service-name=kubernetes",
    clock,
    logger,
    transform: withoutHistory,
  });
  void informer.start(signal);
  return informer;
}

/** "namespace/name" of the Service that a slice belongs to; "" when it belongs to none. */
export function serviceKeyOf(slice: DeepReadonly<EndpointSlice>): string {
  const name = slice.metadata.labels?.["kubernetes.io/service-name"];
  return name ? `${slice.metadata.namespace}/${name}` : "";
}

/** Who wrote which field, and what kubectl last applied, is often more than the rest. */
function withoutHistory<T extends KubeObject>(object: T): T {
  const { managedFields, ownerReferences, annotations, ...metadata } = object.metadata;
  return { ...object, metadata };
}
