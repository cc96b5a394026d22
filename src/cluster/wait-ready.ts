import { type Node, nodes as nodeResource } from "../api/generated/core-v1.ts";
import { clientOf } from "./kubeconfig-client.ts";
import type { KubeconfigFile } from "./kubeconfig-file.ts";

/** They keep pods off a node that was not Ready. A controller takes them away a moment after the node says that it is. */
const notReadyTaints = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"];

/** Whether a node is Ready, and pods are let onto it: those created now would otherwise crowd on the other nodes. */
export function takesPods({ spec, status }: Node): boolean {
  return (
    status?.conditions?.find(({ type }) => type === "Ready")?.status === "True" &&
    !spec?.taints?.some(({ key }) => notReadyTaints.includes(key ?? ""))
  );
}

/**
 * Waits until each of the named nodes says that it is Ready, and pods are let onto it.
 * @throws when the signal aborts, with its reason and the nodes that were still missing
 */
export async function waitForNodes(
  kubeconfig: KubeconfigFile,
  names: readonly string[],
  signal: AbortSignal,
  onReady: (name: string) => void = () => {},
): Promise<void> {
  const client = clientOf(kubeconfig);
  const missing = new Set(names);
  const done = new AbortController();
  try {
    while (missing.size > 0) {
      signal.throwIfAborted();
      try {
        const events = client.watch(nodeResource, {
          sendInitialEvents: true,
          resourceVersionMatch: "NotOlderThan",
          allowWatchBookmarks: true,
          signal: AbortSignal.any([signal, done.signal]),
        });
        for await (const { type, object } of events) {
          const name = object.metadata.name ?? "";
          if (type === "BOOKMARK" || !takesPods(object) || !missing.delete(name)) continue;
          onReady(name);
          if (missing.size === 0) break;
        }
      } catch (error) {
        if (signal.aborted) throw error;
      }
    }
  } catch (error) {
    if (signal.aborted) throw new Error(`${(signal.reason as Error).message}: waited for ${[...missing].join(", ")}`);
    throw error;
  } finally {
    done.abort();
    client.close();
  }
}
