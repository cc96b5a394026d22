/**
 * Every flag of `k3s server` and `k3s agent`, so that scripts and compose files written for K3s are understood: those
 * that k3ts acts on, those that ask for what is so anyway, and those that it cannot honour yet and therefore refuses.
 * Source: K3s documentation, "server" and "agent" command line pages.
 */

export interface Flag {
  /** Long name without dashes, also the key in the config file. */
  readonly name: string;
  readonly short?: string;
  readonly env?: string;
  readonly type: "string" | "list" | "boolean" | "integer";
  readonly default?: string;
  readonly help: string;
  /** The flag is known and cannot be honoured: any use of it is an error with this reason. */
  readonly refused?: string;
  /** Values that change nothing are accepted, others are refused with `refused`. */
  readonly harmless?: readonly string[];
  readonly hidden?: boolean;
}

const notYet = "not supported by this version of k3ts";

const snapshotDirectoryFlag: Flag = {
  name: "etcd-snapshot-dir",
  type: "string",
  help: "Directory of snapshots (default: server/db/snapshots in the data directory)",
};
const snapshotCompressFlag: Flag = { name: "etcd-snapshot-compress", type: "boolean", help: "Compress snapshots" };
const s3Settings = [
  ...["endpoint", "endpoint-ca", "skip-ssl-verify", "access-key", "secret-key", "session-token", "bucket"],
  ...["bucket-lookup", "region", "folder", "proxy", "config-secret", "insecure", "timeout", "retention"],
];
/** Without the first, the others ask for nothing, as with K3s. */
const s3Flags: readonly Flag[] = [
  {
    name: "etcd-s3",
    type: "boolean",
    help: "Keep snapshots in S3",
    refused: `${notYet}: snapshots are kept in the server's --etcd-snapshot-dir`,
  },
  ...s3Settings.map(
    (name): Flag => ({
      name: `etcd-s3-${name}`,
      type: ["skip-ssl-verify", "insecure"].includes(name) ? "boolean" : "string",
      help: "Of --etcd-s3",
      hidden: true,
    }),
  ),
];

/** Flags of both subcommands. */
export const nodeFlags: readonly Flag[] = [
  {
    name: "config",
    short: "c",
    env: "K3S_CONFIG_FILE",
    type: "string",
    default: "/etc/rancher/k3s/config.yaml",
    help: "Load configuration from this file",
  },
  { name: "debug", env: "K3S_DEBUG", type: "boolean", help: "Turn on debug logs" },
  { name: "v", type: "integer", help: "Number for the log level verbosity" },
  { name: "vmodule", type: "string", help: "Log levels of single modules", hidden: true },
  { name: "log", short: "l", type: "string", help: "Log to this file instead of stderr" },
  { name: "alsologtostderr", type: "boolean", help: "Log to stderr as well as to the file" },
  {
    name: "token",
    short: "t",
    env: "K3S_TOKEN",
    type: "string",
    help: "Shared secret used to join a server or agent to a cluster",
  },
  { name: "token-file", env: "K3S_TOKEN_FILE", type: "string", help: "File containing the token" },
  { name: "server", short: "s", env: "K3S_URL", type: "string", help: "Server to connect to, used to join a cluster" },
  {
    name: "data-dir",
    short: "d",
    env: "K3S_DATA_DIR",
    type: "string",
    default: "/var/lib/rancher/k3s",
    help: "Folder to hold state",
  },
  { name: "node-name", env: "K3S_NODE_NAME", type: "string", help: "Node name (default: the host name)" },
  { name: "with-node-id", type: "boolean", help: "Append an id to the node name" },
  { name: "node-label", type: "list", help: "Register the node with labels (key=value)" },
  { name: "node-taint", type: "list", help: "Register the node with taints (key=value:Effect)" },
  { name: "node-ip", short: "i", type: "list", help: "IPv4/IPv6 addresses to advertise for the node" },
  { name: "node-external-ip", type: "list", help: "External addresses to advertise for the node" },
  {
    name: "node-internal-dns",
    type: "list",
    help: "Internal DNS addresses to advertise for the node",
    refused: notYet,
  },
  {
    name: "node-external-dns",
    type: "list",
    help: "External DNS addresses to advertise for the node",
    refused: notYet,
  },
  { name: "resolv-conf", env: "K3S_RESOLV_CONF", type: "string", help: "Kubelet resolv.conf file" },
  { name: "flannel-iface", type: "string", help: "Interface that carries the pod network" },
  { name: "flannel-conf", type: "string", help: "Override the network's configuration", refused: notYet },
  { name: "flannel-cni-conf", type: "string", help: "Override the CNI configuration", refused: notYet },
  { name: "kubelet-arg", type: "list", help: "Settings of the kubelet; supported: max-pods=<number>" },
  { name: "kube-proxy-arg", type: "list", help: "Settings of the service proxy", refused: notYet },
  { name: "pause-image", type: "string", help: "Pause image for sandboxes" },
  { name: "snapshotter", type: "string", help: "containerd snapshotter (overlayfs, native)" },
  {
    name: "private-registry",
    type: "string",
    default: "/etc/rancher/k3s/registries.yaml",
    help: "Private registry configuration file",
  },
  { name: "default-runtime", type: "string", help: "Default container runtime", refused: notYet },
  { name: "disable-default-registry-endpoint", type: "boolean", help: "Do not fall back to a registry's own endpoint" },
  {
    name: "airgap-extra-registry",
    type: "list",
    help: "Tag imported images for this registry too",
    refused: notYet,
    hidden: true,
  },
  { name: "container-runtime-endpoint", type: "string", help: "Use another CRI endpoint", refused: notYet },
  { name: "image-service-endpoint", type: "string", help: "Use another CRI image endpoint", refused: notYet },
  { name: "docker", type: "boolean", help: "Use Docker as the runtime", refused: notYet },
  { name: "selinux", env: "K3S_SELINUX", type: "boolean", help: "Enable SELinux in containerd", refused: notYet },
  {
    name: "lb-server-port",
    env: "K3S_LB_SERVER_PORT",
    type: "integer",
    default: "6444",
    help: "Port of the agent's client load balancer",
  },
  {
    name: "protect-kernel-defaults",
    type: "boolean",
    help: "Fail when kernel settings differ from the defaults",
    refused: notYet,
  },
  { name: "image-credential-provider-bin-dir", type: "string", help: "Credential provider plugins", refused: notYet },
  {
    name: "image-credential-provider-config",
    type: "string",
    help: "Credential provider configuration",
    refused: notYet,
  },
  { name: "nonroot-devices", type: "boolean", help: "Let non-root containers use their devices", refused: notYet },
  { name: "vpn-auth", env: "K3S_VPN_AUTH", type: "string", help: "VPN credentials", refused: notYet },
  { name: "vpn-auth-file", env: "K3S_VPN_AUTH_FILE", type: "string", help: "VPN credentials file", refused: notYet },
  { name: "rootless", type: "boolean", help: "Run rootless", refused: notYet },
  { name: "prefer-bundled-bin", type: "boolean", help: "Prefer bundled binaries (always so in the image)" },
  { name: "enable-pprof", type: "boolean", help: "Serve pprof", refused: notYet },
  { name: "bind-address", type: "string", default: "0.0.0.0", help: "Address to listen on" },
];

export const agentFlags: readonly Flag[] = [
  ...nodeFlags,
  { name: "disable-apiserver-lb", type: "boolean", help: "Connect to the server directly, without the load balancer" },
];

/** Of `etcd-snapshot`: what configuration files may say, too, has the names that it has there. */
export const snapshotFlags: readonly Flag[] = [
  ...nodeFlags.filter(({ name }) =>
    ["config", "debug", "data-dir", "log", "alsologtostderr", "node-name"].includes(name),
  ),
  {
    name: "etcd-server",
    short: "s",
    type: "string",
    default: "https://127.0.0.1:6443",
    help: "Server that has the snapshots",
  },
  {
    name: "etcd-token",
    short: "t",
    type: "string",
    help: "The server's token (default: from the data directory)",
  },
  { name: "name", type: "string", default: "on-demand", help: "Base name of the snapshot" },
  snapshotDirectoryFlag,
  snapshotCompressFlag,
  {
    name: "etcd-snapshot-retention",
    type: "integer",
    help: "How many snapshots of the name prune keeps (default: as the server keeps)",
  },
  { name: "output", short: "o", type: "string", default: "table", help: "How to print the list: json, yaml or table" },
  ...s3Flags,
];

export const serverFlags: readonly Flag[] = [
  ...nodeFlags,
  { name: "https-listen-port", type: "integer", default: "6443", help: "HTTPS listen port" },
  { name: "advertise-address", type: "string", help: "Address that the API server advertises (default: the node's)" },
  { name: "advertise-port", type: "integer", help: "Port that the API server advertises (default: the listen port)" },
  { name: "tls-san", type: "list", help: "Additional hostnames or addresses in the server's TLS certificate" },
  {
    name: "tls-san-security",
    type: "boolean",
    help: "Add no names to the certificate but the configured ones (always so)",
  },
  {
    name: "write-kubeconfig",
    short: "o",
    env: "K3S_KUBECONFIG_OUTPUT",
    type: "string",
    help: "Write the admin kubeconfig to this file",
  },
  {
    name: "write-kubeconfig-mode",
    env: "K3S_KUBECONFIG_MODE",
    type: "string",
    help: "Write the kubeconfig with this mode (octal)",
  },
  {
    name: "write-kubeconfig-group",
    env: "K3S_KUBECONFIG_GROUP",
    type: "string",
    help: "Write the kubeconfig with this group",
    refused: notYet,
  },
  { name: "helm-job-image", type: "string", help: "Image of helm jobs", refused: notYet },
  { name: "cluster-cidr", type: "list", default: "10.42.0.0/16", help: "Network of pods" },
  { name: "service-cidr", type: "list", default: "10.43.0.0/16", help: "Network of services" },
  { name: "service-node-port-range", type: "string", default: "30000-32767", help: "Port range of NodePort services" },
  {
    name: "cluster-dns",
    type: "list",
    help: "Address of the cluster's DNS (default: the 10th of the service network)",
  },
  { name: "cluster-domain", type: "string", default: "cluster.local", help: "Cluster domain" },
  { name: "flannel-backend", type: "string", default: "vxlan", help: "Pod network: vxlan, host-gw or none" },
  { name: "flannel-ipv6-masq", type: "boolean", help: "Masquerade IPv6 pods", refused: notYet },
  { name: "flannel-external-ip", type: "boolean", help: "Use external addresses between nodes", refused: notYet },
  {
    name: "egress-selector-mode",
    type: "string",
    default: "agent",
    help: "How the server reaches nodes",
    refused: notYet,
    harmless: ["agent"],
  },
  { name: "servicelb-namespace", type: "string", default: "kube-system", help: "Namespace of servicelb pods" },
  {
    name: "agent-token",
    env: "K3S_AGENT_TOKEN",
    type: "string",
    help: "Shared secret used to join agents, but not servers",
  },
  { name: "agent-token-file", env: "K3S_AGENT_TOKEN_FILE", type: "string", help: "File containing the agent token" },
  {
    name: "cluster-init",
    env: "K3S_CLUSTER_INIT",
    type: "boolean",
    help: "Initialise a cluster with embedded etcd; what is in SQLite moves there",
  },
  {
    name: "cluster-reset",
    env: "K3S_CLUSTER_RESET",
    type: "boolean",
    help: "Make this server the only member of the cluster, and end",
  },
  { name: "cluster-reset-restore-path", type: "string", help: "Snapshot that --cluster-reset restores" },
  { name: "kube-apiserver-arg", type: "list", help: "Settings of the API server", refused: notYet },
  { name: "kube-controller-manager-arg", type: "list", help: "Settings of the controllers", refused: notYet },
  { name: "kube-scheduler-arg", type: "list", help: "Settings of the scheduler", refused: notYet },
  {
    name: "kube-cloud-controller-manager-arg",
    type: "list",
    help: "Settings of the cloud controller",
    refused: notYet,
  },
  { name: "etcd-arg", type: "list", help: "Settings of embedded etcd (setting=value)" },
  {
    name: "datastore-endpoint",
    env: "K3S_DATASTORE_ENDPOINT",
    type: "string",
    help: "etcd, MySQL, PostgreSQL or SQLite that holds the cluster (default: SQLite in the data directory)",
  },
  { name: "datastore-cafile", env: "K3S_DATASTORE_CAFILE", type: "string", help: "Datastore's CA file" },
  { name: "datastore-certfile", env: "K3S_DATASTORE_CERTFILE", type: "string", help: "Datastore's certificate file" },
  { name: "datastore-keyfile", env: "K3S_DATASTORE_KEYFILE", type: "string", help: "Datastore's key file" },
  { name: "etcd-expose-metrics", type: "boolean", help: "Serve embedded etcd's metrics on the node's address, too" },
  { name: "etcd-disable-snapshots", type: "boolean", help: "Take no snapshots on schedule" },
  { name: "etcd-snapshot-name", type: "string", default: "etcd-snapshot", help: "Base name of scheduled snapshots" },
  {
    name: "etcd-snapshot-schedule-cron",
    type: "string",
    default: "0 */12 * * *",
    help: "When snapshots of embedded etcd and of SQLite are taken",
  },
  { name: "etcd-snapshot-retention", type: "integer", default: "5", help: "How many scheduled snapshots are kept" },
  snapshotDirectoryFlag,
  snapshotCompressFlag,
  ...s3Flags,
  { name: "default-local-storage-path", type: "string", help: "Path of local volumes" },
  {
    name: "disable",
    type: "list",
    help: "Do not deploy packaged components (coredns, servicelb, traefik, local-storage, metrics-server, runtimes)",
  },
  { name: "disable-scheduler", type: "boolean", help: "Disable the scheduler" },
  { name: "disable-cloud-controller", type: "boolean", help: "Disable the cloud controller" },
  { name: "disable-kube-proxy", type: "boolean", help: "Disable the service proxy" },
  { name: "disable-network-policy", type: "boolean", help: "Disable network policies" },
  { name: "disable-helm-controller", type: "boolean", help: "Disable the Helm controller" },
  { name: "disable-agent", type: "boolean", help: "Do not run a node in this server", hidden: true },
  { name: "disable-apiserver", type: "boolean", help: "Do not run the API server", refused: notYet, hidden: true },
  {
    name: "disable-controller-manager",
    type: "boolean",
    help: "Do not run the controllers",
    refused: notYet,
    hidden: true,
  },
  { name: "disable-etcd", type: "boolean", help: "Do not run etcd", refused: notYet, hidden: true },
  { name: "embedded-registry", type: "boolean", help: "Share images between nodes", refused: notYet },
  { name: "supervisor-metrics", type: "boolean", help: "Serve metrics on the supervisor port", refused: notYet },
  {
    name: "system-default-registry",
    env: "K3S_SYSTEM_DEFAULT_REGISTRY",
    type: "string",
    help: "Registry for system images",
    refused: notYet,
  },
  { name: "secrets-encryption", type: "boolean", help: "Encrypt Secrets in the datastore", refused: notYet },
  { name: "secrets-encryption-provider", type: "string", help: "How to encrypt Secrets", refused: notYet },
];
