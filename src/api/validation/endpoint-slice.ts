import { deepEqual } from "../../machinery/equality.ts";
import { dns1123Label, dns1123Subdomain, labelValue } from "../../machinery/names.ts";
import type { FieldError } from "../../machinery/status.ts";
import type { Endpoint, EndpointHints, EndpointPort, EndpointSlice } from "../generated/discovery-v1.ts";
import { protocols } from "./container.ts";
import { Errors } from "./errors.ts";
import { checkCanonicalIp, checkEndpointIp, checkIp, ipFamily, ipWarnings } from "./ip.ts";
import { checkLabels } from "./labels.ts";

const maxPorts = 20_000;
const maxEndpoints = 1000;
const maxAddresses = 100;
const maxHints = 8;
const maxTopology = 16;

/** Checks a new slice, or a changed one: endpoints that stay as they were may stay wrong. */
export function validateEndpointSlice(
  { addressType, ports, endpoints }: EndpointSlice,
  old?: EndpointSlice,
): FieldError[] {
  const errors = new Errors();
  errors.oneOf("addressType", addressType, ["FQDN", "IPv4", "IPv6"]);
  checkPorts(errors, ports ?? []);
  if (!old || !deepEqual(endpoints, old.endpoints)) checkEndpoints(errors, endpoints ?? [], addressType);
  if (old) errors.immutable("addressType", addressType, addressType === old.addressType);
  return errors.list;
}

function checkPorts(errors: Errors, ports: readonly EndpointPort[]): void {
  if (ports.length > maxPorts) {
    errors.tooMany("ports", ports.length, maxPorts);
    return;
  }
  const names = new Set<string>();
  for (const [index, { name = "", protocol, appProtocol }] of ports.entries()) {
    const at = `ports[${index}]`;
    if (name) errors.label(`${at}.name`, name);
    if (names.has(name)) errors.duplicate(`${at}.name`, name);
    names.add(name);
    if (protocol === undefined) errors.required(`${at}.protocol`);
    else errors.setOneOf(`${at}.protocol`, protocol, protocols);
    if (appProtocol !== undefined) errors.qualified(`${at}.appProtocol`, appProtocol);
  }
}

function checkEndpoints(errors: Errors, endpoints: readonly Endpoint[], addressType: string): void {
  if (endpoints.length > maxEndpoints) {
    errors.tooMany("endpoints", endpoints.length, maxEndpoints);
    return;
  }
  for (const [index, endpoint] of endpoints.entries()) {
    const at = `endpoints[${index}]`;
    const addresses = endpoint.addresses ?? [];
    errors.present(`${at}.addresses`, addresses, "must contain at least 1 address");
    if (addresses.length > maxAddresses) errors.tooMany(`${at}.addresses`, addresses.length, maxAddresses);
    for (const [place, address] of addresses.entries()) {
      checkAddress(errors, `${at}.addresses`, place, address, addressType);
    }
    if (endpoint.nodeName !== undefined) errors.subdomain(`${at}.nodeName`, endpoint.nodeName);
    const topology = endpoint.deprecatedTopology ?? {};
    const count = Object.keys(topology).length;
    if (count > maxTopology) errors.tooMany(`${at}.deprecatedTopology`, count, maxTopology);
    checkLabels(errors, `${at}.deprecatedTopology`, topology);
    if (endpoint.hostname !== undefined) errors.label(`${at}.hostname`, endpoint.hostname);
    if (endpoint.hints) checkHints(errors, `${at}.hints`, endpoint.hints);
  }
}

function checkAddress(errors: Errors, path: string, index: number, address: string, type: string): void {
  const at = `${path}[${index}]`;
  if (type === "FQDN") checkDomain(errors, at, address);
  const family = type === "IPv4" ? 4 : type === "IPv6" ? 6 : undefined;
  // Newer than the strict rules, IPv6 addresses have one form only.
  const valid = family === 4 ? checkIp(errors, at, address) : family === 6 && checkCanonicalIp(errors, at, address);
  if (!valid) return;
  if (ipFamily(address) !== family) errors.invalid(path, address, `must be an ${type} address`);
  checkEndpointIp(errors, at, address);
}

function checkDomain(errors: Errors, path: string, value: string): void {
  if (!errors.present(path, value)) return;
  const name = value.replace(/\.$/, "");
  const messages = dns1123Subdomain(name);
  if (messages.length > 0) errors.invalid(path, name, messages.join(","));
  else if (!name.includes(".")) {
    errors.invalid(path, name, "should be a domain with at least two segments separated by dots");
  } else for (const part of name.split(".")) errors.messages(path, part, dns1123Label(part));
}

function checkHints(errors: Errors, at: string, hints: EndpointHints): void {
  for (const [field, check] of [
    ["forZones", labelValue],
    ["forNodes", dns1123Subdomain],
  ] as const) {
    const list = hints[field] ?? [];
    if (list.length > maxHints) {
      errors.tooMany(`${at}.${field}`, list.length, maxHints);
      return;
    }
    for (const [index, { name }] of list.entries()) {
      const path = `${at}.${field}[${index}].name`;
      if (list.findIndex((other) => other.name === name) < index) errors.duplicate(path, name);
      errors.messages(path, name, check(name));
    }
  }
}

const controllers = new Set(["endpointslice-controller.k8s.io", "endpointslicemirroring-controller.k8s.io"]);

export function endpointSliceWarnings(slice: EndpointSlice, old?: EndpointSlice): string[] {
  const fqdn = !old && slice.addressType === "FQDN";
  const warnings = fqdn ? ["spec.addressType: FQDN endpoints are deprecated"] : [];
  if (controllers.has(slice.metadata.labels?.["endpointslice.kubernetes.io/managed-by"] ?? "")) return warnings;
  for (const [index, { addresses }] of (slice.endpoints ?? []).entries()) {
    for (const [which, address] of addresses.entries()) {
      warnings.push(...ipWarnings(`endpoints[${index}].addresses[${which}]`, address));
    }
  }
  return warnings;
}
