import { generateKeyPairSync } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { builtInResources } from "../../src/api/registry.ts";
import { createApiServer } from "../../src/apiserver/api-server.ts";
import type { Client } from "../../src/client/client.ts";
import type { ControllerFactory, ControllersConfig } from "../../src/controllers/controller.ts";
import { startControllers } from "../../src/controllers/manager.ts";
import { type Clock, clusterClock as systemClusterClock } from "../../src/machinery/clock.ts";
import { type Logger, silentLogger } from "../../src/machinery/log.ts";
import { openSqliteStore } from "../../src/store/sqlite/sqlite-store.ts";

export interface ControlPlane {
  /** As an administrator. */
  readonly client: Client;
  /** As any user. */
  clientAs(name: string, groups?: readonly string[]): Client;
  readonly signal: AbortSignal;
}

export interface ControlPlaneOptions {
  /** Controllers to run; default: none. */
  readonly controllers?: readonly ControllerFactory[];
  readonly config?: Partial<ControllersConfig>;
  /** Time of the controllers; the API server keeps the machine's. */
  readonly clock?: Clock;
  readonly logger?: Logger;
}

const config: ControllersConfig = {
  clusterName: "kubernetes",
  clusterCidrs: ["10.42.0.0/16"],
  nodeCidrMaskSizeIpv4: 24,
  nodeCidrMaskSizeIpv6: 64,
  rootCa: "-----BEGIN CERTIFICATE-----\ntest\n-----END CERTIFICATE-----\n",
  // Hollow nodes renew no lease by default, and shall not be taken for gone on a slow machine.
  nodeMonitorGracePeriodMs: 3_600_000,
  terminatedPodThreshold: 12_500,
};

/** The real API server on SQLite in this process, with controllers; all of it is gone after the test. */
export async function startControlPlane(test: TestContext, options: ControlPlaneOptions = {}): Promise<ControlPlane> {
  const logger = options.logger ?? silentLogger;
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const directory = mkdtempSync(join(tmpdir(), "k3ts-test-"));
  const store = await openSqliteStore({ path: join(directory, "state.db"), logger, clock: systemClusterClock });
  const server = await createApiServer({
    store,
    clusterClock: systemClusterClock,
    logger,
    authenticators: [],
    serviceAccounts: {
      issuer: "https://kubernetes.default.svc.cluster.local",
      audiences: ["https://kubernetes.default.svc.cluster.local", "k3s"],
      keys: privateKey.export({ type: "pkcs8", format: "pem" }),
    },
    kubeletClient: { ca: "", cert: "", key: "" },
    serviceCidr: "10.43.0.0/16",
    nodePortRange: { from: 30000, to: 32767 },
    clusterDomain: "cluster.local",
    advertise: { address: "192.0.2.1", port: 6443 },
    dialNode: () => Promise.reject(new Error("this test has no nodes to dial")),
    version: "v1.36.0+k3ts1",
  });
  await server.ready();
  const stop = new AbortController();
  const clientAs = (name: string, groups: readonly string[] = []) =>
    server.client({ name, groups: [...groups, "system:authenticated"] });
  const controllers = startControllers({
    client: clientAs("system:kube-controller-manager"),
    clientFor: (name) =>
      clientAs(`system:serviceaccount:kube-system:${name}`, [
        "system:serviceaccounts",
        "system:serviceaccounts:kube-system",
      ]),
    clock: options.clock ?? systemClusterClock,
    logger,
    config: { ...config, ...options.config },
    resources: builtInResources.filter(({ verbs }) => verbs.includes("watch") && verbs.includes("delete")),
    signal: stop.signal,
    factories: options.controllers ?? [],
  });
  await controllers.synced;
  test.after(async () => {
    stop.abort(new Error("the test is over"));
    await controllers.stopped;
    await server.stop();
    await store.close();
    // Here and in no hook of its own: that one would run first, under what still writes there.
    rmSync(directory, { recursive: true, force: true });
  });
  return { client: clientAs("admin", ["system:masters"]), clientAs, signal: stop.signal };
}
