import { ConfigurationError } from "../../machinery/configuration-error.ts";
import { normalizeImageName } from "./image-name.ts";
import type { RegistryAuth } from "./registries.ts";

/** What the generated configuration depends on. Paths are absolute. */
export interface ContainerdSettings {
  readonly rootDir: string;
  readonly stateDir: string;
  readonly socketPath: string;
  readonly cniConfDir: string;
  readonly cniBinDirs: readonly string[];
  readonly certsDir: string;
  readonly snapshotter: string;
  readonly pauseImage: string;
  /** The process may not lower oom_score_adj below its own (no CAP_SYS_RESOURCE). */
  readonly restrictOomScoreAdj: boolean;
  readonly defaultRuntime: string;
  /** The kernel refuses AppArmor profiles from here, or has none. */
  readonly disableApparmor: boolean;
  readonly auths: Readonly<Record<string, RegistryAuth>>;
}

// A JSON string is a valid TOML basic string.
const quote = (value: string): string => JSON.stringify(value);

/** Plugins that a node has no use for; each one left out saves memory and start-up time. */
const disabledPlugins = [
  "io.containerd.internal.v1.tracing",
  "io.containerd.tracing.processor.v1.otlp",
  "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.zfs",
  "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.blockfile",
  "io.containerd.snapshotter.v1.erofs",
  "io.containerd.differ.v1.erofs",
  "io.containerd.nri.v1.nri",
];

/** The text of containerd's config.toml (configuration version 3, containerd 2). */
export function renderContainerdConfig(settings: ContainerdSettings): string {
  const auths = Object.entries(settings.auths).map(([host, auth]) => {
    const lines = Object.entries(auth)
      .filter(([, value]) => value)
      .map(([key, value]) => `  ${key} = ${quote(value as string)}`);
    return `\n[plugins.'io.containerd.cri.v1.images'.registry.configs.${quote(host)}.auth]\n${lines.join("\n")}\n`;
  });
  return `# Generated at every start. To change it, put a config-v3.toml.tmpl beside this file.
version = 3
root = ${quote(settings.rootDir)}
state = ${quote(settings.stateDir)}
disabled_plugins = [${disabledPlugins.map(quote).join(", ")}]

[grpc]
  address = ${quote(settings.socketPath)}

[plugins.'io.containerd.internal.v1.opt']
  path = ${quote(settings.rootDir)}

[plugins.'io.containerd.grpc.v1.cri']
  stream_server_address = "127.0.0.1"
  stream_server_port = "10010"

[plugins.'io.containerd.cri.v1.runtime']
  enable_selinux = false
  enable_unprivileged_ports = true
  enable_unprivileged_icmp = true
  disable_apparmor = ${settings.disableApparmor}
  restrict_oom_score_adj = ${settings.restrictOomScoreAdj}

[plugins.'io.containerd.cri.v1.runtime'.cni]
  bin_dirs = [${settings.cniBinDirs.map(quote).join(", ")}]
  conf_dir = ${quote(settings.cniConfDir)}

[plugins.'io.containerd.cri.v1.runtime'.containerd]
  default_runtime_name = ${quote(settings.defaultRuntime)}

[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"

[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
  SystemdCgroup = false

[plugins.'io.containerd.cri.v1.images']
  snapshotter = ${quote(settings.snapshotter)}
  disable_snapshot_annotations = true

[plugins.'io.containerd.cri.v1.images'.pinned_images]
  sandbox = ${quote(normalizeImageName(settings.pauseImage))}

[plugins.'io.containerd.cri.v1.images'.registry]
  config_path = ${quote(settings.certsDir)}
${auths.join("")}`;
}

/**
 * Applies a user's template. Of Go's template language the inclusion of the generated text is understood:
 * `{{ template "base" . }}`. Throws for any other action, since ignoring it would give a wrong configuration.
 */
export function applyConfigTemplate(template: string, base: string, path: string): string {
  const result = template
    .replace(/\{\{-?\s*\/\*[\s\S]*?\*\/\s*-?\}\}/g, "")
    .replace(/\{\{-?\s*template\s+"base"\s+\.\s*-?\}\}/g, () => base);
  const other = /\{\{.*?\}\}/s.exec(result);
  if (other)
    throw new ConfigurationError(
      `${path}: the template action ${other[0]} is not supported; use plain TOML and {{ template "base" . }}`,
    );
  return result;
}
