import { dns1123Label, dns1123Subdomain, qualifiedName } from "../../machinery/names.ts";
import { type FieldError, fieldError } from "../../machinery/status.ts";

/** Collects the violations of one object, with the checks that many kinds share. */
export class Errors {
  readonly list: FieldError[] = [];

  required(path: string, detail = ""): void {
    this.list.push(fieldError.required(path, detail));
  }

  invalid(path: string, value: unknown, detail: string): void {
    this.list.push(fieldError.invalid(path, value, detail));
  }

  forbidden(path: string, detail: string): void {
    this.list.push(fieldError.forbidden(path, detail));
  }

  /** `detail` explains what must be unique, where the value alone does not. */
  duplicate(path: string, value: unknown, detail = ""): void {
    this.list.push(withDetail(fieldError.duplicate(path, value), detail));
  }

  notFound(path: string, value: unknown, detail = ""): void {
    this.list.push(withDetail(fieldError.notFound(path, value), detail));
  }

  tooLong(path: string, maxBytes: number): void {
    this.list.push(fieldError.tooLong(path, maxBytes));
  }

  tooMany(path: string, count: number, max: number): void {
    this.list.push(fieldError.tooMany(path, count, max));
  }

  notSupported(path: string, value: unknown, supported: readonly string[]): void {
    this.list.push(fieldError.notSupported(path, value, supported));
  }

  /** The same with the supported values in the order given: a few of Kubernetes' lists are not sorted. */
  notSupportedInOrder(path: string, value: unknown, supported: readonly string[]): void {
    const { reason, message } = fieldError.notSupported(path, value, []);
    const values = supported.map((entry) => JSON.stringify(entry)).join(", ");
    this.list.push({ reason, field: path, message: message + values });
  }

  /** One violation for each message of a check such as `dns1123Label(value)`. */
  messages(path: string, value: unknown, messages: readonly string[]): void {
    for (const message of messages) this.invalid(path, value, message);
  }

  label(path: string, value: string): void {
    this.messages(path, value, dns1123Label(value));
  }

  subdomain(path: string, value: string): void {
    this.messages(path, value, dns1123Subdomain(value));
  }

  qualified(path: string, value: string): void {
    this.messages(path, value, qualifiedName(value));
  }

  nonNegative(path: string, value: number | undefined): void {
    if (value !== undefined && value < 0) this.invalid(path, value, "must be greater than or equal to 0");
  }

  positive(path: string, value: number): void {
    if (value <= 0) this.invalid(path, value, "must be greater than zero");
  }

  /** Something must stand there. Says whether it does. */
  present(path: string, value: unknown, detail = ""): boolean {
    const missing = value === undefined || value === null || value === "" || (Array.isArray(value) && !value.length);
    if (missing) this.required(path, detail);
    return !missing;
  }

  /** Required, and one of the supported values. */
  oneOf(path: string, value: string | undefined, supported: readonly string[]): void {
    if (!value) this.required(path);
    else if (!supported.includes(value)) this.notSupported(path, value, supported);
  }

  /** The same, naming the supported values in the order given. */
  oneOfInOrder(path: string, value: string | undefined, supported: readonly string[]): void {
    if (!value) this.required(path);
    else if (!supported.includes(value)) this.notSupportedInOrder(path, value, supported);
  }

  /** One of the supported values, where it is given at all; "" passes as not given. */
  optionalOneOf(path: string, value: string | undefined, supported: readonly string[]): void {
    if (value !== undefined && value !== "" && !supported.includes(value)) this.notSupported(path, value, supported);
  }

  /** One of the supported values, where the field is there; "" does not pass. */
  setOneOf(path: string, value: string | undefined, supported: readonly string[]): void {
    if (value !== undefined && !supported.includes(value)) this.notSupported(path, value, supported);
  }

  immutable(path: string, value: unknown, same: boolean): void {
    if (!same) this.invalid(path, value, "field is immutable");
  }
}

function withDetail(error: FieldError, detail: string): FieldError {
  return detail === "" ? error : { ...error, message: `${error.message}: ${detail}` };
}
