/** Pieces of the columns of `kubectl get`. The texts are those that people grep for: "<none>", "<unknown>". */
import type { KubeObject } from "../machinery/object.ts";
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

interface ContainerNames {
  readonly name: string;
  readonly image?: string | undefined;
}

type Cell<T> = (object: T, nowMs: number) => string | number | boolean | null;

/** A column of texts. */
export function text<T>(name: string, value: Cell<T>): Column & { value: Cell<T> } {
  return { name, type: "string", value } as unknown as Column & { value: Cell<T> };
}

/** A column of texts that only `-o wide` shows. */
export function wide<T>(name: string, value: Cell<T>): Column & { value: Cell<T> } {
  return { name, type: "string", priority: 1, value } as unknown as Column & { value: Cell<T> };
}

/** A column of whole numbers. */
export function integer<T>(name: string, value: Cell<T>): Column & { value: Cell<T> } {
  return { name, type: "integer", value } as unknown as Column & { value: Cell<T> };
}

export function boolean<T>(name: string, value: Cell<T>): Column & { value: Cell<T> } {
  return { name, type: "boolean", value } as unknown as Column & { value: Cell<T> };
}

/** The wide columns Containers and Images of everything that has a pod template. */
export function containerColumns<T>(containers: (object: T) => readonly ContainerNames[] | null | undefined) {
  return [
    wide<T>("Containers", (object) => (containers(object) ?? []).map((container) => container.name).join(",")),
    wide<T>("Images", (object) => (containers(object) ?? []).map((container) => container.image ?? "").join(",")),
  ];
}
