import { customResourceDefinitions } from "../api/generated/apiextensions-v1.ts";
import { type Pod, type ResourceQuota, resourceQuotas } from "../api/generated/core-v1.ts";
import type { Counted } from "../api/quota/scopes.ts";
import { countedName, namesFor, overdueMs } from "../api/quota/usage.ts";
import type { Informer } from "../client/informer.ts";
import { type KubeObject, keyOf, type ResourceType } from "../machinery/object.ts";
import { type ControllerFactory, type Watch, watch } from "./controller.ts";
import { countQuota, sameAmounts } from "./resource-quota-plan.ts";
import { customResourceType } from "./shared/custom-resources.ts";
import { mutable } from "./shared/owned.ts";

/** No quota counts events. */
const ignored = new Set(["events", "events.events.k8s.io"]);
/** Changes come in crowds; one count for all of a moment is enough. */
const gatherMs = 20;

interface CustomKind {
  readonly type: ResourceType;
  informer?: Informer<KubeObject>;
  stop?: AbortController;
}

/** Keeps the status of ResourceQuotas: what of them is used. */
export const resourceQuotaController: ControllerFactory = {
  name: "resourcequota-controller",
  create({ client, clock, informers, resources }) {
    const quotas = informers.of(resourceQuotas);
    const builtIn = resources.filter((type) => type.namespaced && !ignored.has(countedName(type)));
    const builtInInformers = new Map(builtIn.map((type) => [countedName(type), informers.of(type)]));
    const crds = informers.of(customResourceDefinitions);
    const custom = new Map<string, CustomKind>();
    let enqueue: (key: string, delayMs?: number) => void = () => {};

    /** A change of an object makes the quotas due that count its kind. */
    const changed = (type: ResourceType, object: { readonly metadata: KubeObject["metadata"] }) => {
      const { namespace } = object.metadata;
      if (!namespace) return;
      for (const quota of quotas.list(namespace)) {
        const names = Object.keys(quota.spec?.hard ?? {});
        if (namesFor(type, names).length > 0) enqueue(keyOf(quota as KubeObject), gatherMs);
      }
    };
    const follow = (informer: Informer<KubeObject>) => {
      const { type } = informer;
      informer.on({
        add: (object) => changed(type, object as KubeObject),
        update: (object) => changed(type, object as KubeObject),
        delete: (object) => changed(type, object as KubeObject),
      });
    };
    /** Custom kinds are followed only while a quota names them. */
    const followNamed = () => {
      const named = new Set(quotas.list().flatMap(({ spec }) => Object.keys(spec?.hard ?? {})));
      for (const [name, kind] of custom) {
        const wanted = named.has(`count/${name}`);
        if (wanted && !kind.informer) {
          kind.stop = new AbortController();
          kind.informer = informers.startDynamic(kind.type, kind.stop.signal) as Informer<KubeObject>;
          follow(kind.informer);
        } else if (!wanted && kind.informer) forget(name, kind.type);
      }
    };
    const forget = (name: string, type?: ResourceType) => {
      custom.get(name)?.stop?.abort();
      custom.delete(name);
      if (type) custom.set(name, { type });
    };
    const kinds: Watch = {
      attach(add) {
        enqueue = add;
        for (const informer of builtInInformers.values()) follow(informer as Informer<KubeObject>);
        const crdChanged = (crd: Parameters<typeof customResourceType>[0]) => {
          const name = crd.metadata.name ?? "";
          const type = customResourceType(crd);
          const known = custom.get(name)?.type;
          if (known && type && known.version === type.version) return;
          forget(name, type?.namespaced ? type : undefined);
          followNamed();
        };
        crds.on({ add: crdChanged, update: crdChanged, delete: ({ metadata }) => forget(metadata.name ?? "") });
        quotas.on({ add: followNamed, update: followNamed, delete: followNamed });
      },
    };

    const informerOf = (counted: Counted) => {
      const name = countedName(counted);
      return builtInInformers.get(name) ?? custom.get(name)?.informer;
    };
    return {
      watches: [kinds, watch(quotas, (quota) => [keyOf(quota as KubeObject)])],
      async reconcile(key, signal) {
        const quota = quotas.get(key);
        if (!quota || quota.metadata.deletionTimestamp) return undefined;
        const namespace = quota.metadata.namespace ?? "";
        const named = [...custom.values()].filter(({ informer }) => informer);
        await Promise.all(named.map(({ informer }) => informer!.synced(signal)));
        const nowMs = clock.now();
        const counted = [...builtIn, ...named.map(({ type }) => type)];
        const status = countQuota(
          quota,
          counted,
          (kind) => informerOf(kind)?.list(namespace) as readonly KubeObject[] | undefined,
          nowMs,
        );
        const settled =
          quota.status?.used &&
          sameAmounts(quota.status.hard, status.hard) &&
          sameAmounts(quota.status.used, status.used);
        if (!settled) {
          await client.update(
            resourceQuotas,
            { ...mutable<ResourceQuota>(quota), status },
            { subresource: "status", signal },
          );
        }
        const waits = dueMs(builtInInformers.get("pods")?.list(namespace) as readonly Pod[], nowMs);
        return waits === undefined ? undefined : { requeueAfterMs: waits };
      },
    };
  },
};

/** Milliseconds until the next pod stops counting by time alone. */
function dueMs(pods: readonly Pod[] | undefined, nowMs: number): number | undefined {
  const times = (pods ?? []).map(overdueMs).filter((atMs): atMs is number => atMs !== undefined && atMs >= nowMs);
  return times.length > 0 ? Math.min(...times) - nowMs + 1 : undefined;
}
