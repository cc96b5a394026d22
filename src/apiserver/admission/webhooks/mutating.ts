import { builtInSchema } from "../../../api/schemas.ts";
import { canonicalize } from "../../../machinery/canonical.ts";
import { deepEqual } from "../../../machinery/equality.ts";
import { cloneJson, parseJson } from "../../../machinery/json.ts";
import { applyJsonPatch } from "../../../machinery/json-patch.ts";
import type { KubeObject } from "../../../machinery/object.ts";
import { internalError, notBuilt } from "../../../machinery/status.ts";
import type { AdmissionAttributes, AdmissionPlugin } from "../../request.ts";
import { decodeObject, defaultObject } from "../../verbs/decode.ts";
import { convertBetween } from "../equivalents.ts";
import { isExempt } from "../matching.ts";
import { kindOf } from "../policies/request-values.ts";
import { replaceContent, type Verdict } from "./admission-review.ts";
import type { Hook } from "./hook.ts";
import type { HookCaller } from "./hook-caller.ts";
import type { HookSource } from "./hook-source.ts";
import { keepManagedFields } from "./managed-fields.ts";

const name = "MutatingAdmissionWebhook";

/** Bodies of subresources that are not the resource itself. */
const subresourceSchemas: Readonly<Record<string, string>> = {
  Scale: "io.k8s.api.autoscaling.v1.Scale",
  Eviction: "io.k8s.api.policy.v1.Eviction",
  Binding: "io.k8s.api.core.v1.Binding",
  TokenRequest: "io.k8s.api.authentication.v1.TokenRequest",
};

/** What the first round leaves for the second. */
interface Notes {
  /** Webhooks that want to be asked again, and were asked since the object was last changed. */
  asked: Set<string>;
  /** Webhooks that are asked again. */
  readonly again: Set<string>;
  /** The object as the webhooks left it. */
  left: KubeObject | undefined;
}

/** Asks mutating webhooks one after the other, each about what those before it have made of the object. */
export function mutatingWebhooks(source: HookSource, caller: HookCaller): AdmissionPlugin {
  async function admit(attributes: AdmissionAttributes): Promise<void> {
    if (isExempt(attributes)) return;
    const found = source.hooks();
    const hooks = "then" in found ? await found : found;
    if (hooks.length === 0) return;
    const { rounds, object } = attributes;
    const notes = notesOf(attributes);
    const repeated = rounds?.round === 2;
    // Others have changed it since: whoever wants to see that is asked again.
    if (repeated && object && !deepEqual(notes.left, object)) requireAgain(notes);
    const owners = object?.metadata.managedFields;
    let changed = false;
    for (const hook of hooks) {
      if (repeated && !notes.again.has(hook.id)) continue;
      const shown = await caller.shown(hook, attributes);
      if (!shown) continue;
      if (await mutate(hook, caller, shown, attributes)) {
        requireAgain(notes);
        changed = true;
        if (rounds) rounds.again = true;
      }
      if (hook.again) notes.asked.add(hook.id);
    }
    if (changed) keepManagedFields(attributes, owners);
    if (rounds?.again && !repeated && object) notes.left = cloneJson(object);
  }
  return { name, admit };
}

function notesOf({ rounds }: AdmissionAttributes): Notes {
  const notes = (rounds?.notes.get(name) as Notes | undefined) ?? {
    asked: new Set(),
    again: new Set(),
    left: undefined,
  };
  rounds?.notes.set(name, notes);
  return notes;
}

function requireAgain(notes: Notes): void {
  for (const id of notes.asked) notes.again.add(id);
  notes.asked = new Set();
}

/** Asks one webhook; true: the object is another one now. */
async function mutate(
  hook: Hook,
  caller: HookCaller,
  shown: AdmissionAttributes,
  asked: AdmissionAttributes,
): Promise<boolean> {
  const verdict = await caller.ask(hook, true, shown, asked);
  if (!verdict?.patch) return false;
  const operations = readOperations(hook, caller, verdict);
  if (!operations || operations.length === 0) return false;
  if (asked.operation === "CONNECT") throw notBuilt("Changing the options of a connection by webhook");
  if (!shown.object || !asked.object) {
    const text = `admission webhook ${JSON.stringify(hook.name)} attempted to modify the object, which is not supported for this operation`;
    throw internalError(new Error(text));
  }
  if (verdict.patchType !== "JSONPatch") {
    caller.failed(hook, `unsupported patch type ${JSON.stringify(verdict.patchType)}`);
    return false;
  }
  let next: KubeObject;
  try {
    next = decode(shown, applyJsonPatch(shown.object, operations));
  } catch (error) {
    throw internalError(error);
  }
  if (deepEqual(next, shown.object)) return false;
  replaceContent(
    asked.object,
    shown.facts === asked.facts ? next : await convertBetween(shown.facts, asked.facts, next),
  );
  return true;
}

function readOperations(hook: Hook, caller: HookCaller, { patch }: Verdict): unknown[] | undefined {
  let why: string;
  try {
    const operations = parseJson(patch!);
    if (Array.isArray(operations)) return operations;
    why = "json: cannot unmarshal object into Go value of type jsonpatch.Patch";
  } catch (error) {
    why = (error as Error).message;
  }
  caller.failed(hook, `received undecodable patch in webhook response: ${why}`);
  return undefined;
}

/** The patched object as if it had come with the request: without what its type does not know, and with defaults. */
function decode(shown: AdmissionAttributes, patched: unknown): KubeObject {
  const { kind } = kindOf(shown);
  if (kind === shown.facts.kind) {
    const object = decodeObject(shown.facts, patched, { texts: [] });
    defaultObject(shown.facts, object);
    return object;
  }
  const schema = subresourceSchemas[kind];
  if (!schema) throw notBuilt(`Changing a ${kind} by webhook`);
  const { apiVersion, kind: _kind } = shown.object!;
  return {
    ...(canonicalize(builtInSchema(schema), patched) as KubeObject),
    ...(apiVersion ? { apiVersion } : {}),
    kind,
  };
}
