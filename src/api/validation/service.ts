import { isIP } from "node:net";
import { dns1123Label, dns1123Subdomain, inRange, qualifiedName } from "../../machinery/names.ts";
import type { FieldError } from "../../machinery/status.ts";
import type { Service, ServiceSpec } from "../generated/core-v1.ts";
import { Errors } from "./errors.ts";
import { checkLabels, checkPort } from "./labels.ts";

const types = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
const daySeconds = 86_400;

export function validateService(service: Service): FieldError[] {
  const errors = new Errors();
  const spec = service.spec ?? {};
  const headless = spec.clusterIPs?.[0] === "None" || spec.clusterIP === "None";
  if (!spec.ports?.length && !headless && spec.type !== "ExternalName") errors.required("spec.ports");
  checkType(errors, spec, headless);
  checkPorts(errors, spec);
  checkLabels(errors, "spec.selector", spec.selector);
  errors.oneOf("spec.sessionAffinity", spec.sessionAffinity, ["ClientIP", "None"]);
  const timeout = spec.sessionAffinityConfig?.clientIP?.timeoutSeconds;
  if (spec.sessionAffinity === "ClientIP" && timeout !== undefined && (timeout <= 0 || timeout > daySeconds)) {
    const path = "spec.sessionAffinityConfig.clientIP.timeoutSeconds";
    errors.invalid(path, timeout, `must be greater than 0 and less than ${daySeconds}`);
  }
  for (const [index, ip] of (spec.externalIPs ?? []).entries()) {
    if (isIP(ip) === 0)
      errors.invalid(`spec.externalIPs[${index}]`, ip, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)");
  }
  errors.oneOf("spec.type", spec.type, types);
  if (spec.type !== "LoadBalancer") {
    for (const field of ["loadBalancerSourceRanges", "allocateLoadBalancerNodePorts", "loadBalancerClass"] as const) {
      const value = spec[field];
      if (value === undefined || (Array.isArray(value) && value.length === 0)) continue;
      errors.forbidden(`spec.${field}`, "may only be used when `type` is 'LoadBalancer'");
    }
  }
  checkPolicies(errors, spec);
  checkClusterIps(errors, spec);
  return errors.list;
}

function checkType(errors: Errors, spec: ServiceSpec, headless: boolean): void {
  if (headless && (spec.type === "LoadBalancer" || spec.type === "NodePort")) {
    errors.invalid("spec.clusterIPs[0]", "None", `may not be set to 'None' for ${spec.type} services`);
  }
  if (spec.type !== "ExternalName") return;
  if (spec.clusterIPs?.length) errors.forbidden("spec.clusterIPs", "may not be set for ExternalName services");
  if (spec.ipFamilies?.length) errors.forbidden("spec.ipFamilies", "may not be set for ExternalName services");
  if (spec.ipFamilyPolicy) errors.forbidden("spec.ipFamilyPolicy", "may not be set for ExternalName services");
  const name = (spec.externalName ?? "").replace(/\.$/, "");
  if (name === "") errors.required("spec.externalName");
  else errors.messages("spec.externalName", name, dns1123Subdomain(name));
}

function checkPorts(errors: Errors, spec: ServiceSpec): void {
  const ports = spec.ports ?? [];
  const names = new Set<string>();
  const numbers = new Set<string>();
  const nodePorts = new Set<string>();
  for (const [index, port] of ports.entries()) {
    const at = `spec.ports[${index}]`;
    if (!port.name) {
      if (ports.length > 1) errors.required(`${at}.name`);
    } else {
      errors.messages(`${at}.name`, port.name, dns1123Label(port.name));
      if (names.has(port.name)) errors.duplicate(`${at}.name`, port.name);
      names.add(port.name);
    }
    errors.messages(`${at}.port`, port.port, inRange(port.port, 1, 65535));
    errors.oneOf(`${at}.protocol`, port.protocol, ["SCTP", "TCP", "UDP"]);
    checkPort(errors, `${at}.targetPort`, port.targetPort);
    if (port.appProtocol) errors.messages(`${at}.appProtocol`, port.appProtocol, qualifiedName(port.appProtocol));
    if (port.nodePort && spec.type === "ClusterIP") {
      errors.forbidden(`${at}.nodePort`, "may not be used when `type` is 'ClusterIP'");
    }
    if (port.nodePort) {
      const key = `${port.protocol}/${port.nodePort}`;
      if (nodePorts.has(key)) errors.duplicate(`${at}.nodePort`, port.nodePort);
      nodePorts.add(key);
    }
    const key = `${port.protocol}/${port.port}`;
    if (numbers.has(key)) errors.duplicate(at, { port: port.port, protocol: port.protocol });
    numbers.add(key);
  }
}

function checkPolicies(errors: Errors, spec: ServiceSpec): void {
  errors.optionalOneOf("spec.internalTrafficPolicy", spec.internalTrafficPolicy, ["Cluster", "Local"]);
  const external =
    spec.type === "LoadBalancer" || spec.type === "NodePort" || (spec.type === "ClusterIP" && spec.externalIPs?.length);
  if (!external) {
    if (spec.externalTrafficPolicy) {
      const text = "may only be set for externally-accessible services";
      errors.invalid("spec.externalTrafficPolicy", spec.externalTrafficPolicy, text);
    }
  } else {
    errors.oneOf("spec.externalTrafficPolicy", spec.externalTrafficPolicy, ["Cluster", "Local"]);
  }
  errors.optionalOneOf("spec.ipFamilyPolicy", spec.ipFamilyPolicy, [
    "PreferDualStack",
    "RequireDualStack",
    "SingleStack",
  ]);
}

function checkClusterIps(errors: Errors, spec: ServiceSpec): void {
  const { clusterIP, clusterIPs } = spec;
  if (clusterIPs?.length && clusterIP !== undefined && clusterIP !== clusterIPs[0]) {
    errors.invalid("spec.clusterIPs", clusterIPs, "first value must match `clusterIP`");
  }
  if (clusterIP && !clusterIPs?.length) errors.required("spec.clusterIPs");
  for (const [index, ip] of (clusterIPs ?? []).entries()) {
    if (ip === "None") {
      if (clusterIPs!.length > 1)
        errors.invalid(`spec.clusterIPs[${index}]`, ip, "'None' must be the first and only value");
    } else if (isIP(ip) === 0) {
      errors.invalid(`spec.clusterIPs[${index}]`, ip, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)");
    }
  }
}

/** A service keeps its address while it has one. */
export function validateServiceUpdate(service: Service, old: Service): FieldError[] {
  const errors = new Errors();
  const before = old.spec?.clusterIPs ?? [];
  const now = service.spec?.clusterIPs ?? [];
  if (old.spec?.type === "ExternalName" || service.spec?.type === "ExternalName" || before.length === 0)
    return errors.list;
  if (now[0] !== before[0]) errors.invalid("spec.clusterIPs[0]", now, "may not change once set");
  return errors.list;
}
