import type { ResourceType } from "../machinery/object.ts";

/** Query parameters; absent, empty and false ones are left out. */
export type Query = Readonly<Record<string, string | number | boolean | undefined>>;

/** The path of a resource, an object of it, or a subresource of that: "/apis/apps/v1/namespaces/a/deployments/b/scale". */
export function resourcePath(
  type: ResourceType,
  at: { readonly namespace?: string; readonly name?: string; readonly subresource?: string },
): string {
  const root = type.group === "" ? `/api/${type.version}` : `/apis/${type.group}/${type.version}`;
  const namespace = type.namespaced && at.namespace ? `/namespaces/${encodeURIComponent(at.namespace)}` : "";
  const name = at.name ? `/${encodeURIComponent(at.name)}` : "";
  const subresource = at.subresource ? `/${at.subresource}` : "";
  return `${root}${namespace}/${type.resource}${name}${subresource}`;
}

/** "?a=b&c=d", or "" when nothing is set. */
export function queryString(query: Query): string {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined && value !== "" && value !== false) parameters.set(name, String(value));
  }
  const text = parameters.toString();
  return text === "" ? "" : `?${text}`;
}
