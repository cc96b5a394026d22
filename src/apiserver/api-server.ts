import type { IncomingMessage } from "node:http";
import type { Http2ServerRequest } from "node:http2";
import type { Duplex } from "node:stream";
import type { TLSSocket } from "node:tls";
import { builtInResources } from "../api/registry.ts";
import type { Client } from "../client/client.ts";
import { type Clock, ioClock as machineClock } from "../machinery/clock.ts";
import type { Logger } from "../machinery/log.ts";
import type { KubeObject } from "../machinery/object.ts";
import type { Store } from "../store/store.ts";
import { admissionChain } from "./admission/chain.ts";
import { equivalentsOf } from "./admission/equivalents.ts";
import { Aggregator } from "./aggregation/aggregator.ts";
import { type ExtensionAuthentication, keepAuthenticationConfig } from "./aggregation/authentication-config.ts";
import type { ProxyClient } from "./aggregation/service-backend.ts";
import { bootstrapTokenAuthenticator } from "./authentication/bootstrap-token.ts";
import { impersonate } from "./authentication/impersonation.ts";
import { serviceAccountAuthenticator, serviceAccountTokenAuthenticator } from "./authentication/service-account.ts";
import { jsonWebKeySet, openIdConfiguration, readServiceAccountKeys } from "./authentication/service-account-keys.ts";
import { unionAuthenticator } from "./authentication/union.ts";
import { startAuthorization } from "./authorization/authorization.ts";
import { mastersAuthorizer } from "./authorization/union.ts";
import type { Core } from "./core.ts";
import { definitionCheck } from "./custom-resources/definition-check.ts";
import { startDefinitionController } from "./custom-resources/definition-controller.ts";
import { Handler, type SpecialHandlers } from "./handler.ts";
import type { Incoming, Outgoing } from "./http/messages.ts";
import { createInProcessClient } from "./in-process-client.ts";
import { KubernetesService } from "./kubernetes-service/kubernetes-service.ts";
import { startLocalApiServices } from "./local-api-services.ts";
import { createPlainRoutes } from "./plain-routes.ts";
import type { Authenticator, Authorizer, NodeDialer, ServerContext, UserInfo } from "./request.ts";
import { RequestMetrics } from "./request-metrics.ts";
import { pathNotFound } from "./request-path.ts";
import { ResourceTable } from "./resource-table.ts";
import { CacheSet } from "./storage/cache-set.ts";
import { Gathering } from "./storage/gathering.ts";
import { StoreFeed } from "./storage/store-feed.ts";
import { bodySubresources } from "./subresources/body-subresources.ts";
import type { KubeletClient } from "./subresources/kubelet.ts";
import { streamSubresources } from "./subresources/stream-subresources.ts";
import { startSystemObjects } from "./system-objects.ts";
import { rewrite } from "./verbs/rewrite.ts";
import { WebhookCaller } from "./webhook-call/webhook-caller.ts";

export interface ApiServerOptions {
  readonly store: Store;
  readonly clusterClock: Clock;
  readonly ioClock?: Clock;
  readonly logger: Logger;
  /** Asked first; service account and bootstrap tokens are this server's own. */
  readonly authenticators: readonly Authenticator[];
  readonly serviceAccounts: {
    readonly issuer: string;
    readonly audiences: readonly string[];
    /** PEM; the first key signs. */
    readonly keys: string | Buffer;
  };
  /** How this server shows itself to kubelets. */
  readonly kubeletClient: KubeletClient;
  /** How this server shows itself to the servers behind APIServices; without it, it shows no certificate. */
  readonly proxyClient?: ProxyClient;
  /** What those servers are told of whom to trust; nothing is written without it. */
  readonly extensionAuthentication?: ExtensionAuthentication;
  readonly serviceCidr: string;
  readonly nodePortRange: { readonly from: number; readonly to: number };
  readonly clusterDomain: string;
  /** Where pods reach this server: the address behind the `kubernetes` Service. */
  readonly advertise: { readonly address: string; readonly port: number };
  readonly dialNode: NodeDialer;
  readonly version: string;
}

export interface ApiServer {
  /** Answers a request of the listener. */
  handle(request: Incoming, response: Outgoing): void;
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void;
  /** The API as a named user, without HTTP. */
  client(user: UserInfo): Client;
  /** Resolves when roles, namespaces and the `kubernetes` Service are there. */
  ready(): Promise<void>;
  /** Why the store does not answer at the moment; undefined while it does. */
  problem(): string | undefined;
  /** When a node's heartbeat was last refused because the store did not take it, in cluster time. */
  heartbeatsRefusedMs(): number | undefined;
  /** "host:port" of every API server of the cluster that works; waits until this one is among them. */
  addresses(): Promise<readonly string[]>;
  /** Takes this server out of the Service `kubernetes` where there are others, ends watches and streams. The store stays open. */
  stop(): Promise<void>;
}

const ownUser: UserInfo = { name: "system:apiserver", groups: ["system:masters", "system:authenticated"] };

/** Puts the API server together on a store. Nothing is read before the first use but what authorization needs. */
export async function createApiServer(options: ApiServerOptions): Promise<ApiServer> {
  const { store, clusterClock, logger } = options;
  const ioClock = options.ioClock ?? machineClock;
  const stopping = new AbortController();
  const { signal } = stopping;

  const feed = new StoreFeed(store, ioClock, logger);
  await feed.start();
  const resources = new ResourceTable(builtInResources);
  const caches = new CacheSet(store, feed, ioClock);
  const admission: Core["admission"][number][] = [];
  const gathering = new Gathering(ioClock);
  const equivalents = equivalentsOf(resources);
  const core: Core = { store, caches, admission, clusterClock, ioClock, logger, gathering, equivalents };

  let special: SpecialHandlers = { bodies: {}, streams: {} };
  // The aggregator is made with one of these clients itself.
  let readerOf: Aggregator["readerOf"] = () => undefined;
  const clientFor = (user: UserInfo, authorize: Authorizer, admitted: boolean): Client =>
    createInProcessClient({
      core,
      resources,
      user,
      authorize,
      admission: admitted,
      special: () => special,
      context: () => context,
      remote: (group, version) => readerOf(group, version),
      signal,
    });
  // Authorization itself reads through this client, so it must not depend on it.
  const ownClient = clientFor(ownUser, mastersAuthorizer, false);
  const authorization = startAuthorization({ client: ownClient, clock: clusterClock, logger, signal });
  const context: ServerContext = {
    client: ownClient,
    clusterClock,
    ioClock,
    logger,
    authorize: authorization.authorize,
    dialNode: options.dialNode,
    rewrite: async (type, target, change) => {
      const facts = resources.find(type.group, type.version, type.resource);
      if (!facts) throw pathNotFound();
      return (await rewrite(core, facts, target, change as (object: KubeObject) => void)).object as never;
    },
  };

  const { issuer, audiences } = options.serviceAccounts;
  const keys = readServiceAccountKeys(options.serviceAccounts.keys);
  const tokenOptions = { issuers: [issuer], audiences, keys, client: () => ownClient, clock: ioClock };
  const bootstrapTokens = bootstrapTokenAuthenticator({ client: () => ownClient, clock: clusterClock });
  const identify = unionAuthenticator([
    ...options.authenticators,
    serviceAccountAuthenticator(tokenOptions),
    bootstrapTokens,
  ]);
  special = {
    bodies: bodySubresources({
      tokens: { issuer, audiences, keys },
      rbac: authorization.rbac,
      tokenAuthenticator: serviceAccountTokenAuthenticator(tokenOptions),
      otherTokens: [bootstrapTokens],
    }),
    streams: streamSubresources(options.kubeletClient),
  };
  admission.push(
    definitionCheck,
    ...admissionChain({ context, rbac: authorization.rbac, resources, signal, ...options }),
  );

  const system = startSystemObjects({
    clock: clusterClock,
    client: ownClient,
    logger,
    serviceCidr: options.serviceCidr,
  });
  const { advertise, serviceCidr } = options;
  const service = new KubernetesService({
    client: ownClient,
    store,
    feed,
    clock: ioClock,
    logger,
    advertise,
    serviceCidr,
  });
  // Its namespace first.
  const announced = system.then(() => service.start());
  const definitions = startDefinitionController({
    client: ownClient,
    resources,
    caches,
    webhooks: new WebhookCaller(context, signal),
    clock: ioClock,
    logger,
    signal,
  });
  const aggregator = new Aggregator({ context, proxyClient: options.proxyClient, signal });
  readerOf = (group, version) => aggregator.readerOf(group, version);
  let ready = false;
  const whenReady = Promise.all([authorization.ready(), announced, definitions, aggregator.ready()]).then(() => {
    ready = true;
  });
  // Nobody waits for these; they are what tools list.
  whenReady
    .then(() =>
      startLocalApiServices({
        client: ownClient,
        resources,
        informer: aggregator.apiServices,
        clock: ioClock,
        logger,
        signal,
      }),
    )
    .catch((error) => signal.aborted || logger.warn({ err: error }, "Writing the APIServices failed"));
  const { extensionAuthentication: info } = options;
  if (info) {
    whenReady.then(
      () => keepAuthenticationConfig({ client: ownClient, info, clock: ioClock, logger, signal }),
      () => {},
    );
  }
  whenReady.catch(
    (error) => signal.aborted || logger.error({ err: error }, "The API server could not write its own objects"),
  );

  const metrics = new RequestMetrics(ioClock);
  let heartbeatsRefusedMs: number | undefined;
  const handler = new Handler({
    core,
    context,
    resources,
    special,
    authenticate: async (request) => {
      const user = await identify({ headers: request.headers, ...certificateOf(request) });
      return impersonate(user, request.headers, authorization.authorize);
    },
    authorize: authorization.authorize,
    relayOf: (path) => aggregator.relayOf(path),
    plain: createPlainRoutes({
      resources,
      aggregator,
      clock: ioClock,
      version: options.version,
      serverAddress: `${options.advertise.address}:${options.advertise.port}`,
      checks: () => ({
        ping: undefined,
        log: undefined,
        // The name that tools know; it says whether the store answers.
        etcd: feed.problem(),
        "poststarthook/rbac/bootstrap-roles": ready ? undefined : "not finished",
      }),
      metrics: () => metrics.text(core) + aggregator.metrics(),
      openId: {
        configuration: openIdConfiguration(issuer, keys, `${issuer}/openid/v1/jwks`),
        keys: jsonWebKeySet(keys),
      },
    }),
    signal,
    onDone: (info, code, startedMs) => {
      metrics.count(info, code, startedMs);
      if (info?.resource === "leases" && (code >= 500 || code === 429)) heartbeatsRefusedMs = clusterClock.now();
    },
  });

  return {
    handle: (request, response) => void handler.handle(request, response),
    upgrade: (request, socket, head) => void handler.upgrade(request, socket, head),
    client: (user) => clientFor(user, authorization.authorize, true),
    ready: () => whenReady,
    problem: () => feed.problem(),
    heartbeatsRefusedMs: () => heartbeatsRefusedMs,
    addresses: () => announced.then(() => service.addresses()),
    stop: async () => {
      await service.stop();
      stopping.abort(new Error("the API server is stopping"));
      feed.stop();
    },
  };
}

/** The peer's certificate; on HTTP/2 the connection is the session's. Read once a connection, since it is dear. */
const certificates = new WeakMap<object, { clientCertificate?: Buffer }>();

function certificateOf(request: Incoming): { clientCertificate?: Buffer } {
  const socket = ((request as Http2ServerRequest).stream?.session?.socket ?? request.socket) as TLSSocket;
  // HTTP/2 sockets are proxies made anew; the session stays.
  const connection: object = (request as Http2ServerRequest).stream?.session ?? socket;
  let known = certificates.get(connection);
  if (!known) {
    const raw = socket.getPeerCertificate?.()?.raw;
    known = raw ? { clientCertificate: raw } : {};
    certificates.set(connection, known);
  }
  return known;
}
