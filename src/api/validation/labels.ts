import { fromLabelSelector, type Selector } from "../../machinery/label-selector.ts";
import { inRange, labelValue, percentage, portName, qualifiedName } from "../../machinery/names.ts";
import type { LabelSelector } from "../generated/meta-v1.ts";
import type { Errors } from "./errors.ts";

const annotationsMaxBytes = 256 * 1024;

export function checkLabels(errors: Errors, path: string, labels: Readonly<Record<string, string>> | undefined): void {
  for (const [key, value] of Object.entries(labels ?? {})) {
    errors.messages(path, key, qualifiedName(key));
    errors.messages(path, value, labelValue(value));
  }
}

export function checkLabelSelector(errors: Errors, path: string, selector: LabelSelector | undefined): void {
  if (!selector) return;
  checkLabels(errors, `${path}.matchLabels`, selector.matchLabels);
  for (const [index, { key, operator, values }] of (selector.matchExpressions ?? []).entries()) {
    const at = `${path}.matchExpressions[${index}]`;
    if (operator === "In" || operator === "NotIn") {
      if (!values?.length) errors.required(`${at}.values`, "must be specified when `operator` is 'In' or 'NotIn'");
    } else if (operator === "Exists" || operator === "DoesNotExist") {
      if (values?.length) {
        errors.forbidden(`${at}.values`, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
      }
    } else {
      errors.invalid(`${at}.operator`, operator, "not a valid selector operator");
    }
    errors.messages(`${at}.key`, key, qualifiedName(key));
    for (const [place, value] of (values ?? []).entries()) {
      errors.messages(`${at}.values[${place}]`, value, labelValue(value));
    }
  }
}

/** Annotations: any values, but only so much of them. */
export function checkAnnotations(
  errors: Errors,
  path: string,
  annotations: Readonly<Record<string, string>> | undefined,
): void {
  let size = 0;
  for (const [key, value] of Object.entries(annotations ?? {})) {
    errors.messages(path, key, qualifiedName(key.toLowerCase()));
    size += Buffer.byteLength(key) + Buffer.byteLength(value);
  }
  if (size > annotationsMaxBytes) errors.tooLong(path, annotationsMaxBytes);
}

/** The selector as something that matches; undefined when it is not valid. */
export function trySelector(selector: LabelSelector | undefined): Selector | undefined {
  try {
    return fromLabelSelector(selector);
  } catch {
    return undefined;
  }
}

export function isEmptySelector(selector: LabelSelector): boolean {
  return Object.keys(selector.matchLabels ?? {}).length + (selector.matchExpressions ?? []).length === 0;
}

/** A count, or a percentage as text. */
export function checkIntOrPercent(errors: Errors, path: string, value: number | string | undefined): void {
  if (typeof value === "string") errors.messages(path, value, percentage(value));
  else errors.nonNegative(path, value);
}

export function checkAtMost100Percent(errors: Errors, path: string, value: number | string | undefined): void {
  if (typeof value === "string" && /^\d+%$/.test(value) && Number.parseInt(value, 10) > 100) {
    errors.invalid(path, value, "must not be greater than 100%");
  }
}

/** Is it nothing, as a count or as a percentage? */
export function isZero(value: number | string | undefined): boolean {
  return value === undefined || (typeof value === "number" ? value : Number.parseInt(value, 10) || 0) === 0;
}

/** A port by number or by name. */
export function checkPort(errors: Errors, path: string, port: number | string | undefined): void {
  if (typeof port === "string") errors.messages(path, port, portName(port));
  else errors.messages(path, port ?? 0, inRange(port ?? 0, 1, 65535));
}
