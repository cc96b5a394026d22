import { claimNodeName } from "../agent/bootstrap/node-certificates.ts";
import type { NodeIdentity } from "../agent/bootstrap/node-identity.ts";
import { joinThrough, SupervisorError, TokenRefusedError } from "../agent/bootstrap/supervisor-client.ts";
import type { Clock } from "../machinery/clock.ts";
import { ConfigurationError } from "../machinery/configuration-error.ts";
import { parseJson } from "../machinery/json.ts";
import type { Logger } from "../machinery/log.ts";
import { adoptBootstrapData, type BootstrapData } from "./bootstrap-data.ts";
import {
  agentTokenMismatch,
  assertSameSettings,
  type CriticalSettings,
  settingsOfConfig,
} from "./critical-settings.ts";

export interface JoinClusterOptions {
  /** https URL of a server of the cluster. */
  readonly server: string;
  readonly token: string;
  /** The agents' token where it is another one: the settings are told to nodes (K3s' way). */
  readonly agentToken: string | undefined;
  /** The node in this server, which must not have another one's name; undefined where there is none. */
  readonly node: NodeIdentity | undefined;
  /** `<data>/server` */
  readonly directory: string;
  readonly settings: CriticalSettings;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

/**
 * Takes from a server what another server of its cluster has to have: trusts it by the token's CA hash, compares the
 * critical settings and claims the name of its node there, and writes its authorities and keys. Waits for a server that does not answer yet.
 * @throws ConfigurationError when it is not the token's server, the settings differ, another machine has the name, or files
 * here are newer
 */
export async function joinCluster(options: JoinClusterOptions): Promise<void> {
  const { server, token, directory, logger } = options;
  const servers = [server];
  const bootstrap = () =>
    joinThrough(servers, token, { ...options, user: "server" }, (supervisor) =>
      supervisor.get("/v1-k3s/server-bootstrap").catch((error) => {
        throw error instanceof SupervisorError && error.code === 400 ? new ConfigurationError(error.message) : error;
      }),
    );
  try {
    await joinThrough(servers, options.agentToken ?? token, options, async (supervisor) => {
      assertSameSettings(settingsOfConfig(await supervisor.get("/v1-k3s/config")), options.settings);
      // A server that is refused as a node later would stay behind as a member of etcd that counts and is not there.
      if (options.node) await claimNodeName(supervisor, options.node);
    });
  } catch (error) {
    if (!(error instanceof TokenRefusedError)) throw error;
    // Where the servers' token is right, it was the agents'.
    await bootstrap();
    throw agentTokenMismatch();
  }
  const reply = await bootstrap();
  const data = parseJson(reply) as BootstrapData;
  const written = adoptBootstrapData(directory, data);
  logger.info({ server, files: written.length }, "Took over the bootstrap data of the cluster");
}
