import { joinThrough, SupervisorError } from "../agent/bootstrap/supervisor-client.ts";
import type { Clock } from "../machinery/clock.ts";
import { ConfigurationError } from "../machinery/configuration-error.ts";
import { parseJson } from "../machinery/json.ts";
import type { Logger } from "../machinery/log.ts";
import { adoptBootstrapData, type BootstrapData } from "./bootstrap-data.ts";
import { assertSameSettings, type CriticalSettings, settingsOfConfig } from "./critical-settings.ts";

export interface JoinClusterOptions {
  /** https URL of a server of the cluster. */
  readonly server: string;
  readonly token: string;
  /** The agents' token where it is another one: the settings are told to nodes (K3s' way). */
  readonly agentToken: string | undefined;
  /** `<data>/server` */
  readonly directory: string;
  readonly settings: CriticalSettings;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

/**
 * Takes from a server what another server of its cluster has to have: trusts it by the token's CA hash, compares the
 * critical settings, and writes its authorities and keys. Waits for a server that does not answer yet.
 * @throws ConfigurationError when it is not the token's server, the settings differ, or files here are newer
 */
export async function joinCluster(options: JoinClusterOptions): Promise<void> {
  const { server, token, directory, logger } = options;
  const servers = [server];
  const nodeToken = options.agentToken ?? token;
  const config = await joinThrough(servers, nodeToken, options, (supervisor) => supervisor.get("/v1-k3s/config"));
  assertSameSettings(settingsOfConfig(config), options.settings);
  const reply = await joinThrough(servers, token, { ...options, user: "server" }, (supervisor) =>
    supervisor.get("/v1-k3s/server-bootstrap").catch((error) => {
      throw error instanceof SupervisorError && error.code === 400 ? new ConfigurationError(error.message) : error;
    }),
  );
  const data = parseJson(reply) as BootstrapData;
  const written = adoptBootstrapData(directory, data);
  logger.info({ server, files: written.length }, "Took over the bootstrap data of the cluster");
}
