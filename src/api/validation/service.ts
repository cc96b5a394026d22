import { portNumber } from "../../machinery/names.ts";
import type { FieldError } from "../../machinery/status.ts";
import type { Service, ServicePort, ServiceSpec } from "../generated/core-v1.ts";
import { protocols } from "./container.ts";
import { Errors } from "./errors.ts";
import { checkCidr, checkEndpointIp, checkIp, cidrWarnings, ipFamily, ipWarnings, isDualStack } from "./ip.ts";
import { checkLabels, checkPort } from "./labels.ts";

const types = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
const daySeconds = 86_400;
const topologyHints = "service.kubernetes.io/topology-aware-hints";
const topologyMode = "service.kubernetes.io/topology-mode";
const sourceRanges = "service.beta.kubernetes.io/load-balancer-source-ranges";
const balancerOnly = "may only be used when `type` is 'LoadBalancer'";

const isHeadless = ({ clusterIPs }: ServiceSpec) => clusterIPs?.length === 1 && clusterIPs[0] === "None";
const isBalancer = ({ type }: ServiceSpec) => type === "LoadBalancer";
const needsHealthPort = (spec: ServiceSpec) => isBalancer(spec) && spec.externalTrafficPolicy === "Local";

export function validateService(service: Service): FieldError[] {
  const errors = new Errors();
  checkService(errors, service, undefined);
  return errors.list;
}

function checkService(errors: Errors, service: Service, old: Service | undefined): void {
  const spec = service.spec ?? {};
  const annotations = service.metadata.annotations ?? {};
  const [hints, mode] = [annotations[topologyHints], annotations[topologyMode]];
  if (mode !== undefined && hints !== undefined && mode !== hints) {
    const text = `must match annotations[${topologyHints}] when both are specified`;
    errors.invalid(`metadata.annotations[${topologyMode}]`, mode, text);
  }
  if (!spec.ports?.length && !isHeadless(spec) && spec.type !== "ExternalName") errors.required("spec.ports");
  checkType(errors, spec);
  checkPorts(errors, spec.ports ?? []);
  checkLabels(errors, "spec.selector", spec.selector);
  checkAffinity(errors, spec);
  checkClusterIps(errors, spec, old?.spec?.clusterIPs ?? []);
  for (const [index, ip] of (spec.externalIPs ?? []).entries()) {
    const path = `spec.externalIPs[${index}]`;
    if (checkIp(errors, path, ip, old?.spec?.externalIPs ?? [])) checkEndpointIp(errors, path, ip);
  }
  errors.oneOf("spec.type", spec.type, types);
  checkPortNumbers(errors, spec);
  checkBalancer(errors, service, old);
  checkPolicies(errors, spec);
}

function checkType(errors: Errors, spec: ServiceSpec): void {
  if (isHeadless(spec) && (isBalancer(spec) || spec.type === "NodePort")) {
    errors.invalid("spec.clusterIPs[0]", "None", `may not be set to 'None' for ${spec.type} services`);
  }
  if (spec.type !== "ExternalName") return;
  const text = "may not be set for ExternalName services";
  if (spec.clusterIPs?.length) errors.forbidden("spec.clusterIPs", text);
  if (spec.ipFamilies?.length) errors.forbidden("spec.ipFamilies", text);
  if (spec.ipFamilyPolicy !== undefined) errors.forbidden("spec.ipFamilyPolicy", text);
  const name = (spec.externalName ?? "").replace(/\.$/, "");
  if (errors.present("spec.externalName", name)) errors.subdomain("spec.externalName", name);
}

function checkPorts(errors: Errors, ports: readonly ServicePort[]): void {
  const names = new Set<string>();
  for (const [index, port] of ports.entries()) {
    const at = `spec.ports[${index}]`;
    if (!port.name) {
      if (ports.length > 1) errors.required(`${at}.name`);
    } else {
      errors.label(`${at}.name`, port.name);
      if (names.has(port.name)) errors.duplicate(`${at}.name`, port.name);
      names.add(port.name);
    }
    errors.messages(`${at}.port`, port.port, portNumber(port.port));
    errors.oneOf(`${at}.protocol`, port.protocol, protocols);
    checkPort(errors, `${at}.targetPort`, port.targetPort);
    if (port.appProtocol !== undefined) errors.qualified(`${at}.appProtocol`, port.appProtocol);
  }
}

/** No two ports are the same, inside or on the nodes. */
function checkPortNumbers(errors: Errors, spec: ServiceSpec): void {
  const ports = [...(spec.ports ?? []).entries()];
  const nodePorts = new Set<string>();
  const numbers = new Set<string>();
  for (const [index, { nodePort }] of ports) {
    if (nodePort && spec.type === "ClusterIP") {
      errors.forbidden(`spec.ports[${index}].nodePort`, "may not be used when `type` is 'ClusterIP'");
    }
  }
  for (const [index, { nodePort, protocol }] of ports) {
    if (!nodePort) continue;
    if (nodePorts.has(`${protocol}/${nodePort}`)) errors.duplicate(`spec.ports[${index}].nodePort`, nodePort);
    nodePorts.add(`${protocol}/${nodePort}`);
  }
  for (const [index, { port, protocol }] of ports) {
    const key = `${protocol}/${port}`;
    // The other fields stand there because Go prints the whole struct.
    const printed = { Name: "", Protocol: protocol, AppProtocol: null, Port: port, TargetPort: 0, NodePort: 0 };
    if (numbers.has(key)) errors.duplicate(`spec.ports[${index}]`, printed);
    numbers.add(key);
  }
}

function checkAffinity(errors: Errors, spec: ServiceSpec): void {
  errors.oneOf("spec.sessionAffinity", spec.sessionAffinity, ["ClientIP", "None"]);
  const config = spec.sessionAffinityConfig;
  const path = "spec.sessionAffinityConfig";
  if (spec.sessionAffinity === "None" && config) {
    errors.forbidden(path, "must not be set when session affinity is None");
  }
  if (spec.sessionAffinity !== "ClientIP") return;
  const text = "when session affinity type is ClientIP";
  const timeout = config?.clientIP?.timeoutSeconds;
  if (!config) errors.required(path, text);
  else if (!config.clientIP) errors.required(`${path}.clientIP`, text);
  else if (timeout === undefined) errors.required(`${path}.clientIP.timeoutSeconds`, text);
  else if (timeout <= 0 || timeout > daySeconds) {
    errors.invalid(`${path}.clientIP.timeoutSeconds`, timeout, `must be greater than 0 and less than ${daySeconds}`);
  }
}

function checkClusterIps(errors: Errors, spec: ServiceSpec, known: readonly string[]): void {
  if (spec.type === "ExternalName") return;
  const ips = spec.clusterIPs ?? [];
  const path = "spec.clusterIPs";
  if (spec.clusterIP) {
    if (ips.length === 0) errors.required(path);
    else if (ips[0] !== spec.clusterIP) errors.invalid(path, ips, "first value must match `clusterIP`");
  } else if (ips.length > 0) errors.invalid(path, ips, "must be empty when `clusterIP` is not specified");
  const families = spec.ipFamilies ?? [];
  for (const [index, family] of families.entries()) {
    errors.setOneOf(`spec.ipFamilies[${index}]`, family, ["IPv4", "IPv6"]);
    if (families.indexOf(family) < index) errors.duplicate(`spec.ipFamilies[${index}]`, family);
  }
  const policies = ["PreferDualStack", "RequireDualStack", "SingleStack"];
  errors.setOneOf("spec.ipFamilyPolicy", spec.ipFamilyPolicy, policies);
  let valid = true;
  for (const [index, ip] of ips.entries()) {
    if (index > 0 || ip !== "None") valid = checkIp(errors, `${path}[${index}]`, ip, known) && valid;
    else if (ips.length > 1) {
      valid = false;
      errors.invalid(path, ips, "'None' must be the first and only value");
    }
  }
  if (ips.length > 2) errors.invalid(path, ips, "may only hold up to 2 values");
  if (!valid) return;
  if (ips.length > 1 && !isDualStack(ips.map(ipFamily))) {
    errors.invalid(path, ips, "may specify no more than one IP for each IP family");
  }
  if (isHeadless(spec)) return;
  for (const [index, ip] of ips.entries()) {
    const family = families[index];
    if ((family === "IPv4" || family === "IPv6") && `IPv${ipFamily(ip)}` !== family) {
      const text = `expected an ${family} value as indicated by \`ipFamilies[${index}]\``;
      errors.invalid(`${path}[${index}]`, ip, text);
    }
  }
}

function checkBalancer(errors: Errors, service: Service, old: Service | undefined): void {
  const spec = service.spec ?? {};
  const annotation = service.metadata.annotations?.[sourceRanges];
  if (spec.loadBalancerSourceRanges?.length) {
    // The path as Kubernetes writes it.
    const path = "spec.LoadBalancerSourceRanges";
    const known = (old?.spec?.loadBalancerSourceRanges ?? []).map((range) => range.trim());
    if (!isBalancer(spec)) errors.forbidden(path, balancerOnly);
    for (const [index, range] of spec.loadBalancerSourceRanges.entries()) {
      checkCidr(errors, `${path}[${index}]`, range.trim(), known);
    }
  } else if (annotation !== undefined) {
    const path = `metadata.annotations[${sourceRanges}]`;
    if (!isBalancer(spec)) errors.forbidden(path, balancerOnly);
    const changed = old?.metadata.annotations?.[sourceRanges] !== annotation;
    const ranges = changed && annotation.trim() ? annotation.trim().split(",") : [];
    for (const range of ranges) checkCidr(errors, path, range.trim());
  }
  const allocate = spec.allocateLoadBalancerNodePorts;
  if (allocate !== undefined && !isBalancer(spec)) {
    errors.forbidden("spec.allocateLoadBalancerNodePorts", balancerOnly);
  }
  if (allocate === undefined && isBalancer(spec)) errors.required("allocateLoadBalancerNodePorts");
  checkBalancerClass(errors, spec);
}

function checkBalancerClass(errors: Errors, spec: ServiceSpec): void {
  const path = "spec.loadBalancerClass";
  if (spec.loadBalancerClass === undefined) return;
  if (isBalancer(spec)) errors.qualified(path, spec.loadBalancerClass);
  else errors.forbidden(path, balancerOnly);
}

function checkPolicies(errors: Errors, spec: ServiceSpec): void {
  const external =
    isBalancer(spec) || spec.type === "NodePort" || (spec.type === "ClusterIP" && Boolean(spec.externalIPs?.length));
  const path = "spec.externalTrafficPolicy";
  if (external) errors.oneOf(path, spec.externalTrafficPolicy, ["Cluster", "Local"]);
  else if (spec.externalTrafficPolicy) {
    errors.invalid(path, spec.externalTrafficPolicy, "may only be set for externally-accessible services");
  }
  const health = spec.healthCheckNodePort ?? 0;
  const healthPath = "spec.healthCheckNodePort";
  if (!needsHealthPort(spec)) {
    const text = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'";
    if (health !== 0) errors.invalid(healthPath, health, text);
  } else if (health !== 0) errors.messages(healthPath, health, portNumber(health));
  const internal = spec.internalTrafficPolicy;
  const internalPath = "spec.internalTrafficPolicy";
  if (internal === undefined) {
    if (types.includes(spec.type ?? "") && spec.type !== "ExternalName") errors.required(internalPath);
  } else errors.setOneOf(internalPath, internal, ["Cluster", "Local"]);
  const distribution = spec.trafficDistribution;
  const known = ["PreferClose", "PreferSameZone", "PreferSameNode"];
  if (distribution !== undefined && !known.includes(distribution)) {
    errors.notSupportedInOrder("spec.trafficDistribution", distribution, known);
  }
}

/** A service keeps its addresses while it has some. */
export function validateServiceUpdate(service: Service, old: Service, subresource?: string): FieldError[] {
  const errors = new Errors();
  const spec = service.spec ?? {};
  const before = old.spec ?? {};
  if (subresource === "status") {
    checkStatus(errors, service, old);
    return errors.list;
  }
  if (spec.type !== "ExternalName" && before.type !== "ExternalName") {
    checkKept(errors, "clusterIPs", spec, before);
    checkKept(errors, "ipFamilies", spec, before);
  }
  const sameClass = spec.loadBalancerClass === before.loadBalancerClass;
  if (isBalancer(spec) && isBalancer(before) && !sameClass) {
    errors.invalid("spec.loadBalancerClass", spec.loadBalancerClass ?? null, "may not change once set");
  }
  checkBalancerClass(errors, spec);
  const samePort = (spec.healthCheckNodePort ?? 0) === (before.healthCheckNodePort ?? 0);
  if (needsHealthPort(spec) && needsHealthPort(before) && !samePort) {
    errors.forbidden("spec.healthCheckNodePort", "field is immutable");
  }
  checkService(errors, service, old);
  return errors.list;
}

/** The first address and family stay; a second may come, and go with the policy that asked for it. */
function checkKept(errors: Errors, field: "clusterIPs" | "ipFamilies", spec: ServiceSpec, before: ServiceSpec): void {
  const [headless, wasHeadless] = [isHeadless(spec), isHeadless(before)];
  if (headless && wasHeadless) return;
  if (field === "ipFamilies" && headless !== wasHeadless) return;
  const now = spec[field] ?? [];
  const old = before[field] ?? [];
  const path = `spec.${field}`;
  const printed = spec[field] ?? null;
  if (now.length === old.length) {
    for (const [index, value] of old.entries()) {
      const at = field === "ipFamilies" ? 0 : index;
      if (value !== now[index]) errors.invalid(`${path}[${at}]`, printed, "may not change once set");
    }
    return;
  }
  const word = field === "clusterIPs" ? "clusterIP" : "ipFamily";
  if (now.length < old.length && (spec.clusterIPs ?? []).length === 0) {
    errors.invalid(`${path}[0]`, printed, `primary ${word} can not be unset`);
  }
  if (now.length > 0 && old.length > 0 && now[0] !== old[0]) {
    errors.invalid(`${path}[0]`, spec.clusterIPs ?? null, "may not change once set");
  }
  if (now.length === 1 && old.length > 1 && spec.ipFamilyPolicy !== "SingleStack") {
    const text = `must be set to 'SingleStack' when releasing the secondary ${word}`;
    errors.invalid("spec.ipFamilyPolicy", spec.ipFamilyPolicy ?? null, text);
  }
}

function checkStatus(errors: Errors, service: Service, old: Service): void {
  const path = "status.loadBalancer.ingress";
  const entries = service.status?.loadBalancer?.ingress ?? [];
  if (!isBalancer(service.spec ?? {}) && entries.length > 0) {
    errors.forbidden(path, "may only be used when `spec.type` is 'LoadBalancer'");
    return;
  }
  const known = (old.status?.loadBalancer?.ingress ?? []).flatMap(({ ip }) => ip ?? []);
  for (const [index, { ip, ipMode, hostname }] of entries.entries()) {
    const at = `${path}[${index}]`;
    if (ip) checkIp(errors, `${at}.ip`, ip, known);
    if (ipMode === undefined) {
      if (ip) errors.required(`${at}.ipMode`, "must be specified when `ip` is set");
    } else if (!ip) errors.forbidden(`${at}.ipMode`, "may not be specified when `ip` is not set");
    else errors.setOneOf(`${at}.ipMode`, ipMode, ["Proxy", "VIP"]);
    if (!hostname) continue;
    errors.subdomain(`${at}.hostname`, hostname);
    if (ipFamily(hostname)) errors.invalid(`${at}.hostname`, hostname, "must be a DNS name, not an IP address");
  }
}

export function serviceWarnings({ metadata, spec = {} }: Service): string[] {
  const warnings: string[] = [];
  if (metadata.annotations?.[topologyHints] !== undefined) {
    warnings.push(`annotation ${topologyHints} is deprecated, please use ${topologyMode} instead`);
  }
  const set = Boolean(spec.clusterIP) && spec.clusterIP !== "None";
  const headless = spec.type === "ClusterIP" && spec.clusterIP === "None";
  const external = spec.externalIPs ?? [];
  if (set)
    warnings.push(...(spec.clusterIPs ?? []).flatMap((ip, index) => ipWarnings(`spec.clusterIPs[${index}]`, ip)));
  if (headless) {
    if (spec.loadBalancerIP) warnings.push("spec.loadBalancerIP is ignored for headless services");
    if (external.length > 0) warnings.push("spec.externalIPs is ignored for headless services");
    if (spec.sessionAffinity !== "None") warnings.push("spec.SessionAffinity is ignored for headless services");
  }
  warnings.push(...external.flatMap((ip, index) => ipWarnings(`spec.externalIPs[${index}]`, ip)));
  if (external.length > 0 && !headless && spec.type !== "ExternalName") {
    warnings.push("spec.externalIPs is deprecated and may no longer be implemented in some clusters");
  }
  if (spec.loadBalancerIP) warnings.push(...ipWarnings("spec.loadBalancerIP", spec.loadBalancerIP));
  for (const [index, range] of (spec.loadBalancerSourceRanges ?? []).entries()) {
    warnings.push(...cidrWarnings(`spec.loadBalancerSourceRanges[${index}]`, range));
  }
  if (spec.type === "ExternalName" && external.length > 0) {
    warnings.push('spec.externalIPs is ignored when spec.type is "ExternalName"');
  }
  if (spec.type !== "ExternalName" && spec.externalName) {
    warnings.push('spec.externalName is ignored when spec.type is not "ExternalName"');
  }
  if (spec.trafficDistribution === "PreferClose") {
    warnings.push('spec.trafficDistribution: "PreferClose" is deprecated; use "PreferSameZone"');
  }
  return warnings;
}
