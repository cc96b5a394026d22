import type { ResourceFacts } from "../../api/resource.ts";
import { strictMessage } from "../../machinery/canonical.ts";
import { visitKeys } from "../../machinery/json.ts";
import type { Call, Core } from "../core.ts";
import type { ParsedBody } from "../operations.ts";
import type { CachedObject } from "../storage/cached-object.ts";
import { bodyTypeOf } from "../verbs/body-type.ts";
import { mediaTypeOf, parseBody, readBody, type SchemaFor } from "./body.ts";
import { encodeItem, encodeList, parseIncludeObject, type View } from "./encode.ts";
import type { Incoming, Outgoing } from "./messages.ts";
import { negotiate } from "./negotiate.ts";
import { joinPieces } from "./pieces.ts";
import { isRewritten, sendEncoded, sendPieces } from "./reply.ts";
import { warningHeader } from "./warning-header.ts";

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
  const { core, request, response, call } = exchange;
  const { ioClock } = core;
  const { encoding } = view;
  const body = await encodeList(call.facts, page, view, ioClock);
  const pretty = isPretty(exchange);
  // YAML and what people read is made of the whole text.
  if (isRewritten(encoding, pretty, body.length)) {
    await sendEncoded(request, response, 200, encoding, await joinPieces(body, ioClock), pretty);
  } else await sendPieces(request, response, 200, encoding, body, ioClock);
}

/** The body of a write, with what reading it found. */
export async function readObjectBody(
  { core, request, call }: Pick<Exchange, "core" | "request" | "call">,
  fieldValidation: ParsedBody["fieldValidation"],
): Promise<ParsedBody> {
  const findings: string[] = [];
  const onDuplicate = (path: string) => findings.push(strictMessage.duplicate(path));
  const bytes = await readBody(request, core.ioClock);
  const onStrictYaml = (text: string) => findings.push(text);
  const options = fieldValidation === "Ignore" ? {} : { onDuplicate, onStrictYaml };
  const { kind } = bodyTypeOf(call.facts, call.subresource);
  const mediaType = mediaTypeOf(request.headers["content-type"]);
  const value = await parseBody(bytes, mediaType, kind, options, schemasOf(call.facts, call.subresource));
  const isJson = mediaType === "" || mediaType === "application/json";
  return {
    value,
    findings,
    fieldValidation,
    ...(isJson ? { inOrder: (texts) => inOrderOf(bytes.toString("utf8"), texts) } : {}),
  };
}

/** Sorts findings by where a JSON text has the keys that they name. */
function inOrderOf(text: string, findings: readonly string[]): string[] {
  const ranks = new Map(findings.map((finding) => [finding, Number.POSITIVE_INFINITY]));
  let rank = 0;
  visitKeys(text, (path, isRepeated) => {
    const finding = isRepeated ? strictMessage.duplicate(path) : strictMessage.unknown(path);
    if (ranks.get(finding) === Number.POSITIVE_INFINITY) ranks.set(finding, rank++);
  });
  return [...findings].sort((a, b) => (ranks.get(a) === ranks.get(b) ? 0 : ranks.get(a)! - ranks.get(b)!));
}

/** How protobuf bodies of a resource are read; custom resources have no protobuf, but their Scale has. */
export function schemasOf(facts: ResourceFacts, subresource: string | undefined): SchemaFor | undefined {
  if (facts.custom && subresource !== "scale") return undefined;
  return () => bodyTypeOf(facts, subresource).schema;
}

/** Tells warnings in their header. */
export function setWarnings(response: Outgoing, warnings: readonly string[]): void {
  if (warnings.length === 0 || response.headersSent) return;
  const values = warningHeader(warnings);
  if (values.length > 0) response.setHeader("warning", values);
}

/** Does the client want to read the answer itself? */
export function isPretty({ request, url }: Exchange): boolean {
  const asked = url.searchParams.get("pretty");
  if (asked !== null) return asked !== "false" && asked !== "0";
  // People read what these print.
  return /^(curl|Wget|Mozilla\/5\.0)/.test(request.headers["user-agent"] ?? "");
}
