import { badRequest } from "../machinery/status.ts";
import type { RequestInfo } from "./request.ts";

const verbs: Readonly<Record<string, string>> = {
  POST: "create",
  GET: "get",
  HEAD: "get",
  PUT: "update",
  PATCH: "patch",
  DELETE: "delete",
};

type Writable<T> = { -readonly [K in keyof T]: T[K] };

/** Segments after a namespace that belong to the namespace itself. */
const namespaceSubresources = new Set(["status", "finalize"]);

/** Reads a flag as Go's conversion of query parameters does: present and not "false" or "0". */
export function isTrue(value: string | null): boolean {
  return value !== null && value !== "false" && value !== "0";
}

/** Understands a request as kube-apiserver's RequestInfoFactory does. Throws 400 for a path that cannot be decoded. */
export function parseRequestInfo(method: string, url: URL): RequestInfo {
  let path: string;
  try {
    const { pathname } = url;
    path = pathname.includes("%") ? decodeURIComponent(pathname) : pathname;
  } catch {
    throw badRequest(`invalid URL escape in ${JSON.stringify(url.pathname)}`);
  }
  const other: RequestInfo = {
    isResource: false,
    path,
    verb: method.toLowerCase(),
    group: "",
    version: "",
    resource: "",
  };
  // Slashes at either end do not count; an empty part in the middle does.
  const parts = path.split("/");
  if (parts[0] === "") parts.shift();
  if (parts.at(-1) === "") parts.pop();
  const root = parts.shift();
  if (root !== "api" && root !== "apis") return other;
  const group = root === "api" ? "" : parts.shift();
  const version = parts.shift();
  if (group === undefined || !version || parts.length === 0) return other;

  let verb = verbs[method] ?? "";
  if (parts[0] === "watch" && parts.length > 1) {
    parts.shift();
    verb = "watch";
  } else if (parts[0] === "proxy" && parts.length > 1) return other;

  let namespace: string | undefined;
  if (parts[0] === "namespaces" && parts.length > 1) {
    namespace = parts[1]!;
    if (parts.length > 2 && !namespaceSubresources.has(parts[2]!)) parts.splice(0, 2);
  }
  const [resource, nameInPath, subresource, ...rest] = parts as [string, ...string[]];
  let name = nameInPath === "" ? undefined : nameInPath;
  if (!name && verb === "get") verb = isTrue(url.searchParams.get("watch")) ? "watch" : "list";
  if (!name && verb === "delete") verb = "deletecollection";
  if (!name && (verb === "list" || verb === "watch" || verb === "deletecollection")) {
    // A list of one object by its name is authorized like a get of it.
    const match = /(?:^|,)metadata\.name={1,2}([^,]+)(?:,|$)/.exec(url.searchParams.get("fieldSelector") ?? "");
    if (match) name = match[1]!;
  }
  // Assigned, not spread: this is done for every request.
  const info: Writable<RequestInfo> = { isResource: true, path, verb, group, version, resource };
  if (namespace !== undefined) info.namespace = namespace;
  if (name !== undefined) info.name = name;
  if (subresource) info.subresource = subresource;
  if (rest.length > 0) info.rest = rest.join("/");
  return info;
}
