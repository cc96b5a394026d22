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

  duplicate(path: string, value: unknown): void {
    this.list.push(fieldError.duplicate(path, value));
  }

  notFound(path: string, value: unknown): void {
    this.list.push(fieldError.notFound(path, value));
  }

  tooLong(path: string, maxBytes: number): void {
    this.list.push(fieldError.tooLong(path, maxBytes));
  }

  notSupported(path: string, value: unknown, supported: readonly string[]): void {
    this.list.push(fieldError.notSupported(path, value, supported));
  }

  /** One violation for each message of a check such as `dns1123Label(value)`. */
  messages(path: string, value: unknown, messages: readonly string[]): void {
    for (const message of messages) this.invalid(path, value, message);
  }

  nonNegative(path: string, value: number | undefined): void {
    if (value !== undefined && value < 0) this.invalid(path, value, "must be greater than or equal to 0");
  }

  /** Required, and one of the supported values. */
  oneOf(path: string, value: string | undefined, supported: readonly string[]): void {
    if (!value) this.required(path);
    else if (!supported.includes(value)) this.notSupported(path, value, supported);
  }

  /** One of the supported values, where it is given at all. */
  optionalOneOf(path: string, value: string | undefined, supported: readonly string[]): void {
    if (value !== undefined && value !== "" && !supported.includes(value)) this.notSupported(path, value, supported);
  }

  immutable(path: string, value: unknown, same: boolean): void {
    if (!same) this.invalid(path, value, "field is immutable");
  }
}
