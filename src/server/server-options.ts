import type { NodeOptions } from "../agent/agent-options.ts";
import type { DatastoreEndpoint, DatastoreFiles } from "../store/datastore-endpoint.ts";
import type { SnapshotOptions } from "./snapshots/server-snapshots.ts";

/** What a server is started with: settled at the edge (`commands/server.ts`), read-only below. */
export interface ServerOptions {
  /** "/var/lib/rancher/k3s": everything lives below its `server` and `agent` folders. */
  readonly dataDir: string;
  /** The name of the machine among the servers: its node's, where it has one. */
  readonly nodeName: string;
  readonly bindAddress: string;
  readonly httpsPort: number;
  readonly advertiseAddress: string;
  readonly advertisePort: number;
  /** Extra names and addresses that the serving certificate is valid for. */
  readonly tlsNames: readonly string[];
  readonly kubeconfigPath: string;
  readonly kubeconfigMode: number;
  readonly clusterCidr: string;
  readonly serviceCidr: string;
  readonly nodePortRange: { readonly from: number; readonly to: number };
  readonly clusterDns: string;
  readonly clusterDomain: string;
  readonly flannelBackend: "vxlan" | "host-gw" | "none";
  readonly token: string | undefined;
  readonly agentToken: string | undefined;
  /** Packaged manifests that are not deployed: "coredns", "metrics-server", … */
  readonly disabled: ReadonlySet<string>;
  readonly disableScheduler: boolean;
  readonly disableProxy: boolean;
  readonly disableNetworkPolicy: boolean;
  /** Not built in; all servers have to agree on it nevertheless. */
  readonly disableCloudController: boolean;
  readonly disableHelmController: boolean;
  /** The database that holds the cluster; its endpoint has a password. */
  readonly datastore: { readonly endpoint: DatastoreEndpoint; readonly files: DatastoreFiles };
  /** https URL of a server of the cluster that this one joins. Absent without a token, and with a datastore of its own. */
  readonly join: string | undefined;
  /** Begins a cluster that lives in embedded etcd. */
  readonly clusterInit: boolean;
  readonly etcd: {
    /** The node's address, which other members reach this server's by. */
    readonly address: string;
    /** Metrics also on the node's address. */
    readonly exposeMetrics: boolean;
    /** "setting=value" of etcd's configuration file. */
    readonly extraArguments: readonly string[];
  };
  readonly snapshots: SnapshotOptions;
  /** Restore a snapshot, or make this server the only member of embedded etcd, and end. */
  readonly reset: { /** The snapshot's file. */ readonly restorePath: string | undefined } | undefined;
  /** "v1.36.0+k3ts1" */
  readonly version: string;
  /** The node in this server; absent with --disable-agent. */
  readonly agent: NodeOptions | undefined;
}
