import { dns1123Label, dns1123Subdomain, maskTrailingDash } from "../../machinery/names.ts";
import type { FieldError } from "../../machinery/status.ts";
import type { HorizontalPodAutoscaler } from "../generated/autoscaling-v2.ts";
import type { EndpointSlice } from "../generated/discovery-v1.ts";
import type { Ingress, IngressBackend, NetworkPolicy } from "../generated/networking-v1.ts";
import type { PodDisruptionBudget } from "../generated/policy-v1.ts";
import type { PriorityClass } from "../generated/scheduling-v1.ts";
import type { StorageClass } from "../generated/storage-v1.ts";
import { sameJson } from "../strategy.ts";
import { Errors } from "./errors.ts";
import { checkIntOrPercent, checkLabelSelector } from "./labels.ts";

/** Names of services are labels; since v1.36 they may begin with a digit. */
export function serviceName(name: string, prefix: boolean): string[] {
  return dns1123Label(prefix ? maskTrailingDash(name) : name);
}

export function validateDisruptionBudget({ spec }: PodDisruptionBudget): FieldError[] {
  const errors = new Errors();
  if (spec?.minAvailable !== undefined && spec.maxUnavailable !== undefined) {
    errors.invalid("spec", spec, "minAvailable and maxUnavailable cannot be both set");
  }
  checkIntOrPercent(errors, "spec.minAvailable", spec?.minAvailable);
  checkIntOrPercent(errors, "spec.maxUnavailable", spec?.maxUnavailable);
  checkLabelSelector(errors, "spec.selector", spec?.selector);
  errors.optionalOneOf("spec.unhealthyPodEvictionPolicy", spec?.unhealthyPodEvictionPolicy, [
    "AlwaysAllow",
    "IfHealthyBudget",
  ]);
  return errors.list;
}

export function validateIngress({ spec }: Ingress): FieldError[] {
  const errors = new Errors();
  if (!spec?.rules?.length && !spec?.defaultBackend) {
    errors.invalid("spec", spec ?? {}, "either `defaultBackend` or `rules` must be specified");
  }
  if (spec?.defaultBackend) checkBackend(errors, "spec.defaultBackend", spec.defaultBackend);
  for (const [index, rule] of (spec?.rules ?? []).entries()) {
    const at = `spec.rules[${index}]`;
    if (rule.host && !rule.host.startsWith("*.")) errors.messages(`${at}.host`, rule.host, dns1123Subdomain(rule.host));
    if (rule.http && !rule.http.paths?.length) errors.required(`${at}.http.paths`);
    for (const [place, path] of (rule.http?.paths ?? []).entries()) {
      const pathAt = `${at}.http.paths[${place}]`;
      const pathTypes = ["Exact", "ImplementationSpecific", "Prefix"];
      if (!path.pathType) errors.required(`${pathAt}.pathType`, "pathType must be specified");
      else if (!pathTypes.includes(path.pathType)) errors.notSupported(`${pathAt}.pathType`, path.pathType, pathTypes);
      if (path.pathType !== "ImplementationSpecific" && !path.path?.startsWith("/")) {
        errors.invalid(`${pathAt}.path`, path.path ?? "", "must be an absolute path");
      }
      checkBackend(errors, `${pathAt}.backend`, path.backend);
    }
  }
  return errors.list;
}

function checkBackend(errors: Errors, at: string, backend: IngressBackend): void {
  const { service, resource } = backend;
  if (service && resource) errors.invalid(at, "", "cannot set both resource and service backends");
  if (!service && !resource) errors.required(`${at}.service.name`);
  if (!service) return;
  if (!service.name) errors.required(`${at}.service.name`);
  else errors.messages(`${at}.service.name`, service.name, dns1123Label(service.name));
  if (service.port?.name && service.port.number) {
    errors.invalid(`${at}.service.port`, service.port, "cannot set both port name & port number");
  }
  if (!service.port?.name && !service.port?.number) {
    errors.required(`${at}.service.port`, "port name or number is required");
  }
}

export function validateNetworkPolicy({ spec }: NetworkPolicy): FieldError[] {
  const errors = new Errors();
  checkLabelSelector(errors, "spec.podSelector", spec?.podSelector);
  const rules = [
    ...(spec?.ingress ?? []).map((rule, index) => ({
      at: `spec.ingress[${index}]`,
      ports: rule.ports,
      peers: rule.from,
      field: "from",
    })),
    ...(spec?.egress ?? []).map((rule, index) => ({
      at: `spec.egress[${index}]`,
      ports: rule.ports,
      peers: rule.to,
      field: "to",
    })),
  ];
  for (const { at, ports, peers, field } of rules) {
    for (const [index, port] of (ports ?? []).entries()) {
      errors.optionalOneOf(`${at}.ports[${index}].protocol`, port.protocol, ["SCTP", "TCP", "UDP"]);
    }
    for (const [index, peer] of (peers ?? []).entries()) {
      const path = `${at}.${field}[${index}]`;
      const given = [peer.podSelector, peer.namespaceSelector, peer.ipBlock].filter(
        (part) => part !== undefined,
      ).length;
      if (given === 0) errors.required(path, "must specify a peer");
      if (peer.ipBlock && given > 1) errors.forbidden(path, "may not specify both ipBlock and another peer");
      checkLabelSelector(errors, `${path}.podSelector`, peer.podSelector);
      checkLabelSelector(errors, `${path}.namespaceSelector`, peer.namespaceSelector);
    }
  }
  for (const [index, type] of (spec?.policyTypes ?? []).entries()) {
    if (!["Egress", "Ingress"].includes(type))
      errors.notSupported(`spec.policyTypes[${index}]`, type, ["Egress", "Ingress"]);
  }
  return errors.list;
}

export function validateEndpointSlice({ addressType, endpoints }: EndpointSlice): FieldError[] {
  const errors = new Errors();
  if (!addressType) errors.required("addressType");
  else if (!["FQDN", "IPv4", "IPv6"].includes(addressType)) {
    errors.notSupported("addressType", addressType, ["FQDN", "IPv4", "IPv6"]);
  }
  for (const [index, endpoint] of (endpoints ?? []).entries()) {
    if (!endpoint.addresses?.length) {
      errors.required(`endpoints[${index}].addresses`, "must contain at least 1 address");
    }
  }
  return errors.list;
}

export function validateEndpointSliceUpdate(slice: EndpointSlice, old: EndpointSlice): FieldError[] {
  const errors = new Errors();
  errors.immutable("addressType", slice.addressType, slice.addressType === old.addressType);
  return errors.list;
}

const highestUserPriority = 1_000_000_000;

export function validatePriorityClass({ metadata, value }: PriorityClass): FieldError[] {
  const errors = new Errors();
  const system = metadata.name?.startsWith("system-") ?? false;
  const known: Record<string, number> = { "system-cluster-critical": 2e9, "system-node-critical": 2e9 + 1000 };
  if (system && known[metadata.name!] !== value) {
    const text = "priority class names with 'system-' prefix are reserved for system use only";
    errors.forbidden("metadata.name", `${text}. error: ${metadata.name} is not a known system priority class`);
  } else if (!system && (value ?? 0) > highestUserPriority) {
    errors.forbidden("value", `maximum allowed value of a user defined priority is ${highestUserPriority}`);
  }
  return errors.list;
}

export function validatePriorityClassUpdate(priorityClass: PriorityClass, old: PriorityClass): FieldError[] {
  const errors = new Errors();
  if (priorityClass.value !== old.value) errors.forbidden("value", "may not be changed in an update.");
  if (priorityClass.preemptionPolicy !== old.preemptionPolicy) {
    errors.invalid("preemptionPolicy", priorityClass.preemptionPolicy, "field is immutable");
  }
  return errors.list;
}

export function validateStorageClass(storageClass: StorageClass): FieldError[] {
  const errors = new Errors();
  if (!storageClass.provisioner) errors.required("provisioner");
  errors.optionalOneOf("reclaimPolicy", storageClass.reclaimPolicy, ["Delete", "Retain"]);
  errors.oneOf("volumeBindingMode", storageClass.volumeBindingMode, ["Immediate", "WaitForFirstConsumer"]);
  return errors.list;
}

export function validateStorageClassUpdate(storageClass: StorageClass, old: StorageClass): FieldError[] {
  const errors = new Errors();
  if (!sameJson(storageClass.parameters ?? {}, old.parameters ?? {})) {
    errors.forbidden("parameters", "updates to parameters are forbidden.");
  }
  if (storageClass.provisioner !== old.provisioner)
    errors.forbidden("provisioner", "updates to provisioner are forbidden.");
  if (storageClass.reclaimPolicy !== old.reclaimPolicy) {
    errors.forbidden("reclaimPolicy", "updates to reclaimPolicy are forbidden.");
  }
  errors.immutable(
    "volumeBindingMode",
    storageClass.volumeBindingMode,
    storageClass.volumeBindingMode === old.volumeBindingMode,
  );
  return errors.list;
}

export function validateAutoscaler({ spec }: HorizontalPodAutoscaler): FieldError[] {
  const errors = new Errors();
  if (!spec) return errors.list;
  if ((spec.minReplicas ?? 1) < 1)
    errors.invalid("spec.minReplicas", spec.minReplicas, "must be greater than or equal to 1");
  if (spec.maxReplicas < 1) errors.invalid("spec.maxReplicas", spec.maxReplicas, "must be greater than 0");
  if (spec.maxReplicas < (spec.minReplicas ?? 1)) {
    errors.invalid("spec.maxReplicas", spec.maxReplicas, "must be greater than or equal to `minReplicas`");
  }
  if (!spec.scaleTargetRef?.kind) errors.required("spec.scaleTargetRef.kind");
  if (!spec.scaleTargetRef?.name) errors.required("spec.scaleTargetRef.name");
  return errors.list;
}
