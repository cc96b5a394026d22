/** Subresources whose body is the whole object, and of which each may change only a part. */
import type { ResourceFacts } from "../../api/resource.ts";
import { deepEqual } from "../../machinery/equality.ts";
import { cloneJson } from "../../machinery/json.ts";
import type { KubeObject } from "../../machinery/object.ts";

interface Body extends KubeObject {
  spec?: Record<string, unknown>;
  status?: Record<string, unknown>;
}

/** Reduces `next` to what this subresource may change of `old`. `now` is the time as objects carry it. */
export type SubresourceRule = (next: KubeObject, old: KubeObject, now: string) => void;

/** Everything but metadata's managedFields comes from `old`; then `take` brings over what may change. */
function onlyChanging(take: (next: Body, object: Body, now: string) => void): SubresourceRule {
  return (next, old, now) => {
    const wanted = { ...next } as Body;
    const { managedFields } = next.metadata;
    for (const key of Object.keys(next)) delete (next as unknown as Record<string, unknown>)[key];
    Object.assign(next, cloneJson(old));
    if (managedFields) next.metadata.managedFields = managedFields;
    take(wanted, next as Body, now);
  };
}

const rules: Readonly<Record<string, SubresourceRule>> = {
  "namespaces/finalize": onlyChanging((wanted, object) => {
    object.spec = { ...object.spec };
    const finalizers = wanted.spec?.["finalizers"];
    if (finalizers === undefined) delete object.spec["finalizers"];
    else object.spec["finalizers"] = finalizers;
  }),
  "certificatesigningrequests/approval": onlyChanging((wanted, object, now) => {
    const { conditions: old, ...rest } = object.status ?? {};
    const conditions = wanted.status?.["conditions"] as Condition[] | undefined;
    object.metadata = wanted.metadata;
    object.status = { ...rest, ...(conditions && { conditions: dated(conditions, (old ?? []) as Condition[], now) }) };
  }),
  "pods/resize": onlyChanging((wanted, object) => {
    const spec: Record<string, unknown> = { ...object.spec };
    for (const field of ["containers", "initContainers"]) {
      const containers = resized(wanted.spec?.[field], spec[field]);
      if (containers === undefined) delete spec[field];
      else spec[field] = containers;
    }
    if (wanted.spec?.["resources"] === undefined) delete spec["resources"];
    else spec["resources"] = wanted.spec["resources"];
    if (deepEqual(spec, object.spec)) return;
    object.spec = spec;
    object.metadata.generation = (object.metadata.generation ?? 0) + 1;
  }),
  "pods/ephemeralcontainers": onlyChanging((wanted, object) => {
    const containers = wanted.spec?.["ephemeralContainers"] ?? [];
    if (deepEqual(containers, object.spec?.["ephemeralContainers"] ?? [])) return;
    object.spec = { ...object.spec, ephemeralContainers: containers };
    object.metadata.generation = (object.metadata.generation ?? 0) + 1;
  }),
};

interface Condition {
  type?: string;
  status?: string;
  lastUpdateTime?: string | null;
  lastTransitionTime?: string | null;
}

/** Conditions with the times that their writer left out. */
function dated(conditions: readonly Condition[], old: readonly Condition[], now: string): Condition[] {
  return conditions.map((condition) => {
    const known = old.find(({ type, status }) => type === condition.type && status === condition.status);
    return {
      ...condition,
      lastUpdateTime: condition.lastUpdateTime ?? now,
      lastTransitionTime: condition.lastTransitionTime ?? known?.lastTransitionTime ?? now,
    };
  });
}

interface Resizable {
  name?: unknown;
  resources?: unknown;
  resizePolicy?: unknown;
}

/** The containers of `old` with the resources of `wanted`; where those are not the same containers, `wanted` itself. */
function resized(wanted: unknown, old: unknown): unknown {
  if (!Array.isArray(wanted) || !Array.isArray(old) || wanted.length !== old.length) return wanted;
  if (wanted.some((one: Resizable, index) => one.name !== (old[index] as Resizable).name)) return wanted;
  return wanted.map(({ resources, resizePolicy }: Resizable, index) => {
    const { resources: _, resizePolicy: __, ...rest } = old[index] as Resizable;
    return {
      ...rest,
      ...(resources === undefined ? {} : { resources }),
      ...(resizePolicy === undefined ? {} : { resizePolicy }),
    };
  });
}

/** The rule of a subresource, if it is one of this kind. */
export function subresourceRule(facts: ResourceFacts, subresource: string): SubresourceRule | undefined {
  return facts.custom ? undefined : rules[`${facts.resource}/${subresource}`];
}
