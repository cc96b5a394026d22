import { compareVersions } from "../../api/discovery.ts";
import type { APIService } from "../../api/generated/apiregistration-v1.ts";
import type { DeepReadonly } from "../../machinery/object.ts";

/** A group-version that another server answers, as its APIService says. */
export interface RemoteApi {
  /** The APIService's: "v1beta1.metrics.k8s.io". */
  readonly name: string;
  readonly group: string;
  readonly version: string;
  readonly groupPriority: number;
  readonly versionPriority: number;
  readonly service: { readonly namespace: string; readonly name: string; readonly port: number };
  /** PEM; absent: what the machine trusts. */
  readonly ca: string | undefined;
  readonly insecure: boolean;
  readonly available: boolean;
}

/** Undefined for an APIService of this server itself. */
export function remoteApiOf({ metadata, spec, status }: DeepReadonly<APIService>): RemoteApi | undefined {
  if (!spec?.service) return undefined;
  const { namespace = "", name = "", port = 443 } = spec.service;
  return {
    name: metadata.name ?? "",
    group: spec.group ?? "",
    version: spec.version ?? "",
    groupPriority: spec.groupPriorityMinimum,
    versionPriority: spec.versionPriority,
    service: { namespace, name, port },
    ca: spec.caBundle ? Buffer.from(spec.caBundle, "base64").toString() : undefined,
    insecure: spec.insecureSkipTLSVerify === true,
    available: (status?.conditions ?? []).some((one) => one.type === "Available" && one.status === "True"),
  };
}

/** "/apis/metrics.k8s.io/v1beta1"; the core group's is "/api/v1". */
export function pathOf({ group, version }: Pick<RemoteApi, "group" | "version">): string {
  return group === "" ? `/api/${version}` : `/apis/${group}/${version}`;
}

/** Names the service of an APIService; several of them may share one. */
export function serviceKeyOf({ service }: RemoteApi): string {
  return `${service.namespace}/${service.name}:${service.port}`;
}

/** Can a connection made for the one serve the other? */
export function reachesAlike(a: RemoteApi, b: RemoteApi): boolean {
  return serviceKeyOf(a) === serviceKeyOf(b) && a.ca === b.ca && a.insecure === b.insecure;
}

/** Of one group: what discovery names first. */
export function byVersionPriority(
  a: { readonly version: string; readonly versionPriority: number },
  b: { readonly version: string; readonly versionPriority: number },
): number {
  return b.versionPriority - a.versionPriority || compareVersions(a.version, b.version);
}
