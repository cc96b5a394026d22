import { nodes } from "../api/generated/core-v1.ts";
import type { Client } from "../client/client.ts";
import type { Clock } from "../machinery/clock.ts";

/** K3s' names for a server whose Node stays while its member of etcd goes. */
const etcdLabel = "node-role.kubernetes.io/etcd";
const removeAnnotation = "etcd.k3s.cattle.io/remove";
const removedAnnotation = "etcd.k3s.cattle.io/removed-node-name";

/** How long the servers may take to agree; a new leader may have to be found first. */
const timeoutMs = 60_000;
const pollMs = 200;

/**
 * Has the member of a server taken out of embedded etcd; the server may have stopped, where the others make a quorum.
 * Nothing happens to a Node that has none.
 * @throws when the member is still there after a minute
 */
export async function leaveEtcd(client: Client, name: string, clock: Clock): Promise<void> {
  const { metadata } = await client.get(nodes, name);
  if (metadata.labels?.[etcdLabel] === undefined) return;
  const untilMs = clock.now() + timeoutMs;
  const body = { metadata: { annotations: { [removeAnnotation]: "true" } } };
  let node = await client.patch(nodes, name, { type: "merge", body });
  while (node.metadata.annotations?.[removedAnnotation] === undefined) {
    if (clock.now() > untilMs) {
      throw new Error(
        `embedded etcd did not let "${name}" go within ${timeoutMs / 1000} s; look at the servers' logs, and try again`,
      );
    }
    await clock.sleep(pollMs);
    node = await client.get(nodes, name);
  }
}
