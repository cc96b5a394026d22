import { maxScore, type Plugin, type PluginRun, type Snapshot } from "./framework.ts";
import type { NodeState } from "./node-state.ts";
import type { PendingPod } from "./pending-pod.ts";

/** Where a pod goes, or why it goes nowhere. */
export type Decision =
  | { readonly node: NodeState }
  | {
      readonly node: undefined;
      readonly message: string;
      readonly rejectedBy: ReadonlySet<Plugin>;
      readonly resolvable: readonly NodeState[];
    };

interface Started {
  readonly plugin: Plugin;
  readonly run: PluginRun;
}

/** Runs a pod through all plugins. @param pick chooses among equally good nodes: 0 ≤ pick(n) < n */
export function decide(
  pod: PendingPod,
  plugins: readonly Plugin[],
  snapshot: Snapshot,
  pick: (count: number) => number,
): Decision {
  if (snapshot.nodes.length === 0) {
    return {
      node: undefined,
      message: "no nodes available to schedule pods",
      rejectedBy: new Set(plugins),
      resolvable: [],
    };
  }
  const runs = start(pod, plugins, snapshot);
  const refused = runs.find(({ run }) => run.reject !== undefined);
  if (refused) {
    const message = `0/${snapshot.nodes.length} nodes are available: ${refused.run.reject}.`;
    return { node: undefined, message, rejectedBy: new Set([refused.plugin]), resolvable: [] };
  }
  const fitting: NodeState[] = [];
  const resolvable: NodeState[] = [];
  const reasons = new Map<string, number>();
  const rejectedBy = new Set<Plugin>();
  for (const node of snapshot.nodes) {
    const rejected = firstRejection(runs, node);
    if (!rejected) {
      fitting.push(node);
      continue;
    }
    rejectedBy.add(rejected.plugin);
    for (const { reason } of rejected.rejections) reasons.set(reason, (reasons.get(reason) ?? 0) + 1);
    if (!rejected.rejections.some(({ unresolvable }) => unresolvable)) resolvable.push(node);
  }
  if (fitting.length === 0) {
    return { node: undefined, message: fitMessage(snapshot.nodes.length, reasons), rejectedBy, resolvable };
  }
  return { node: fitting.length === 1 ? fitting[0]! : best(fitting, runs, pick) };
}

function start(pod: PendingPod, plugins: readonly Plugin[], snapshot: Snapshot): Started[] {
  return plugins.flatMap((plugin) => {
    const run = plugin.start(pod, snapshot);
    return run ? [{ plugin, run }] : [];
  });
}

/** Does the pod fit on this node, with everything else as it is? For trying out preemptions. */
export function fits(pod: PendingPod, plugins: readonly Plugin[], snapshot: Snapshot, node: NodeState): boolean {
  return firstRejection(start(pod, plugins, snapshot), node) === undefined;
}

/** As in Kubernetes, the first plugin that rejects a node speaks for it. */
function firstRejection(runs: readonly Started[], node: NodeState) {
  for (const { plugin, run } of runs) {
    const rejections = run.filter?.(node) ?? [];
    if (rejections.length > 0) return { plugin, rejections };
  }
  return undefined;
}

function best(nodes: readonly NodeState[], runs: readonly Started[], pick: (count: number) => number): NodeState {
  const totals = nodes.map(() => 0);
  for (const { plugin, run } of runs) {
    if (!run.score) continue;
    const raw = nodes.map((node) => run.score!(node));
    const scores = run.normalize ? run.normalize(raw) : raw.map((score) => Math.max(0, Math.min(maxScore, score)));
    for (const [index, score] of scores.entries()) totals[index]! += score * (plugin.weight ?? 1);
  }
  const highest = Math.max(...totals);
  const winners = nodes.filter((_, index) => totals[index] === highest);
  return winners[pick(winners.length)]!;
}

/** The text that people know: "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) were unschedulable." */
export function fitMessage(nodeCount: number, reasons: ReadonlyMap<string, number>): string {
  const list = [...reasons].map(([reason, count]) => `${count} ${reason}`).sort();
  return `0/${nodeCount} nodes are available: ${list.join(", ")}.`;
}
