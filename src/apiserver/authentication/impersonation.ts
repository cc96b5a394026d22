import type { IncomingHttpHeaders } from "node:http";
import { badRequest } from "../../machinery/status.ts";
import { forbiddenError } from "../authorization/forbidden-error.ts";
import type { AuthorizationAttributes, Authorizer, UserInfo } from "../request.ts";
import { decodeExtraKey, headerValues } from "./request-header.ts";
import { anonymousUser, withAuthenticatedGroup } from "./union.ts";

const extraPrefix = "impersonate-extra-";
const serviceAccountPattern = /^system:serviceaccount:([^:]+):([^:]+)$/;

/**
 * Who a request acts as: the user itself, or the one of its Impersonate-* headers, each of which needs the
 * `impersonate` verb. Throws 403 for what the user may not impersonate and 400 for groups, uid or extras without a user.
 */
export async function impersonate(
  user: UserInfo,
  headers: IncomingHttpHeaders,
  authorize: Authorizer,
): Promise<UserInfo> {
  if (!asksForIt(headers)) return user;
  const name = headers["impersonate-user"];
  const uid = headers["impersonate-uid"];
  const groups = headerValues(headers["impersonate-group"]);
  const extra: Record<string, string[]> = {};
  for (const [header, value] of Object.entries(headers)) {
    if (header.startsWith(extraPrefix)) extra[decodeExtraKey(header.slice(extraPrefix.length))] = headerValues(value);
  }
  if (typeof name !== "string" || name === "") {
    if (groups.length === 0 && !uid && Object.keys(extra).length === 0) return user;
    throw badRequest("requested groups, uid or extra fields without impersonating a user");
  }

  const authentication = "authentication.k8s.io";
  const wanted: Omit<AuthorizationAttributes, "user" | "verb">[] = [];
  const account = serviceAccountPattern.exec(name);
  if (account) wanted.push({ group: "", resource: "serviceaccounts", namespace: account[1]!, name: account[2]! });
  else wanted.push({ group: "", resource: "users", name });
  for (const group of groups) wanted.push({ group: "", resource: "groups", name: group });
  if (typeof uid === "string" && uid) wanted.push({ group: authentication, resource: "uids", name: uid });
  for (const [key, values] of Object.entries(extra)) {
    for (const value of values) {
      wanted.push({ group: authentication, resource: "userextras", subresource: key, name: value });
    }
  }
  for (const target of wanted) {
    const attributes: AuthorizationAttributes = { user, verb: "impersonate", version: "v1", ...target };
    const decision = await authorize(attributes);
    if (!decision.allowed) throw forbiddenError(attributes, decision.reason);
  }

  const accountGroups =
    account && groups.length === 0 ? ["system:serviceaccounts", `system:serviceaccounts:${account[1]}`] : groups;
  const anonymous = name === anonymousUser.name && groups.length === 0;
  return withAuthenticatedGroup({
    name,
    ...(typeof uid === "string" && uid ? { uid } : {}),
    groups: anonymous ? anonymousUser.groups : accountGroups,
    ...(Object.keys(extra).length > 0 ? { extra } : {}),
  });
}

/** Nearly no request does, and every one is asked. */
function asksForIt(headers: IncomingHttpHeaders): boolean {
  for (const header in headers) if (header.startsWith("impersonate-")) return true;
  return false;
}
