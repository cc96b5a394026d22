/** The scale subresource: an autoscaling/v1 Scale in front of a workload's replica count. */
import type { ResourceFacts } from "../../api/resource.ts";
import { cloneJson, isRecord } from "../../machinery/json.ts";
import { fromLabelSelector, fromLabels, type LabelSelector } from "../../machinery/label-selector.ts";
import type { KubeObject } from "../../machinery/object.ts";
import { badRequest, conflict, fieldError, invalid } from "../../machinery/status.ts";
import { type Call, type Core, groupResource } from "../core.ts";
import type { CachedObject } from "../storage/cached-object.ts";
import { cannotBeHandled } from "./decode.ts";
import { guaranteedUpdate } from "./update.ts";

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

export function toScale(item: CachedObject): Scale {
  const { object, facts } = item;
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

/** Writes the replica count of a Scale that `propose` makes from the present one. */
export async function updateScale(core: Core, call: Call, propose: (current: Scale) => unknown): Promise<CachedObject> {
  const { facts } = call;
  return guaranteedUpdate(core, call, (current) => {
    const scale = propose(toScale(current));
    const type = { group: "autoscaling", version: "v1", kind: "Scale", schema: facts.schema };
    if (!isRecord(scale) || !isRecord(scale["metadata"])) throw cannotBeHandled(type, "the body is no Scale");
    const spec = isRecord(scale["spec"]) ? scale["spec"] : {};
    const replicas = spec["replicas"] ?? 0;
    if (typeof replicas !== "number" || !Number.isInteger(replicas)) {
      throw cannotBeHandled(
        type,
        "json: cannot unmarshal spec.replicas into Go struct field ScaleSpec.spec.replicas of type int32",
      );
    }
    if (replicas < 0) {
      const error = fieldError.invalid("spec.replicas", replicas, "must be greater than or equal to 0");
      throw invalid({ group: "autoscaling", resource: "Scale" }, call.name, [error]);
    }
    const { name, uid, resourceVersion } = scale["metadata"] as KubeObject["metadata"];
    if (name !== undefined && name !== call.name) {
      throw badRequest(`the name of the object (${name}) does not match the name on the URL (${call.name})`);
    }
    if (uid && uid !== current.object.metadata.uid) {
      const why = `Precondition failed: UID in precondition: ${uid}, UID in object meta: ${current.object.metadata.uid}`;
      throw conflict(groupResource(facts), call.name, why);
    }
    const next = cloneJson(current.object);
    let parent: unknown = next;
    const path = [...scalePathsOf(facts).spec];
    const last = path.pop()!;
    for (const key of path) {
      const holder = parent as Record<string, unknown>;
      holder[key] ??= {};
      parent = holder[key];
    }
    (parent as Record<string, unknown>)[last] = replicas;
    // A Scale that names a revision is bound to it.
    if (resourceVersion) next.metadata.resourceVersion = resourceVersion;
    return { next };
  });
}
