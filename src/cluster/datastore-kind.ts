/** What a cluster is kept in: a file of its one server, the servers' own etcd, or a database outside. */
export type Datastore = "sqlite" | "etcd" | "external";

/** What says where servers keep the cluster. */
export interface DatastoreSettings {
  readonly servers: number;
  readonly clusterInit?: boolean;
  readonly datastoreEndpoint?: string;
  readonly environment?: readonly string[];
  readonly serverArgs?: readonly string[];
}

/**
 * What a cluster that is to be made will be kept in.
 * @throws when several servers would have nothing that they share
 */
export function datastoreOf(settings: DatastoreSettings): Datastore {
  const endpoint = endpointOf(settings);
  const etcd = settings.clusterInit || settings.serverArgs?.includes("--cluster-init");
  if (endpoint !== undefined && !/^(sqlite(:|$)|$)/.test(endpoint)) {
    if (!etcd) return "external";
    throw new Error("--cluster-init and --datastore-endpoint exclude each other: choose embedded etcd or the database");
  }
  if (settings.servers > 1 && endpoint) {
    throw new Error(
      `--datastore-endpoint "${endpoint}" is a file of one server, and ${settings.servers} are asked for; ` +
        "leave it out (they will have embedded etcd), or name a database that all of them reach",
    );
  }
  return etcd || settings.servers > 1 ? "etcd" : "sqlite";
}

/** The endpoint in any of the places where it can be given. */
function endpointOf({ datastoreEndpoint, environment = [], serverArgs = [] }: DatastoreSettings): string | undefined {
  if (datastoreEndpoint !== undefined) return datastoreEndpoint;
  const flag = "--datastore-endpoint";
  const separate = serverArgs.indexOf(flag);
  if (separate >= 0) return serverArgs[separate + 1];
  return after(serverArgs, `${flag}=`) ?? after(environment, "K3S_DATASTORE_ENDPOINT=");
}

function after(list: readonly string[], prefix: string): string | undefined {
  return list.find((entry) => entry.startsWith(prefix))?.slice(prefix.length);
}
