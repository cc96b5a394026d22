/** Pieces of the columns of `kubectl get`. The texts are those that people grep for: "<none>", "<unknown>". */

import { fromLabelSelector } from "../machinery/label-selector.ts";
import type { KubeObject } from "../machinery/object.ts";
import type { LabelSelector } from "./generated/meta-v1.ts";
import type { KindColumn } from "./kind-facts.ts";
import type { Column } from "./resource.ts";

export const none = "<none>";
export const unknown = "<unknown>";

/**
 * A duration as Go's duration.HumanDuration writes it: two units while they matter, one after that.
 * Takes milliseconds.
 */
export function humanDuration(milliseconds: number): string {
  const seconds = Math.trunc(milliseconds / 1000);
  // Clocks of two machines differ a little.
  if (seconds < -1) return "<invalid>";
  if (seconds < 0) return "0s";
  if (seconds < 120) return `${seconds}s`;
  const minutes = Math.trunc(milliseconds / 60_000);
  if (minutes < 10) return withRest(minutes, "m", seconds % 60, "s");
  if (minutes < 180) return `${minutes}m`;
  const hours = Math.trunc(milliseconds / 3_600_000);
  if (hours < 8) return withRest(hours, "h", minutes % 60, "m");
  if (hours < 48) return `${hours}h`;
  if (hours < 192) return withRest(Math.trunc(hours / 24), "d", hours % 24, "h");
  if (hours < 2 * 365 * 24) return `${Math.trunc(hours / 24)}d`;
  const years = Math.trunc(hours / 24 / 365);
  if (hours < 8 * 365 * 24) return withRest(years, "y", Math.trunc(hours / 24) % 365, "d");
  return `${years}y`;
}

function withRest(value: number, unit: string, rest: number, restUnit: string): string {
  return rest === 0 ? `${value}${unit}` : `${value}${unit}${rest}${restUnit}`;
}

/** Time since a timestamp: "5m", or "<unknown>" when there is none. */
export function age(timestamp: string | null | undefined, nowMs: number): string {
  const at = timestamp ? Date.parse(timestamp) : Number.NaN;
  return Number.isNaN(at) ? unknown : humanDuration(nowMs - at);
}

/** Labels or a selector's labels as "a=b,c=d", sorted. */
export function formatLabels(labels: Readonly<Record<string, string>> | null | undefined): string {
  const pairs = Object.entries(labels ?? {}).map(([key, value]) => `${key}=${value}`);
  return pairs.length === 0 ? none : pairs.sort().join(",");
}

export function orNone(text: string | null | undefined): string {
  return text ? text : none;
}

export const nameColumn: Column = {
  name: "Name",
  type: "string",
  format: "name",
  description: "Name of the object, unique among its kind in a namespace.",
  value: (object) => object.metadata.name ?? "",
};

export const ageColumn: Column = {
  name: "Age",
  type: "string",
  description: "Time since the object was created.",
  value: (object: KubeObject, nowMs) => age(object.metadata.creationTimestamp, nowMs),
};

/** The only column of kinds that nobody printed specially. */
export const createdAtColumn: Column = {
  name: "Created At",
  type: "date",
  description: "Time when the object was created.",
  value: (object: KubeObject) => object.metadata.creationTimestamp ?? null,
};

interface ContainerNames {
  readonly name: string;
  readonly image?: string | undefined;
}

type Cell<T> = (object: T, nowMs: number) => string | number | boolean | null;

/** A column of texts. */
export function text<T>(name: string, value: Cell<T>): KindColumn<T> {
  return { name, type: "string", value };
}

/** A column of texts that only `-o wide` shows. */
export function wide<T>(name: string, value: Cell<T>): KindColumn<T> {
  return { name, type: "string", priority: 1, value };
}

/** A column of whole numbers; an absent one counts as 0. */
export function integer<T>(name: string, value: (object: T) => number | null | undefined): KindColumn<T> {
  return { name, type: "integer", value: (object) => value(object) ?? 0 };
}

export function boolean<T>(name: string, value: (object: T) => boolean | null | undefined): KindColumn<T> {
  return { name, type: "boolean", value: (object) => value(object) ?? false };
}

/** The wide columns Containers and Images of everything that has a pod template. */
export function containerColumns<T>(
  containers: (object: T) => readonly ContainerNames[] | null | undefined,
): KindColumn<T>[] {
  return [
    wide("Containers", (object) => (containers(object) ?? []).map((container) => container.name).join(",")),
    wide("Images", (object) => (containers(object) ?? []).map((container) => container.image ?? "").join(",")),
  ];
}

/** The wide column Selector of the workloads, from a LabelSelector. */
export function selectorColumn<T>(selector: (object: T) => LabelSelector | null | undefined): KindColumn<T> {
  return wide("Selector", (object) => formatSelector(selector(object)));
}

/** A LabelSelector as people write it; "<none>" when it selects by nothing. */
export function formatSelector(selector: LabelSelector | null | undefined): string {
  try {
    return orNone(String(fromLabelSelector(selector)));
  } catch {
    return "<error>";
  }
}

/** At most three entries: "a,b,c + 2 more...". */
export function firstThree(entries: readonly string[]): string {
  if (entries.length === 0) return none;
  const shown = entries.slice(0, 3).join(",");
  return entries.length > 3 ? `${shown} + ${entries.length - 3} more...` : shown;
}
