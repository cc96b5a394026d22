import { readFileSync } from "node:fs";
import { isIP } from "node:net";
import type { AgentOptions } from "../agent/agent-options.ts";
import { ConfigurationError } from "../machinery/configuration-error.ts";
import { qualifiedName } from "../machinery/names.ts";
import { version } from "../machinery/version.ts";
import type { FlagValues } from "./flag-values.ts";

/** Tagged as the image is imported; also known as K3s' own name for it. */
const defaultPauseImage = "docker.io/rancher/mirrored-pause:3.6";

/**
 * Settles the options of a node.
 * @param role `server` and `token` are empty for the node inside a server, which learns them at start
 */
export function agentOptionsFrom(
  flags: FlagValues,
  args: readonly string[],
  environment: NodeJS.ProcessEnv,
  role: { controlPlane: boolean; server: string; token: string },
): AgentOptions {
  const snapshotter = flags.string("snapshotter");
  if (snapshotter !== undefined && snapshotter !== "overlayfs" && snapshotter !== "native") {
    throw new ConfigurationError(
      `--snapshotter=${snapshotter} is not supported by this version of k3ts; use overlayfs or native`,
    );
  }
  return {
    server: role.server,
    token: role.token,
    dataDir: flags.string("data-dir")!,
    nodeName: flags.string("node-name"),
    withNodeId: flags.boolean("with-node-id"),
    nodeIps: addresses(flags, "node-ip"),
    nodeExternalIps: addresses(flags, "node-external-ip"),
    labels: labelsFrom(flags.list("node-label")),
    taints: flags.list("node-taint").map(taintFrom),
    loadBalancerPort: role.controlPlane || flags.boolean("disable-apiserver-lb") ? undefined : loadBalancerPort(flags),
    networkInterface: flags.string("flannel-iface"),
    resolvConf: flags.string("resolv-conf"),
    pauseImage: flags.string("pause-image") ?? defaultPauseImage,
    snapshotter,
    registriesFile: flags.string("private-registry")!,
    disableDefaultRegistryEndpoint: flags.boolean("disable-default-registry-endpoint"),
    maxPods: maxPodsFrom(flags.list("kubelet-arg")),
    controlPlane: role.controlPlane,
    version,
    nodeArgs: [role.controlPlane ? "server" : "agent", ...withoutSecrets(args)],
    nodeEnvironment: Object.fromEntries(
      Object.entries(environment)
        .filter(([name, value]) => name.startsWith("K3S_") && value)
        .map(([name, value]) => [name, secretName.test(name) ? hidden : value!]),
    ),
  };
}

const hidden = "********";
const secretName = /token|secret|password|vpn|endpoint/i;

/** The command line with the values of secrets replaced, as K3s records it on the Node. */
function withoutSecrets(args: readonly string[]): string[] {
  let hideNext = false;
  return args.map((argument) => {
    if (hideNext && !argument.startsWith("-")) {
      hideNext = false;
      return hidden;
    }
    const [name = "", ...value] = argument.split("=");
    const secret = argument.startsWith("-") && (secretName.test(name) || name === "-t");
    hideNext = secret && value.length === 0;
    return secret && value.length > 0 ? `${name}=${hidden}` : argument;
  });
}

/** The content of a token flag, or of the file that its sibling names. */
export function tokenFrom(flags: FlagValues, name: string, fileName: string): string | undefined {
  const token = flags.string(name);
  if (token) return token;
  const path = flags.string(fileName);
  if (!path) return undefined;
  try {
    return readFileSync(path, "utf8").trim();
  } catch (error) {
    throw new ConfigurationError(`cannot read the token file "${path}" (--${fileName}): ${(error as Error).message}`);
  }
}

function loadBalancerPort(flags: FlagValues): number {
  const port = flags.integer("lb-server-port")!;
  if (port >= 1 && port <= 65_535) return port;
  throw new ConfigurationError(`invalid value "${port}" for --lb-server-port: use a port from 1 to 65535`);
}

function addresses(flags: FlagValues, name: string): string[] {
  const values = flags.list(name);
  for (const value of values) {
    if (isIP(value) === 0)
      throw new ConfigurationError(`invalid value "${value}" for --${name}: it is not an IP address`);
  }
  return values;
}

function labelsFrom(values: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    values.map((text) => {
      const [key = "", ...rest] = text.split("=");
      const [problem] = qualifiedName(key);
      if (problem || rest.length === 0) {
        throw new ConfigurationError(`invalid value "${text}" for --node-label: ${problem ?? "write it as key=value"}`);
      }
      return [key, rest.join("=")];
    }),
  );
}

function taintFrom(text: string): { key: string; value?: string; effect: string } {
  const match = /^([^=:]+)(?:=([^:]*))?:(NoSchedule|PreferNoSchedule|NoExecute)$/.exec(text);
  if (!match) {
    throw new ConfigurationError(
      `invalid value "${text}" for --node-taint: write it as key=value:Effect, with the effect NoSchedule, PreferNoSchedule or NoExecute`,
    );
  }
  return { key: match[1]!, ...(match[2] ? { value: match[2] } : {}), effect: match[3]! };
}

const defaultMaxPods = 110;

/** `--kubelet-arg`: what the kubelet has a counterpart of; the rest is refused, not ignored. */
function maxPodsFrom(values: readonly string[]): number {
  let maxPods = defaultMaxPods;
  for (const text of values) {
    const [name = "", value = ""] = text.replace(/^--/, "").split("=");
    if (name !== "max-pods" || !/^\d+$/.test(value)) {
      throw new ConfigurationError(
        `--kubelet-arg=${text} is not supported by this version of k3ts; supported: max-pods=<number>`,
      );
    }
    maxPods = Number(value);
  }
  return maxPods;
}
