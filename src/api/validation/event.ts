/** Events, which are checked more strictly through events.k8s.io/v1 than through core/v1. */
import { deepEqual } from "../../machinery/equality.ts";
import { dns1123Subdomain } from "../../machinery/names.ts";
import type { FieldError } from "../../machinery/status.ts";
import type { Event as CoreEvent } from "../generated/core-v1.ts";
import { Errors } from "./errors.ts";

const longest = 128;
const longestNote = 1024;

/** `controllerField`: the name of the reporting controller's field in the version that was asked for. */
function checkEvent(errors: Errors, event: CoreEvent, controllerField: string): void {
  const namespace = event.metadata.namespace ?? "";
  const about = event.involvedObject?.namespace ?? "";
  const homeless = event.eventTime ? ["default", "kube-system"] : ["default"];
  const astray = about === "" ? !homeless.includes(namespace) : !event.eventTime && namespace !== about;
  if (astray) errors.invalid("involvedObject.namespace", about, "does not match event.namespace");
  if (event.eventTime) {
    const controller = event.reportingComponent ?? "";
    errors.present(controllerField, controller);
    errors.qualified(controllerField, controller);
    for (const field of ["reportingInstance", "action", "reason"] as const) {
      errors.present(field, event[field]);
      checkLength(errors, field, event[field], longest);
    }
    checkLength(errors, "message", event.message, longestNote);
  }
  errors.messages("namespace", namespace, dns1123Subdomain(namespace));
}

function checkLength(errors: Errors, path: string, text: string | undefined, max: number): void {
  if (Buffer.byteLength(text ?? "") > max) errors.invalid(path, "", `can have at most ${max} characters`);
}

export function validateCoreEvent(event: CoreEvent): FieldError[] {
  const errors = new Errors();
  checkEvent(errors, event, "reportingComponent");
  return errors.list;
}

function checkSeries(errors: Errors, { series }: CoreEvent): void {
  if (!series) return;
  if ((series.count ?? 0) < 2) errors.invalid("series.count", "", "should be at least 2");
  errors.present("series.lastObservedTime", series.lastObservedTime);
}

/** A new event of events.k8s.io/v1, in the form of core/v1: nothing in its deprecated fields. */
export function validateNewEvent(event: CoreEvent): FieldError[] {
  const errors = new Errors();
  checkEvent(errors, event, "reportingController");
  checkSeries(errors, event);
  errors.present("eventTime", event.eventTime);
  const type = event.type ?? "";
  if (type !== "Normal" && type !== "Warning") errors.invalid("type", "", `has invalid value: ${type}`);
  const deprecated = {
    firstTimestamp: event.firstTimestamp,
    lastTimestamp: event.lastTimestamp,
    count: event.count,
    source: event.source?.component || event.source?.host,
  };
  for (const [field, value] of Object.entries(deprecated)) if (value) errors.invalid(field, "", "needs to be unset");
  return errors.list;
}

const fixed = [
  ["involvedObject", "involvedObject"],
  ["reason", "reason"],
  ["message", "message"],
  ["source", "source"],
  ["firstTimestamp", "firstTimestamp"],
  ["lastTimestamp", "lastTimestamp"],
  ["count", "count"],
  ["type", "type"],
  ["eventTime", "eventTime"],
  ["action", "action"],
  ["related", "related"],
  ["reportingComponent", "reportingController"],
  ["reportingInstance", "reportingInstance"],
] as const;

/** Of such an event only the series goes on. */
export function validateNewEventUpdate(event: CoreEvent, old: CoreEvent): FieldError[] {
  const errors = new Errors();
  checkEvent(errors, event, "reportingController");
  if (!deepEqual(event.series, old.series)) checkSeries(errors, event);
  const zero: Readonly<Record<string, unknown>> = { involvedObject: {}, source: {}, count: 0 };
  for (const [field, name] of fixed) {
    const unset = zero[field] ?? (field.endsWith("Timestamp") || field === "related" ? null : "");
    errors.immutable(name, event[field] ?? unset, deepEqual(event[field] ?? unset, old[field] ?? unset));
  }
  return errors.list;
}
