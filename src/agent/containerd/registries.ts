import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { ConfigurationError } from "../../machinery/configuration-error.ts";

export interface RegistryAuth {
  readonly username?: string;
  readonly password?: string;
  readonly auth?: string;
  readonly identitytoken?: string;
}

interface RegistryTls {
  readonly ca_file?: string;
  readonly cert_file?: string;
  readonly key_file?: string;
  readonly insecure_skip_verify?: boolean;
}

/** The content of registries.yaml. */
export interface Registries {
  readonly mirrors?: Readonly<
    Record<
      string,
      { readonly endpoint?: readonly string[]; readonly rewrite?: Readonly<Record<string, string>> } | null
    >
  >;
  readonly configs?: Readonly<
    Record<
      string,
      {
        readonly auth?: RegistryAuth & { readonly token?: string; readonly identity_token?: string };
        readonly tls?: RegistryTls;
      } | null
    >
  >;
}

/** Reads registries.yaml; a missing file is no registries. Throws, naming the file, when it cannot be understood. */
export async function readRegistries(path: string): Promise<Registries> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return {};
    throw error;
  }
  // Loaded here: most nodes have no such file.
  const { parse } = await import("yaml");
  let value: unknown;
  try {
    value = parse(text) ?? {};
  } catch (error) {
    throw new ConfigurationError(`${path}: ${(error as Error).message}`);
  }
  if (typeof value !== "object" || Array.isArray(value))
    throw new ConfigurationError(`${path}: want a mapping with "mirrors" and "configs"`);
  for (const key of Object.keys(value as object))
    if (key !== "mirrors" && key !== "configs")
      throw new ConfigurationError(`${path}: unknown key "${key}"; want "mirrors" and "configs"`);
  checkShape(path, value as Record<string, unknown>);
  return value as Registries;
}

/** Mistakes that would otherwise show only when an image cannot be pulled. */
function checkShape(path: string, registries: Record<string, unknown>): void {
  for (const key of ["mirrors", "configs"]) {
    const entries = registries[key] ?? {};
    if (!isMap(entries)) throw new ConfigurationError(`${path}: "${key}" must be a mapping of registry names`);
    for (const [name, entry] of Object.entries(entries)) {
      if (entry !== null && !isMap(entry))
        throw new ConfigurationError(`${path}: ${key}."${name}" must be a mapping, or empty`);
      const endpoints = entry?.["endpoint"] ?? [];
      if (!Array.isArray(endpoints))
        throw new ConfigurationError(`${path}: ${key}."${name}".endpoint must be a list of URLs`);
      for (const endpoint of endpoints) {
        if (typeof endpoint !== "string" || !URL.canParse(endpoint.includes("://") ? endpoint : `https://${endpoint}`))
          throw new ConfigurationError(`${path}: ${key}."${name}".endpoint: ${JSON.stringify(endpoint)} is not a URL`);
      }
    }
  }
}

function isMap(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Credentials by registry host, as containerd's configuration takes them. */
export function registryAuths(registries: Registries): Record<string, RegistryAuth> {
  const result: Record<string, RegistryAuth> = {};
  for (const [host, config] of Object.entries(registries.configs ?? {})) {
    if (!config?.auth) continue;
    const { username, password, auth, token, identitytoken, identity_token } = config.auth;
    result[host] = {
      ...(username ? { username } : {}),
      ...(password ? { password } : {}),
      ...(auth || token ? { auth: auth ?? token! } : {}),
      ...(identitytoken || identity_token ? { identitytoken: identitytoken ?? identity_token! } : {}),
    };
  }
  return result;
}

/** Where images of a registry come from when no mirror answers. */
function defaultEndpoint(registry: string): string {
  return registry === "docker.io" ? "https://registry-1.docker.io/v2" : `https://${registry}/v2`;
}

const quote = (value: string): string => JSON.stringify(value);

function endpointUrl(endpoint: string): URL {
  const url = new URL(endpoint.includes("://") ? endpoint : `https://${endpoint}`);
  if (url.pathname === "/" || url.pathname === "") url.pathname = "/v2";
  return url;
}

function tlsLines(tls: RegistryTls | undefined, indent: string): string[] {
  if (!tls) return [];
  const lines: string[] = [];
  if (tls.ca_file) lines.push(`${indent}ca = [${quote(tls.ca_file)}]`);
  if (tls.cert_file && tls.key_file)
    lines.push(`${indent}client = [[${quote(tls.cert_file)}, ${quote(tls.key_file)}]]`);
  if (tls.insecure_skip_verify) lines.push(`${indent}skip_verify = true`);
  return lines;
}

/** The hosts.toml texts by directory name below certs.d. Throws for what containerd cannot do. */
export function renderHosts(
  registries: Registries,
  options: { disableDefaultEndpoint?: boolean } = {},
): Record<string, string> {
  const result: Record<string, string> = {};
  const names = new Set([...Object.keys(registries.mirrors ?? {}), ...Object.keys(registries.configs ?? {})]);
  for (const name of names) {
    const mirror = registries.mirrors?.[name] ?? {};
    if (Object.keys(mirror.rewrite ?? {}).length > 0)
      throw new ConfigurationError(`registries.yaml: mirrors."${name}".rewrite is not supported by this containerd`);
    const lines: string[] = [];
    const isDefault = name === "*";
    if (!isDefault && !options.disableDefaultEndpoint) {
      lines.push(`server = ${quote(defaultEndpoint(name))}`);
      lines.push('capabilities = ["pull", "resolve", "push"]');
      lines.push("override_path = true", ...tlsLines(registries.configs?.[name]?.tls, ""));
    }
    for (const endpoint of mirror.endpoint ?? []) {
      const url = endpointUrl(endpoint);
      const text = url.toString().replace(/\/$/, "");
      if (!isDefault && text === defaultEndpoint(name)) continue;
      lines.push("", `[host.${quote(text)}]`, '  capabilities = ["pull", "resolve"]', "  override_path = true");
      lines.push(...tlsLines(registries.configs?.[url.host]?.tls, "  "));
    }
    if (lines.length > 0) result[isDefault ? "_default" : name] = `${lines.join("\n")}\n`;
  }
  return result;
}

/** Replaces the certs.d directory with what the registries say. */
export async function writeHosts(certsDir: string, hosts: Readonly<Record<string, string>>): Promise<void> {
  await rm(certsDir, { recursive: true, force: true });
  await mkdir(certsDir, { recursive: true });
  for (const [name, text] of Object.entries(hosts)) {
    await mkdir(join(certsDir, name), { recursive: true });
    await writeFile(join(certsDir, name, "hosts.toml"), text, { mode: 0o600 });
  }
}
