/** The containers of pods. */
import { portName, portNumber } from "../../machinery/names.ts";
import type { Container, EphemeralContainer, PodSpec, Volume } from "../generated/core-v1.ts";
import { checkEnv, checkEnvFrom } from "./env.ts";
import type { Errors } from "./errors.ts";
import { checkLifecycle, checkProbes } from "./handlers.ts";
import { checkDevices, checkMounts } from "./mounts.ts";
import { checkResources } from "./resources.ts";
import { checkSecurity } from "./security.ts";

export const protocols = ["SCTP", "TCP", "UDP"];

/** What the containers of one pod share. */
interface Pod {
  readonly spec: PodSpec;
  readonly volumes: ReadonlyMap<string, Volume>;
  readonly claims: ReadonlySet<string>;
}

/** All containers with the path of each, in the order in which Kubernetes visits them. */
export function* eachContainer(
  spec: PodSpec,
  path: string,
): Generator<readonly [Container | EphemeralContainer, string]> {
  for (const field of ["initContainers", "containers", "ephemeralContainers"] as const) {
    for (const [index, container] of (spec[field] ?? []).entries()) yield [container, `${path}.${field}[${index}]`];
  }
}

/** The containers of a pod: regular, init and ephemeral ones, with their names unique among all. */
export function checkContainers(
  errors: Errors,
  path: string,
  spec: PodSpec,
  volumes: ReadonlyMap<string, Volume>,
): void {
  const claims = new Set((spec.resourceClaims ?? []).map(({ name }) => name).filter((name) => name));
  const pod: Pod = { spec, volumes, claims };
  checkRegular(errors, `${path}.containers`, pod);
  checkInit(errors, `${path}.initContainers`, pod);
  checkEphemeral(errors, `${path}.ephemeralContainers`, pod);
}

function checkRegular(errors: Errors, path: string, pod: Pod): void {
  const containers = pod.spec.containers ?? [];
  if (!errors.present(path, containers)) return;
  const names = new Set<string>();
  const ports = new Set<string>();
  for (const [index, container] of containers.entries()) {
    const at = `${path}[${index}]`;
    checkContainer(errors, at, container, pod);
    if (names.has(container.name)) errors.duplicate(`${at}.name`, container.name);
    names.add(container.name);
    checkRunning(errors, at, container, pod.spec);
    checkRestart(errors, at, container);
  }
  for (const [index, container] of containers.entries()) checkHostPorts(errors, `${path}[${index}]`, container, ports);
}

function checkInit(errors: Errors, path: string, pod: Pod): void {
  const names = new Set((pod.spec.containers ?? []).map(({ name }) => name));
  for (const [index, container] of (pod.spec.initContainers ?? []).entries()) {
    const at = `${path}[${index}]`;
    const sidecar = container.restartPolicy === "Always";
    checkContainer(errors, at, container, pod);
    checkRestart(errors, at, container);
    if (names.has(container.name)) errors.duplicate(`${at}.name`, container.name);
    else if (container.name) names.add(container.name);
    // Each on its own: they do not run at the same time. Kubernetes names the first, whichever it is.
    checkHostPorts(errors, `${path}[0]`, container, new Set());
    if (sidecar) checkRunning(errors, at, container, pod.spec);
    else checkPlainInit(errors, at, container);
  }
}

function checkPlainInit(errors: Errors, at: string, container: Container): void {
  for (const field of ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"] as const) {
    if (container[field]) {
      errors.forbidden(`${at}.${field}`, "may not be set for init containers without restartPolicy=Always");
    }
  }
  for (const [index, { restartPolicy }] of (container.resizePolicy ?? []).entries()) {
    if (restartPolicy !== "RestartContainer") continue;
    const text = "must not be set to 'RestartContainer' for non-sidecar initContainers";
    errors.invalid(`${at}.resizePolicy[${index}].restartPolicy`, restartPolicy, text);
  }
}

const notEphemeral = [
  "ports",
  "resources",
  "resizePolicy",
  "restartPolicy",
  "restartPolicyRules",
  "livenessProbe",
  "readinessProbe",
  "startupProbe",
  "lifecycle",
] as const;

function checkEphemeral(errors: Errors, path: string, pod: Pod): void {
  const others = [...(pod.spec.containers ?? []), ...(pod.spec.initContainers ?? [])].map(({ name }) => name);
  const names = new Set(others);
  for (const [index, container] of (pod.spec.ephemeralContainers ?? []).entries()) {
    const at = `${path}[${index}]`;
    checkContainer(errors, at, container, pod);
    checkImageText(errors, at, container);
    if (names.has(container.name)) errors.duplicate(`${at}.name`, container.name);
    names.add(container.name);
    const target = container.targetContainerName;
    if (target && !others.includes(target)) errors.notFound(`${at}.targetContainerName`, target);
    const text = "cannot be set for an Ephemeral Container";
    for (const field of notEphemeral) {
      const value = container[field];
      if (value !== undefined && Object.keys(value).length > 0) errors.forbidden(`${at}.${field}`, text);
    }
    for (const [place, mount] of (container.volumeMounts ?? []).entries()) {
      if (mount.subPath) errors.forbidden(`${at}.volumeMounts[${place}].subPath`, text);
      if (mount.subPathExpr) errors.forbidden(`${at}.volumeMounts[${place}].subPathExpr`, text);
    }
  }
}

/** Pods are stricter than templates, which admission may still complete. */
export function checkImageText(errors: Errors, at: string, { image = "" }: { image?: string }): void {
  if (image.trim() !== image) errors.invalid(`${at}.image`, image, "must not have leading or trailing whitespace");
}

function checkContainer(errors: Errors, at: string, container: Container | EphemeralContainer, pod: Pod): void {
  if (errors.present(`${at}.name`, container.name)) errors.label(`${at}.name`, container.name);
  errors.present(`${at}.image`, container.image);
  const messagePolicies = ["File", "FallbackToLogsOnError"];
  errors.oneOfInOrder(`${at}.terminationMessagePolicy`, container.terminationMessagePolicy, messagePolicies);
  checkPorts(errors, `${at}.ports`, container.ports ?? []);
  checkEnv(errors, `${at}.env`, container.env ?? []);
  checkEnvFrom(errors, `${at}.envFrom`, container.envFrom ?? []);
  checkMounts(errors, `${at}.volumeMounts`, container, pod.volumes);
  checkDevices(errors, `${at}.volumeDevices`, container, pod.volumes);
  errors.oneOf(`${at}.imagePullPolicy`, container.imagePullPolicy, ["Always", "IfNotPresent", "Never"]);
  checkResources(errors, `${at}.resources`, container.resources, pod.claims);
  checkResizePolicy(errors, `${at}.resizePolicy`, container, pod.spec.restartPolicy);
  checkSecurity(errors, `${at}.securityContext`, container.securityContext, pod.spec.hostUsers !== false);
}

function checkResizePolicy(
  errors: Errors,
  path: string,
  container: Container | EphemeralContainer,
  podPolicy: string | undefined,
): void {
  const seen = new Set<string>();
  for (const [index, { resourceName, restartPolicy }] of (container.resizePolicy ?? []).entries()) {
    if (seen.has(resourceName)) errors.duplicate(`${path}[${index}]`, resourceName);
    seen.add(resourceName);
    errors.oneOf(path, resourceName, ["cpu", "memory"]);
    errors.oneOf(path, restartPolicy, ["NotRequired", "RestartContainer"]);
    if (podPolicy === "Never" && restartPolicy !== "NotRequired") {
      errors.invalid(path, restartPolicy, "must be 'NotRequired' when pod `restartPolicy` is 'Never'");
    }
  }
}

const maxRestartRules = 20;
const maxExitCodes = 255;

/** A container's own restart policy, and its rules for exit codes. */
function checkRestart(errors: Errors, at: string, container: Container): void {
  const rules = container.restartPolicyRules ?? [];
  const path = `${at}.restartPolicy`;
  if (container.restartPolicy === undefined) {
    if (rules.length > 0) errors.required(path, "must specify restartPolicy when restart rules are used");
  } else errors.setOneOf(path, container.restartPolicy, ["Always", "Never", "OnFailure"]);
  if (container.restartPolicy === undefined && at.includes(".initContainers[")) return;
  if (rules.length > maxRestartRules) errors.tooMany(`${at}.restartPolicyRules`, rules.length, maxRestartRules);
  for (const [index, { action, exitCodes }] of rules.entries()) {
    const rule = `${at}.restartPolicyRules[${index}]`;
    const actions = ["Restart", "RestartAllContainers"];
    if (!actions.includes(action ?? "")) errors.notSupported(`${rule}.action`, action ?? "", actions);
    if (!exitCodes) {
      errors.required(`${rule}.exitCodes`, "must be specified");
      continue;
    }
    const operators = ["In", "NotIn"];
    if (!operators.includes(exitCodes.operator ?? "")) {
      errors.notSupported(`${rule}.exitCodes.operator`, exitCodes.operator ?? "", operators);
    }
    const count = exitCodes.values?.length ?? 0;
    if (count > maxExitCodes) errors.tooMany(`${rule}.exitCodes.values`, count, maxExitCodes);
  }
}

function checkPorts(errors: Errors, path: string, ports: NonNullable<Container["ports"]>): void {
  const names = new Set<string>();
  for (const [index, port] of ports.entries()) {
    const at = `${path}[${index}]`;
    if (port.name) {
      const messages = portName(port.name);
      errors.messages(`${at}.name`, port.name, messages);
      if (messages.length === 0 && names.has(port.name)) errors.duplicate(`${at}.name`, port.name);
      if (messages.length === 0) names.add(port.name);
    }
    if (!port.containerPort) errors.required(`${at}.containerPort`);
    else errors.messages(`${at}.containerPort`, port.containerPort, portNumber(port.containerPort));
    if (port.hostPort) errors.messages(`${at}.hostPort`, port.hostPort, portNumber(port.hostPort));
    errors.oneOf(`${at}.protocol`, port.protocol, protocols);
  }
}

function checkHostPorts(errors: Errors, at: string, container: Container, taken: Set<string>): void {
  for (const [index, port] of (container.ports ?? []).entries()) {
    if (!port.hostPort) continue;
    const key = `${port.protocol ?? ""}/${port.hostIP ?? ""}/${port.hostPort}`;
    if (taken.has(key)) errors.duplicate(`${at}.ports[${index}].hostPort`, key);
    taken.add(key);
  }
}

/** Probes and hooks of containers that go on running. */
function checkRunning(errors: Errors, at: string, container: Container, spec: PodSpec): void {
  const grace = spec.terminationGracePeriodSeconds;
  if (container.lifecycle) checkLifecycle(errors, `${at}.lifecycle`, container.lifecycle, grace, spec.os?.name);
  checkProbes(errors, at, container, grace);
}
