/** Events are one thing with two faces: core/v1, which is stored, and events.k8s.io/v1. */

import { age, text, wide } from "./columns.ts";
import type { Event as CoreEvent } from "./generated/core-v1.ts";
import type { Event } from "./generated/events-v1.ts";
import type { KindColumn } from "./kind-facts.ts";

/** Events live for an hour. */
export const eventTtlSeconds = 3600;

/** Only the fields that are set; an absent one stays absent. */
function compact<T extends object>(fields: T): T {
  for (const key of Object.keys(fields) as (keyof T)[]) if (fields[key] === undefined) delete fields[key];
  return fields;
}

export function toCoreEvent(event: Event): CoreEvent {
  return compact({
    apiVersion: "v1",
    kind: "Event",
    metadata: event.metadata,
    involvedObject: event.regarding ?? {},
    related: event.related,
    reason: event.reason,
    message: event.note,
    source: event.deprecatedSource ?? {},
    firstTimestamp: event.deprecatedFirstTimestamp,
    lastTimestamp: event.deprecatedLastTimestamp,
    count: event.deprecatedCount,
    type: event.type,
    eventTime: event.eventTime,
    series: event.series,
    action: event.action,
    reportingComponent: event.reportingController ?? "",
    reportingInstance: event.reportingInstance ?? "",
  } as CoreEvent);
}

export function fromCoreEvent(event: CoreEvent): Event {
  return compact({
    apiVersion: "events.k8s.io/v1",
    kind: "Event",
    metadata: event.metadata,
    regarding: event.involvedObject,
    related: event.related,
    reason: event.reason,
    note: event.message,
    deprecatedSource: event.source,
    deprecatedFirstTimestamp: event.firstTimestamp,
    deprecatedLastTimestamp: event.lastTimestamp,
    deprecatedCount: event.count,
    type: event.type,
    eventTime: event.eventTime,
    series: event.series,
    action: event.action,
    reportingController: event.reportingComponent,
    reportingInstance: event.reportingInstance,
  } as Event);
}

function firstSeen(event: CoreEvent, nowMs: number): string {
  return age(event.firstTimestamp || event.eventTime, nowMs);
}

/** The columns of `kubectl get events`; the name stands last. */
export const eventColumns: readonly KindColumn<CoreEvent>[] = [
  text("Last Seen", (event, nowMs) => {
    if (event.series) return age(event.series.lastObservedTime, nowMs);
    return event.lastTimestamp ? age(event.lastTimestamp, nowMs) : firstSeen(event, nowMs);
  }),
  text("Type", (event) => event.type ?? ""),
  text("Reason", (event) => event.reason ?? ""),
  text("Object", ({ involvedObject }) => {
    const kind = (involvedObject?.kind ?? "").toLowerCase();
    return involvedObject?.name ? `${kind}/${involvedObject.name}` : kind;
  }),
  wide("Subobject", (event) => event.involvedObject?.fieldPath ?? ""),
  wide("Source", (event) => {
    const component = event.source?.component || event.reportingComponent || "";
    const host = event.source?.host || event.reportingInstance;
    return host ? `${component}, ${host}` : component;
  }),
  text("Message", (event) => (event.message ?? "").trim()),
  wide("First Seen", firstSeen),
  wide("Count", (event) => `${event.series?.count ?? (event.count || 1)}`),
  { name: "Name", type: "string", format: "name", priority: 1, value: (event) => event.metadata.name ?? "" },
];

/** Columns of events.k8s.io/v1: the same, seen through the conversion. */
export const newEventColumns: readonly KindColumn<Event>[] = eventColumns.map((column) => ({
  ...column,
  value: (event, nowMs) => column.value(toCoreEvent(event), nowMs),
}));

/** Field selectors of events, by the names of core/v1. */
export const eventFields: Readonly<Record<string, (event: CoreEvent) => string>> = {
  "involvedObject.kind": (event) => event.involvedObject?.kind ?? "",
  "involvedObject.namespace": (event) => event.involvedObject?.namespace ?? "",
  "involvedObject.name": (event) => event.involvedObject?.name ?? "",
  "involvedObject.uid": (event) => event.involvedObject?.uid ?? "",
  "involvedObject.apiVersion": (event) => event.involvedObject?.apiVersion ?? "",
  "involvedObject.resourceVersion": (event) => event.involvedObject?.resourceVersion ?? "",
  "involvedObject.fieldPath": (event) => event.involvedObject?.fieldPath ?? "",
  reason: (event) => event.reason ?? "",
  reportingComponent: (event) => event.reportingComponent ?? "",
  source: (event) => event.source?.component || event.reportingComponent || "",
  type: (event) => event.type ?? "",
};

/** The same of events.k8s.io/v1, whose field names differ. */
export const newEventFields: Readonly<Record<string, (event: Event) => string>> = Object.fromEntries(
  Object.entries(eventFields).map(([name, value]) => [
    name.replace(/^involvedObject\./, "regarding.").replace(/^reportingComponent$/, "reportingController"),
    (event: Event) => value(toCoreEvent(event)),
  ]),
);
