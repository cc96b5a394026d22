import type { ResourceFacts } from "../../api/resource.ts";
import type { RequestInfo } from "../request.ts";

/** The options of a connection to a pod, node or service, as admission sees them: the subresource's own kind, from the query. */
export function connectOptions(facts: ResourceFacts, info: RequestInfo, { searchParams }: URL): object | undefined {
  const own = info.subresource ? facts.subresources[info.subresource] : undefined;
  if (!own?.kind) return undefined;
  const type = { kind: own.kind, apiVersion: own.group ? `${own.group}/${own.version}` : own.version };
  const flag = (name: string) => (/^(1|t|true)$/i.test(searchParams.get(name) ?? "") ? { [name]: true } : {});
  switch (info.subresource) {
    case "exec":
    case "attach": {
      const container = searchParams.get("container");
      const command = searchParams.getAll("command");
      return {
        ...type,
        ...flag("stdin"),
        ...flag("stdout"),
        ...flag("stderr"),
        ...flag("tty"),
        ...(container ? { container } : {}),
        ...(command.length > 0 ? { command } : {}),
      };
    }
    case "portforward": {
      const ports = searchParams.getAll("ports").flatMap((text) => text.split(",").map(Number));
      return { ...type, ...(ports.length > 0 ? { ports } : {}) };
    }
    default:
      return { ...type, ...(info.rest === undefined ? {} : { path: `/${info.rest}` }) };
  }
}
