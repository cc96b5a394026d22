import { ConfigurationError } from "../machinery/configuration-error.ts";
import type { ServerOptions } from "../server/server-options.ts";
import { readFlags } from "./flag-values.ts";
import { serverFlags } from "./flags.ts";
import { createLogger } from "./logger.ts";
import { runUntilStopped } from "./run-until-stopped.ts";
import { passedOver, serverOptionsFrom } from "./server-options.ts";

/** `k3ts server`: runs the control plane and a node until it is told to stop. @returns the exit code */
export async function server(args: readonly string[]): Promise<number> {
  const warnings: string[] = [];
  const flags = readFlags("k3ts server", serverFlags, args, process.env, (message) => warnings.push(message));
  const file = flags.string("log");
  const logger = createLogger({
    debug: flags.boolean("debug"),
    ...(file ? { file, alsoStderr: flags.boolean("alsologtostderr") } : {}),
  });
  for (const warning of warnings) logger.warn(warning);
  const options: ServerOptions = serverOptionsFrom(flags, args, process.env);
  for (const warning of passedOver(flags)) logger.warn(warning);
  if (options.reset) {
    const { resetCluster } = await import("../server/cluster-reset/cluster-reset.ts");
    const abort = new AbortController();
    for (const name of ["SIGTERM", "SIGINT"]) process.once(name, () => abort.abort(new Error(`stopped by ${name}`)));
    await resetCluster(options, { logger, signal: abort.signal }).catch((error: Error) => {
      // The image starts again what fails by chance; whoever resets a cluster waits for its end, and is told why.
      throw error instanceof ConfigurationError ? error : new ConfigurationError(error.message, { cause: error });
    });
    return 0;
  }
  return runUntilStopped(logger, async (signal) => {
    // Before anything is made, and before the rest is loaded: a mistake is told at once.
    if (options.agent) {
      const { preflight } = await import("../agent/host/preflight.ts");
      await preflight();
    }
    const { startServer } = await import("../server/server.ts");
    return startServer(options, { logger, signal });
  });
}
