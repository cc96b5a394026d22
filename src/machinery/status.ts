/**
 * Kubernetes Status errors: the one error type that reaches clients. Texts follow k8s.io/apimachinery's api/errors and
 * util/validation/field, since people search for them.
 */

import { stringifyJson } from "./json.ts";

export interface StatusCause {
  reason?: string;
  message?: string;
  field?: string;
}

export interface StatusDetails {
  name?: string;
  group?: string;
  kind?: string;
  uid?: string;
  causes?: StatusCause[];
  retryAfterSeconds?: number;
}

/** meta/v1 Status. */
export interface Status {
  kind: "Status";
  apiVersion: "v1";
  metadata: { readonly continue?: string };
  status: "Success" | "Failure";
  message?: string;
  reason?: string;
  details?: StatusDetails;
  code?: number;
}

/** An error that is answered as a Status. `code` is the HTTP status. */
export class StatusError extends Error {
  readonly code: number;
  readonly reason: string;
  readonly details: StatusDetails | undefined;
  /** Where a list that expired can go on. */
  readonly continueToken: string | undefined;

  constructor(code: number, reason: string, message: string, details?: StatusDetails, continueToken?: string) {
    super(message);
    this.name = "StatusError";
    this.code = code;
    this.reason = reason;
    this.details = details;
    this.continueToken = continueToken;
  }

  /** The body that a client gets. */
  toStatus(): Status {
    return {
      kind: "Status",
      apiVersion: "v1",
      metadata: this.continueToken ? { continue: this.continueToken } : {},
      status: "Failure",
      message: this.message,
      ...(this.reason ? { reason: this.reason } : {}),
      ...(this.details ? { details: this.details } : {}),
      code: this.code,
    };
  }

  /** The error that a received Status stands for. */
  static fromStatus(status: Partial<Status>, httpCode = 500): StatusError {
    const code = status.code ?? httpCode;
    return new StatusError(code, status.reason ?? "", status.message ?? `the server answered ${code}`, status.details);
  }
}

/** A group and its plural resource ("pods") or kind ("Pod"), as error texts name them: "pods", "deployments.apps". */
export interface GroupName {
  readonly group: string;
  readonly resource: string;
}

function qualified({ group, resource }: GroupName): string {
  return group === "" ? resource : `${resource}.${group}`;
}

function detailsOf(of: GroupName, name: string): StatusDetails {
  return { ...(name ? { name } : {}), ...(of.group ? { group: of.group } : {}), kind: of.resource };
}

export function notFound(of: GroupName, name: string): StatusError {
  return new StatusError(404, "NotFound", `${qualified(of)} ${JSON.stringify(name)} not found`, detailsOf(of, name));
}

export function alreadyExists(of: GroupName, name: string): StatusError {
  const message = `${qualified(of)} ${JSON.stringify(name)} already exists`;
  return new StatusError(409, "AlreadyExists", message, detailsOf(of, name));
}

/** A name made from generateName that is taken; the client should try again. */
export function generateNameConflict(of: GroupName, name: string): StatusError {
  const message = `${qualified(of)} ${JSON.stringify(name)} already exists, the server was not able to generate a unique name for the object`;
  return new StatusError(409, "AlreadyExists", message, { ...detailsOf(of, name), retryAfterSeconds: 1 });
}

export function conflict(of: GroupName, name: string, why: string): StatusError {
  const message = `Operation cannot be fulfilled on ${qualified(of)} ${JSON.stringify(name)}: ${why}`;
  return new StatusError(409, "Conflict", message, detailsOf(of, name));
}

/** The text of a lost optimistic-lock race. */
export const optimisticLockMessage =
  "the object has been modified; please apply your changes to the latest version and try again";

/** An apply that would take fields from others; `causes` have reason FieldManagerConflict. */
export function applyConflict(message: string, causes: StatusCause[]): StatusError {
  return new StatusError(409, "Conflict", message, { causes });
}

export function forbidden(of: GroupName, name: string, why: string): StatusError {
  const subject =
    of.resource === "" ? "forbidden" : `${qualified(of)}${name ? ` ${JSON.stringify(name)}` : ""} is forbidden`;
  return new StatusError(403, "Forbidden", `${subject}: ${why}`, detailsOf(of, name));
}

export function unauthorized(message = "Unauthorized"): StatusError {
  return new StatusError(401, "Unauthorized", message);
}

export function badRequest(message: string): StatusError {
  return new StatusError(400, "BadRequest", message);
}

/** Something that was there and will not come back. */
export function gone(message: string): StatusError {
  return new StatusError(410, "Gone", message);
}

/** A list or watch from a revision that is gone. */
export function expired(message: string): StatusError {
  return new StatusError(410, "Expired", message);
}

export function methodNotSupported(of: GroupName, verb: string): StatusError {
  const message = `${verb} is not supported on resources of kind ${JSON.stringify(qualified(of))}`;
  return new StatusError(405, "MethodNotAllowed", message, detailsOf(of, ""));
}

export function unsupportedMediaType(message: string): StatusError {
  return new StatusError(415, "UnsupportedMediaType", message);
}

export function notAcceptable(message: string): StatusError {
  return new StatusError(406, "NotAcceptable", message);
}

export function requestEntityTooLarge(message: string): StatusError {
  return new StatusError(413, "RequestEntityTooLarge", message);
}

export function tooManyRequests(message: string, retryAfterSeconds: number): StatusError {
  return new StatusError(429, "TooManyRequests", message, { retryAfterSeconds });
}

export function internalError(error: unknown): StatusError {
  const text = error instanceof Error ? error.message : String(error);
  return new StatusError(500, "InternalError", `Internal error occurred: ${text}`, { causes: [{ message: text }] });
}

export function serviceUnavailable(message: string): StatusError {
  return new StatusError(503, "ServiceUnavailable", message);
}

export function timeout(message: string, retryAfterSeconds = 0): StatusError {
  return new StatusError(504, "Timeout", message, retryAfterSeconds ? { retryAfterSeconds } : undefined);
}

/** The server could not finish in time, and the client may try again. */
export function serverTimeout(of: GroupName, verb: string, retryAfterSeconds: number): StatusError {
  const message = `The ${verb} operation against ${qualified(of)} could not be completed at this time, please try again.`;
  return new StatusError(500, "ServerTimeout", message, { ...detailsOf(of, ""), retryAfterSeconds });
}

/** Is it a StatusError with this reason ("NotFound", "Conflict", …)? */
export function hasReason(error: unknown, reason: string): error is StatusError {
  return error instanceof StatusError && error.reason === reason;
}

/** A known parameter or feature that is not built yet: refused, never ignored. */
export function notBuilt(what: string): StatusError {
  return new StatusError(501, "NotImplemented", `${what} is not supported by this version of k3ts`);
}

/** One violation found by validation (util/validation/field.Error). */
export interface FieldError {
  readonly reason:
    | "FieldValueRequired"
    | "FieldValueInvalid"
    | "FieldValueNotSupported"
    | "FieldValueForbidden"
    | "FieldValueDuplicate"
    | "FieldValueNotFound"
    | "FieldValueTooLong"
    | "FieldValueTooMany"
    | "FieldValueTypeInvalid"
    | "InternalError";
  /** "spec.containers[0].name". */
  readonly field: string;
  /** The whole text after the field: `Required value: must specify…`, `Invalid value: "x": must be …`. */
  readonly message: string;
}

/** How Go prints a value inside a field error. */
function printed(value: unknown): string {
  if (value === null || value === undefined) return "null";
  return typeof value === "object" || typeof value === "string" ? stringifyJson(value) : `${value}`;
}

const withDetail = (head: string, detail: string) => (detail ? `${head}: ${detail}` : head);

export const fieldError = {
  required: (field: string, detail = ""): FieldError => ({
    reason: "FieldValueRequired",
    field,
    message: withDetail("Required value", detail),
  }),
  invalid: (field: string, value: unknown, detail: string): FieldError => ({
    reason: "FieldValueInvalid",
    field,
    message: withDetail(`Invalid value: ${printed(value)}`, detail),
  }),
  notSupported: (field: string, value: unknown, supported: readonly string[]): FieldError => ({
    reason: "FieldValueNotSupported",
    field,
    message: `Unsupported value: ${printed(value)}: supported values: ${[...supported]
      .sort()
      .map((v) => JSON.stringify(v))
      .join(", ")}`,
  }),
  forbidden: (field: string, detail: string): FieldError => ({
    reason: "FieldValueForbidden",
    field,
    message: withDetail("Forbidden", detail),
  }),
  duplicate: (field: string, value: unknown): FieldError => ({
    reason: "FieldValueDuplicate",
    field,
    message: `Duplicate value: ${printed(value)}`,
  }),
  notFound: (field: string, value: unknown): FieldError => ({
    reason: "FieldValueNotFound",
    field,
    message: `Not found: ${printed(value)}`,
  }),
  tooLong: (field: string, maxBytes: number): FieldError => ({
    reason: "FieldValueTooLong",
    field,
    message: `Too long: may not be more than ${maxBytes} bytes`,
  }),
  tooMany: (field: string, count: number, max: number): FieldError => ({
    reason: "FieldValueTooMany",
    field,
    message: `Too many: ${count}: must have at most ${max} items`,
  }),
  typeInvalid: (field: string, value: unknown, detail: string): FieldError => ({
    reason: "FieldValueTypeInvalid",
    field,
    message: withDetail(`Invalid value: ${printed(value)}`, detail),
  }),
};

/** The 422 of a failed validation: `Pod "x" is invalid: [spec.a: Required value, …]`. `of.resource` is the kind. */
export function invalid(of: GroupName, name: string, errors: readonly FieldError[]): StatusError {
  const texts = [...new Set(errors.map((error) => `${error.field}: ${error.message}`))];
  const list = texts.length === 1 ? texts[0] : `[${texts.join(", ")}]`;
  const message = `${qualified(of)} ${JSON.stringify(name)} is invalid${texts.length ? `: ${list}` : ""}`;
  const causes = errors.map(({ reason, field, message }) => ({ reason, message, field }));
  return new StatusError(422, "Invalid", message, { ...detailsOf(of, name), causes });
}
