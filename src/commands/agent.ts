import { ConfigurationError } from "../machinery/configuration-error.ts";
import { agentOptionsFrom, tokenFrom } from "./agent-options.ts";
import { readFlags } from "./flag-values.ts";
import { agentFlags } from "./flags.ts";
import { createLogger } from "./logger.ts";
import { runUntilStopped } from "./run-until-stopped.ts";

/** `k3ts agent`: runs a node of an existing cluster until it is told to stop. @returns the exit code */
export async function agent(args: readonly string[]): Promise<number> {
  const warnings: string[] = [];
  const flags = readFlags("k3ts agent", agentFlags, args, process.env, (message) => warnings.push(message));
  const file = flags.string("log");
  const logger = createLogger({
    debug: flags.boolean("debug"),
    ...(file ? { file, alsoStderr: flags.boolean("alsologtostderr") } : {}),
  });
  for (const warning of warnings) logger.warn(warning);
  const server = flags.string("server");
  if (!server) throw new ConfigurationError("--server is required (or K3S_URL): the https URL of the cluster's server");
  const token = tokenFrom(flags, "token", "token-file");
  if (!token)
    throw new ConfigurationError(
      "--token is required (or K3S_TOKEN): the content of the server's file server/node-token",
    );
  const options = agentOptionsFrom(flags, args, process.env, { controlPlane: false, server, token });
  return runUntilStopped(logger, async (signal) => {
    const { preflight } = await import("../agent/host/preflight.ts");
    await preflight();
    const { startAgent } = await import("../agent/agent.ts");
    return startAgent(options, { logger, signal, joinable: Promise.resolve(options) });
  });
}
