import { configMapKey, labelValue } from "../../machinery/names.ts";
import type { FieldError } from "../../machinery/status.ts";
import type { ConfigMapNodeConfigSource, Node, NodeConfigSource, Taint } from "../generated/core-v1.ts";
import { Errors } from "./errors.ts";
import { checkCidr, cidrFamily, isDualStack } from "./ip.ts";
import { taintEffects } from "./placement.ts";
import { checkResourceQuantity } from "./resource-names.ts";

const tooManyRanges = "may specify no more than one CIDR for each IP family";

function checkTaints(errors: Errors, taints: readonly Taint[]): void {
  const seen = new Set<string>();
  for (const [index, taint] of taints.entries()) {
    // Kubernetes' own path; the field is in the spec.
    const at = `metadata.taints[${index}]`;
    errors.qualified(`${at}.key`, taint.key);
    const messages = labelValue(taint.value ?? "");
    if (messages.length > 0) errors.invalid(`${at}.value`, taint.value, messages.join(";"));
    errors.oneOfInOrder(`${at}.effect`, taint.effect, taintEffects);
    const key = `${taint.effect}:${taint.key}`;
    if (seen.has(key)) errors.duplicate(at, taint, "taints must be unique by key and effect pair");
    seen.add(key);
  }
}

function checkAmounts(errors: Errors, { status }: Node): void {
  for (const field of ["capacity", "allocatable"] as const) {
    for (const [name, quantity] of Object.entries(status?.[field] ?? {})) {
      checkResourceQuantity(errors, `status.${field}.${name}`, name, quantity);
    }
  }
}

const featureFormat = /^[A-Z][a-zA-Z0-9]*(\/[a-zA-Z][a-zA-Z0-9]*)*$/;
const featureText =
  "must start with an UpperCamelCase segment, with subsequent segments separated by '/' (e.g., MyFeature or MyFeature/mySubFeature), and contain only alphanumeric characters and slashes";

function checkFeatures(errors: Errors, features: readonly string[]): void {
  for (const [index, feature] of features.entries()) {
    const at = `status.declaredFeatures[${index}]`;
    const before = features[index - 1];
    if (before === feature) errors.duplicate(at, feature);
    else if (before !== undefined && before > feature) {
      errors.invalid(at, feature, "list must be sorted alphabetically");
    }
    const text = feature.length > 253 ? "must be no more than 253 characters" : featureText;
    if (feature.length > 253 || !featureFormat.test(feature)) {
      errors.invalid(at, feature, `invalid feature name ${JSON.stringify(feature)}: ${text}`);
    }
  }
}

export function validateNode(node: Node): FieldError[] {
  const errors = new Errors();
  const { spec, status } = node;
  checkTaints(errors, spec?.taints ?? []);
  checkAmounts(errors, node);
  const swap = status?.nodeInfo?.swap?.capacity;
  if (swap !== undefined) errors.positive("metadata.nodeSwapStatus.capacity", swap);
  checkFeatures(errors, status?.declaredFeatures ?? []);
  const ranges = spec?.podCIDRs ?? [];
  for (const [index, range] of ranges.entries()) checkCidr(errors, `spec.podCIDRs[${index}]`, range);
  if (ranges.length > 1 && (!isDualStack(ranges.map(cidrFamily)) || ranges.length > 2)) {
    errors.invalid("spec.podCIDRs", ranges, tooManyRanges);
  }
  return errors.list;
}

/** A node's place in the pod network and at its provider is assigned once. */
export function validateNodeUpdate(node: Node, old: Node): FieldError[] {
  const errors = new Errors();
  const { spec, status } = node;
  const before = old.spec ?? {};
  checkAmounts(errors, node);
  checkFeatures(errors, status?.declaredFeatures ?? []);
  const addresses = new Set<string>();
  for (const [index, { type, address }] of (status?.addresses ?? []).entries()) {
    const key = JSON.stringify([type, address]);
    if (addresses.has(key)) errors.duplicate(`status.addresses[${index}]`, { Type: type, Address: address });
    addresses.add(key);
  }
  const known = before.podCIDRs ?? [];
  const ranges = spec?.podCIDRs ?? [];
  const moved = ranges.length !== known.length || known.some((range, index) => range !== ranges[index]);
  if (known.length > 0 && moved) {
    errors.forbidden("spec.podCIDRs", 'node updates may not change podCIDR except from "" to valid');
  }
  if (before.providerID && spec?.providerID !== before.providerID) {
    errors.forbidden("spec.providerID", 'node updates may not change providerID except from "" to valid');
  }
  if (spec?.configSource) checkConfigSource(errors, "spec.configSource", spec.configSource, false);
  for (const field of ["assigned", "active", "lastKnownGood"] as const) {
    const source = status?.config?.[field];
    if (source) checkConfigSource(errors, `status.config.${field}`, source, true);
  }
  checkTaints(errors, spec?.taints ?? []);
  if (spec?.externalID !== before.externalID) errors.forbidden("spec.externalID", "may not be updated");
  return errors.list;
}

/** `resolved`: of the status, which says exactly which ConfigMap it was. */
function checkConfigSource(errors: Errors, at: string, source: NodeConfigSource, resolved: boolean): void {
  if (!source.configMap) errors.invalid(at, source, "exactly one reference subfield must be non-nil");
  else checkConfigMap(errors, `${at}.configMap`, source.configMap, resolved);
}

function checkConfigMap(errors: Errors, at: string, source: ConfigMapNodeConfigSource, resolved: boolean): void {
  for (const field of ["uid", "resourceVersion"] as const) {
    if (resolved) errors.present(`${at}.${field}`, source[field]);
    else if (source[field]) errors.forbidden(`${at}.${field}`, `${field} must not be set in spec`);
  }
  if (errors.present(`${at}.namespace`, source.namespace)) errors.label(`${at}.namespace`, source.namespace);
  if (errors.present(`${at}.name`, source.name)) errors.subdomain(`${at}.name`, source.name);
  const key = source.kubeletConfigKey;
  if (errors.present(`${at}.kubeletConfigKey`, key)) errors.messages(`${at}.kubeletConfigKey`, key, configMapKey(key));
}
