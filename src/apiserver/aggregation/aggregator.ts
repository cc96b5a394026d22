import { type APIService, apiServices } from "../../api/generated/apiregistration-v1.ts";
import { createInformer, type Informer } from "../../client/informer.ts";
import type { DeepReadonly } from "../../machinery/object.ts";
import type { ServerContext } from "../request.ts";
import { AvailabilityController } from "./availability-controller.ts";
import { mergeAggregated, mergeGroups } from "./merge-discovery.ts";
import { type RemoteReader, remoteReader } from "./read-remote.ts";
import { type RelayedRequest, relayRequest } from "./relay-request.ts";
import { type RemoteApi, reachesAlike, remoteApiOf } from "./remote-api.ts";
import { RemoteDocuments } from "./remote-documents.ts";
import { type ProxyClient, ServiceBackend } from "./service-backend.ts";

export interface AggregatorOptions {
  readonly context: ServerContext;
  readonly proxyClient: ProxyClient | undefined;
  readonly signal: AbortSignal;
}

/** Answers requests that this server passes on. */
export type Relay = (relayed: RelayedRequest) => Promise<void>;

/** Knows which group-versions other servers answer, and speaks to these. */
export class Aggregator {
  /** All APIServices. */
  readonly apiServices: Informer<APIService>;
  readonly #options: AggregatorOptions;
  /** By the APIService's name. */
  readonly #backends = new Map<string, ServiceBackend>();
  readonly #ready: Promise<void>;
  readonly #documents: RemoteDocuments;
  readonly #availability: AvailabilityController;

  constructor(options: AggregatorOptions) {
    this.#options = options;
    const { client, ioClock, clusterClock, logger } = options.context;
    const { signal } = options;
    const backendOf = (name: string) => this.#backends.get(name);
    this.#availability = new AvailabilityController({ client, clusterClock, ioClock, logger, signal, backendOf });
    this.#documents = new RemoteDocuments({ clock: ioClock, logger, signal, backendOf });
    const informer = createInformer(client, apiServices, { clock: ioClock, logger });
    const changed = (object: DeepReadonly<APIService>) => {
      const name = object.metadata.name ?? "";
      const api = remoteApiOf(object);
      this.#set(name, api);
      this.#availability.changed(name, api);
    };
    this.apiServices = informer;
    informer.on({
      add: changed,
      update: changed,
      delete: ({ metadata: { name = "" } }) => {
        this.#set(name, undefined);
        this.#availability.removed(name);
      },
    });
    void informer.start(signal);
    this.#ready = informer.synced(signal);
  }

  /** Resolves when all APIServices are known. */
  ready(): Promise<void> {
    return this.#ready;
  }

  /** Prometheus' text format. */
  metrics(): string {
    return this.#availability.metrics(this.apiServices.list());
  }

  /** Who answers requests for this path; undefined: this server itself. */
  relayOf(path: string): Relay | undefined {
    if (this.#backends.size === 0) return undefined;
    const openApi = path.startsWith("/openapi/v3/");
    const [, root, first = "", second = ""] = (openApi ? path.slice("/openapi/v3".length) : path).split("/");
    const name = root === "apis" ? `${second}.${first}` : root === "api" ? `${first}.` : undefined;
    const backend = name === undefined ? undefined : this.#backends.get(name);
    if (!backend || (openApi && !this.#hasOwnOpenApiV3(backend.api, path))) return undefined;
    const { context, signal } = this.#options;
    return (relayed) => relayRequest(backend, relayed, { clock: context.ioClock, signal });
  }

  /** The OpenAPI v3 document of a group-version whose server has only v2; undefined: there is none. */
  openApiV3(group: string, version: string): Record<string, unknown> | undefined {
    return this.#documents.openApiV3(group, version);
  }

  #hasOwnOpenApiV3({ group, version }: RemoteApi, path: string): boolean {
    const listed = Object.hasOwn(this.#documents.openApiV3Paths(), path.slice("/openapi/v3/".length));
    return listed && this.#documents.openApiV3(group, version) === undefined;
  }

  /** Reads what another server serves, for this server's own components; undefined: no other server serves it. */
  readerOf(group: string, version: string): RemoteReader | undefined {
    const backend = this.#backends.get(`${version}.${group}`);
    const { context, signal } = this.#options;
    return backend && remoteReader(backend, { clock: context.ioClock, signal });
  }

  /** Rises with every change of what the methods below add. */
  get generation(): number {
    return this.#documents.generation;
  }

  /** Puts the remote groups among those of GET /apis. */
  addGroups<T extends { readonly groups: Parameters<typeof mergeGroups>[0] }>(list: T): T {
    return this.#backends.size === 0 ? list : { ...list, groups: mergeGroups(list.groups, this.#documents.versions()) };
  }

  /** Puts the remote groups among those of the aggregated document of /apis. */
  addAggregated<T extends { readonly items: Parameters<typeof mergeAggregated>[0] }>(document: T): object {
    if (this.#backends.size === 0) return document;
    return { ...document, items: mergeAggregated(document.items, this.#documents.versions()) };
  }

  addOpenApiV3Paths<T extends { readonly paths: object }>(index: T): T {
    return this.#backends.size === 0
      ? index
      : { ...index, paths: { ...index.paths, ...this.#documents.openApiV3Paths() } };
  }

  /** False: the document of this server alone is all there is. */
  get hasRemote(): boolean {
    return this.#backends.size > 0;
  }

  addOpenApiV2(document: Record<string, unknown>): Promise<Record<string, unknown>> {
    return this.#documents.addOpenApiV2(document);
  }

  #set(name: string, api: RemoteApi | undefined): void {
    const known = this.#backends.get(name);
    if (!api) {
      known?.close();
      this.#backends.delete(name);
      this.#documents.removed(name);
      return;
    }
    if (known && reachesAlike(known.api, api)) known.api = api;
    else {
      known?.close();
      this.#backends.set(name, new ServiceBackend(api, this.#options.context, this.#options.proxyClient));
    }
    this.#documents.changed(name, api);
  }
}
