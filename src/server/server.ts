import { existsSync, mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { Agent, JoinTarget, startAgent } from "../agent/agent.ts";
import type { NodeOptions } from "../agent/agent-options.ts";
import { encodeClusterConfig } from "../agent/bootstrap/cluster-config.ts";
import { identityDirectory, loadNodeIdentity } from "../agent/bootstrap/node-identity.ts";
import { parseToken } from "../agent/bootstrap/token.ts";
import { secrets } from "../api/generated/core-v1.ts";
import { createApiServer } from "../apiserver/api-server.ts";
import { bootstrapTokenAuthenticator } from "../apiserver/authentication/bootstrap-token.ts";
import { requestHeaderAuthenticator } from "../apiserver/authentication/request-header.ts";
import { unionAuthenticator } from "../apiserver/authentication/union.ts";
import { x509Authenticator } from "../apiserver/authentication/x509.ts";
import { listServerLeases } from "../apiserver/kubernetes-service/server-leases.ts";
import { listen } from "../apiserver/listener.ts";
import type { Client } from "../client/client.ts";
import { parseCidr } from "../machinery/cidr.ts";
import { clusterClock, ioClock } from "../machinery/clock.ts";
import { ConfigurationError } from "../machinery/configuration-error.ts";
import type { Logger } from "../machinery/log.ts";
import { TunnelServer } from "../tunnel/tunnel-server.ts";
import { readBootstrapData } from "./bootstrap-data.ts";
import { certificateAuthority } from "./certificate-authority.ts";
import { ensureClusterDns } from "./cluster-dns.ts";
import { assertRestoreFinished, resetFlag } from "./cluster-reset/reset-marks.ts";
import { loadControlLoops, startControlLoops } from "./control-loops.ts";
import { dialAddress, isLoopback } from "./dial-address.ts";
import { startOwnEtcd } from "./etcd/own-etcd.ts";
import { deployManifests } from "./manifests/deploy.ts";
import { writePackagedManifests } from "./manifests/packaged.ts";
import { nodePasswordController } from "./node-password-controller.ts";
import { nodePasswordSecretName, nothingFor } from "./node-passwords.ts";
import { openCluster } from "./open-cluster.ts";
import { peerCertificate } from "./peer-certificate.ts";
import { podsCanRun } from "./pods-can-run.ts";
import { publishKubeconfigs } from "./publish-kubeconfigs.ts";
import type { ServerOptions } from "./server-options.ts";
import { servingNames } from "./serving-names.ts";

export interface Server {
  /** Resolves when the server has to start again, with the reason. */
  readonly failed?: Promise<Error>;
  stop(): Promise<void>;
}

/**
 * Starts a server: store, certificates and tokens side by side, then the API on its port, controllers and scheduler. The
 * node's containerd starts with them; the node joins when the API answers. Stops in the reverse order, so that nothing
 * acts on what is gone.
 * @param context.signal ends the start half-way; what was begun is ended
 */
export async function startServer(
  options: ServerOptions,
  context: { readonly logger: Logger; readonly signal: AbortSignal },
): Promise<Server> {
  const { logger } = context;
  logger.info({ version: options.version }, `Starting k3s ${options.version}`);
  const directory = join(options.dataDir, "server");
  mkdirSync(join(directory, "db"), { recursive: true, mode: 0o700 });
  assertRestoreFinished(directory);
  mkdirSync(join(directory, "static"), { recursive: true, mode: 0o700 });

  // Things to end, last first.
  const endings: (() => Promise<void> | void)[] = [];
  const stopping = new AbortController();
  const signal = AbortSignal.any([context.signal, stopping.signal]);
  const stop = async () => {
    stopping.abort(new Error("the server is stopping"));
    for (const end of endings.splice(0).reverse()) {
      await Promise.resolve(end()).catch((error: unknown) => logger.error({ err: error }, "Stopping failed"));
    }
  };

  const joinable = Promise.withResolvers<JoinTarget>();
  joinable.promise.catch(() => {});
  // Read and compiled in the time in which the workers make certificates and open the store.
  const loadingSupervisor = import("./supervisor.ts");
  const loadingLoops = loadControlLoops(!options.disableScheduler);
  let node: Promise<Agent> | undefined;
  try {
    if (options.agent) {
      node = startNode(options.agent, {
        logger,
        signal,
        joinable: joinable.promise,
        usable: (name) => podsCanRun(supervisorClient, name, signal),
      });
      // Awaited below, when the control plane is up.
      node.catch(() => {});
    }
    const identity =
      options.agent && loadNodeIdentity(identityDirectory, options.agent.nodeName, options.agent.withNodeId);
    const nodeName = identity?.name ?? options.nodeName;
    const serviceIp = parseCidr(options.serviceCidr).nth(1);
    const etcd = await startOwnEtcd(options, { directory, nodeName, identity, logger, signal });
    if (etcd) endings.push(() => etcd.stop());
    const { store, certificates, tokens } = await openCluster(options, {
      directory,
      datastore: etcd ?? options.datastore,
      servingNames: servingNames(options, nodeName, serviceIp),
      othersRun: async (shared) => {
        const servers = await listServerLeases(shared, options.advertisePort);
        return servers.some(({ address }) => address !== options.advertiseAddress);
      },
      logger,
    });
    endings.push(() => store.close());

    const tunnels = new TunnelServer({ logger, clock: ioClock });
    endings.push(() => tunnels.close());
    const clientCertificates = x509Authenticator({
      clientAuthority: certificates.clientCa.certificate,
      clock: ioClock,
    });

    const issuer = `https://kubernetes.default.svc.${options.clusterDomain}`;
    const apiServer = await createApiServer({
      store,
      clusterClock,
      ioClock,
      logger,
      authenticators: [
        clientCertificates,
        requestHeaderAuthenticator({
          requestHeaderAuthority: certificates.requestHeaderCa.certificate,
          allowedNames: ["system:auth-proxy"],
          clock: ioClock,
        }),
      ],
      serviceAccounts: { issuer, audiences: [issuer, "k3s"], keys: certificates.serviceAccountKey },
      kubeletClient: {
        ca: certificates.serverCaBundle,
        cert: certificates.apiserver.certificate,
        key: certificates.apiserver.key,
      },
      proxyClient: { cert: certificates.authProxy.certificate, key: certificates.authProxy.key },
      extensionAuthentication: {
        clientCa: certificates.clientCa.certificate,
        requestHeaderCa: certificates.requestHeaderCa.certificate,
        allowedNames: ["system:auth-proxy"],
      },
      serviceCidr: options.serviceCidr,
      nodePortRange: options.nodePortRange,
      clusterDomain: options.clusterDomain,
      advertise: { address: options.advertiseAddress, port: options.advertisePort },
      // K3s' mode "agent": tunnels for kubelets only. Pods are dialled from here, as servers are on the pod network.
      dialNode: (node: string, target: string, dialSignal?: AbortSignal) =>
        isLoopback(target) ? tunnels.dial(node, target, dialSignal) : dialAddress(target, ioClock, dialSignal),
      version: options.version,
    });
    endings.push(() => apiServer.stop());
    const client = (name: string, groups: readonly string[]): Client => apiServer.client({ name, groups });
    const supervisorClient = client("system:k3s-supervisor", ["system:masters", "system:authenticated"]);

    const snapshots = once(async () => {
      const { serverSnapshots } = await import("./snapshots/server-snapshots.ts");
      const { endpoint } = options.datastore;
      const { password } = parseToken(tokens.server);
      return serverSnapshots({
        ...options,
        nodeName,
        directory,
        store,
        endpoint,
        embedded: etcd !== undefined,
        password,
        logger,
      });
    });

    let ready = false;
    const { createSupervisor } = await loadingSupervisor;
    const supervise = createSupervisor({
      serverCa: certificates.serverCa,
      clientCa: certificates.clientCa,
      tokens,
      authenticate: unionAuthenticator([
        clientCertificates,
        bootstrapTokenAuthenticator({ client: () => supervisorClient, clock: clusterClock }),
      ]),
      client: supervisorClient,
      config: encodeClusterConfig({
        ...options,
        disableDns: options.disabled.has("coredns"),
        disableServiceLb: options.disabled.has("servicelb"),
      }),
      apiServers: () => apiServer.addresses(),
      ...(etcd ? { bootstrapData: () => readBootstrapData(directory), databaseInfo: () => etcd.info() } : {}),
      snapshot: async (body) => (await snapshots()).answer(body),
      // Load balancers and nodes that join ask it: whose store does not answer has nothing for them.
      ready: () => ready && apiServer.problem() === undefined,
      staticDirectory: join(directory, "static"),
      logger,
    });
    const listener = await listen({
      host: options.bindAddress,
      port: options.httpsPort,
      tls: {
        cert: certificates.serving.certificate,
        key: certificates.serving.key,
        ca: certificates.clientCa.certificate,
      },
      logger,
      handle: (request, response) => {
        if (!supervise(request, response)) apiServer.handle(request, response);
      },
      upgrade: (request, socket, head) => {
        // Compared as it came: from a stranger it may be no address at all.
        if (request.url?.split("?", 1)[0] !== "/v1-k3s/connect") {
          return apiServer.upgrade(request, socket, head);
        }
        clientCertificates({ headers: request.headers, ...peerCertificate(request) }).then(
          (user) => {
            const node = user?.groups.includes("system:nodes") ? /^system:node:(.+)$/.exec(user.name)?.[1] : undefined;
            if (node) tunnels.accept(request, socket, head, node);
            else refuseUpgrade(socket, user ? "403 Forbidden" : "401 Unauthorized");
          },
          () => refuseUpgrade(socket, "401 Unauthorized"),
        );
      },
    }).catch((error: Error) => {
      throw unlessPortProblem(error);
    });
    endings.push(() => listener.close());
    logger.info({ address: options.bindAddress, port: options.httpsPort }, "Running kube-apiserver");
    await apiServer.ready();
    logger.info("Kube API server is now running");
    logger.info("ETCD server is now running");

    const loops = await startControlLoops(
      {
        shared: !store.exclusive,
        nodeName,
        client,
        controllers: {
          clusterName: "kubernetes",
          clusterCidrs: [options.clusterCidr],
          nodeCidrMaskSizeIpv4: 24,
          nodeCidrMaskSizeIpv6: 64,
          rootCa: certificates.serverCaBundle,
          nodeMonitorGracePeriodMs: 50_000,
          heartbeatsRefusedMs: () => apiServer.heartbeatsRefusedMs(),
          terminatedPodThreshold: 12_500,
          serviceCidrs: options.serviceCidr.split(",").map((text) => text.trim()),
          certificateAuthority: certificateAuthority({
            server: certificates.serverCa,
            client: certificates.clientCa,
            clock: clusterClock,
          }),
        },
        clusterControllers: [nodePasswordController, ...(etcd?.controllers ?? [])],
        logger,
        signal,
      },
      loadingLoops,
    );
    endings.push(() => loops.stopped);

    announceTokens(directory, options, logger);
    publishKubeconfigs(directory, options, certificates, logger);
    if (existsSync(resetFlag(directory))) {
      // What a restored snapshot knows of this node may be older than its password.
      await supervisorClient
        .delete(secrets, nodePasswordSecretName(nodeName), { namespace: "kube-system" })
        .catch(nothingFor(404));
      rmSync(resetFlag(directory));
    }
    ready = true;
    joinable.resolve({
      server: `https://127.0.0.1:${options.httpsPort}`,
      token: tokens.agent,
      own: `${options.advertiseAddress}:${options.advertisePort}`,
    });

    await ensureClusterDns(supervisorClient, options, logger);
    writePackagedManifests(join(directory, "manifests"), options);
    const deployer = deployManifests({
      directory: join(directory, "manifests"),
      disabled: options.disabled,
      client: supervisorClient,
      clock: ioClock,
      logger,
      signal,
    });
    endings.push(() => deployer.stop());

    const agent = await node;
    if (agent) endings.push(() => agent.stop());
    if (etcd && agent) etcd.markNode(supervisorClient, agent.nodeName, signal);
    logger.info("k3s is up and running");
    void snapshots().then((kept) => kept.run(signal));
    const failures = [...(agent ? [agent.failed] : []), ...(etcd ? [etcd.removed] : [])];
    return { stop, ...(failures.length > 0 ? { failed: Promise.race(failures) } : {}) };
  } catch (error) {
    joinable.reject(error);
    stopping.abort(error);
    await node?.then(
      (agent) => agent.stop(),
      () => {},
    );
    await stop();
    throw error;
  }
}

/** Makes something when it is first asked for. */
function once<T>(make: () => Promise<T>): () => Promise<T> {
  let made: Promise<T> | undefined;
  return () => (made ??= make());
}

async function startNode(options: NodeOptions, context: Parameters<typeof startAgent>[1]): Promise<Agent> {
  const { startAgent } = await import("../agent/agent.ts");
  return startAgent(options, context);
}

/** A port that cannot be had will not be had by trying again. */
function unlessPortProblem(error: Error): Error {
  const code = (error.cause as NodeJS.ErrnoException | undefined)?.code ?? "";
  if (!["EADDRINUSE", "EADDRNOTAVAIL", "EACCES"].includes(code)) return error;
  return new ConfigurationError(
    `${error.message}; stop what uses the port, or choose another with --https-listen-port or --bind-address`,
  );
}

function refuseUpgrade(socket: import("node:stream").Duplex, status: string): void {
  socket.end(`HTTP/1.1 ${status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`);
}

function announceTokens(directory: string, options: ServerOptions, logger: Logger): void {
  const url = `https://${options.advertiseAddress}:${options.advertisePort}`;
  logger.info(`Server node token is available at ${join(directory, "token")}`);
  logger.info(`To join server node to cluster: k3s server -s ${url} -t \${SERVER_NODE_TOKEN}`);
  logger.info(`Agent node token is available at ${join(directory, "agent-token")}`);
  logger.info(`To join agent node to cluster: k3s agent -s ${url} -t \${AGENT_NODE_TOKEN}`);
}
