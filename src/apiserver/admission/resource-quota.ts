import {
  type PersistentVolumeClaim,
  type Pod,
  type ResourceQuota,
  resourceQuotas,
  type Service,
} from "../../api/generated/core-v1.ts";
import type { ResourceFacts } from "../../api/resource.ts";
import { deepEqual } from "../../machinery/equality.ts";
import { type KubeObject, keyOf } from "../../machinery/object.ts";
import { parseQuantity, type Quantity, quantityOf } from "../../machinery/quantity.ts";
import { notBuilt } from "../../machinery/status.ts";
import type { AdmissionAttributes, AdmissionPlugin, ServerContext } from "../request.ts";
import { isAbout, refusedBy } from "./kinds.ts";
import { type Amounts, addAmounts, podAmounts, readAmounts } from "./pod-usage.ts";

/**
 * How long an admitted creation counts before it was seen in the store, milliseconds: longer than a write takes, and no
 * longer than people wait for the place of an object that they made and deleted at once.
 */
const reservationMs = 3_000;

interface Reservation {
  readonly attributes: AdmissionAttributes;
  readonly resource: string;
  readonly usage: Amounts;
  readonly untilMs: number;
}

const computed = ["cpu", "memory", "ephemeral-storage"];

/**
 * Refuses to create what would pass a quota of the namespace. What is used is counted from the stored objects and the
 * creations under way, one request of a namespace after the other, so that two of them cannot share the last place.
 */
export function resourceQuota(context: ServerContext): AdmissionPlugin {
  const { client, clusterClock, logger } = context;
  const turns = new Map<string, Promise<void>>();
  const reservations = new Map<string, Reservation[]>();

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

  const usedNow = async (facts: ResourceFacts, namespace: string): Promise<Amounts> => {
    const live = (await client.list(facts, { namespace, resourceVersion: "0" })).items;
    const used: Amounts = new Map();
    for (const object of live) addAmounts(used, usageOf(facts, object));
    const stored = new Set(live.map(keyOf));
    const nowMs = clusterClock.now();
    const open = (reservations.get(namespace) ?? []).filter(({ attributes, resource, untilMs }) => {
      if (untilMs <= nowMs) return false;
      // A generated name is known once the object is about to be written.
      const name = attributes.object?.metadata.name;
      return resource !== nameOf(facts) || !name || !stored.has(`${namespace}/${name}`);
    });
    if (open.length > 0) reservations.set(namespace, open);
    else reservations.delete(namespace);
    for (const one of open) if (one.resource === nameOf(facts)) addAmounts(used, one.usage);
    return used;
  };

  const check = async (attributes: AdmissionAttributes, namespace: string): Promise<void> => {
    const quotas = (await client.list(resourceQuotas, { namespace, resourceVersion: "0" })).items;
    const usage = usageOf(attributes.facts, attributes.object!);
    const limiting = quotas.filter((quota) =>
      Object.keys(quota.spec?.hard ?? {}).some((name) => concerns(name, attributes, usage)),
    );
    if (limiting.length === 0) return;
    const used = await usedNow(attributes.facts, namespace);
    for (const quota of limiting) refuseExcess(quota, attributes, usage, used);
    if (!attributes.dryRun) {
      const untilMs = clusterClock.now() + reservationMs;
      const mine = { attributes, resource: nameOf(attributes.facts), usage, untilMs };
      reservations.set(namespace, [...(reservations.get(namespace) ?? []), mine]);
      addAmounts(used, usage);
      for (const quota of limiting) show(quota, used);
    }
  };

  /** Lets people see what is used; what counts is what is counted above. */
  const show = (quota: ResourceQuota, used: Amounts) => {
    const { namespace = "", name = "" } = quota.metadata;
    context
      .rewrite(resourceQuotas, { namespace, name }, (current) => {
        const hard = current.spec?.hard ?? {};
        const known = Object.entries(hard).flatMap(([key]) => {
          const amount = used.get(key);
          return amount ? [[key, String(amount)]] : [];
        });
        const status = { hard: { ...hard }, used: { ...current.status?.used, ...Object.fromEntries(known) } };
        if (!deepEqual(current.status, status)) current.status = status;
      })
      .catch((error: unknown) =>
        logger.debug({ quota: `${namespace}/${name}`, err: error }, "Quota status not written"),
      );
  };

  return {
    name: "ResourceQuota",
    async admit(attributes) {
      const { operation, facts, subresource, namespace, object } = attributes;
      if (operation !== "CREATE" || subresource || !namespace || !object || !facts.storage) return;
      await inTurn(namespace, () => check(attributes, namespace));
    },
    async validate(attributes) {
      if (!isAbout(attributes, resourceQuotas, "CREATE", "UPDATE")) return;
      const { scopes, scopeSelector } = (attributes.object as ResourceQuota).spec ?? {};
      if (scopes?.length || scopeSelector) throw notBuilt("A scope of a ResourceQuota");
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
  };
}

const nameOf = ({ group, resource }: { group: string; resource: string }) =>
  group ? `${resource}.${group}` : resource;

/** What an object takes of quotas, under all the names that quotas have for it. */
function usageOf(facts: ResourceFacts, object: KubeObject): Amounts {
  const one = quantityOf(1);
  const usage: Amounts = new Map([[`count/${nameOf(facts)}`, one]]);
  if (facts.group !== "") return usage;
  if (facts.resource === "pods") return podUsage(object as Pod, usage);
  usage.set(facts.resource, one);
  if (facts.resource === "services") {
    const { spec } = object as Service;
    if (spec?.type === "LoadBalancer") usage.set("services.loadbalancers", one);
    const ports = spec?.ports?.length ?? 0;
    const takesPorts =
      spec?.type === "NodePort" || (spec?.type === "LoadBalancer" && spec.allocateLoadBalancerNodePorts !== false);
    if (takesPorts && ports > 0) usage.set("services.nodeports", quantityOf(ports));
  }
  if (facts.resource === "persistentvolumeclaims") {
    const { spec } = object as PersistentVolumeClaim;
    const storage = readAmounts(spec?.resources?.requests).get("storage");
    if (storage) usage.set("requests.storage", storage);
    if (spec?.storageClassName) {
      const prefix = `${spec.storageClassName}.storageclass.storage.k8s.io/`;
      usage.set(`${prefix}persistentvolumeclaims`, one);
      if (storage) usage.set(`${prefix}requests.storage`, storage);
    }
  }
  return usage;
}

function podUsage(pod: Pod, usage: Amounts): Amounts {
  // Pods that are over hold nothing but their entry.
  if (pod.status?.phase === "Succeeded" || pod.status?.phase === "Failed") return usage;
  usage.set("pods", quantityOf(1));
  for (const [name, amount] of podAmounts(pod, "requests")) {
    usage.set(`requests.${name}`, amount);
    if (computed.includes(name)) usage.set(name, amount);
  }
  for (const [name, amount] of podAmounts(pod, "limits")) {
    if (computed.includes(name)) usage.set(`limits.${name}`, amount);
  }
  return usage;
}

const podResource = /^(?:(?:requests|limits)\.)?(?:cpu|memory|ephemeral-storage)$/;

function concerns(name: string, { facts }: AdmissionAttributes, usage: Amounts): boolean {
  return usage.has(name) || (facts.group === "" && facts.resource === "pods" && podResource.test(name));
}

function refuseExcess(quota: ResourceQuota, attributes: AdmissionAttributes, usage: Amounts, used: Amounts): void {
  const hard = Object.entries(quota.spec?.hard ?? {}).filter(([name]) => concerns(name, attributes, usage));
  const missing = hard.filter(([name]) => !usage.has(name)).map(([name]) => name);
  const quotaName = quota.metadata.name;
  if (missing.length > 0)
    throw refusedBy(attributes, `failed quota: ${quotaName}: must specify ${missing.sort().join(",")}`);
  const zero = quantityOf(0);
  const over = hard.filter(([name, limit]) => {
    const total = (used.get(name) ?? zero).add(usage.get(name)!);
    return total.compare(parseQuantity(limit)) > 0;
  });
  if (over.length === 0) return;
  const names = over.map(([name]) => name).sort();
  const list = (value: (name: string) => Quantity | string) => names.map((name) => `${name}=${value(name)}`).join(",");
  throw refusedBy(
    attributes,
    `exceeded quota: ${quotaName}, requested: ${list((name) => usage.get(name)!)}, used: ${list((name) => used.get(name) ?? zero)}, limited: ${list((name) => quota.spec!.hard![name]!)}`,
  );
}
