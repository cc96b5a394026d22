import { generateKeyPairSync } from "node:crypto";
import type { TestContext } from "node:test";
import { type ApiServer, type ApiServerOptions, createApiServer } from "../../src/apiserver/api-server.ts";
import type { Client } from "../../src/client/client.ts";
import { clusterClock } from "../../src/machinery/clock.ts";
import { silentLogger } from "../../src/machinery/log.ts";
import type { Store } from "../../src/store/store.ts";

const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
const keys = privateKey.export({ type: "pkcs8", format: "pem" });

export interface SharingServer {
  readonly server: ApiServer;
  /** As an administrator. */
  readonly client: Client;
  /** The addresses of servers that it told when it was asked before it was ready. */
  readonly askedAtOnce: Promise<readonly string[]>;
  /** Stops it in order; again does nothing. */
  stop(): Promise<void>;
}

/** One of several API servers in this process that share a store (`openSharedStore`); stopped after the test. */
export async function startSharingServer(
  test: TestContext,
  store: Store,
  options: Partial<ApiServerOptions> = {},
): Promise<SharingServer> {
  const server = await createApiServer({
    store,
    clusterClock,
    logger: silentLogger,
    authenticators: [],
    serviceAccounts: { issuer: "https://issuer", audiences: ["https://issuer"], keys },
    kubeletClient: { ca: "", cert: "", key: "" },
    serviceCidr: "10.43.0.0/16",
    nodePortRange: { from: 30000, to: 32767 },
    clusterDomain: "cluster.local",
    advertise: { address: "192.0.2.1", port: 6443 },
    dialNode: () => Promise.reject(new Error("this test has no nodes to dial")),
    version: "v1.36.0+k3ts1",
    ...options,
  });
  let stopped: Promise<void> | undefined;
  const stop = () => {
    stopped ??= server.stop();
    return stopped;
  };
  test.after(stop);
  const askedAtOnce = server.addresses();
  await server.ready();
  return { server, stop, askedAtOnce, client: server.client({ name: "admin", groups: ["system:masters"] }) };
}
