import {
  configMapKey,
  dns1123Label,
  dns1123Subdomain,
  httpHeaderName,
  portName,
  portNumber,
  relaxedEnvVarName,
  userId,
} from "../../machinery/names.ts";
import type {
  Container,
  EnvVar,
  EphemeralContainer,
  HTTPGetAction,
  Lifecycle,
  PodSpec,
  Probe,
  SecurityContext,
  Volume,
  VolumeMount,
} from "../generated/core-v1.ts";
import type { Errors } from "./errors.ts";
import { checkPort } from "./labels.ts";
import { checkResources } from "./resources.ts";

const protocols = ["SCTP", "TCP", "UDP"];
const pullPolicies = ["Always", "IfNotPresent", "Never"];

/** The containers of a pod: regular, init and ephemeral ones, with their names unique among all. */
export function checkContainers(errors: Errors, path: string, spec: PodSpec): void {
  const volumes = new Map((spec.volumes ?? []).map((volume) => [volume.name, volume]));
  const containers = spec.containers ?? [];
  if (containers.length === 0) errors.required(`${path}.containers`);
  const names = new Set<string>();
  const claimName = (at: string, name: string) => {
    if (name && names.has(name)) errors.duplicate(`${at}.name`, name);
    names.add(name);
  };
  for (const [index, container] of containers.entries()) {
    const at = `${path}.containers[${index}]`;
    checkContainer(errors, at, container, volumes);
    claimName(at, container.name);
    checkRunning(errors, at, container);
    if (container.restartPolicy && !container.restartPolicyRules) {
      errors.optionalOneOf(`${at}.restartPolicy`, container.restartPolicy, ["Always", "Never", "OnFailure"]);
    }
  }
  checkHostPorts(errors, `${path}.containers`, containers);
  for (const [index, container] of (spec.initContainers ?? []).entries()) {
    const at = `${path}.initContainers[${index}]`;
    checkContainer(errors, at, container, volumes);
    claimName(at, container.name);
    if (container.restartPolicy === "Always") checkRunning(errors, at, container);
    else checkPlainInit(errors, at, container);
  }
  for (const [index, container] of (spec.ephemeralContainers ?? []).entries()) {
    const at = `${path}.ephemeralContainers[${index}]`;
    checkContainer(errors, at, container, volumes);
    claimName(at, container.name);
    checkEphemeral(errors, at, container, spec);
  }
}

function checkPlainInit(errors: Errors, at: string, container: Container): void {
  for (const field of ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"] as const) {
    if (container[field]) {
      errors.forbidden(`${at}.${field}`, "may not be set for init containers without restartPolicy=Always");
    }
  }
}

function checkEphemeral(errors: Errors, at: string, container: EphemeralContainer, spec: PodSpec): void {
  for (const field of ["ports", "livenessProbe", "readinessProbe", "startupProbe", "lifecycle"] as const) {
    if (container[field]) errors.forbidden(`${at}.${field}`, "cannot be set for an Ephemeral Container");
  }
  const { targetContainerName } = container;
  if (!targetContainerName) return;
  const others = [...(spec.containers ?? []), ...(spec.initContainers ?? [])];
  if (!others.some(({ name }) => name === targetContainerName)) {
    errors.notFound(`${at}.targetContainerName`, targetContainerName);
  }
}

type Volumes = ReadonlyMap<string, Volume>;

function checkContainer(errors: Errors, at: string, container: Container | EphemeralContainer, volumes: Volumes): void {
  if (!container.name) errors.required(`${at}.name`);
  else errors.messages(`${at}.name`, container.name, dns1123Label(container.name));
  if (!container.image) errors.required(`${at}.image`);
  errors.oneOf(`${at}.terminationMessagePolicy`, container.terminationMessagePolicy, ["FallbackToLogsOnError", "File"]);
  checkPorts(errors, `${at}.ports`, container.ports ?? []);
  checkEnv(errors, `${at}.env`, container.env ?? []);
  checkEnvFrom(errors, `${at}.envFrom`, container.envFrom ?? []);
  checkMounts(errors, `${at}.volumeMounts`, container, volumes);
  checkDevices(errors, `${at}.volumeDevices`, container, volumes);
  errors.oneOf(`${at}.imagePullPolicy`, container.imagePullPolicy, pullPolicies);
  checkResources(errors, `${at}.resources`, container.resources);
  checkSecurity(errors, `${at}.securityContext`, container.securityContext);
}

function checkPorts(errors: Errors, path: string, ports: NonNullable<Container["ports"]>): void {
  const names = new Set<string>();
  for (const [index, port] of ports.entries()) {
    const at = `${path}[${index}]`;
    if (port.name) {
      const messages = portName(port.name);
      errors.messages(`${at}.name`, port.name, messages);
      if (messages.length === 0 && names.has(port.name)) errors.duplicate(`${at}.name`, port.name);
      names.add(port.name);
    }
    if (!port.containerPort) errors.required(`${at}.containerPort`);
    else errors.messages(`${at}.containerPort`, port.containerPort, portNumber(port.containerPort));
    if (port.hostPort) errors.messages(`${at}.hostPort`, port.hostPort, portNumber(port.hostPort));
    errors.oneOf(`${at}.protocol`, port.protocol, protocols);
  }
}

function checkHostPorts(errors: Errors, path: string, containers: readonly Container[]): void {
  const taken = new Set<string>();
  for (const [index, container] of containers.entries()) {
    for (const [place, port] of (container.ports ?? []).entries()) {
      if (!port.hostPort) continue;
      const key = `${port.protocol ?? ""}/${port.hostIP ?? ""}/${port.hostPort}`;
      if (taken.has(key)) errors.duplicate(`${path}[${index}].ports[${place}].hostPort`, key);
      taken.add(key);
    }
  }
}

const envSources =
  "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`";

function checkEnv(errors: Errors, path: string, env: readonly EnvVar[]): void {
  for (const [index, variable] of env.entries()) {
    const at = `${path}[${index}]`;
    if (!variable.name) errors.required(`${at}.name`);
    else errors.messages(`${at}.name`, variable.name, relaxedEnvVarName(variable.name));
    const source = variable.valueFrom;
    if (!source) continue;
    const from = `${at}.valueFrom`;
    for (const field of ["configMapKeyRef", "secretKeyRef"] as const) {
      const reference = source[field];
      if (!reference) continue;
      errors.messages(`${from}.${field}.name`, reference.name ?? "", dns1123Subdomain(reference.name ?? ""));
      if (!reference.key) errors.required(`${from}.${field}.key`);
      else errors.messages(`${from}.${field}.key`, reference.key, configMapKey(reference.key));
    }
    if (source.fieldRef) checkFieldRef(errors, `${from}.fieldRef`, source.fieldRef.fieldPath, envFields);
    if (source.resourceFieldRef)
      checkResourceField(errors, `${from}.resourceFieldRef`, source.resourceFieldRef.resource);
    const given = Object.values(source).filter((value) => value !== undefined && value !== null).length;
    if (given === 0) errors.invalid(from, "", envSources);
    else if (variable.value) errors.invalid(from, "", "may not be specified when `value` is not empty");
    else if (given > 1) errors.invalid(from, "", "may not have more than one field specified at a time");
  }
}

const envFields = [
  "metadata.name",
  "metadata.namespace",
  "metadata.uid",
  "spec.nodeName",
  "spec.serviceAccountName",
  "status.hostIP",
  "status.hostIPs",
  "status.podIP",
  "status.podIPs",
];

/** Fields that files of a downward API volume may show. */
export const fileFields = [
  "metadata.annotations",
  "metadata.labels",
  "metadata.name",
  "metadata.namespace",
  "metadata.uid",
];

export function checkFieldRef(errors: Errors, at: string, fieldPath: string, supported: readonly string[]): void {
  if (!fieldPath) errors.required(`${at}.fieldPath`);
  else if (/^metadata\.(annotations|labels)\['.+'\]$/.test(fieldPath)) return;
  else if (!supported.includes(fieldPath)) errors.notSupported(`${at}.fieldPath`, fieldPath, supported);
}

const resourceFields = [
  "limits.cpu",
  "limits.ephemeral-storage",
  "limits.memory",
  "requests.cpu",
  "requests.ephemeral-storage",
  "requests.memory",
];

export function checkResourceField(errors: Errors, at: string, resource: string): void {
  if (!resource) errors.required(`${at}.resource`);
  else if (!resourceFields.includes(resource) && !/^(limits|requests)\.hugepages-/.test(resource)) {
    errors.notSupported(`${at}.resource`, resource, resourceFields);
  }
}

function checkEnvFrom(errors: Errors, path: string, sources: NonNullable<Container["envFrom"]>): void {
  for (const [index, source] of sources.entries()) {
    const at = `${path}[${index}]`;
    if (source.prefix) errors.messages(`${at}.prefix`, source.prefix, relaxedEnvVarName(source.prefix));
    for (const field of ["configMapRef", "secretRef"] as const) {
      const reference = source[field];
      if (reference)
        errors.messages(`${at}.${field}.name`, reference.name ?? "", dns1123Subdomain(reference.name ?? ""));
    }
    if (!source.configMapRef && !source.secretRef) {
      errors.invalid(path, "", "must specify one of: `configMapRef` or `secretRef`");
    } else if (source.configMapRef && source.secretRef) {
      errors.invalid(path, "", "may not have more than one field specified at a time");
    }
  }
}

function checkMounts(errors: Errors, path: string, container: Container | EphemeralContainer, volumes: Volumes): void {
  const paths = new Set<string>();
  const devices = container.volumeDevices ?? [];
  for (const [index, mount] of (container.volumeMounts ?? []).entries()) {
    const at = `${path}[${index}]`;
    if (!mount.name) errors.required(`${at}.name`);
    if (!volumes.has(mount.name)) errors.notFound(`${at}.name`, mount.name);
    if (!mount.mountPath) errors.required(`${at}.mountPath`);
    if (paths.has(mount.mountPath)) errors.invalid(`${at}.mountPath`, mount.mountPath, "must be unique");
    paths.add(mount.mountPath);
    if (devices.some(({ name }) => name === mount.name)) {
      errors.invalid(`${at}.name`, mount.name, "must not already exist in volumeDevices");
    }
    checkMountOptions(errors, path, at, mount, container.securityContext);
  }
}

function checkMountOptions(
  errors: Errors,
  path: string,
  at: string,
  mount: VolumeMount,
  security: SecurityContext | undefined,
): void {
  if (mount.subPath) checkRelativePath(errors, `${path}.subPath`, mount.subPath);
  if (mount.subPathExpr) {
    if (mount.subPath) {
      errors.invalid(`${at}.subPathExpr`, mount.subPathExpr, "subPathExpr and subPath are mutually exclusive");
    }
    checkRelativePath(errors, `${path}.subPathExpr`, mount.subPathExpr);
  }
  const propagation = mount.mountPropagation;
  errors.optionalOneOf(`${path}.mountPropagation`, propagation, ["Bidirectional", "HostToContainer", "None"]);
  if (propagation === "Bidirectional" && security?.privileged !== true) {
    const text = "Bidirectional mount propagation is available only to privileged containers";
    errors.forbidden(`${path}.mountPropagation`, text);
  }
}

/** A path that stays inside: relative, without "..". */
export function checkRelativePath(errors: Errors, path: string, value: string): void {
  if (value.startsWith("/")) errors.invalid(path, value, "must be a relative path");
  if (value.split("/").includes("..")) errors.invalid(path, value, "must not contain '..'");
}

function checkDevices(errors: Errors, path: string, container: Container | EphemeralContainer, volumes: Volumes): void {
  for (const [index, device] of (container.volumeDevices ?? []).entries()) {
    const at = `${path}[${index}]`;
    const volume = volumes.get(device.name);
    if (!device.name) errors.required(`${at}.name`);
    else if (!volume) errors.notFound(`${at}.name`, device.name);
    else if (!volume.persistentVolumeClaim && !volume.ephemeral) {
      errors.invalid(
        `${at}.name`,
        device.name,
        "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode",
      );
    }
    if (!device.devicePath) errors.required(`${at}.devicePath`);
    else checkNoBackSteps(errors, `${at}.devicePath`, device.devicePath);
  }
}

function checkNoBackSteps(errors: Errors, path: string, value: string): void {
  if (value.split("/").includes("..")) errors.invalid(path, value, "must not contain '..'");
}

function checkSecurity(errors: Errors, path: string, security: SecurityContext | undefined): void {
  if (!security) return;
  if (security.runAsUser !== undefined)
    errors.messages(`${path}.runAsUser`, security.runAsUser, userId(security.runAsUser));
  if (security.runAsGroup !== undefined) {
    errors.messages(`${path}.runAsGroup`, security.runAsGroup, userId(security.runAsGroup));
  }
  errors.optionalOneOf(`${path}.procMount`, security.procMount, ["Default", "Unmasked"]);
  checkProfile(errors, `${path}.seccompProfile`, security.seccompProfile);
  checkProfile(errors, `${path}.appArmorProfile`, security.appArmorProfile);
  if (security.allowPrivilegeEscalation !== false) return;
  if (security.privileged) {
    errors.invalid(path, security, "cannot set `allowPrivilegeEscalation` to false and `privileged` to true");
  }
  if (security.capabilities?.add?.includes("CAP_SYS_ADMIN")) {
    const text = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN";
    errors.invalid(path, security, text);
  }
}

export function checkProfile(
  errors: Errors,
  path: string,
  profile: { type: string; localhostProfile?: string } | undefined,
): void {
  if (!profile) return;
  errors.oneOf(`${path}.type`, profile.type, ["Localhost", "RuntimeDefault", "Unconfined"]);
  if (profile.type === "Localhost" && !profile.localhostProfile) {
    errors.required(`${path}.localhostProfile`, "must be set when type is Localhost");
  }
  if (profile.type !== "Localhost" && profile.localhostProfile !== undefined) {
    errors.invalid(`${path}.localhostProfile`, profile.localhostProfile, 'can only be set when type is "Localhost"');
  }
}

/** Probes and hooks of containers that go on running. */
function checkRunning(errors: Errors, at: string, container: Container): void {
  checkLifecycle(errors, `${at}.lifecycle`, container.lifecycle);
  for (const field of ["livenessProbe", "readinessProbe", "startupProbe"] as const) {
    const probe = container[field];
    if (!probe) continue;
    const path = `${at}.${field}`;
    checkProbe(errors, path, probe);
    if (field === "readinessProbe") {
      if (probe.terminationGracePeriodSeconds !== undefined) {
        const value = probe.terminationGracePeriodSeconds;
        errors.invalid(`${path}.terminationGracePeriodSeconds`, value, "must not be set for readinessProbes");
      }
    } else if (probe.successThreshold !== 1) {
      errors.invalid(`${path}.successThreshold`, probe.successThreshold ?? 0, "must be 1");
    }
  }
}

function checkProbe(errors: Errors, path: string, probe: Probe): void {
  checkHandler(errors, path, probe);
  for (const field of [
    "initialDelaySeconds",
    "timeoutSeconds",
    "periodSeconds",
    "successThreshold",
    "failureThreshold",
  ] as const) {
    errors.nonNegative(`${path}.${field}`, probe[field]);
  }
  const grace = probe.terminationGracePeriodSeconds;
  if (grace !== undefined && grace <= 0) {
    errors.invalid(`${path}.terminationGracePeriodSeconds`, grace, "must be greater than 0");
  }
}

function checkLifecycle(errors: Errors, path: string, lifecycle: Lifecycle | undefined): void {
  if (lifecycle?.postStart) checkHandler(errors, `${path}.postStart`, lifecycle.postStart);
  if (lifecycle?.preStop) checkHandler(errors, `${path}.preStop`, lifecycle.preStop);
}

type Handler = Pick<Probe, "exec" | "httpGet" | "tcpSocket" | "grpc"> & { sleep?: { seconds: number } };

function checkHandler(errors: Errors, path: string, handler: Handler): void {
  const kinds = (["exec", "httpGet", "tcpSocket", "grpc", "sleep"] as const).filter((kind) => handler[kind]);
  if (kinds.length === 0) errors.required(path, "must specify a handler type");
  for (const kind of kinds.slice(1)) errors.forbidden(`${path}.${kind}`, "may not specify more than 1 handler type");
  switch (kinds[0]) {
    case "exec":
      if (!handler.exec?.command?.length) errors.required(`${path}.exec.command`);
      break;
    case "httpGet":
      checkHttpGet(errors, `${path}.httpGet`, handler.httpGet!);
      break;
    case "tcpSocket":
      checkPort(errors, `${path}.tcpSocket.port`, handler.tcpSocket!.port);
      break;
    case "grpc":
      checkPort(errors, `${path}.grpc.port`, handler.grpc!.port);
      break;
    default:
  }
}

function checkHttpGet(errors: Errors, path: string, action: HTTPGetAction): void {
  if (!action.path) errors.required(`${path}.path`);
  checkPort(errors, `${path}.port`, action.port);
  if (!["HTTP", "HTTPS"].includes(action.scheme ?? "")) {
    errors.notSupported(`${path}.scheme`, action.scheme ?? "", ["HTTP", "HTTPS"]);
  }
  for (const { name } of action.httpHeaders ?? []) errors.messages(`${path}.httpHeaders`, name, httpHeaderName(name));
}
