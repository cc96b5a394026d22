import { ageColumn, formatLabels, none, text, unknown, wide } from "../columns.ts";
import type { Service } from "../generated/core-v1.ts";
import type { KindColumn } from "../kind-facts.ts";

export const serviceColumns: readonly KindColumn<Service>[] = [
  text("Type", (service) => service.spec?.type ?? ""),
  text("Cluster-IP", (service) => service.spec?.clusterIPs?.[0] ?? none),
  text("External-IP", externalIp),
  text("Port(s)", ports),
  ageColumn,
  wide("Selector", (service) => formatLabels(service.spec?.selector)),
];

function externalIp({ spec, status }: Service): string {
  const external = spec?.externalIPs ?? [];
  switch (spec?.type) {
    case "ClusterIP":
    case "NodePort":
      return external.join(",") || none;
    case "LoadBalancer": {
      const ingress = (status?.loadBalancer?.ingress ?? []).map((entry) => entry.ip || entry.hostname || "");
      const known = [...new Set(ingress.filter((address) => address !== ""))].sort();
      return [...known, ...external].join(",") || "<pending>";
    }
    case "ExternalName":
      return spec.externalName ?? "";
    default:
      return unknown;
  }
}

function ports({ spec }: Service): string {
  const texts = (spec?.ports ?? []).map((port) =>
    port.nodePort ? `${port.port}:${port.nodePort}/${port.protocol}` : `${port.port}/${port.protocol}`,
  );
  return texts.join(",") || none;
}
