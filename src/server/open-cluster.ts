import { join } from "node:path";
import { caHash, parseToken } from "../agent/bootstrap/token.ts";
import { clusterClock, ioClock } from "../machinery/clock.ts";
import { ConfigurationError } from "../machinery/configuration-error.ts";
import type { Logger } from "../machinery/log.ts";
import type { DatastoreEndpoint, DatastoreFiles } from "../store/datastore-endpoint.ts";
import { openStore } from "../store/open-store.ts";
import type { Store } from "../store/store.ts";
import { prepareCertificates, type ServerCertificates } from "./certificates.ts";
import { criticalSettings } from "./critical-settings.ts";
import type { ServerOptions } from "./server-options.ts";
import { shareBootstrapData } from "./shared-bootstrap.ts";
import { knownPassword, newPassword, prepareTokens, type Tokens } from "./tokens.ts";

/** What makes a server one of its cluster. */
export interface OpenedCluster {
  readonly store: Store;
  readonly certificates: ServerCertificates;
  readonly tokens: Tokens;
}

export interface OpenClusterContext {
  /** `<data>/server` */
  readonly directory: string;
  /** The database that holds the cluster. */
  readonly datastore: { readonly endpoint: DatastoreEndpoint; readonly files: DatastoreFiles };
  /** Names that the serving certificate is valid for. */
  readonly servingNames: readonly string[];
  /** Do servers at other addresses than this one's work with the store? */
  readonly othersRun: (store: Store) => Promise<boolean>;
  readonly logger: Logger;
}

/**
 * Opens the store and loads or makes certificates and tokens: at the same time where the store is this server's alone,
 * otherwise from what the store says of the cluster.
 * @throws ConfigurationError where the user has to change something
 */
export async function openCluster(options: ServerOptions, context: OpenClusterContext): Promise<OpenedCluster> {
  const { directory, datastore, logger } = context;
  const makeWith = async (token: string | undefined) => {
    const certificates = await prepareCertificates(join(directory, "tls"), context.servingNames);
    const makeTokens = () => prepareTokens(directory, certificates.serverCaBundle, token, options.agentToken);
    return { certificates, makeTokens };
  };
  const opening = openStore({
    ...datastore,
    sqlitePath: join(directory, "db", "state.db"),
    logger,
    clock: clusterClock,
  });
  if (datastore.endpoint.kind === "sqlite") {
    const [store, { certificates, makeTokens }] = await Promise.all([opening, makeWith(options.token)]);
    try {
      return { store, certificates, tokens: makeTokens() };
    } catch (error) {
      await store.close();
      throw error;
    }
  }
  const store = await opening;
  try {
    const password = knownPassword(directory, options.token) ?? newPassword();
    const shared = await shareBootstrapData({
      store,
      directory,
      password,
      settings: criticalSettings(options),
      make: async () => {
        const { certificates, makeTokens } = await makeWith(password);
        assertTokenIsOf(certificates, options.token);
        return { certificates, tokens: makeTokens() };
      },
      othersRun: () => context.othersRun(store),
      clock: ioClock,
      logger,
    });
    return { store, ...shared };
  } catch (error) {
    await store.close();
    throw error;
  }
}

/** A full token says which cluster it is of. */
function assertTokenIsOf({ serverCaBundle }: ServerCertificates, token: string | undefined): void {
  const wanted = token === undefined ? "" : parseToken(token).caHash;
  const found = caHash(serverCaBundle);
  if (wanted === "" || wanted === found) return;
  throw new ConfigurationError(
    `token CA hash does not match the Cluster CA certificate hash: ${wanted} != ${found}; ` +
      "is the datastore the one of the cluster that the token was made by? A cluster's first server takes a token without a hash",
  );
}
