/** The kinds of networking.k8s.io. */
import { Cidr, parseIp } from "../../machinery/cidr.ts";
import { deepEqual } from "../../machinery/equality.ts";
import {
  dns1123Subdomain,
  pathSegmentName,
  portName,
  portNumber,
  wildcardDns1123Subdomain,
} from "../../machinery/names.ts";
import type { FieldError } from "../../machinery/status.ts";
import type {
  HTTPIngressPath,
  Ingress,
  IngressBackend,
  IngressClass,
  IPAddress,
  IPBlock,
  NetworkPolicy,
  NetworkPolicyPeer,
  NetworkPolicyPort,
  ServiceCIDR,
} from "../generated/networking-v1.ts";
import { checkDomainPath } from "./domain-path.ts";
import { Errors } from "./errors.ts";
import { checkCanonicalCidr, checkCanonicalIp, checkCidr, checkIp, cidrFamily, cidrWarnings, ipFamily } from "./ip.ts";
import { checkLabelSelector } from "./labels.ts";

const classAnnotation = "kubernetes.io/ingress.class";

/** A reference by kind and name. */
function checkReference(
  errors: Errors,
  at: string,
  { apiGroup, kind, name }: { apiGroup?: string; kind: string; name: string },
): void {
  if (apiGroup !== undefined) errors.messages(`${at}.apiGroup`, apiGroup, dns1123Subdomain(apiGroup));
  if (errors.present(`${at}.kind`, kind)) errors.messages(`${at}.kind`, kind, pathSegmentName(kind));
  if (errors.present(`${at}.name`, name)) errors.messages(`${at}.name`, name, pathSegmentName(name));
}

function checkHost(errors: Errors, path: string, host: string): void {
  errors.messages(path, host, host.includes("*") ? wildcardDns1123Subdomain(host) : dns1123Subdomain(host));
}

function checkIngress(errors: Errors, { spec = {} }: Ingress): void {
  if (!spec.rules?.length && !spec.defaultBackend) {
    errors.invalid("spec", spec.rules ?? null, "either `defaultBackend` or `rules` must be specified");
  }
  if (spec.defaultBackend) checkBackend(errors, "spec.defaultBackend", spec.defaultBackend);
  for (const [index, rule] of (spec.rules ?? []).entries()) {
    const at = `spec.rules[${index}]`;
    if (rule.host) {
      if (ipFamily(rule.host)) errors.invalid(`${at}.host`, rule.host, "must be a DNS name, not an IP address");
      checkHost(errors, `${at}.host`, rule.host);
    }
    if (rule.http) errors.present(`${at}.http.paths`, rule.http.paths);
    for (const [place, path] of (rule.http?.paths ?? []).entries()) {
      checkPath(errors, `${at}.http.paths[${place}]`, path);
    }
  }
  for (const [index, { hosts, secretName }] of (spec.tls ?? []).entries()) {
    for (const [place, host] of (hosts ?? []).entries()) checkHost(errors, `spec.tls[${index}].hosts[${place}]`, host);
    if (secretName) errors.subdomain(`spec.tls[${index}].secretName`, secretName);
  }
  if (spec.ingressClassName !== undefined) errors.subdomain("spec.ingressClassName", spec.ingressClassName);
}

function checkPath(errors: Errors, at: string, { path = "", pathType, backend }: HTTPIngressPath): void {
  if (pathType === undefined || pathType === null) {
    errors.required(`${at}.pathType`, "pathType must be specified");
    return;
  }
  const absolute = () => errors.invalid(`${at}.path`, path, "must be an absolute path");
  if (pathType === "Exact" || pathType === "Prefix") {
    if (!path.startsWith("/")) absolute();
    for (const part of ["//", "/./", "/../", "%2f", "%2F"]) {
      if (path.includes(part)) errors.invalid(`${at}.path`, path, `must not contain '${part}'`);
    }
    for (const end of ["/..", "/."]) {
      if (path.endsWith(end)) errors.invalid(`${at}.path`, path, `cannot end with '${end}'`);
    }
  } else if (pathType !== "ImplementationSpecific") {
    errors.notSupported(`${at}.pathType`, pathType, ["Exact", "ImplementationSpecific", "Prefix"]);
  } else if (path !== "" && !path.startsWith("/")) absolute();
  checkBackend(errors, `${at}.backend`, backend ?? {});
}

function checkBackend(errors: Errors, at: string, { service, resource }: IngressBackend): void {
  if (service && resource) errors.invalid(at, "", "cannot set both resource and service backends");
  else if (resource) checkReference(errors, `${at}.resource`, resource);
  else if (service) {
    if (errors.present(`${at}.service.name`, service.name)) errors.label(`${at}.service.name`, service.name);
    const { name, number } = service.port ?? {};
    if (name && number) errors.invalid(at, "", "cannot set both port name & port number");
    else if (name) errors.messages(`${at}.service.port.name`, name, portName(name));
    else if (number) errors.messages(`${at}.service.port.number`, number, portNumber(number));
    else errors.required(at, "port name or number is required");
  } else errors.invalid(at, "", "resource or service backend is required");
}

export function validateIngress(ingress: Ingress): FieldError[] {
  const errors = new Errors();
  checkIngress(errors, ingress);
  const annotation = ingress.metadata.annotations?.[classAnnotation];
  const name = ingress.spec?.ingressClassName;
  if (annotation !== undefined && name !== undefined && annotation !== name) {
    const text = "must match `ingressClassName` when both are specified";
    errors.invalid(`annotations.${classAnnotation}`, annotation, text);
  }
  return errors.list;
}

export function validateIngressUpdate(ingress: Ingress, old: Ingress, subresource?: string): FieldError[] {
  const errors = new Errors();
  if (subresource === undefined) {
    checkIngress(errors, ingress);
    return errors.list;
  }
  const known = (old.status?.loadBalancer?.ingress ?? []).flatMap(({ ip }) => ip ?? []);
  for (const [index, { ip, hostname }] of (ingress.status?.loadBalancer?.ingress ?? []).entries()) {
    const at = `status.loadBalancer.ingress[${index}]`;
    if (ip) checkIp(errors, `${at}.ip`, ip, known);
    if (!hostname) continue;
    errors.subdomain(`${at}.hostname`, hostname);
    if (ipFamily(hostname)) errors.invalid(`${at}.hostname`, hostname, "must be a DNS name, not an IP address");
  }
  return errors.list;
}

export function ingressWarnings({ metadata }: Ingress, old?: Ingress): string[] {
  if (old || metadata.annotations?.[classAnnotation] === undefined) return [];
  return [`annotation "${classAnnotation}" is deprecated, please use 'spec.ingressClassName' instead`];
}

const maxController = 250;

export function validateIngressClass({ spec = {} }: IngressClass): FieldError[] {
  const errors = new Errors();
  const controller = spec.controller ?? "";
  if (Buffer.byteLength(controller) > maxController) errors.tooLong("spec.controller", maxController);
  checkDomainPath(errors, "spec.controller", controller);
  const { parameters } = spec;
  if (!parameters) return errors.list;
  const at = "spec.parameters";
  checkReference(errors, at, parameters);
  const { scope, namespace } = parameters;
  if (scope !== "Cluster" && scope !== "Namespace") {
    if (scope === undefined) errors.required(`${at}.scope`);
    else errors.notSupported(`${at}.scope`, scope, ["Cluster", "Namespace"]);
  } else if (scope === "Namespace") {
    if (namespace === undefined) errors.required(`${at}.namespace`, "`parameters.scope` is set to 'Namespace'");
    else errors.label(`${at}.namespace`, namespace);
  } else if (namespace !== undefined) {
    errors.forbidden(`${at}.namespace`, "`parameters.scope` is set to 'Cluster'");
  }
  return errors.list;
}

export function validateIngressClassUpdate(ingressClass: IngressClass, old: IngressClass): FieldError[] {
  const errors = new Errors();
  const controller = ingressClass.spec?.controller ?? "";
  errors.immutable("spec.controller", controller, controller === (old.spec?.controller ?? ""));
  return errors.list;
}

function checkPolicyPort(errors: Errors, at: string, { protocol, port, endPort }: NetworkPolicyPort): void {
  if (protocol !== undefined && !["TCP", "UDP", "SCTP"].includes(protocol)) {
    errors.notSupportedInOrder(`${at}.protocol`, protocol, ["TCP", "UDP", "SCTP"]);
  }
  if (typeof port === "number") {
    errors.messages(`${at}.port`, port, portNumber(port));
    if (endPort === undefined) return;
    if (endPort < port) errors.invalid(`${at}.endPort`, port, "must be greater than or equal to `port`");
    errors.messages(`${at}.endPort`, endPort, portNumber(endPort));
    return;
  }
  if (endPort !== undefined) {
    const why = port === undefined ? "not specified" : "non-numeric";
    errors.invalid(`${at}.endPort`, endPort, `may not be specified when \`port\` is ${why}`);
  }
  if (port !== undefined) errors.messages(`${at}.port`, port, portName(port));
}

function checkPeer(errors: Errors, at: string, peer: NetworkPolicyPeer, known: readonly string[]): void {
  checkLabelSelector(errors, `${at}.podSelector`, peer.podSelector);
  checkLabelSelector(errors, `${at}.namespaceSelector`, peer.namespaceSelector);
  if (peer.ipBlock) checkBlock(errors, `${at}.ipBlock`, peer.ipBlock, known);
  const others = peer.podSelector || peer.namespaceSelector;
  if (!others && !peer.ipBlock) errors.required(at, "must specify a peer");
  else if (others && peer.ipBlock) errors.forbidden(at, "may not specify both ipBlock and another peer");
}

function rangeOf(text: string): Cidr | undefined {
  if (!cidrFamily(text)) return undefined;
  const [address = "", prefix = ""] = text.split("/");
  const ip = parseIp(address.includes(":") ? address : address.replace(/(^|\.)0+(?=\d)/g, "$1"));
  return ip && new Cidr(ip.family, ip.value, Number(prefix));
}

function checkBlock(errors: Errors, at: string, { cidr, except }: IPBlock, known: readonly string[]): void {
  if (!errors.present(`${at}.cidr`, cidr)) return;
  checkCidr(errors, `${at}.cidr`, cidr, known);
  const whole = rangeOf(cidr);
  if (!whole) return;
  for (const [index, text] of (except ?? []).entries()) {
    const path = `${at}.except[${index}]`;
    checkCidr(errors, path, text, known);
    const part = rangeOf(text);
    if (!part) continue;
    const inside = whole.contains({ family: part.family, value: part.base });
    if (!inside || whole.prefix >= part.prefix) errors.invalid(path, text, "must be a strict subset of `cidr`");
  }
}

/** The rules of a policy in both directions, with their paths. */
function policyRules({ spec }: NetworkPolicy) {
  const ingress = (spec?.ingress ?? []).map(({ ports, from }, index) => {
    return { at: `spec.ingress[${index}]`, ports: ports ?? [], peers: from ?? [], field: "from" };
  });
  const egress = (spec?.egress ?? []).map(({ ports, to }, index) => {
    return { at: `spec.egress[${index}]`, ports: ports ?? [], peers: to ?? [], field: "to" };
  });
  return [...ingress, ...egress];
}

function checkPolicy(errors: Errors, policy: NetworkPolicy, known: readonly string[]): void {
  checkLabelSelector(errors, "spec.podSelector", policy.spec?.podSelector);
  for (const { at, ports, peers, field } of policyRules(policy)) {
    for (const [index, port] of ports.entries()) checkPolicyPort(errors, `${at}.ports[${index}]`, port);
    for (const [index, peer] of peers.entries()) checkPeer(errors, `${at}.${field}[${index}]`, peer, known);
  }
  const types = policy.spec?.policyTypes ?? [];
  if (types.length > 2) {
    errors.invalid("spec.policyTypes", types, "may not specify more than two policyTypes");
    return;
  }
  for (const [index, type] of types.entries()) {
    if (type !== "Ingress" && type !== "Egress") {
      errors.notSupportedInOrder(`spec.policyTypes[${index}]`, type, ["Ingress", "Egress"]);
    }
  }
}

export function validateNetworkPolicy(policy: NetworkPolicy): FieldError[] {
  const errors = new Errors();
  checkPolicy(errors, policy, []);
  return errors.list;
}

/** Ranges that a policy had already may stay as they were written. */
export function validateNetworkPolicyUpdate(policy: NetworkPolicy, old: NetworkPolicy): FieldError[] {
  const errors = new Errors();
  const blocks = policyRules(old).flatMap(({ peers }) => peers.flatMap(({ ipBlock }) => ipBlock ?? []));
  const known = blocks.flatMap(({ cidr, except }) => [cidr, ...(except ?? [])]);
  checkPolicy(errors, policy, known);
  return errors.list;
}

export function networkPolicyWarnings(policy: NetworkPolicy): string[] {
  return policyRules(policy).flatMap(({ at, peers, field }) =>
    peers.flatMap(({ ipBlock }, index) => {
      if (!ipBlock) return [];
      const path = `${at}.${field}[${index}].ipBlock`;
      const except = (ipBlock.except ?? []).flatMap((text, place) => cidrWarnings(`${path}.except[${place}]`, text));
      return [...cidrWarnings(`${path}.cidr`, ipBlock.cidr), ...except];
    }),
  );
}

/** Names of addresses are the addresses, in their canonical form. */
export function ipAddressName(name: string): string[] {
  const errors = new Errors();
  checkCanonicalIp(errors, "", name);
  // Only the reason is wanted, not the value before it.
  return errors.list.map(({ message }) => message.slice(`Invalid value: ${JSON.stringify(name)}: `.length));
}

export function validateIpAddress({ spec }: IPAddress): FieldError[] {
  const errors = new Errors();
  const parent = spec?.parentRef;
  const at = "spec.parentRef";
  if (!parent) {
    errors.required(at);
    return errors.list;
  }
  if (parent.group) errors.subdomain(`${at}.group`, parent.group);
  for (const field of ["resource", "name"] as const) {
    const value = parent[field];
    if (errors.present(`${at}.${field}`, value)) errors.messages(`${at}.${field}`, value, pathSegmentName(value));
  }
  if (parent.namespace) errors.messages(`${at}.namespace`, parent.namespace, pathSegmentName(parent.namespace));
  return errors.list;
}

export function validateIpAddressUpdate({ spec }: IPAddress, old: IPAddress): FieldError[] {
  const errors = new Errors();
  const parent = spec?.parentRef;
  errors.immutable("spec.parentRef", parent ?? null, deepEqual(parent, old.spec?.parentRef));
  return errors.list;
}

function checkRanges(errors: Errors, ranges: readonly string[]): void {
  const path = "spec.cidrs";
  if (ranges.length === 0) errors.required(path, "at least one CIDR required");
  else if (ranges.length > 2) errors.invalid(path, { CIDRs: ranges }, "may only hold up to 2 values");
  else {
    for (const [index, range] of ranges.entries()) checkCanonicalCidr(errors, `${path}[${index}]`, range);
    const [first, second] = ranges.map(cidrFamily);
    if (ranges.length === 2 && first === second && first !== undefined) {
      const text = "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64";
      errors.invalid(path, ranges, text);
    }
  }
}

export function validateServiceCidr({ spec }: ServiceCIDR): FieldError[] {
  const errors = new Errors();
  checkRanges(errors, spec?.cidrs ?? []);
  return errors.list;
}

/** A second range may be added; the first stays. */
export function validateServiceCidrUpdate({ spec }: ServiceCIDR, old: ServiceCIDR, subresource?: string): FieldError[] {
  const errors = new Errors();
  if (subresource !== undefined) return errors.list;
  const now = spec?.cidrs ?? [];
  const before = old.spec?.cidrs ?? [];
  if (now.length === before.length) {
    for (const [index, range] of before.entries()) {
      errors.immutable(`spec.cidrs[${index}]`, now[index], range === now[index]);
    }
  } else if (before.length === 1 && now.length === 2) {
    errors.immutable("spec.cidrs[0]", now[0], now[0] === before[0]);
    checkRanges(errors, now);
  } else errors.immutable("spec.cidrs", spec?.cidrs ?? null, false);
  return errors.list;
}
