/** Query parameters of the API, read and checked once. */
import { badRequest, type FieldError, fieldError, invalid, notBuilt } from "../machinery/status.ts";
import type { FieldValidation } from "./verbs/decode.ts";
import type { DeleteParameters } from "./verbs/delete.ts";
import type { WatchParameters } from "./verbs/watch.ts";

export interface WriteParameters {
  readonly dryRun: boolean;
  readonly fieldManager: string | undefined;
  readonly fieldValidation: FieldValidation;
  readonly force: boolean;
  /** What webhooks see of them: CreateOptions, UpdateOptions or PatchOptions, without the kind. */
  readonly options: object;
}

const managerMaxLength = 128;

function flag(query: URLSearchParams, name: string): boolean | undefined {
  const value = query.get(name);
  if (value === null || value === "") return undefined;
  // Go's conversion: only "false" and "0" are false.
  return value.toLowerCase() !== "false" && value !== "0";
}

function whole(query: URLSearchParams, name: string): number | undefined {
  const value = query.get(name);
  if (value === null || value === "") return undefined;
  const wrong = (why: string) => badRequest(`strconv.ParseInt: parsing ${JSON.stringify(value)}: ${why}`);
  if (!/^[+-]?\d+$/.test(value)) throw wrong("invalid syntax");
  const number = Number(value);
  if (Math.abs(number) >= 2 ** 63) throw wrong("value out of range");
  return number;
}

const text = (query: URLSearchParams, name: string) => query.get(name) || undefined;

/** Parameters of list and watch. Throws 400 for values that are no numbers, 501 for what is not built. */
export function readListParameters(query: URLSearchParams): WatchParameters {
  // Whoever asks for a part must not take the whole for it.
  if (query.get("shardSelector")) throw notBuilt("shardSelector");
  return {
    labelSelector: text(query, "labelSelector"),
    fieldSelector: text(query, "fieldSelector"),
    limit: whole(query, "limit"),
    continue: text(query, "continue"),
    resourceVersion: text(query, "resourceVersion"),
    resourceVersionMatch: text(query, "resourceVersionMatch"),
    allowWatchBookmarks: flag(query, "allowWatchBookmarks"),
    sendInitialEvents: flag(query, "sendInitialEvents"),
    timeoutSeconds: whole(query, "timeoutSeconds"),
  };
}

/** Parameters of create, update and patch. `kind` is how errors name the options: "PatchOptions". Throws 422. */
export function readWriteParameters(query: URLSearchParams, kind: string): WriteParameters {
  const errors: FieldError[] = [];
  const dryRun = query.getAll("dryRun").filter((value) => value !== "");
  for (const value of dryRun) {
    if (value !== "All") errors.push(fieldError.notSupported("dryRun", dryRun, ["All"]));
  }
  const fieldManager = text(query, "fieldManager");
  if (fieldManager !== undefined) {
    if (fieldManager.length > managerMaxLength) errors.push(fieldError.tooLong("fieldManager", managerMaxLength));
    if (!/^\P{C}*$/u.test(fieldManager)) {
      errors.push(fieldError.invalid("fieldManager", fieldManager, "should only contain printable characters"));
    }
  }
  const validation = query.get("fieldValidation") || "Warn";
  if (validation !== "Ignore" && validation !== "Warn" && validation !== "Strict") {
    errors.push(fieldError.notSupported("fieldValidation", validation, ["", "Ignore", "Strict", "Warn"]));
  }
  if (errors.length > 0) throw invalid({ group: "meta.k8s.io", resource: kind }, "", errors);
  return {
    dryRun: dryRun.length > 0,
    fieldManager,
    fieldValidation: validation as FieldValidation,
    force: flag(query, "force") ?? false,
    options: {
      ...(dryRun.length > 0 ? { dryRun } : {}),
      ...(fieldManager === undefined ? {} : { fieldManager }),
      ...(query.get("fieldValidation") ? { fieldValidation: validation } : {}),
    },
  };
}

/** DeleteOptions from the body, or from the query when there is none. */
export function readDeleteParameters(
  body: Readonly<Record<string, unknown>> | undefined,
  query: URLSearchParams,
): DeleteParameters & Pick<WriteParameters, "dryRun" | "options"> {
  const policy = (body?.["propagationPolicy"] ??
    text(query, "propagationPolicy")) as DeleteParameters["propagationPolicy"];
  const unsafe = body?.["ignoreStoreReadErrorWithClusterBreakingPotential"];
  if (unsafe || flag(query, "ignoreStoreReadErrorWithClusterBreakingPotential")) {
    throw notBuilt("ignoreStoreReadErrorWithClusterBreakingPotential");
  }
  const dryRun = (body?.["dryRun"] ?? query.getAll("dryRun").filter((value) => value !== "")) as string[];
  if (!Array.isArray(dryRun) || dryRun.some((value) => value !== "All")) {
    const error = fieldError.notSupported("dryRun", dryRun, ["All"]);
    throw invalid({ group: "meta.k8s.io", resource: "DeleteOptions" }, "", [error]);
  }
  const grace = body?.["gracePeriodSeconds"] ?? whole(query, "gracePeriodSeconds");
  const parameters: DeleteParameters = {
    gracePeriodSeconds: grace as number | undefined,
    propagationPolicy: policy,
    orphanDependents: (body?.["orphanDependents"] ?? flag(query, "orphanDependents")) as boolean | undefined,
    preconditions: body?.["preconditions"] as DeleteParameters["preconditions"],
  };
  const given = Object.entries({ ...parameters, ...(dryRun.length > 0 ? { dryRun } : {}) });
  const options = Object.fromEntries(given.filter(([, value]) => value !== undefined && value !== null));
  return { ...parameters, dryRun: dryRun.length > 0, options };
}

/** Who wrote, when a request does not say: the program's name of its User-Agent. */
export function managerOf(fieldManager: string | undefined, userAgent: string | undefined): string {
  if (fieldManager) return fieldManager;
  const program = (userAgent ?? "").split("/", 1)[0]!;
  // Only printable characters fit into managedFields.
  return program.replace(/[^\x20-\x7e]/g, "").slice(0, managerMaxLength) || "unknown";
}
