import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { ConfigurationError } from "../../machinery/configuration-error.ts";
import type { Logger } from "../../machinery/log.ts";
import type { Store } from "../../store/store.ts";
import {
  bootstrapKey,
  bootstrapPrefix,
  compareBootstrapData,
  openBootstrapData,
  readBootstrapData,
  writeBootstrapData,
} from "../bootstrap-data.ts";
import { knownPassword, prepareTokens } from "../tokens.ts";

/**
 * Takes the cluster's authorities out of a restored store: on another machine there are none, and where the data directory
 * has been another cluster's meanwhile they are not this one's. Servers and nodes then know each other again. What follows
 * from them is made anew by the next start.
 * @throws ConfigurationError when the token is missing, or not the one that the snapshot was made with
 */
export async function takeAuthorities(
  store: Store,
  options: {
    /** `<data>/server` */
    readonly directory: string;
    readonly token: string | undefined;
    readonly agentToken: string | undefined;
    readonly logger: Logger;
  },
): Promise<void> {
  const { directory, token, agentToken, logger } = options;
  const { entries } = await store.list(bootstrapPrefix);
  if (entries.length === 0) return logger.warn("The snapshot holds no bootstrap data; that of this server stays");
  const password = knownPassword(directory, token);
  if (password === undefined)
    throw new ConfigurationError(
      "this machine does not know the cluster's token yet; give the one that the snapshot was made with with --token",
    );
  const sealed = entries.find(({ key }) => key === bootstrapKey(password));
  if (!sealed)
    throw new ConfigurationError(
      "the snapshot was made with another token than this server's; give it with --token and an empty data directory",
    );
  const data = await openBootstrapData(password, sealed.value);
  const { outdated, newerHere } = compareBootstrapData(data, readBootstrapData(directory));
  if (outdated.length + newerHere.length > 0) {
    logger.info({ files: [...outdated, ...newerHere] }, "Updated bootstrap data on disk from the snapshot");
    writeBootstrapData(directory, data);
  }
  const authority = join(directory, "tls", "server-ca.crt");
  if (existsSync(authority)) prepareTokens(directory, readFileSync(authority, "utf8"), password, agentToken);
}
