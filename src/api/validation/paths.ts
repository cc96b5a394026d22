import type { Errors } from "./errors.ts";

export function checkNoBackSteps(errors: Errors, path: string, value: string | undefined): void {
  if (value?.split("/").includes("..")) errors.invalid(path, value, "must not contain '..'");
}

/** A path that stays inside: relative, without "..". */
export function checkRelativePath(errors: Errors, path: string, value: string | undefined): void {
  if (value?.startsWith("/")) errors.invalid(path, value, "must be a relative path");
  checkNoBackSteps(errors, path, value);
}

/** The same for files that a volume makes, whose names beginning with ".." are its own. */
export function checkFilePath(errors: Errors, path: string, value: string | undefined): void {
  checkRelativePath(errors, path, value);
  if (value?.startsWith("..") && !value.startsWith("../")) errors.invalid(path, value, "must not start with '..'");
}

const modeMessage = "must be a number between 0 and 0777 (octal), both inclusive";

/** Permission bits of a file. */
export function checkMode(errors: Errors, path: string, mode: number | undefined): void {
  if (mode !== undefined && (mode < 0 || mode > 0o777)) errors.invalid(path, mode, modeMessage);
}
