import type { Column, ResourceFacts } from "../../api/resource.ts";
import { stringifyJson } from "../../machinery/json.ts";
import { apiVersionOf } from "../../machinery/object.ts";
import { badRequest } from "../../machinery/status.ts";
import type { CachedObject } from "../storage/cached-object.ts";
import type { ListPage } from "../verbs/list.ts";
import { encodePartialMetadata, envelop, listHead, listItemHeader } from "./kubernetes-protobuf.ts";
import type { Encoding } from "./negotiate.ts";

/** What of an object a table's row carries besides its cells. */
export type IncludeObject = "None" | "Metadata" | "Object";

/** Reads the parameter of that name. Throws 400 for other values. */
export function parseIncludeObject(value: string | null): IncludeObject {
  if (value === null || value === "" || value === "Metadata") return "Metadata";
  if (value === "None" || value === "Object") return value;
  throw badRequest(
    `includeObject: Unsupported value: ${JSON.stringify(value)}: supported values: "Metadata", "None", "Object"`,
  );
}

export interface View {
  readonly encoding: Encoding;
  readonly includeObject: IncludeObject;
  /** For ages in tables. */
  readonly nowMs: number;
}

/** Items joined in one piece before the loop gets a turn; fewer where each may have to be encoded first. */
const stride = 1000;
const protobufStride = 100;

function columnDefinition({ name, type, format, description, priority }: Column): object {
  // Ages are computed here, so they are text for the client.
  return {
    name,
    type: type === "date" ? "string" : type,
    format: format ?? "",
    description: description ?? "",
    priority: priority ?? 0,
  };
}

export function tableHead(facts: ResourceFacts, view: View, metadata: object, withColumns = true): string {
  const columns = withColumns ? facts.columns.map(columnDefinition) : [];
  const version = `meta.k8s.io/${view.encoding.asVersion}`;
  return `{"kind":"Table","apiVersion":"${version}","metadata":${stringifyJson(metadata)},"columnDefinitions":${stringifyJson(columns)},"rows":[`;
}

function partial(item: CachedObject, version: string | undefined): string {
  const { metadata } = item.object;
  return `{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/${version}","metadata":${stringifyJson(metadata)}}`;
}

function row(item: CachedObject, view: View): string {
  const cells = item.facts.columns.map((column) => column.value(item.object, view.nowMs));
  const object =
    view.includeObject === "None"
      ? ""
      : `,"object":${view.includeObject === "Object" ? item.bytes() : partial(item, view.encoding.asVersion)}`;
  return `{"cells":${stringifyJson(cells)}${object}}`;
}

/** The type that an object of a resource has in this view. */
export function typeIn({ encoding }: View, facts: ResourceFacts, list = false): { apiVersion: string; kind: string } {
  return encoding.as === "PartialObjectMetadata"
    ? { apiVersion: `meta.k8s.io/${encoding.asVersion}`, kind: `PartialObjectMetadata${list ? "List" : ""}` }
    : { apiVersion: apiVersionOf(facts), kind: list ? facts.listKind : facts.kind };
}

/** One object in the form that was asked for. */
export function encodeItem(item: CachedObject, view: View, withColumns = true): Buffer {
  if (view.encoding.type === "protobuf") {
    const { apiVersion, kind } = typeIn(view, item.facts);
    return envelop(apiVersion, kind, protobufOf(item, view));
  }
  switch (view.encoding.as) {
    case "Table": {
      const metadata = { resourceVersion: String(item.revision) };
      return Buffer.from(`${tableHead(item.facts, view, metadata, withColumns)}${row(item, view)}]}`);
    }
    case "PartialObjectMetadata":
      return Buffer.from(partial(item, view.encoding.asVersion));
    default:
      return item.bytes();
  }
}

function protobufOf(item: CachedObject, { encoding }: View): Buffer {
  return encoding.as === "PartialObjectMetadata" ? encodePartialMetadata(item.object) : item.protobuf();
}

async function encodeProtobufList(facts: ResourceFacts, page: ListPage, metadata: object, view: View): Promise<Buffer> {
  const pieces = [listHead(metadata)];
  for (const [index, item] of page.items.entries()) {
    const bytes = protobufOf(item, view);
    pieces.push(listItemHeader(bytes.length), bytes);
    if (index % protobufStride === protobufStride - 1) await new Promise((resolve) => setImmediate(resolve));
  }
  const { apiVersion, kind } = typeIn(view, facts, true);
  return envelop(apiVersion, kind, pieces);
}

/** A list in the form that was asked for: a join of the items' bytes. */
export async function encodeList(facts: ResourceFacts, page: ListPage, view: View): Promise<Buffer> {
  const metadata = {
    resourceVersion: String(page.revision),
    ...(page.continue ? { continue: page.continue } : {}),
    ...(page.remaining ? { remainingItemCount: page.remaining } : {}),
  };
  if (view.encoding.type === "protobuf") return encodeProtobufList(facts, page, metadata, view);
  const { as, asVersion } = view.encoding;
  const head =
    as === "Table"
      ? tableHead(facts, view, metadata)
      : as === "PartialObjectMetadata"
        ? `{"kind":"PartialObjectMetadataList","apiVersion":"meta.k8s.io/${asVersion}","metadata":${stringifyJson(metadata)},"items":[`
        : `{"kind":"${facts.listKind}","apiVersion":"${apiVersionOf(facts)}","metadata":${stringifyJson(metadata)},"items":[`;
  const pieces: Buffer[] = [Buffer.from(head)];
  for (const [index, item] of page.items.entries()) {
    const comma = index === 0 ? "" : ",";
    if (as === "Table") pieces.push(Buffer.from(comma + row(item, view)));
    else if (as === "PartialObjectMetadata") pieces.push(Buffer.from(comma + partial(item, asVersion)));
    // Items of built-in lists carry no kind; those of custom resources do.
    else pieces.push(Buffer.from(comma + (facts.custom ? item.prefix : item.listPrefix)), item.fragment);
    if (index % stride === stride - 1) await new Promise((resolve) => setImmediate(resolve));
  }
  pieces.push(Buffer.from("]}"));
  return Buffer.concat(pieces);
}
