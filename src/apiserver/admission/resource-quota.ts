import { type Pod, type ResourceQuota, resourceQuotas } from "../../api/generated/core-v1.ts";
import { type Amounts, addAmounts } from "../../api/quota/pod-usage.ts";
import { hasDeadline, inScopes } from "../../api/quota/scopes.ts";
import { countedName, increaseOver, namesFor, unstated, usageOf } from "../../api/quota/usage.ts";
import type { ResourceFacts } from "../../api/resource.ts";
import { type KubeObject, keyOf } from "../../machinery/object.ts";
import { parseQuantity, type Quantity, quantityOf } from "../../machinery/quantity.ts";
import type { AdmissionAttributes, AdmissionPlugin, ServerContext } from "../request.ts";
import { refusedBy } from "./kinds.ts";
import type { StoreTurn } from "./store-turn.ts";

/**
 * How long an admitted request counts before it was seen in the store, milliseconds: longer than a write takes, and no
 * longer than people wait for the place of an object that they made and deleted at once.
 */
const reservationMs = 3_000;

interface Reservation {
  readonly attributes: AdmissionAttributes;
  /** What the stored object will hold more than it does now. */
  readonly usage: Amounts;
  readonly untilMs: number;
}

/**
 * Refuses what would pass a quota of the namespace. What is used is counted from the stored objects and the requests
 * under way, one request of a namespace after the other, so that two of them cannot share the last place.
 * @param turnOf where other servers admit, too: what lets only one of them do so at a time, in one namespace
 */
export function resourceQuota(context: ServerContext, turnOf?: (namespace: string) => StoreTurn): AdmissionPlugin {
  const { client, clusterClock } = context;
  const turns = new Map<string, Promise<void>>();
  const reservations = new Map<string, Reservation[]>();
  /** By namespace; of those with quotas only. */
  const storeTurns = new Map<string, StoreTurn>();
  const leaving = new WeakMap<AdmissionAttributes, () => void>();

  /** Only this server admits into the namespace until the request is over. */
  const enterTurn = async (attributes: AdmissionAttributes, namespace: string): Promise<void> => {
    if (!turnOf || attributes.dryRun || leaving.has(attributes)) return;
    const turn = storeTurns.get(namespace) ?? turnOf(namespace);
    storeTurns.set(namespace, turn);
    leaving.set(attributes, await turn.enter());
  };

  /** Runs `work` after all earlier ones of the namespace. */
  const inTurn = async (namespace: string, work: () => Promise<void>): Promise<void> => {
    const before = turns.get(namespace) ?? Promise.resolve();
    const mine = before.then(work, work);
    const settled = mine.catch(() => {});
    turns.set(namespace, settled);
    try {
      await mine;
    } finally {
      if (turns.get(namespace) === settled) turns.delete(namespace);
    }
  };

  /** The reservations of a kind that the store does not show yet. */
  const openFor = (facts: ResourceFacts, namespace: string, live: ReadonlyMap<string, KubeObject>): Reservation[] => {
    const nowMs = clusterClock.now();
    const isOfKind = ({ attributes }: Reservation) => countedName(attributes.facts) === countedName(facts);
    const open = (reservations.get(namespace) ?? []).filter((reservation) => {
      if (reservation.untilMs <= nowMs) return false;
      if (!isOfKind(reservation)) return true;
      const { object, oldObject } = reservation.attributes;
      // A generated name is known once the object is about to be written.
      const stored = live.get(`${namespace}/${object?.metadata.name ?? ""}`);
      return oldObject ? stored?.metadata.resourceVersion === oldObject.metadata.resourceVersion : !stored;
    });
    if (open.length > 0) reservations.set(namespace, open);
    else reservations.delete(namespace);
    return open.filter(isOfKind);
  };

  const check = async (attributes: AdmissionAttributes, namespace: string): Promise<void> => {
    const { facts, object, oldObject } = attributes;
    const quotas = (await client.list(resourceQuotas, { namespace, resourceVersion: "0" })).items;
    const limiting = quotas.filter(
      ({ spec }) => namesFor(facts, Object.keys(spec?.hard ?? {})).length > 0 && inScopes(spec, facts, object!),
    );
    if (limiting.length === 0) return;
    await enterTurn(attributes, namespace);
    const nowMs = clusterClock.now();
    const before: Amounts = oldObject ? usageOf(facts, oldObject, nowMs) : new Map();
    const usage = usageOf(facts, object!, nowMs);
    const more = increaseOver(usage, before);
    const items = (await client.list(facts, { namespace, ...(turnOf ? {} : { resourceVersion: "0" }) })).items;
    const live = new Map(items.map((item) => [keyOf(item), item]));
    const open = openFor(facts, namespace, live);
    for (const quota of limiting) {
      const names = namesFor(facts, Object.keys(quota.spec?.hard ?? {}));
      if (facts.group === "" && facts.resource === "pods") {
        const missing = unstated(object as Pod, names);
        if (missing) throw refusedBy(attributes, `failed quota: ${quota.metadata.name}: ${missing}`);
      }
      const used: Amounts = new Map();
      const counts = (one: KubeObject) => inScopes(quota.spec, facts, one);
      for (const item of items) if (counts(item)) addAmounts(used, usageOf(facts, item, nowMs));
      for (const one of open) if (counts(one.attributes.object!)) addAmounts(used, one.usage);
      // An object that comes into a scope brings all that it has.
      refuseExcess(quota, attributes, oldObject && !counts(oldObject) ? usage : more, used);
    }
    if (!attributes.dryRun && more.size > 0) {
      const mine = { attributes, usage: more, untilMs: nowMs + reservationMs };
      reservations.set(namespace, [...(reservations.get(namespace) ?? []), mine]);
    }
  };

  return {
    name: "ResourceQuota",
    // Once: in a second round it would find what it set aside in the first.
    last: true,
    async admit(attributes) {
      const { namespace, object, facts } = attributes;
      if (!namespace || !object || !facts.storage || !takesMore(attributes)) return;
      await inTurn(namespace, () => check(attributes, namespace));
    },
    release(attributes) {
      const { namespace } = attributes;
      const open = namespace && reservations.get(namespace);
      if (open)
        reservations.set(
          namespace,
          open.filter((one) => one.attributes !== attributes),
        );
    },
    done(attributes) {
      leaving.get(attributes)?.();
      leaving.delete(attributes);
    },
  };
}

/** Kinds whose updates can take more of a quota. */
const growing = new Set(["services", "persistentvolumeclaims", "resourceclaims.resource.k8s.io"]);

/** Can the request take anything of a quota? */
function takesMore({ operation, subresource, facts, object, oldObject }: AdmissionAttributes): boolean {
  const kind = countedName(facts);
  // Events are many and short-lived: no quota counts them.
  if (kind === "events" || kind === "events.events.k8s.io") return false;
  if (operation === "CREATE") return !subresource;
  if (operation !== "UPDATE" || !oldObject) return false;
  if (kind === "pods") {
    if (subresource === "resize") return true;
    return !subresource && hasDeadline(object as Pod) !== hasDeadline(oldObject as Pod);
  }
  return !subresource && growing.has(kind);
}

function refuseExcess(quota: ResourceQuota, attributes: AdmissionAttributes, requested: Amounts, used: Amounts): void {
  const hard = quota.spec?.hard ?? {};
  const zero = quantityOf(0);
  const over = namesFor(attributes.facts, Object.keys(hard)).filter((name) => {
    const more = requested.get(name);
    if (!more || more.sign <= 0) return false;
    return (used.get(name) ?? zero).add(more).compare(parseQuantity(hard[name]!)) > 0;
  });
  if (over.length === 0) return;
  over.sort();
  const list = (value: (name: string) => Quantity | string) => over.map((name) => `${name}=${value(name)}`).join(",");
  const [wanted, taken] = [list((name) => requested.get(name)!), list((name) => used.get(name) ?? zero)];
  throw refusedBy(
    attributes,
    `exceeded quota: ${quota.metadata.name}, requested: ${wanted}, used: ${taken}, limited: ${list((name) => hard[name]!)}`,
  );
}
