/** What a namespace's new level means for the pods that it has: they stay, and whoever sets the level is told. */
import type { Pod } from "../../../api/generated/core-v1.ts";
import type { Clock } from "../../../machinery/clock.ts";
import { evaluate } from "./evaluate.ts";
import { type LevelVersion, textOf } from "./policy.ts";

/** As many pods, and as long, milliseconds, as a change of labels may take to look at. */
const maxPods = 3000;
const maxMs = 1000;

/** Pods of their own first, then one of each controller, since its pods are alike; then the others. */
function inOrder(pods: readonly Pod[]): Pod[] {
  const seen = new Set<string>();
  const first: Pod[] = [];
  const alike: Pod[] = [];
  for (const pod of pods) {
    const owner = pod.metadata.ownerReferences?.find(({ controller }) => controller)?.uid;
    if (owner !== undefined && seen.has(owner)) alike.push(pod);
    else first.push(pod);
    if (owner !== undefined) seen.add(owner);
  }
  return [...first, ...alike];
}

/** Warnings about the pods that the level would refuse: one for each set of reasons, with the first pod's name. */
export function warningsAbout(pods: readonly Pod[], namespace: string, policy: LevelVersion, clock: Clock): string[] {
  const byReasons = new Map<string, { name: string; count: number }>();
  const untilMs = clock.now() + maxMs;
  let checked = 0;
  for (const { metadata, spec } of inOrder(pods).slice(0, maxPods)) {
    checked++;
    const reasons = evaluate(policy, { metadata, spec: spec ?? { containers: [] } })
      .map(({ reason }) => reason)
      .join(", ");
    if (reasons !== "") {
      const name = metadata.name ?? "";
      const known = byReasons.get(reasons);
      const [first = name] = [name, known?.name ?? name].sort();
      byReasons.set(reasons, { name: first, count: (known?.count ?? 0) + 1 });
    }
    if (clock.now() >= untilMs) break;
  }
  const lines = [...byReasons].map(([reasons, { name, count }]) => {
    const others = count === 1 ? "" : ` (and ${count - 1} other ${count === 2 ? "pod" : "pods"})`;
    return `${name}${others}: ${reasons}`;
  });
  return [
    ...(checked < pods.length
      ? [`new PodSecurity enforce level only checked against the first ${checked} of ${pods.length} existing pods`]
      : []),
    ...(lines.length > 0
      ? [
          `existing pods in namespace ${JSON.stringify(namespace)} violate the new PodSecurity enforce level ${JSON.stringify(textOf(policy))}`,
        ]
      : []),
    ...lines.sort(),
  ];
}
