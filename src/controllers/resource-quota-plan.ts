import type { ResourceQuota, ResourceQuotaStatus } from "../api/generated/core-v1.ts";
import { type Amounts, addAmounts } from "../api/quota/pod-usage.ts";
import { type Counted, inScopes } from "../api/quota/scopes.ts";
import { namesFor, usageOf } from "../api/quota/usage.ts";
import type { DeepReadonly, KubeObject } from "../machinery/object.ts";
import { parseQuantity, quantityOf } from "../machinery/quantity.ts";

export type QuotaView = DeepReadonly<ResourceQuota>;

/** What stands in the namespace of a quota, by kind; undefined: a kind that cannot be looked at (yet). */
export type LiveObjects = (counted: Counted) => readonly KubeObject[] | undefined;

/** The status of a quota as what stands in its namespace makes it. What cannot be counted keeps its last figure. */
export function countQuota(
  quota: QuotaView,
  kinds: readonly Counted[],
  live: LiveObjects,
  nowMs: number,
): ResourceQuotaStatus {
  const spec = quota.spec as ResourceQuota["spec"];
  const hard = spec?.hard ?? {};
  const names = Object.keys(hard);
  const used: Record<string, string> = {};
  for (const name of names) {
    const before = quota.status?.used?.[name];
    if (before !== undefined) used[name] = before;
  }
  const counted = new Map<string, Amounts>();
  for (const kind of kinds) {
    const own = namesFor(kind, names);
    const objects = own.length > 0 ? live(kind) : undefined;
    if (!objects) continue;
    const total: Amounts = new Map();
    for (const object of objects) if (inScopes(spec, kind, object)) addAmounts(total, usageOf(kind, object, nowMs));
    for (const name of own) counted.set(name, total);
  }
  for (const [name, amounts] of counted) used[name] = String(amounts.get(name) ?? quantityOf(0));
  return { hard: { ...hard }, used };
}

/** Do two maps of quantities say the same, however they are written? */
export function sameAmounts(
  a: Readonly<Record<string, string>> | undefined,
  b: Readonly<Record<string, string>> | undefined,
): boolean {
  const [left, right] = [a ?? {}, b ?? {}];
  const names = Object.keys(left);
  return (
    names.length === Object.keys(right).length &&
    names.every(
      (name) => right[name] !== undefined && parseQuantity(left[name]!).compare(parseQuantity(right[name])) === 0,
    )
  );
}
