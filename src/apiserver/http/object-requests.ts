import type { ResourceFacts } from "../../api/resource.ts";
import { builtInSchema } from "../../api/schemas.ts";
import { canonicalize } from "../../machinery/canonical.ts";
import { isRecord, JsonError, stringifyJson } from "../../machinery/json.ts";
import { badRequest, fieldError, invalid, StatusError, unsupportedMediaType } from "../../machinery/status.ts";
import { readDeleteParameters, readListParameters, readWriteParameters } from "../call-options.ts";
import { createObject, patchObject, readObject, updateObject } from "../operations.ts";
import { type DeleteOutcome, deleteObject } from "../verbs/delete.ts";
import { deleteCollection } from "../verbs/delete-collection.ts";
import { list } from "../verbs/list.ts";
import { type PatchType, parsePatchFindings } from "../verbs/patch.ts";
import { mediaTypeOf, parseBody, readBody } from "./body.ts";
import { type Exchange, isPretty, readObjectBody, sendItem, sendPage, setWarnings, viewOf } from "./exchange.ts";
import { sendObject } from "./reply.ts";
import { parseYaml } from "./yaml-body.ts";

const patchTypes: Readonly<Record<string, PatchType>> = {
  "application/json-patch+json": "json",
  "application/merge-patch+json": "merge",
  "application/strategic-merge-patch+json": "strategic",
  "application/apply-patch+yaml": "apply",
};

/** Resources whose DELETE answers the object that was removed, not a Status. */
const returnsDeleted = new Set([
  "pods",
  "podtemplates",
  "resourcequotas",
  "serviceaccounts",
  "persistentvolumes",
  "persistentvolumeclaims",
]);

export async function answerGet(exchange: Exchange): Promise<void> {
  const view = viewOf(exchange);
  const revision = exchange.url.searchParams.get("resourceVersion") ?? undefined;
  await sendItem(exchange, 200, await readObject(exchange.core, exchange.call, revision), view);
}

export async function answerList(exchange: Exchange): Promise<void> {
  const { url, call } = exchange;
  const view = viewOf(exchange);
  const page = await list(exchange.core, call, readListParameters(url.searchParams));
  await sendPage(exchange, page, view);
}

export async function answerCreate(exchange: Exchange): Promise<void> {
  const { url, call } = exchange;
  const view = viewOf(exchange);
  const parameters = readWriteParameters(url.searchParams, "CreateOptions");
  const body = await readObjectBody(exchange, parameters.fieldValidation);
  const { dryRun, options } = parameters;
  const item = await createObject(exchange.core, { ...call, dryRun, options }, body);
  await sendItem(exchange, 201, item, view);
}

export async function answerUpdate(exchange: Exchange): Promise<void> {
  const { url, call } = exchange;
  const view = viewOf(exchange);
  const parameters = readWriteParameters(url.searchParams, "UpdateOptions");
  const body = await readObjectBody(exchange, parameters.fieldValidation);
  const { dryRun, options } = parameters;
  const { item, created } = await updateObject(exchange.core, { ...call, dryRun, options }, body);
  await sendItem(exchange, created ? 201 : 200, item, view);
}

export async function answerPatch(exchange: Exchange): Promise<void> {
  const { request, url, call } = exchange;
  const view = viewOf(exchange);
  const parameters = readWriteParameters(url.searchParams, "PatchOptions");
  const mediaType = mediaTypeOf(request.headers["content-type"]);
  const type = Object.hasOwn(patchTypes, mediaType) ? patchTypes[mediaType]! : undefined;
  if (!type || (type === "strategic" && call.facts.custom)) throw unknownPatch(call.facts);
  checkPatchOptions(type, parameters.force, url.searchParams);
  const bytes = await readBody(request, exchange.core.ioClock);
  let parsed: { body: unknown; findings: readonly string[] };
  try {
    parsed = await parsePatchFindings(bytes, type, parseYaml);
  } catch (error) {
    if (!(error instanceof JsonError) && error instanceof StatusError) throw error;
    throw badRequest(`error decoding patch: ${(error as Error).message}`);
  }
  const { item, created } = await patchObject(
    exchange.core,
    { ...call, dryRun: parameters.dryRun, options: parameters.options },
    { type, ...parsed, force: parameters.force, fieldValidation: parameters.fieldValidation },
  );
  await sendItem(exchange, created ? 201 : 200, item, view);
}

const deleteOptionsSchema = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions";

async function deleteOptions({ core, request, url }: Exchange) {
  const bytes = await readBody(request, core.ioClock);
  if (bytes.length === 0) return readDeleteParameters(undefined, url.searchParams);
  const body = await parseBody(bytes, mediaTypeOf(request.headers["content-type"]), "DeleteOptions", {}, () =>
    builtInSchema(deleteOptionsSchema),
  );
  if (!isRecord(body)) throw badRequest("the object provided is unrecognized (must be of type DeleteOptions)");
  const { kind = "DeleteOptions" } = body;
  if (kind !== "DeleteOptions") {
    throw badRequest(`decoded object cannot be converted to DeleteOptions: its kind is ${stringifyJson(kind)}`);
  }
  try {
    const options = canonicalize(builtInSchema(deleteOptionsSchema), body) as Record<string, unknown>;
    return readDeleteParameters(options, url.searchParams);
  } catch (error) {
    if (error instanceof StatusError && error.code !== 400) throw error;
    const why = (error as Error).message;
    throw badRequest(`DeleteOptions in version "v1" cannot be handled as a DeleteOptions: ${why}`);
  }
}

export async function answerDelete(exchange: Exchange): Promise<void> {
  const { request, response, call } = exchange;
  const view = viewOf(exchange);
  const parameters = await deleteOptions(exchange);
  const { dryRun, options } = parameters;
  const outcome = await deleteObject(exchange.core, { ...call, dryRun, options }, parameters);
  if (outcome.removed && !(returnsDeleted.has(call.facts.resource) && !call.facts.custom)) {
    setWarnings(response, exchange.warnings);
    await sendObject(request, response, 200, view.encoding, deletedStatus(call.facts, outcome), isPretty(exchange));
  } else {
    const code = !outcome.removed && parameters.orphanDependents === false ? 202 : 200;
    await sendItem(exchange, code, outcome.item, view);
  }
}

export async function answerDeleteCollection(exchange: Exchange): Promise<void> {
  const { url, call } = exchange;
  const view = viewOf(exchange);
  const parameters = await deleteOptions(exchange);
  const page = await deleteCollection(
    exchange.core,
    { ...call, dryRun: parameters.dryRun, options: parameters.options },
    readListParameters(url.searchParams),
    parameters,
  );
  await sendPage(exchange, page, view);
}

function unknownPatch(facts: ResourceFacts): StatusError {
  const accepted = Object.keys(patchTypes).filter((type) => !(facts.custom && type.includes("strategic")));
  const list = accepted.join(", ");
  return unsupportedMediaType(
    `the body of the request was in an unknown format - accepted media types include: ${list}`,
  );
}

/** The rules of ValidatePatchOptions. */
function checkPatchOptions(type: PatchType, force: boolean, query: URLSearchParams): void {
  const of = { group: "meta.k8s.io", resource: "PatchOptions" };
  if (type === "apply") {
    if (query.get("fieldManager")) return;
    throw invalid(of, "", [fieldError.required("fieldManager", "is required for apply patch")]);
  }
  if (query.has("force") && force)
    throw invalid(of, "", [fieldError.forbidden("force", "may not be specified for non-apply patch")]);
}

function deletedStatus(facts: ResourceFacts, { item }: DeleteOutcome): object {
  const { name, uid } = item.object.metadata;
  const details = { name, ...(facts.group ? { group: facts.group } : {}), kind: facts.resource, uid };
  return { kind: "Status", apiVersion: "v1", metadata: {}, status: "Success", details };
}
