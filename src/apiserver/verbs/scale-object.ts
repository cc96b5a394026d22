/** An autoscaling/v1 Scale as a view of a workload's replica count. */
import type { ResourceFacts } from "../../api/resource.ts";
import { isRecord } from "../../machinery/json.ts";
import { fromLabelSelector, fromLabels, type LabelSelector } from "../../machinery/label-selector.ts";
import type { KubeObject } from "../../machinery/object.ts";
import type { CachedObject } from "../storage/cached-object.ts";

/** autoscaling/v1 Scale. */
export interface Scale extends KubeObject {
  spec: { replicas?: number };
  status: { replicas: number; selector?: string };
}

/** The selector is a LabelSelector, a plain map of labels, or the text of a selector. */
type ScalePaths = NonNullable<ResourceFacts["scalePaths"]>;

const builtInPaths: ScalePaths = {
  spec: ["spec", "replicas"],
  status: ["status", "replicas"],
  selector: ["spec", "selector"],
};

function scalePathsOf(facts: ResourceFacts): ScalePaths {
  return facts.scalePaths ?? builtInPaths;
}

function read(object: unknown, path: readonly string[]): unknown {
  let value = object;
  for (const key of path) {
    if (!isRecord(value) || !Object.hasOwn(value, key)) return undefined;
    value = value[key];
  }
  return value;
}

function selectorText(facts: ResourceFacts, value: unknown): string {
  if (typeof value === "string") return value;
  if (!isRecord(value)) return "";
  const plain = facts.kind === "ReplicationController" && !facts.custom;
  return plain
    ? fromLabels(value as Record<string, string>).toString()
    : fromLabelSelector(value as LabelSelector).toString();
}

export function toScale({ object, facts }: Pick<CachedObject, "object" | "facts">): Scale {
  const paths = scalePathsOf(facts);
  const { name, namespace, uid, resourceVersion, creationTimestamp } = object.metadata;
  const replicas = read(object, paths.spec);
  const selector = paths.selector ? selectorText(facts, read(object, paths.selector)) : "";
  return {
    kind: "Scale",
    apiVersion: "autoscaling/v1",
    metadata: {
      name: name!,
      ...(namespace ? { namespace } : {}),
      uid: uid!,
      resourceVersion: resourceVersion!,
      creationTimestamp: creationTimestamp!,
    },
    spec: typeof replicas === "number" && replicas !== 0 ? { replicas } : {},
    status: { replicas: Number(read(object, paths.status) ?? 0), ...(selector ? { selector } : {}) },
  };
}

/** Writes a replica count to where the resource keeps it. */
export function setReplicas(facts: ResourceFacts, object: KubeObject, replicas: number): void {
  let parent = object as unknown as Record<string, unknown>;
  const path = [...scalePathsOf(facts).spec];
  const last = path.pop()!;
  for (const key of path) {
    parent[key] ??= {};
    parent = parent[key] as Record<string, unknown>;
  }
  parent[last] = replicas;
}
