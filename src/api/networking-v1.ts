import { ageColumn, formatSelector, nameColumn, none, text } from "./columns.ts";
import {
  type Ingress,
  ingressClasses,
  ingresses,
  ipAddresses,
  networkPolicies,
  serviceCIDRs,
} from "./generated/networking-v1.ts";
import { type KindEntry, kind } from "./kind-facts.ts";
import {
  ingressWarnings,
  ipAddressName,
  networkPolicyWarnings,
  validateIngress,
  validateIngressClass,
  validateIngressClassUpdate,
  validateIngressUpdate,
  validateIpAddress,
  validateIpAddressUpdate,
  validateNetworkPolicy,
  validateNetworkPolicyUpdate,
  validateServiceCidr,
  validateServiceCidrUpdate,
} from "./validation/network.ts";

function hosts({ spec }: Ingress): string {
  const rules = spec?.rules ?? [];
  const shown = rules.slice(0, 3).flatMap((rule) => (rule.host ? [rule.host] : []));
  if (shown.length === 0) return "*";
  return rules.length > 3 ? `${shown.join(",")} + ${rules.length - 3} more...` : shown.join(",");
}

function addresses({ status }: Ingress): string {
  const known = (status?.loadBalancer?.ingress ?? []).map((entry) => entry.ip || entry.hostname || "");
  return [...new Set(known.filter((address) => address !== ""))].sort().join(",");
}

export const networkingV1: readonly KindEntry[] = [
  kind(ingresses, {
    shortNames: ["ing"],
    storage: { prefix: "ingress" },
    columns: [
      text("Class", ({ spec }) => spec?.ingressClassName ?? none),
      text("Hosts", hosts),
      text("Address", addresses),
      text("Ports", ({ spec }) => (spec?.tls?.length ? "80, 443" : "80")),
      ageColumn,
    ],
    strategy: {
      generation: true,
      ratchets: true,
      validate: validateIngress,
      validateUpdate: validateIngressUpdate,
      warnings: ingressWarnings,
    },
  }),
  kind(ingressClasses, {
    columns: [
      {
        ...nameColumn,
        value: ({ metadata }) => {
          const isDefault = metadata.annotations?.["ingressclass.kubernetes.io/is-default-class"] === "true";
          return `${metadata.name}${isDefault ? " (default)" : ""}`;
        },
      },
      text("Controller", ({ spec }) => spec?.controller ?? ""),
      text("Parameters", ({ spec }) => {
        const parameters = spec?.parameters;
        if (!parameters) return none;
        return `${parameters.kind}${parameters.apiGroup === undefined ? "" : `.${parameters.apiGroup}`}/${parameters.name}`;
      }),
      ageColumn,
    ],
    strategy: {
      generation: true,
      validate: validateIngressClass,
      validateUpdate: validateIngressClassUpdate,
      applyDefaults({ spec }) {
        if (spec?.parameters) spec.parameters.scope ??= "Cluster";
      },
    },
  }),
  kind(networkPolicies, {
    shortNames: ["netpol"],
    columns: [text("Pod-Selector", ({ spec }) => formatSelector(spec?.podSelector ?? {})), ageColumn],
    strategy: {
      generation: true,
      ratchets: true,
      validate: validateNetworkPolicy,
      validateUpdate: validateNetworkPolicyUpdate,
      warnings: networkPolicyWarnings,
      applyDefaults({ spec }) {
        if (!spec) return;
        if (!spec.policyTypes?.length) spec.policyTypes = spec.egress?.length ? ["Ingress", "Egress"] : ["Ingress"];
        for (const rule of [...(spec.ingress ?? []), ...(spec.egress ?? [])]) {
          for (const port of rule.ports ?? []) port.protocol ??= "TCP";
        }
      },
    },
  }),
  kind(serviceCIDRs, {
    columns: [text("CIDRs", ({ spec }) => (spec?.cidrs ?? []).join(",")), ageColumn],
    strategy: { ratchets: true, validate: validateServiceCidr, validateUpdate: validateServiceCidrUpdate },
  }),
  kind(ipAddresses, {
    shortNames: ["ip"],
    strategy: {
      validateName: ipAddressName,
      validate: validateIpAddress,
      validateUpdate: validateIpAddressUpdate,
    },
    columns: [
      text("ParentRef", ({ spec }) => {
        const parent = spec?.parentRef;
        if (!parent) return none;
        const resource = `${parent.resource}${parent.group ? `.${parent.group}` : ""}`.toLowerCase();
        return [resource, parent.namespace, parent.name].filter((part) => part).join("/");
      }),
      ageColumn,
    ],
    selectableFields: {},
  }),
];
