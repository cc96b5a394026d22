import { formatIp, parseIp } from "../machinery/cidr.ts";
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
import { validateIngress, validateNetworkPolicy } from "./validation/others.ts";

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

/** An IPAddress is named by the address that it stands for. */
function addressName(name: string): string[] {
  const ip = parseIp(name);
  if (!ip) return ["must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"];
  const canonical = formatIp(ip);
  return canonical === name ? [] : [`must be in canonical form (${JSON.stringify(canonical)})`];
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
    strategy: { generation: true, validate: validateIngress },
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
      validate: validateNetworkPolicy,
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
  }),
  kind(ipAddresses, {
    shortNames: ["ip"],
    strategy: { validateName: addressName },
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
