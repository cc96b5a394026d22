import type { ConfigMap, EnvVar, EnvVarSource, Pod, Secret, Service } from "../../api/generated/core-v1.ts";
import { parseQuantity } from "../../machinery/quantity.ts";
import { type AnyContainer, allContainers } from "./pod-facts.ts";

/** A container cannot be configured as its spec asks; its reason is CreateContainerConfigError. */
export class ContainerConfigError extends Error {}

/** What variables may refer to. The lookups give `undefined` for an object that does not exist. */
export interface EnvironmentSources {
  readonly nodeName: string;
  readonly hostIp: string;
  readonly hostIps: readonly string[];
  readonly podIps: readonly string[];
  /** Stand-ins for limits that are not set. */
  readonly allocatable: Readonly<Record<string, string>>;
  configMap(name: string): Promise<ConfigMap | undefined>;
  secret(name: string): Promise<Secret | undefined>;
  services(): Promise<readonly Service[]>;
  /** Reads a key of an env file in a volume. */
  fileKey?(volume: string, path: string, key: string): Promise<string | undefined>;
}

/**
 * Replaces $(NAME) by the variable's value. "$$" stands for "$", so $$(NAME) is the text "$(NAME)"; an unknown name
 * stays as it is.
 */
export function expand(text: string, variables: ReadonlyMap<string, string>): string {
  return text.replace(/\$(\$|\(([^)]*)\))/g, (whole, inner: string, name: string | undefined) =>
    inner === "$" ? "$" : (variables.get(name!) ?? whole),
  );
}

/** A field of the pod by path, as the downward API knows it. Throws for a path that it does not know. */
export function podField(pod: Pod, path: string, sources: EnvironmentSources): string {
  const keyed = /^metadata\.(labels|annotations)\['(.*)'\]$/.exec(path);
  if (keyed) return pod.metadata[keyed[1] as "labels" | "annotations"]?.[keyed[2]!] ?? "";
  switch (path) {
    case "metadata.name":
      return pod.metadata.name ?? "";
    case "metadata.namespace":
      return pod.metadata.namespace ?? "";
    case "metadata.uid":
      return pod.metadata.uid ?? "";
    case "metadata.labels":
      return formatMap(pod.metadata.labels);
    case "metadata.annotations":
      return formatMap(pod.metadata.annotations);
    case "spec.nodeName":
      return sources.nodeName;
    case "spec.serviceAccountName":
      return pod.spec!.serviceAccountName ?? "";
    case "status.hostIP":
      return sources.hostIp;
    case "status.hostIPs":
      return sources.hostIps.join(",");
    case "status.podIP":
      return sources.podIps[0] ?? "";
    case "status.podIPs":
      return sources.podIps.join(",");
    default:
      throw new ContainerConfigError(`unsupported fieldPath: ${path}`);
  }
}

function formatMap(map: Readonly<Record<string, string>> | undefined): string {
  return Object.entries(map ?? {})
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, value]) => `${key}=${JSON.stringify(value)}`)
    .join("\n");
}

/** A limit or request of a container in units of the divisor, rounded up. */
export function resourceField(
  pod: Pod,
  container: AnyContainer,
  selector: { containerName?: string; resource: string; divisor?: string },
  allocatable: Readonly<Record<string, string>>,
): string {
  const of = selector.containerName
    ? allContainers(pod).find(({ container: { name } }) => name === selector.containerName)?.container
    : container;
  if (!of) throw new ContainerConfigError(`container ${selector.containerName} not found`);
  const [kind, resource] = [
    selector.resource.slice(0, selector.resource.indexOf(".")),
    selector.resource.replace(/^[^.]*\./, ""),
  ];
  if (kind !== "limits" && kind !== "requests")
    throw new ContainerConfigError(`unsupported container resource: ${selector.resource}`);
  const value = of.resources?.[kind]?.[resource] ?? (kind === "limits" ? allocatable[resource] : undefined) ?? "0";
  const divisor = selector.divisor && selector.divisor !== "0" ? selector.divisor : "1";
  return String(Math.ceil(parseQuantity(value).toMilli() / parseQuantity(divisor).toMilli()));
}

/** Variables for the services of the pod's namespace, and those of the API server. */
export function serviceVariables(services: readonly Service[]): Map<string, string> {
  const result = new Map<string, string>();
  for (const { metadata, spec } of services) {
    const address = spec?.clusterIP;
    const ports = spec?.ports ?? [];
    if (!address || address === "None" || ports.length === 0) continue;
    const prefix = (metadata.name ?? "").toUpperCase().replaceAll("-", "_");
    const host = address.includes(":") ? `[${address}]` : address;
    result.set(`${prefix}_SERVICE_HOST`, address);
    result.set(`${prefix}_SERVICE_PORT`, String(ports[0]!.port));
    for (const port of ports)
      if (port.name)
        result.set(`${prefix}_SERVICE_PORT_${port.name.toUpperCase().replaceAll("-", "_")}`, String(port.port));
    for (const [index, port] of ports.entries()) {
      const protocol = (port.protocol ?? "TCP").toLowerCase();
      const url = `${protocol}://${host}:${port.port}`;
      const one = `${prefix}_PORT_${port.port}_${protocol.toUpperCase()}`;
      if (index === 0) result.set(`${prefix}_PORT`, url);
      result.set(one, url);
      result.set(`${one}_PROTO`, protocol);
      result.set(`${one}_PORT`, String(port.port));
      result.set(`${one}_ADDR`, address);
    }
  }
  return result;
}

async function fromSource(
  pod: Pod,
  container: AnyContainer,
  variable: EnvVar,
  source: EnvVarSource,
  sources: EnvironmentSources,
): Promise<string | undefined> {
  if (source.fieldRef) return podField(pod, source.fieldRef.fieldPath, sources);
  if (source.resourceFieldRef) return resourceField(pod, container, source.resourceFieldRef, sources.allocatable);
  if (source.configMapKeyRef) {
    const { name = "", key, optional } = source.configMapKeyRef;
    const object = await sources.configMap(name);
    if (!object && !optional) throw new ContainerConfigError(`configmap "${name}" not found`);
    const value = object?.data?.[key];
    if (value === undefined && !optional)
      throw new ContainerConfigError(`couldn't find key ${key} in ConfigMap ${pod.metadata.namespace}/${name}`);
    return value;
  }
  if (source.secretKeyRef) {
    const { name = "", key, optional } = source.secretKeyRef;
    const object = await sources.secret(name);
    if (!object && !optional) throw new ContainerConfigError(`secret "${name}" not found`);
    const value = object?.data?.[key];
    if (value === undefined && !optional)
      throw new ContainerConfigError(`couldn't find key ${key} in Secret ${pod.metadata.namespace}/${name}`);
    return value === undefined ? undefined : Buffer.from(value, "base64").toString();
  }
  if (source.fileKeyRef) {
    const { volumeName, path, key, optional } = source.fileKeyRef;
    const value = await sources.fileKey?.(volumeName, path, key);
    if (value === undefined && !optional)
      throw new ContainerConfigError(`environment variable key "${key}" not found in file "${path}"`);
    return value;
  }
  throw new ContainerConfigError(`env "${variable.name}": valueFrom names no source that is known here`);
}

/** The environment of a container, in order. Throws {@link ContainerConfigError} for what is missing. */
export async function containerEnvironment(
  pod: Pod,
  container: AnyContainer,
  sources: EnvironmentSources,
): Promise<Map<string, string>> {
  const result = new Map<string, string>();
  for (const { prefix = "", configMapRef, secretRef } of container.envFrom ?? []) {
    const reference = configMapRef ?? secretRef;
    const name = reference?.name ?? "";
    const kind = configMapRef ? "configmap" : "secret";
    const data = configMapRef ? (await sources.configMap(name))?.data : decoded(await sources.secret(name));
    if (
      data === undefined &&
      !reference?.optional &&
      !(await (configMapRef ? sources.configMap(name) : sources.secret(name)))
    )
      throw new ContainerConfigError(`${kind} "${name}" not found`);
    for (const [key, value] of Object.entries(data ?? {})) result.set(prefix + key, value);
  }
  // Services come first in precedence order reversed: what the pod defines itself wins.
  const services = serviceVariables(await sources.services());
  const own = new Set([...result.keys(), ...(container.env ?? []).map(({ name }) => name)]);
  const known = new Map([...services, ...result]);
  for (const variable of container.env ?? []) {
    const value = variable.valueFrom
      ? await fromSource(pod, container, variable, variable.valueFrom, sources)
      : expand(variable.value ?? "", known);
    if (value === undefined) continue;
    known.set(variable.name, value);
    result.set(variable.name, value);
  }
  for (const [name, value] of services) if (!own.has(name)) result.set(name, value);
  return result;
}

function decoded(secret: Secret | undefined): Record<string, string> | undefined {
  if (!secret?.data) return undefined;
  return Object.fromEntries(
    Object.entries(secret.data).map(([key, value]) => [key, Buffer.from(value, "base64").toString()]),
  );
}
