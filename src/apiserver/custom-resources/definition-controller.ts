import {
  type CustomResourceDefinition,
  type CustomResourceDefinitionCondition,
  customResourceDefinitions,
} from "../../api/generated/apiextensions-v1.ts";
import type { ResourceFacts } from "../../api/resource.ts";
import type { Client } from "../../client/client.ts";
import { createInformer } from "../../client/informer.ts";
import { type Clock, formatTime } from "../../machinery/clock.ts";
import { cloneJson } from "../../machinery/json.ts";
import type { Logger } from "../../machinery/log.ts";
import type { DeepReadonly } from "../../machinery/object.ts";
import { hasReason, StatusError } from "../../machinery/status.ts";
import type { ResourceTable } from "../resource-table.ts";
import type { CacheSet } from "../storage/cache-set.ts";
import type { WebhookCaller } from "../webhook-call/webhook-caller.ts";

/** Kubernetes' own: a definition goes only when its objects are gone. */
const cleanupFinalizer = "customresourcecleanup.apiextensions.k8s.io";
const retryMs = 2000;

interface Served {
  /** The spec that the facts were made from. */
  readonly spec: string;
  readonly facts: readonly ResourceFacts[];
}

/**
 * Serves what CustomResourceDefinitions define: puts their facts into the table, says so in their conditions, and
 * empties a resource before its definition goes. Resolves when everything that was defined before is served.
 */
export async function startDefinitionController(options: {
  readonly client: Client;
  readonly resources: ResourceTable;
  readonly caches: CacheSet;
  /** Asks the webhooks that convert between versions. */
  readonly webhooks: WebhookCaller;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}): Promise<void> {
  const { client, resources, caches, webhooks, clock, logger, signal } = options;
  const served = new Map<string, Served>();
  const pending = new Set<string>();
  let working = false;

  const informer = createInformer(client, customResourceDefinitions, { clock, logger });

  function enqueue(name: string): void {
    pending.add(name);
    if (!working) void work();
  }

  async function work(): Promise<void> {
    working = true;
    for (const name of pending) {
      pending.delete(name);
      if (signal.aborted) break;
      try {
        await reconcile(name);
      } catch (error) {
        if (signal.aborted) break;
        // Another server wrote it, with the same; the event of that brings it here again.
        if (hasReason(error, "Conflict")) continue;
        logger.warn({ err: error, definition: name }, "Serving a custom resource failed; it is tried again");
        clock.after(retryMs, () => enqueue(name));
      }
    }
    working = false;
  }

  function withdraw(name: string): void {
    const old = served.get(name);
    if (!old) return;
    served.delete(name);
    resources.replace(old.facts, []);
    for (const facts of old.facts) caches.drop(facts);
  }

  async function serve(name: string, definition: DeepReadonly<CustomResourceDefinition>): Promise<void> {
    const spec = JSON.stringify(definition.spec);
    const old = served.get(name);
    if (old?.spec === spec) return;
    // Loaded at use: most clusters define nothing.
    const { customFacts } = await import("./custom-facts.ts");
    const { converterOf } = await import("./conversion.ts");
    const convert = converterOf(definition as CustomResourceDefinition, webhooks);
    const facts = await customFacts(definition as CustomResourceDefinition, convert);
    resources.replace(old?.facts ?? [], facts);
    served.set(name, { spec, facts });
    // Watchers of the old form start again with the new one.
    for (const before of old?.facts ?? []) caches.drop(before);
  }

  /**
   * The kind, plural or short name that another definition of the group has already. Judged by what is stored alone, so
   * that all servers of a cluster judge alike.
   */
  function conflictOf(definition: DeepReadonly<CustomResourceDefinition>): string | undefined {
    const { group, names } = definition.spec;
    const own = new Set([names.plural, names.singular ?? names.kind.toLowerCase(), ...(names.shortNames ?? [])]);
    for (const other of informer.list()) {
      if (other.spec.group !== group || !comesFirst(other, definition)) continue;
      const { kind, plural, singular, shortNames = [] } = other.spec.names;
      if (kind === names.kind) return `"${names.kind}" is already in use`;
      const taken = [plural, singular ?? kind.toLowerCase(), ...shortNames].find((text) => own.has(text));
      if (taken) return `"${taken}" is already in use`;
    }
    return undefined;
  }

  async function reconcile(name: string): Promise<void> {
    const definition = informer.get(name);
    if (!definition) return withdraw(name);
    if (definition.metadata.deletionTimestamp) return remove(name, definition);
    const conflict = conflictOf(definition);
    if (!conflict) await serve(name, definition);
    await announce(definition, conflict);
  }

  async function announce(
    definition: DeepReadonly<CustomResourceDefinition>,
    conflict: string | undefined,
  ): Promise<void> {
    if (!definition.metadata.finalizers?.includes(cleanupFinalizer)) {
      const finalizers = [...(definition.metadata.finalizers ?? []), cleanupFinalizer];
      const body = { metadata: { finalizers, resourceVersion: definition.metadata.resourceVersion } };
      await client.patch(customResourceDefinitions, definition.metadata.name!, { type: "merge", body });
      // The informer brings the new object, and this runs again.
      return;
    }
    const next = cloneJson(definition) as CustomResourceDefinition;
    const { names } = next.spec;
    const conditions = [...(next.status?.conditions ?? [])];
    if (conflict) setCondition(conditions, "NamesAccepted", "False", "KindConflict", conflict);
    else {
      setCondition(conditions, "NamesAccepted", "True", "NoConflicts", "no conflicts found");
      setCondition(conditions, "Established", "True", "InitialNamesAccepted", "the initial names have been accepted");
    }
    next.status = {
      ...next.status,
      conditions,
      acceptedNames: conflict ? (next.status?.acceptedNames ?? { kind: "", plural: "" }) : names,
      storedVersions:
        next.status?.storedVersions ?? next.spec.versions.filter(({ storage }) => storage).map((v) => v.name),
    };
    if (JSON.stringify(next.status) === JSON.stringify(definition.status)) return;
    await client.update(customResourceDefinitions, next, { subresource: "status" });
  }

  function setCondition(
    conditions: CustomResourceDefinitionCondition[],
    type: string,
    status: string,
    reason: string,
    message: string,
  ): void {
    const index = conditions.findIndex((condition) => condition.type === type);
    if (conditions[index]?.status === status && conditions[index]?.reason === reason) return;
    const condition = { type, status, reason, message, lastTransitionTime: formatTime(clock.now()) };
    if (index < 0) conditions.push(condition);
    else conditions[index] = condition;
  }

  async function remove(name: string, definition: DeepReadonly<CustomResourceDefinition>): Promise<void> {
    if (!definition.metadata.finalizers?.includes(cleanupFinalizer)) return;
    const all = served.get(name)?.facts ?? [];
    // Of the version that most of them are stored in, so that a webhook that has gone is not needed to take leave of them.
    const facts = all.find(({ version, storage }) => version === storage?.version) ?? all[0];
    if (facts && !(await emptied(facts))) {
      clock.after(retryMs, () => enqueue(name));
      return;
    }
    const finalizers = definition.metadata.finalizers.filter((finalizer) => finalizer !== cleanupFinalizer);
    const body = { metadata: { finalizers, resourceVersion: definition.metadata.resourceVersion } };
    await client.patch(customResourceDefinitions, name, { type: "merge", body }).catch((error) => {
      if (!(error instanceof StatusError) || error.reason !== "NotFound") throw error;
    });
  }

  /** Deletes all objects; true when none is left. */
  async function emptied(facts: ResourceFacts): Promise<boolean> {
    const { items } = await client.list(facts);
    const namespaces = new Set(items.map((item) => item.metadata.namespace));
    for (const namespace of namespaces) await client.deleteCollection(facts, namespace ? { namespace } : {});
    return (await client.list(facts, { limit: 1 })).items.length === 0;
  }

  informer.on({
    add: (definition) => enqueue(definition.metadata.name!),
    update: (_old, definition) => enqueue(definition.metadata.name!),
    delete: (definition) => enqueue(definition.metadata.name!),
  });
  void informer.start(signal);
  await informer.synced(signal);
  for (const definition of informer.list()) {
    try {
      if (!definition.metadata.deletionTimestamp && !conflictOf(definition)) {
        await serve(definition.metadata.name!, definition);
      }
    } catch (error) {
      logger.warn({ err: error, definition: definition.metadata.name }, "A custom resource cannot be served");
    }
  }
}

type Definition = DeepReadonly<CustomResourceDefinition>;

/** Which of two definitions has a name that both want: the one whose names were accepted, then the earlier one. */
function comesFirst(other: Definition, definition: Definition): boolean {
  if (other.metadata.uid === definition.metadata.uid) return false;
  const accepted = ({ status }: Definition) => status?.conditions?.find(({ type }) => type === "NamesAccepted")?.status;
  const [theirs, ours] = [accepted(other), accepted(definition)];
  if (theirs === "False") return false;
  if ((theirs === "True") !== (ours === "True")) return theirs === "True";
  const rank = ({ metadata }: Definition) => `${metadata.creationTimestamp} ${metadata.uid}`;
  return rank(other) < rank(definition);
}
