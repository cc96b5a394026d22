/** Probes and lifecycle hooks of containers. */
import { httpHeaderName } from "../../machinery/names.ts";
import type { Container, HTTPGetAction, Lifecycle, Probe } from "../generated/core-v1.ts";
import type { Errors } from "./errors.ts";
import { checkPort } from "./labels.ts";

const probes = ["livenessProbe", "readinessProbe", "startupProbe"] as const;

/** `graceSeconds`: how long the pod may take to end. */
export function checkProbes(errors: Errors, at: string, container: Container, graceSeconds: number | undefined): void {
  for (const field of probes) {
    const probe = container[field];
    if (!probe) continue;
    const path = `${at}.${field}`;
    checkProbe(errors, path, probe, graceSeconds);
    if (field !== "readinessProbe") {
      if (probe.successThreshold !== 1) {
        errors.invalid(`${path}.successThreshold`, probe.successThreshold ?? 0, "must be 1");
      }
    } else if (probe.terminationGracePeriodSeconds !== undefined) {
      const value = probe.terminationGracePeriodSeconds;
      errors.invalid(`${path}.terminationGracePeriodSeconds`, value, "must not be set for readinessProbes");
    }
  }
}

const probeNumbers = [
  "initialDelaySeconds",
  "timeoutSeconds",
  "periodSeconds",
  "successThreshold",
  "failureThreshold",
] as const;

function checkProbe(errors: Errors, path: string, probe: Probe, graceSeconds: number | undefined): void {
  checkHandler(errors, path, probe, graceSeconds);
  for (const field of probeNumbers) errors.nonNegative(`${path}.${field}`, probe[field]);
  const grace = probe.terminationGracePeriodSeconds;
  if (grace !== undefined && grace <= 0) {
    errors.invalid(`${path}.terminationGracePeriodSeconds`, grace, "must be greater than 0");
  }
}

export function checkLifecycle(
  errors: Errors,
  path: string,
  lifecycle: Lifecycle,
  graceSeconds: number | undefined,
  os: string | undefined,
): void {
  if (lifecycle.postStart) checkHandler(errors, `${path}.postStart`, lifecycle.postStart, graceSeconds);
  if (lifecycle.preStop) checkHandler(errors, `${path}.preStop`, lifecycle.preStop, graceSeconds);
  if (lifecycle.stopSignal !== undefined && os === undefined) {
    errors.forbidden(`${path}.stopSignal`, "may not be set for containers with empty `spec.os.name`");
  }
}

type Handler = Pick<Probe, "exec" | "httpGet" | "tcpSocket" | "grpc"> & { sleep?: { seconds: number } };

function checkHandler(errors: Errors, path: string, handler: Handler, graceSeconds: number | undefined): void {
  const kinds = (["exec", "httpGet", "tcpSocket", "grpc", "sleep"] as const).filter((kind) => handler[kind]);
  if (kinds.length === 0) errors.required(path, "must specify a handler type");
  switch (kinds[0]) {
    case "exec":
      errors.present(`${path}.exec.command`, handler.exec?.command);
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
    case "sleep": {
      const { seconds } = handler.sleep!;
      if (graceSeconds === undefined || (seconds >= 0 && seconds <= graceSeconds)) break;
      const text = `must be non-negative and less than terminationGracePeriodSeconds (${graceSeconds})`;
      errors.invalid(`${path}.sleep`, seconds, text);
      break;
    }
    default:
  }
  for (const kind of kinds.slice(1)) errors.forbidden(`${path}.${kind}`, "may not specify more than 1 handler type");
}

function checkHttpGet(errors: Errors, path: string, action: HTTPGetAction): void {
  errors.present(`${path}.path`, action.path);
  checkPort(errors, `${path}.port`, action.port);
  errors.setOneOf(`${path}.scheme`, action.scheme ?? "", ["HTTP", "HTTPS"]);
  for (const { name } of action.httpHeaders ?? []) errors.messages(`${path}.httpHeaders`, name, httpHeaderName(name));
}
