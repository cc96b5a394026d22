/** What a node is started with: settled at the edge (`commands/agent.ts`), read-only below. */
export interface AgentOptions extends NodeOptions {
  /** https URL of a server, by name where there is one: addresses change. */
  readonly server: string;
  readonly token: string;
}

/** A node, without the cluster that it joins. */
export interface NodeOptions {
  /** "/var/lib/rancher/k3s" */
  readonly dataDir: string;
  /** Default: the host name in lower case. */
  readonly nodeName: string | undefined;
  readonly withNodeId: boolean;
  /** Empty: the address of the interface with the default route. */
  readonly nodeIps: readonly string[];
  readonly nodeExternalIps: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
  /** "key=value:Effect", understood. */
  readonly taints: readonly { readonly key: string; readonly value?: string; readonly effect: string }[];
  /** On 127.0.0.1, for the node's own clients of the API; undefined: they speak to the server that the node joined. */
  readonly loadBalancerPort: number | undefined;
  readonly networkInterface: string | undefined;
  readonly resolvConf: string | undefined;
  readonly pauseImage: string;
  readonly snapshotter: string | undefined;
  readonly registriesFile: string;
  readonly disableDefaultRegistryEndpoint: boolean;
  readonly maxPods: number;
  /** Runs beside a control plane: the node gets the role label. */
  readonly controlPlane: boolean;
  readonly version: string;
  /** Recorded on the Node (K3s' annotations), with secrets already replaced. */
  readonly nodeArgs: readonly string[];
  readonly nodeEnvironment: Readonly<Record<string, string>>;
}
