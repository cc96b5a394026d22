import { controllerRevisions, type DaemonSet, daemonSets } from "../api/generated/apps-v1.ts";
import { nodes, pods } from "../api/generated/core-v1.ts";
import { deepEqual } from "../machinery/equality.ts";
import { apiVersionOf, type KubeObject, keyOf } from "../machinery/object.ts";
import { type ControllerFactory, watch } from "./controller.ts";
import { type DaemonSetView, daemonStatus, planDaemons, planDaemonUpdate, templateForNode } from "./daemon-set-plan.ts";
import type { NodeView } from "./node-lifecycle-plan.ts";
import { ExpectedPods } from "./shared/expected-pods.ts";
import { claim, indexByOwner, labelsOf, mutable, ownerOf, selectorOf } from "./shared/owned.ts";
import { PodControl, podFromTemplate } from "./shared/pod-control.ts";
import type { PodView } from "./shared/pod-facts.ts";
import { ensureRevision, pruneRevisions, RevisionCollision, revisionHashLabel } from "./shared/revisions.ts";
import { sortedJson } from "./shared/template-hash.ts";

/** Pods that one reconcile creates or deletes at most. */
const burst = 250;
const firstBackoffMs = 1000;
const maxBackoffMs = 15 * 60_000;

/** Keeps one pod of each DaemonSet on every node that it fits. */
export const daemonSetController: ControllerFactory = {
  name: "daemon-set-controller",
  create({ client, clock, informers, events }) {
    const sets = informers.of(daemonSets);
    const nodeInformer = informers.of(nodes);
    const podInformer = indexByOwner(informers.of(pods));
    const revisions = indexByOwner(informers.of(controllerRevisions));
    const expected = new ExpectedPods(clock, new PodControl(client, events, daemonSets));
    /** Failed pods are replaced more and more slowly, by set and node. */
    const failures = new Map<string, { count: number; lastMs: number }>();

    const isSet = ({ kind, apiVersion }: { readonly kind: string; readonly apiVersion: string }) =>
      kind === daemonSets.kind && apiVersion === apiVersionOf(daemonSets);
    const ownerKey = (pod: PodView) => {
      const owner = ownerOf(pod);
      return owner && isSet(owner) ? `${pod.metadata.namespace}/${owner.name}` : undefined;
    };
    const keysOfPod = (pod: PodView): string[] => {
      const key = ownerKey(pod);
      if (key) return [key];
      if (ownerOf(pod) || pod.metadata.deletionTimestamp) return [];
      return sets
        .list(pod.metadata.namespace)
        .filter((set) => selectorOf(set.spec?.selector).matches(labelsOf(pod)))
        .map((set) => keyOf(set as KubeObject));
    };
    /** What of a node decides where daemons run; heartbeats do not. */
    const relevant = (node: NodeView) =>
      sortedJson([node.metadata.labels, node.spec?.taints, node.spec?.unschedulable, node.metadata.name]);
    const nodeChanges = watch(
      nodeInformer,
      () => sets.list().map((set) => keyOf(set as KubeObject)),
      (node, old) => !old || relevant(node) !== relevant(old),
    );

    const createPods = async (
      key: string,
      set: DaemonSetView,
      on: readonly string[],
      hash: string,
      signal: AbortSignal,
    ) => {
      const names = on.slice(0, burst);
      if (names.length === 0) return undefined;
      const generation = set.metadata.annotations?.["deprecated.daemonset.template.generation"];
      const podAt = (index: number) =>
        podFromTemplate(templateForNode(set, names[index]!, hash, generation), daemonSets, set);
      return expected.create(key, set, names.length, podAt, signal);
    };
    const deletePods = (key: string, set: DaemonSetView, which: readonly PodView[], signal: AbortSignal) =>
      expected.delete(key, set, which.slice(0, burst), signal);

    /** Which failed pods may be replaced now, and when the next one may. */
    const backOff = (set: DaemonSetView, failed: readonly PodView[]) => {
      const wait = new Set<PodView>();
      let nextMs: number | undefined;
      for (const pod of failed) {
        const key = `${set.metadata.uid}/${pod.spec?.nodeName}`;
        const entry = failures.get(key);
        const delayMs = entry ? Math.min(maxBackoffMs, firstBackoffMs * 2 ** (entry.count - 1)) : 0;
        const leftMs = entry ? entry.lastMs + delayMs - clock.now() : 0;
        if (leftMs > 0) {
          wait.add(pod);
          nextMs = Math.min(nextMs ?? leftMs, leftMs);
          continue;
        }
        // Long without a failure: the count starts again.
        const fresh = !entry || clock.now() - entry.lastMs > 2 * maxBackoffMs;
        failures.set(key, { count: fresh ? 1 : entry.count + 1, lastMs: clock.now() });
        const text = `Found failed daemon pod ${keyOf(pod as KubeObject)} on node ${pod.spec?.nodeName}, will try to kill it`;
        events.event(daemonSets, set, "Warning", "FailedDaemonPod", text);
      }
      return { wait, nextMs };
    };

    return {
      watches: [
        watch(sets, (set) => [keyOf(set as KubeObject)]),
        expected.observe(podInformer, ownerKey),
        watch(podInformer, keysOfPod),
        nodeChanges,
      ],
      async reconcile(key, signal) {
        const set = sets.get(key);
        if (!set) {
          expected.forget(key);
          return undefined;
        }
        const selector = selectorOf(set.spec?.selector);
        if (selector.empty) {
          const text = "This daemon set is selecting all pods. A non-empty selector is required.";
          events.event(daemonSets, set, "Warning", "SelectingAll", text);
          return undefined;
        }
        if (set.metadata.deletionTimestamp) return undefined;
        const acting = expected.satisfied(key);
        const common = { client, ownerType: daemonSets, owner: set, selector };
        const owned = await claim({ ...common, dependents: podInformer });
        const history = await claim({ ...common, dependents: revisions });
        const owner = {
          type: daemonSets,
          object: set,
          template: set.spec?.template ?? {},
          collisionCount: set.status?.collisionCount,
        };
        let hash: string;
        try {
          const current = await ensureRevision(client, owner, history, signal);
          hash = current.metadata.labels?.[revisionHashLabel] ?? "";
        } catch (error) {
          if (!(error instanceof RevisionCollision)) throw error;
          const next = mutable<DaemonSet>(set);
          const collisionCount = (next.status?.collisionCount ?? 0) + 1;
          next.status = { ...daemonStatus(set, [], [], "", clock.now()).status, ...next.status, collisionCount };
          await client.update(daemonSets, next, { subresource: "status", signal });
          throw error;
        }

        const allNodes = nodeInformer.list();
        let failure: unknown;
        let againMs: number | undefined;
        if (acting) {
          const plan = planDaemons(set, allNodes, owned, hash);
          const { wait, nextMs } = backOff(set, plan.failed);
          againMs = nextMs;
          const remove = plan.remove.filter((pod) => !wait.has(pod));
          failure = await deletePods(key, set, remove, signal);
          failure ??= await createPods(key, set, plan.create, hash, signal);
          if (!failure && expected.satisfied(key)) {
            const update = planDaemonUpdate(set, allNodes, owned, hash, clock.now());
            failure = await deletePods(key, set, update.remove, signal);
            failure ??= await createPods(key, set, update.create, hash, signal);
          }
          const live = new Set(owned.map((pod) => pod.metadata.labels?.[revisionHashLabel] ?? ""));
          const old = history.filter(({ metadata }) => metadata.labels?.[revisionHashLabel] !== hash);
          await pruneRevisions(client, old, live, set.spec?.revisionHistoryLimit ?? 10, signal);
        }
        signal.throwIfAborted();

        const observed = daemonStatus(set, allNodes, owned, hash, clock.now());
        if (!deepEqual(withoutZeros(set.status), withoutZeros(observed.status))) {
          await client.update(
            daemonSets,
            { ...mutable(set), status: observed.status },
            { subresource: "status", signal },
          );
        }
        if (failure) throw failure;
        const waits = [againMs, observed.availableInMs].filter((waitMs) => waitMs !== undefined);
        return waits.length > 0 ? { requeueAfterMs: Math.min(...waits) } : undefined;
      },
    };
  },
};

function withoutZeros(status: object | undefined): object {
  return Object.fromEntries(Object.entries(status ?? {}).filter(([, value]) => value !== 0));
}
