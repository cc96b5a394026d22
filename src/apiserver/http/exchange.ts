import type { ResourceFacts } from "../../api/resource.ts";
import { builtInSchema } from "../../api/schemas.ts";
import type { Call, Core } from "../core.ts";
import type { ParsedBody } from "../operations.ts";
import type { CachedObject } from "../storage/cached-object.ts";
import { mediaTypeOf, parseBody, readBody, type SchemaFor } from "./body.ts";
import { encodeItem, encodeList, parseIncludeObject, type View } from "./encode.ts";
import type { Incoming, Outgoing } from "./messages.ts";
import { negotiate } from "./negotiate.ts";
import { sendEncoded } from "./reply.ts";

/** A request for objects, understood and allowed, with where its answer goes. */
export interface Exchange {
  readonly core: Core;
  readonly request: Incoming;
  readonly response: Outgoing;
  readonly url: URL;
  readonly call: Call;
  readonly warnings: string[];
}

/** How the client wants to see objects. Throws 406 when it takes nothing that there is. */
export function viewOf(
  { core, request, url, call }: Pick<Exchange, "core" | "request" | "url"> & { call: Pick<Call, "facts"> },
  offer: "object" | "watch" = "object",
): View {
  return {
    encoding: negotiate(request.headers.accept, call.facts.custom ? `custom-${offer}` : offer),
    includeObject: parseIncludeObject(url.searchParams.get("includeObject")),
    nowMs: core.clusterClock.now(),
  };
}

/** Answers one object. */
export async function sendItem(exchange: Exchange, code: number, item: CachedObject, view: View): Promise<void> {
  const { request, response, warnings } = exchange;
  setWarnings(response, warnings);
  await sendEncoded(request, response, code, view.encoding, encodeItem(item, view), isPretty(exchange));
}

/** Answers a page of a list. */
export async function sendPage(exchange: Exchange, page: Parameters<typeof encodeList>[1], view: View): Promise<void> {
  const { request, response, call } = exchange;
  const body = await encodeList(call.facts, page, view);
  await sendEncoded(request, response, 200, view.encoding, body, isPretty(exchange));
}

/** The body of a write, with what reading it found. */
export async function readObjectBody(
  { request, call }: Exchange,
  fieldValidation: ParsedBody["fieldValidation"],
): Promise<ParsedBody> {
  const findings: string[] = [];
  const onDuplicate = (path: string) => findings.push(`duplicate field ${JSON.stringify(path)}`);
  const bytes = await readBody(request);
  const options = fieldValidation === "Ignore" ? {} : { onDuplicate };
  const kind = call.subresource === "scale" ? "Scale" : call.facts.kind;
  const value = await parseBody(
    bytes,
    mediaTypeOf(request.headers["content-type"]),
    kind,
    options,
    schemasOf(call.facts, call.subresource),
  );
  return { value, findings, fieldValidation };
}

/** Types that stand in protobuf bodies of subresources; the others send the resource's own kind. */
const subresourceSchemas: Readonly<Record<string, string>> = {
  Scale: "io.k8s.api.autoscaling.v1.Scale",
  Eviction: "io.k8s.api.policy.v1.Eviction",
  Binding: "io.k8s.api.core.v1.Binding",
  TokenRequest: "io.k8s.api.authentication.v1.TokenRequest",
};

/** How protobuf bodies of a resource are read; custom resources have no protobuf, but their Scale has. */
export function schemasOf(facts: ResourceFacts, subresource: string | undefined): SchemaFor | undefined {
  if (facts.custom && subresource !== "scale") return undefined;
  return (_apiVersion, kind) => {
    const other = subresource && Object.hasOwn(subresourceSchemas, kind) ? subresourceSchemas[kind] : undefined;
    return other ? builtInSchema(other) : facts.schema;
  };
}

/** Tells warnings in their header. */
export function setWarnings(response: Outgoing, warnings: readonly string[]): void {
  if (warnings.length === 0 || response.headersSent) return;
  // RFC 7234: 299 is "miscellaneous persistent warning"; the agent is "-".
  const lines = [...new Set(warnings)].map((text) => `299 - ${JSON.stringify(text).replace(/[^\x20-\x7e]/g, "?")}`);
  response.setHeader("warning", lines);
}

/** Does the client want to read the answer itself? */
export function isPretty({ request, url }: Exchange): boolean {
  const asked = url.searchParams.get("pretty");
  if (asked !== null) return asked !== "false" && asked !== "0";
  // People read what these print.
  return /^(curl|Wget|Mozilla\/5\.0)/.test(request.headers["user-agent"] ?? "");
}
