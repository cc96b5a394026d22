import { applyConfiguration } from "../../machinery/apply/apply.ts";
import { cloneJson, isRecord, type ParseOptions, parseJson } from "../../machinery/json.ts";
import { applyJsonPatch } from "../../machinery/json-patch.ts";
import { applyMergePatch } from "../../machinery/merge-patch.ts";
import { apiVersionOf, type KubeObject } from "../../machinery/object.ts";
import { badRequest, notFound, StatusError, unsupportedMediaType } from "../../machinery/status.ts";
import { applyStrategicMergePatch } from "../../machinery/strategic-merge.ts";
import { type Call, type Core, groupResource } from "../core.ts";
import { keyFor } from "../storage/codec.ts";
import { create } from "./create.ts";
import { decodeObject, defaultObject, type FieldValidation, type Findings, report } from "./decode.ts";
import { guaranteedUpdate, type UpdateOutcome } from "./update.ts";
import { resetFieldsOf, versionsOf } from "./write.ts";

export type PatchType = "json" | "merge" | "strategic" | "apply";

export interface PatchRequest {
  readonly type: PatchType;
  readonly body: unknown;
  /** Only for apply: take over fields that others own. */
  readonly force: boolean;
  readonly fieldValidation: FieldValidation;
  /** What parsing the body found: duplicate keys. */
  readonly findings: readonly string[];
}

/** PATCH of all four kinds. Throws 4xx with Kubernetes' texts. */
export async function patch(core: Core, call: Call, request: PatchRequest): Promise<UpdateOutcome> {
  if (request.type === "apply") return apply(core, call, request);
  const { facts } = call;
  let warned = false;
  const item = await guaranteedUpdate(core, call, (current) => {
    const patched = applyPatchTo(call, current.object, request);
    const findings: Findings = { texts: [...request.findings] };
    const next = decodeObject(facts, patched, findings);
    report(facts, findings, request.fieldValidation, (text) => warned || call.warn(text));
    warned = true;
    if (next.metadata.name !== call.name) {
      throw badRequest(
        `the name of the object (${next.metadata.name ?? ""}) does not match the name on the URL (${call.name})`,
      );
    }
    defaultObject(facts, next);
    // The result carries the present revision unless the patch names one, which then has to be it.
    next.metadata.resourceVersion ??= current.object.metadata.resourceVersion!;
    return { next };
  });
  return { item, created: false };
}

/** The patched object, not yet checked against its type. */
export function applyPatchTo(call: Call, object: KubeObject, { type, body }: PatchRequest): unknown {
  const { facts } = call;
  try {
    if (type === "json") return applyJsonPatch(object, body);
    if (!isRecord(body)) throw badRequest("error decoding patch: the body is not an object");
    if (type === "merge") return applyMergePatch(object, body);
    if (facts.custom) throw noStrategicMerge();
    return applyStrategicMergePatch(facts.schema, object, body);
  } catch (error) {
    if (error instanceof StatusError) throw error;
    throw badRequest((error as Error).message);
  }
}

function noStrategicMerge(): StatusError {
  const accepted = "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml";
  return unsupportedMediaType(
    `the body of the request was in an unknown format - accepted media types include: ${accepted}`,
  );
}

/** Server-side apply: merges the configuration by field ownership, or creates the object. */
async function apply(core: Core, call: Call, request: PatchRequest): Promise<UpdateOutcome> {
  const { facts } = call;
  // Fields that the type does not have are no matter of `fieldValidation` here: the merge refuses them always.
  const applied = decodeObject(facts, request.body, { texts: [] });
  const { metadata } = applied;
  if (metadata.managedFields) throw badRequest("metadata.managedFields must be nil");
  if (metadata.name && metadata.name !== call.name) {
    throw badRequest(`the name of the object (${metadata.name}) does not match the name on the URL (${call.name})`);
  }
  const wantedRevision = metadata.resourceVersion;
  const wantedUid = metadata.uid;
  const sent = cloneJson(request.body) as KubeObject;
  sent.metadata = { ...sent.metadata, name: call.name };
  if (facts.namespaced && call.namespace) sent.metadata.namespace ??= call.namespace;

  const merge = async (live: KubeObject | undefined) => {
    const merged = await applyConfiguration({
      schema: facts.schema,
      live,
      applied: sent,
      manager: call.fieldManager,
      apiVersion: apiVersionOf(facts),
      subresource: call.subresource ?? "",
      force: request.force,
      nowMs: core.clusterClock.now(),
      resetFields: resetFieldsOf(facts, call.subresource),
      versions: versionsOf(core, call),
    });
    const next = decodeObject(facts, merged, { texts: [] });
    defaultObject(facts, next);
    reportStrictly(request, call.warn);
    return next;
  };

  const cache = core.caches.of(facts);
  for (let attempt = 0; ; attempt++) {
    // After a lost race, too: it may have been lost to another server.
    await cache.barrier();
    const exists = cache.get(keyFor(facts, call.namespace, call.name)) !== undefined;
    if (!exists && (call.subresource || wantedUid)) throw notFound(groupResource(facts), call.name);
    try {
      if (!exists)
        return { item: await create(core, { ...call, applied: true }, await merge(undefined)), created: true };
      const item = await guaranteedUpdate(core, call, async (current) => {
        const next = await merge(current.object);
        next.metadata.resourceVersion = wantedRevision ?? current.object.metadata.resourceVersion!;
        return { next, tracked: true };
      });
      return { item, created: false };
    } catch (error) {
      // It was created, or removed, in between.
      const raced = (error as StatusError).reason === (exists ? "NotFound" : "AlreadyExists");
      if (!raced || attempt >= 5) throw error;
    }
  }
}

/** Acts on keys that an applied configuration has twice. */
function reportStrictly({ findings, fieldValidation }: PatchRequest, warn: (text: string) => void): void {
  if (findings.length === 0 || fieldValidation === "Ignore") return;
  if (fieldValidation === "Strict") throw badRequest(`error strict decoding YAML: ${findings.join(", ")}`);
  for (const text of findings) warn(text);
}

/** Parses a patch's body; apply patches are YAML. */
export async function parsePatchFindings(
  bytes: Buffer,
  type: PatchType,
  parseYaml: (body: Buffer, options: ParseOptions & { onStrictYaml(text: string): void }) => Promise<unknown>,
): Promise<{ body: unknown; findings: readonly string[] }> {
  const findings: string[] = [];
  const options = { onDuplicate: (path: string) => findings.push(`duplicate field ${JSON.stringify(path)}`) };
  const onStrictYaml = (text: string) => findings.push(`error converting YAML to JSON: ${text}`);
  const body = type === "apply" ? await parseYaml(bytes, { ...options, onStrictYaml }) : parseJson(bytes, options);
  return { body, findings };
}
