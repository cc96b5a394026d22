import { configMaps, type Node, nodes, serviceAccounts } from "../api/generated/core-v1.ts";
import type { Client } from "../client/client.ts";
import { ioClock } from "../machinery/clock.ts";
import type { KubeObject, ResourceType } from "../machinery/object.ts";

/**
 * A node that is not Ready by then has a reason of its own, which its status tells. Long, since a small machine under
 * load takes its time; and shorter than tools wait for the line.
 */
const readyTimeoutMs = 60_000;

/**
 * Resolves when a pod of the namespace `default` would be admitted and find all that is mounted into it, and this node is
 * Ready for it, or does not become so soon.
 */
export async function podsCanRun(client: Client, nodeName: string, signal: AbortSignal): Promise<void> {
  const late = new AbortController();
  const seen = async <T extends KubeObject>(
    type: ResourceType<T>,
    name: string,
    end: AbortSignal,
    wanted: (object: T) => boolean = () => true,
  ) => {
    const events = client.watch<T>(type, {
      ...(type.namespaced ? { namespace: "default" } : {}),
      fieldSelector: `metadata.name=${name}`,
      sendInitialEvents: true,
      allowWatchBookmarks: true,
      resourceVersionMatch: "NotOlderThan",
      signal: end,
    });
    for await (const { type, object } of events) {
      if ((type === "ADDED" || type === "MODIFIED") && wanted(object)) return;
    }
  };
  const timer = ioClock.after(readyTimeoutMs, () => late.abort());
  const ready = seen(nodes, nodeName, AbortSignal.any([signal, late.signal]), isReady).catch((error) => {
    if (!late.signal.aborted) throw error;
  });
  try {
    const needed = [seen(serviceAccounts, "default", signal), seen(configMaps, "kube-root-ca.crt", signal), ready];
    await Promise.all(needed);
  } finally {
    timer.cancel();
  }
}

const isReady = ({ status }: Node) => status?.conditions?.find(({ type }) => type === "Ready")?.status === "True";
