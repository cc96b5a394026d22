import { forbidden, type StatusError } from "../../machinery/status.ts";
import type { AuthorizationAttributes } from "../request.ts";

/** The 403 of a request that no authorizer allowed, in the words that people search for. */
export function forbiddenError(attributes: AuthorizationAttributes, reason = ""): StatusError {
  const { user, verb, group, resource, subresource, namespace, name = "", path } = attributes;
  const who = `User ${JSON.stringify(user.name)}`;
  if (path !== undefined) {
    const text = `${who} cannot ${verb} path ${JSON.stringify(path)}`;
    return forbidden({ group: "", resource: "" }, "", reason ? `${text}: ${reason}` : text);
  }
  const whole = subresource ? `${resource}/${subresource}` : resource;
  const where = namespace ? `in the namespace ${JSON.stringify(namespace)}` : "at the cluster scope";
  const text = `${who} cannot ${verb} resource ${JSON.stringify(whole)} in API group ${JSON.stringify(group)} ${where}`;
  return forbidden({ group, resource }, name, reason ? `${text}: ${reason}` : text);
}
