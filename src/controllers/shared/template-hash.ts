import type { PodTemplateSpec } from "../../api/generated/core-v1.ts";
import { deepEqual } from "../../machinery/equality.ts";
import { safeEncode } from "../../machinery/names.ts";
import type { DeepReadonly } from "../../machinery/object.ts";

export const templateHashLabel = "pod-template-hash";

/** FNV-1a, 32 bit: short, stable, and collisions are handled by a count that goes into it. */
export function fnv32a(text: string): number {
  let hash = 0x811c9dc5;
  for (const byte of Buffer.from(text)) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  return hash;
}

/** JSON with sorted keys: the same text for the same value, whatever order its fields came in. */
export function sortedJson(value: unknown): string {
  if (value === null || typeof value !== "object") {
    return typeof value === "bigint" ? value.toString() : (JSON.stringify(value) ?? "null");
  }
  if (Array.isArray(value)) return `[${value.map(sortedJson).join(",")}]`;
  const entries = Object.entries(value as Record<string, unknown>).filter(([, field]) => field !== undefined);
  entries.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
  return `{${entries.map(([key, field]) => `${JSON.stringify(key)}:${sortedJson(field)}`).join(",")}}`;
}

/** The hash by which a ReplicaSet and its pods are named and told apart. */
export function templateHash(template: DeepReadonly<PodTemplateSpec>, collisionCount: number | undefined): string {
  return safeEncode(String(fnv32a(sortedJson(template) + (collisionCount ?? ""))));
}

/** Are two templates the same but for the hash label? */
export function equalTemplates(a: DeepReadonly<PodTemplateSpec>, b: DeepReadonly<PodTemplateSpec>): boolean {
  return deepEqual(withoutHash(a), withoutHash(b));
}

function withoutHash(template: DeepReadonly<PodTemplateSpec>) {
  const { [templateHashLabel]: _, ...labels } = template.metadata?.labels ?? {};
  return { ...template, metadata: { ...template.metadata, labels } };
}
