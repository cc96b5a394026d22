import type { ParamKind, ParamRef } from "../../../api/generated/admissionregistration-v1.ts";
import type { LabelSelector } from "../../../api/generated/meta-v1.ts";
import type { ResourceFacts } from "../../../api/resource.ts";
import type { Client } from "../../../client/client.ts";
import { fromLabelSelector } from "../../../machinery/label-selector.ts";
import { type DeepReadonly, type KubeObject, parseApiVersion } from "../../../machinery/object.ts";
import { hasReason } from "../../../machinery/status.ts";

/** The resources that are served, of which one may be a policy's parameter. */
export interface ServedResources {
  all(): readonly ResourceFacts[];
}

/** The resource of a policy's parameters. Throws Error with Kubernetes' text when nothing is served by that kind. */
export function resourceOfKind(
  { apiVersion = "", kind = "" }: DeepReadonly<ParamKind>,
  resources: ServedResources,
): ResourceFacts {
  const { group, version } = parseApiVersion(apiVersion);
  const found = resources.all().find((one) => one.kind === kind && one.group === group && one.version === version);
  if (found) return found;
  throw new Error(`failed to find resource referenced by paramKind: '${group}/${version}, Kind=${kind}'`);
}

/**
 * The objects with which a binding has its policy evaluated, once each; null: without one. Throws Error with Kubernetes'
 * text when they cannot be found out, or none is there and that is not allowed.
 */
export async function collectParameters(
  client: Client,
  resource: ResourceFacts | undefined,
  ref: DeepReadonly<ParamRef> | undefined,
  namespace: string | undefined,
): Promise<(KubeObject | null)[]> {
  if (!resource || !ref) return [null];
  const found = await findParameters(client, resource, ref, placeOf(resource, ref, namespace));
  if (found.length === 0 && ref.parameterNotFoundAction === "Deny") {
    throw new Error("no params found for policy binding with `Deny` parameterNotFoundAction");
  }
  const { group, version, kind } = resource;
  const apiVersion = group === "" ? version : `${group}/${version}`;
  return found.map((object) => (object.kind && object.apiVersion ? object : { ...object, apiVersion, kind }));
}

function placeOf(
  resource: ResourceFacts,
  ref: DeepReadonly<ParamRef>,
  namespace: string | undefined,
): { namespace?: string } {
  if (!resource.namespaced) {
    if (!ref.namespace) return {};
    throw new Error("paramRef.namespace must not be provided for a cluster-scoped `paramKind`");
  }
  const place = ref.namespace || namespace;
  if (place) return { namespace: place };
  throw new Error("cannot use namespaced paramRef in policy binding that matches cluster-scoped resources");
}

async function findParameters(
  client: Client,
  resource: ResourceFacts,
  { name, selector }: DeepReadonly<ParamRef>,
  place: { namespace?: string },
): Promise<KubeObject[]> {
  if (name) {
    if (selector) throw new Error("paramRef.name and paramRef.selector are mutually exclusive");
    try {
      return [await client.get(resource, name, place)];
    } catch (error) {
      if (hasReason(error, "NotFound")) return [];
      throw error;
    }
  }
  if (!selector) throw new Error("one of name or selector must be provided");
  const labelSelector = fromLabelSelector(selector as LabelSelector).toString();
  // The cache has every commit that was answered: asking the store adds nothing.
  const { items } = await client.list(resource, { ...place, labelSelector, resourceVersion: "0" });
  return items;
}
