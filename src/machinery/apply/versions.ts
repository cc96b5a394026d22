/**
 * An object may have owners that wrote it through different versions. Each owner's fields stand in the version that it
 * used, so a change has to be seen in that version. Source: sigs.k8s.io/structured-merge-diff, merge.Converter.
 */
import { cloneJson } from "../json.ts";
import type { KubeObject } from "../object.ts";
import type { Schema } from "../schema.ts";
import { fitToSchema } from "./fit-to-schema.ts";
import type { Managers } from "./managers.ts";
import { excludeFields, resetSet } from "./ownership.ts";
import { type Comparison, compare } from "./typed.ts";

/** What ownership has to know of one version of a kind. */
export interface Version {
  readonly schema: Schema;
  /** Fields that the endpoint of this request does not take in this version. */
  readonly resetFields: readonly (readonly string[])[];
}

/** The versions of a kind, beside the one of the request. */
export interface Versions {
  /** `apiVersion` is "group/version". undefined: there is no such version, or no longer. */
  find(apiVersion: string): Version | undefined;
  /**
   * An object of one version in another; its own `apiVersion` says which one it is in. The object stays as it is. A
   * promise only where others are asked for it. Throws, or rejects, when it cannot be converted.
   */
  convert(object: KubeObject, apiVersion: string): KubeObject | Promise<KubeObject>;
}

interface Conversion {
  readonly object: KubeObject;
  readonly apiVersion: string;
}

/** Work that stops where it needs an object in another version. Most work needs none, and is done at its first step. */
export type Steps<T> = Generator<Conversion, T, KubeObject>;

/** Does the work: at once when nothing has to be waited for. Throws, or rejects, with what the work throws. */
export function run<T>(steps: Steps<T>, versions: Versions | undefined): T | Promise<T> {
  let step = steps.next();
  while (!step.done) {
    const converted = versions!.convert(step.value.object, step.value.apiVersion);
    if (converted instanceof Promise) return converted.then((object) => finish(steps, object, versions!));
    step = steps.next(converted);
  }
  return step.value;
}

async function finish<T>(steps: Steps<T>, first: KubeObject, versions: Versions): Promise<T> {
  let step = steps.next(first);
  while (!step.done) step = steps.next(await versions.convert(step.value.object, step.value.apiVersion));
  return step.value;
}

/** The object in a version, itself when it is in it. */
export function* inVersion(object: KubeObject, from: string, to: string): Steps<KubeObject> {
  if (from === to) return object;
  const typed = { ...(cloneJson(object) as KubeObject), apiVersion: from };
  return yield { object: typed, apiVersion: to };
}

/**
 * Managers as the versions are now: without those whose version is there no longer, since nobody can say any more what
 * they own, and with fields that have since become one leaf as that leaf.
 */
export function fitManagers(managers: Managers, own: string, schema: Schema, versions: Versions | undefined): Managers {
  let fitted: Managers | undefined;
  for (const [key, manager] of managers) {
    const { apiVersion, set } = manager;
    const present = apiVersion === own || !versions ? schema : versions.find(apiVersion)?.schema;
    const kept = present && fitToSchema(set, present);
    if (kept === set) continue;
    fitted ??= new Map(managers);
    if (kept) fitted.set(key, { ...manager, set: kept });
    else fitted.delete(key);
  }
  return fitted ?? managers;
}

/** A change as an owner of a version sees it. */
export type Comparisons = (apiVersion: string) => Comparison;

/**
 * The change in every version that a manager other than `self` uses, from the one that is known in the request's `own`.
 * Without `versions` all managers are taken to use that one.
 */
export function* compareInVersions(
  comparison: Comparison,
  change: { readonly before: KubeObject | undefined; readonly after: KubeObject },
  managers: Managers,
  self: string | undefined,
  own: string,
  versions: Versions | undefined,
): Steps<Comparisons> {
  let others: Map<string, Comparison> | undefined;
  for (const [key, { apiVersion }] of managers) {
    if (apiVersion === own || key === self || others?.has(apiVersion)) continue;
    const version = versions?.find(apiVersion);
    if (!version) continue;
    const before = change.before ? yield* inVersion(change.before, own, apiVersion) : {};
    const after = yield* inVersion(change.after, own, apiVersion);
    others ??= new Map();
    others.set(apiVersion, excludeFields(compare(version.schema, before, after), resetSet(version.resetFields)));
  }
  const found = others;
  return found ? (apiVersion) => found.get(apiVersion) ?? comparison : () => comparison;
}
