import { pods } from "../../api/generated/core-v1.ts";
import type { Client } from "../../client/client.ts";
import { type Clock, formatTime } from "../../machinery/clock.ts";
import type { PodView } from "./pod-facts.ts";

/** Writes on a pod why the cluster is about to take it away: jobs and people tell this from a failure by it. */
export async function noteDisruption(
  client: Client,
  clock: Clock,
  pod: PodView,
  why: { readonly reason: string; readonly message: string },
  signal: AbortSignal,
  more: { readonly phase?: string } = {},
): Promise<void> {
  const { name = "", namespace = "", uid } = pod.metadata;
  const condition = { type: "DisruptionTarget", status: "True", lastTransitionTime: formatTime(clock.now()), ...why };
  const body = { metadata: { uid }, status: { ...more, conditions: [condition] } };
  await client.patch(pods, name, { type: "strategic", body }, { namespace, subresource: "status", signal });
}
