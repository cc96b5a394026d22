import type { ResourceFacts } from "../api/resource.ts";
import { badRequest, methodNotSupported, StatusError } from "../machinery/status.ts";
import { groupResource } from "./core.ts";
import type { Incoming } from "./http/messages.ts";
import type { RequestInfo } from "./request.ts";

/** What a URL's parser would resolve: segments that lead upwards, and slashes that are none. */
const resolvable = /\/(?:\.|%2e){1,2}(?:[/\\?#]|$)|\\/i;

/** The request's address. Throws 400 for one that is none, 404 for one that leads elsewhere than it says. */
export function urlOf(request: Incoming): URL {
  const { url = "/" } = request;
  if (resolvable.test(url.split("?", 1)[0]!)) throw pathNotFound();
  try {
    // Joined, not resolved: "//host/path" is a path here.
    return new URL(`https://localhost${url}`);
  } catch {
    throw badRequest(`invalid URL ${JSON.stringify(request.url)}`);
  }
}

/** The 404 of a path that nothing serves. */
export function pathNotFound(): StatusError {
  return new StatusError(404, "NotFound", "the server could not find the requested resource", {});
}

/** The name as the path has it; a list by field selector has one in `info` only for authorization. */
export function nameInPath(info: RequestInfo, url: URL): string {
  const collection = info.verb === "list" || info.verb === "watch" || info.verb === "deletecollection";
  if (!collection) return info.name ?? "";
  const last = decodeURIComponent(url.pathname).replace(/\/$/, "").split("/").at(-1);
  return last === info.name ? (info.name ?? "") : "";
}

/** Namespaced resources are written inside a namespace, others never. */
export function checkScope(facts: ResourceFacts, info: RequestInfo, url: URL): void {
  const collection = ["list", "watch", "deletecollection"].includes(info.verb) && nameInPath(info, url) === "";
  if (facts.namespaced && !info.namespace && (info.verb === "deletecollection" || !collection)) {
    // A review or binding may be posted without a namespace in its path only where it is cluster-scoped.
    throw info.verb === "create" || info.verb === "deletecollection"
      ? methodNotSupported(groupResource(facts), info.verb)
      : pathNotFound();
  }
  const isNamespaceItself = facts.resource === "namespaces" && facts.group === "";
  if (!facts.namespaced && info.namespace !== undefined && !isNamespaceItself) throw pathNotFound();
  // Only a subresource is created below a name.
  const named = info.verb === "create" && info.name !== undefined && !info.subresource;
  if (named) throw methodNotSupported(groupResource(facts), info.verb);
  if (["create", "list", "watch", "deletecollection"].includes(info.verb)) return;
  if (!info.name) throw methodNotSupported(groupResource(facts), info.verb);
}
