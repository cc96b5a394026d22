import type { Column, ResourceFacts } from "../../api/resource.ts";
import type { Clock } from "../../machinery/clock.ts";
import { stringifyJson } from "../../machinery/json.ts";
import { apiVersionOf } from "../../machinery/object.ts";
import { badRequest } from "../../machinery/status.ts";
import type { CachedObject } from "../storage/cached-object.ts";
import type { ListPage } from "../verbs/list.ts";
import { encodePartialMetadata, envelop, envelopeAround, listHead, listItemHeader } from "./kubernetes-protobuf.ts";
import type { Encoding } from "./negotiate.ts";
import { Pace, type Pieces } from "./pieces.ts";

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

async function encodeProtobufList(
  facts: ResourceFacts,
  page: ListPage,
  metadata: object,
  view: View,
  clock: Clock,
): Promise<Pieces> {
  const head = listHead(metadata);
  const pace = new Pace(clock);
  // The envelope says how long the whole is, so each item is encoded before the first byte goes.
  let length = head.length;
  for (const item of page.items) {
    const bytes = protobufOf(item, view);
    length += listItemHeader(bytes.length).length + bytes.length;
    if (pace.overNow) await pace.pause();
  }
  const { apiVersion, kind } = typeIn(view, facts, true);
  const [start, end] = envelopeAround(apiVersion, kind, length);
  function* pieces() {
    yield start;
    yield head;
    for (const item of page.items) {
      const bytes = protobufOf(item, view);
      yield listItemHeader(bytes.length);
      yield bytes;
    }
    yield end;
  }
  return { length: start.length + length + end.length, pieces: pieces() };
}

/** A list in the form that was asked for: the items' bytes, one after the other. */
export async function encodeList(facts: ResourceFacts, page: ListPage, view: View, clock: Clock): Promise<Pieces> {
  const metadata = {
    resourceVersion: String(page.revision),
    ...(page.continue ? { continue: page.continue } : {}),
    ...(page.remaining ? { remainingItemCount: page.remaining } : {}),
  };
  if (view.encoding.type === "protobuf") return encodeProtobufList(facts, page, metadata, view, clock);
  const { as, asVersion } = view.encoding;
  if (as === "Table") return { pieces: textPieces(tableHead(facts, view, metadata), page, (item) => row(item, view)) };
  if (as === "PartialObjectMetadata") {
    const type = `"kind":"PartialObjectMetadataList","apiVersion":"meta.k8s.io/${asVersion}"`;
    const head = `{${type},"metadata":${stringifyJson(metadata)},"items":[`;
    return { pieces: textPieces(head, page, (item) => partial(item, asVersion)) };
  }
  return objectPieces(facts, page, metadata, clock);
}

function* textPieces(head: string, { items }: ListPage, text: (item: CachedObject) => string): Generator<string> {
  yield head;
  for (const [index, item] of items.entries()) yield index === 0 ? text(item) : `,${text(item)}`;
  yield "]}";
}

async function objectPieces(
  facts: ResourceFacts,
  { items }: ListPage,
  metadata: object,
  clock: Clock,
): Promise<Pieces> {
  const head = `{"kind":"${facts.listKind}","apiVersion":"${apiVersionOf(facts)}","metadata":${stringifyJson(metadata)},"items":[`;
  // Items of built-in lists carry no kind; those of custom resources do.
  const prefixOf = facts.custom ? (item: CachedObject) => item.prefix : (item: CachedObject) => item.listPrefix;
  const pace = new Pace(clock);
  let length = Buffer.byteLength(head) + Math.max(0, items.length - 1) + 2;
  for (const item of items) {
    // Prefixes are ASCII. Bytes that are not there yet are made here.
    length += prefixOf(item).length + item.fragment.length;
    if (pace.over) await pace.pause();
  }
  function* pieces() {
    yield head;
    for (const [index, item] of items.entries()) {
      yield index === 0 ? prefixOf(item) : `,${prefixOf(item)}`;
      yield item.fragment;
    }
    yield "]}";
  }
  return { length, pieces: pieces() };
}
