/** What both doors of the API, HTTP and the in-process client, do with a call whose body is parsed. */
import type { ResourceFacts } from "../api/resource.ts";
import { builtInSchema } from "../api/schemas.ts";
import type { KubeObject } from "../machinery/object.ts";
import { methodNotSupported, StatusError } from "../machinery/status.ts";
import { type Call, type Core, groupResource } from "./core.ts";
import { CachedObject } from "./storage/cached-object.ts";
import { create } from "./verbs/create.ts";
import {
  decodeObject,
  defaultObject,
  type FieldValidation,
  type Findings,
  report,
  type Typed,
} from "./verbs/decode.ts";
import { get } from "./verbs/get.ts";
import { applyPatchTo, type PatchRequest, patch } from "./verbs/patch.ts";
import { updateScale } from "./verbs/scale.ts";
import { type Scale, toScale } from "./verbs/scale-object.ts";
import { subresourceRule } from "./verbs/subresource-rules.ts";
import { type UpdateOutcome, update } from "./verbs/update.ts";

/** A parsed body and what parsing it found (duplicate keys). */
export interface ParsedBody {
  readonly value: unknown;
  readonly findings: readonly string[];
  readonly fieldValidation: FieldValidation;
  /** Puts what was found in the order of the body, as a decoder of built-in kinds meets it. */
  readonly inOrder?: (texts: readonly string[]) => string[];
}

/** The schema of a Scale is not the resource's; what a Scale answers is an object of its own. */
function scaleItem(item: CachedObject): CachedObject {
  const { facts, key, revision } = item;
  return new CachedObject(scaleFactsOf(facts), key, revision, toScale(item));
}

/** The resource's facts under a Scale's name. They have getters: a copy would build schemas that nobody needs. */
function scaleFactsOf(facts: ResourceFacts): ResourceFacts {
  return Object.create(facts, {
    group: { value: "autoscaling", enumerable: true },
    version: { value: "v1", enumerable: true },
    kind: { value: "Scale", enumerable: true },
    schema: { get: () => builtInSchema("io.k8s.api.autoscaling.v1.Scale"), enumerable: true },
  }) as ResourceFacts;
}

/** Is this subresource one whose body is the object itself or a Scale? */
export function isObjectSubresource(facts: ResourceFacts, subresource: string): boolean {
  return subresource === "status" || subresource === "scale" || subresourceRule(facts, subresource) !== undefined;
}

export async function readObject(core: Core, call: Call, resourceVersion?: string): Promise<CachedObject> {
  const item = await get(core, call, resourceVersion);
  return call.subresource === "scale" ? scaleItem(item) : item;
}

export async function createObject(core: Core, call: Call, body: ParsedBody): Promise<CachedObject> {
  return create(core, call, decode(call, body));
}

export async function updateObject(core: Core, call: Call, body: ParsedBody): Promise<UpdateOutcome> {
  if (call.subresource === "scale") {
    return { item: scaleItem(await updateScale(core, call, () => body.value)), created: false };
  }
  return update(core, call, decode(call, body));
}

export async function patchObject(core: Core, call: Call, request: PatchRequest): Promise<UpdateOutcome> {
  if (call.subresource !== "scale") return patch(core, call, request);
  if (request.type === "apply") {
    throw new StatusError(
      501,
      "NotImplemented",
      "server-side apply of a Scale is not supported by this version of k3ts",
    );
  }
  const item = await updateScale(core, call, (current: Scale) => applyPatchTo(call, current, request));
  return { item: scaleItem(item), created: false };
}

function decode({ facts, warn }: Call, body: ParsedBody) {
  const object = decodeBody(facts, body, warn);
  defaultObject(facts, object);
  return object;
}

/** The object of a body in canonical form, without defaults. Throws 400; `warn` gets what does not refuse it. */
export function decodeBody(
  type: Typed,
  { value, findings, fieldValidation, inOrder }: ParsedBody,
  warn: (text: string) => void,
): KubeObject {
  const found: Findings = { texts: [...findings] };
  const object = decodeObject(type, value, found);
  const texts = inOrder && found.texts.length > 1 && !type.custom ? inOrder(found.texts) : found.texts;
  report(type, { texts }, fieldValidation, warn);
  return object;
}

/** Throws 405 when the resource, or its subresource, does not know the verb. */
export function checkVerb(facts: ResourceFacts, subresource: string | undefined, verb: string): void {
  const verbs: readonly string[] = subresource ? (facts.subresources[subresource]?.verbs ?? []) : facts.verbs;
  if (!verbs.includes(verb)) throw methodNotSupported(groupResource(facts), verb);
}
