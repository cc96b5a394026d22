import { type ControllerRevision, controllerRevisions } from "../../api/generated/apps-v1.ts";
import type { PodTemplateSpec } from "../../api/generated/core-v1.ts";
import type { Client } from "../../client/client.ts";
import { deepEqual } from "../../machinery/equality.ts";
import { parseJson } from "../../machinery/json.ts";
import { safeEncode } from "../../machinery/names.ts";
import type { DeepReadonly, ResourceType } from "../../machinery/object.ts";
import { StatusError } from "../../machinery/status.ts";
import { controllerReference, mutable, ownerOf, type View } from "./owned.ts";
import { fnv32a, sortedJson } from "./template-hash.ts";

export type RevisionView = DeepReadonly<ControllerRevision>;

export const revisionHashLabel = "controller-revision-hash";

/**
 * What a revision keeps: a patch that brings the template back (`kubectl rollout undo` applies it as it is). Its keys are
 * sorted: clients find the present revision by comparing bytes with what Go's encoder would write.
 */
export function revisionData(template: DeepReadonly<PodTemplateSpec>): Record<string, unknown> {
  return parseJson(sortedJson({ spec: { template: { ...template, $patch: "replace" } } })) as Record<string, unknown>;
}

export interface RevisionOwner {
  readonly type: ResourceType;
  readonly object: View;
  readonly template: DeepReadonly<PodTemplateSpec>;
  readonly collisionCount: number | undefined;
}

/** The revision of the present template among those that are there, and those of older ones. */
export function findRevision(
  owner: RevisionOwner,
  revisions: readonly RevisionView[],
): { current: RevisionView | undefined; old: RevisionView[] } {
  const data = revisionData(owner.template);
  const equal = revisions.filter((revision) => deepEqual(revision.data, data));
  const current = equal.sort((a, b) => b.revision - a.revision)[0];
  return { current, old: revisions.filter((revision) => revision !== current) };
}

/**
 * Makes sure that the present template has a revision, and that it is the highest. Throws `RevisionCollision` when the
 * name is taken by other data.
 */
export async function ensureRevision(
  client: Client,
  owner: RevisionOwner,
  revisions: readonly RevisionView[],
  signal: AbortSignal,
): Promise<RevisionView> {
  const { current, old } = findRevision(owner, revisions);
  const next = Math.max(0, ...old.map(({ revision }) => revision)) + 1;
  if (current) {
    if (current.revision >= next) return current;
    return client.update(controllerRevisions, { ...mutable<ControllerRevision>(current), revision: next }, { signal });
  }
  const { name = "", namespace = "" } = owner.object.metadata;
  const data = revisionData(owner.template);
  const hash = safeEncode(String(fnv32a(sortedJson(data) + (owner.collisionCount ?? ""))));
  const revision: ControllerRevision = {
    metadata: {
      name: `${name.slice(0, 223)}-${hash}`,
      namespace,
      labels: { ...owner.template.metadata?.labels, [revisionHashLabel]: hash } as Record<string, string>,
      ownerReferences: [controllerReference(owner.type, owner.object)],
    },
    data,
    revision: next,
  };
  try {
    return await client.create(controllerRevisions, revision, { namespace, signal });
  } catch (error) {
    if (!(error instanceof StatusError && error.reason === "AlreadyExists")) throw error;
    const existing = await client.get(controllerRevisions, revision.metadata.name ?? "", { namespace, signal });
    const ours = ownerOf(existing as View)?.uid === owner.object.metadata.uid;
    if (ours && deepEqual(existing.data, data)) return existing;
    throw new RevisionCollision(revision.metadata.name ?? "");
  }
}

/** Another template has the same hash: the owner's status.collisionCount has to be raised. */
export class RevisionCollision extends Error {
  constructor(name: string) {
    super(`controller revision ${JSON.stringify(name)} belongs to another template`);
    this.name = "RevisionCollision";
  }
}

/** Deletes the oldest revisions that no pod has, so that `limit` old ones stay. */
export async function pruneRevisions(
  client: Client,
  old: readonly RevisionView[],
  liveHashes: ReadonlySet<string>,
  limit: number,
  signal: AbortSignal,
): Promise<void> {
  const unused = old.filter(({ metadata }) => !liveHashes.has(metadata.labels?.[revisionHashLabel] ?? ""));
  const surplus = unused.sort((a, b) => a.revision - b.revision).slice(0, Math.max(0, unused.length - limit));
  for (const { metadata } of surplus) {
    const { name = "", namespace = "" } = metadata;
    try {
      await client.delete(controllerRevisions, name, { namespace, signal });
    } catch (error) {
      if (!(error instanceof StatusError && error.code === 404)) throw error;
    }
  }
}
