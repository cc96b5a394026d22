import { nodes } from "../../api/generated/core-v1.ts";
import type { Client } from "../../client/client.ts";
import { createInformer } from "../../client/informer.ts";
import { watch } from "../../controllers/controller.ts";
import { runController } from "../../controllers/manager.ts";
import type { Clock } from "../../machinery/clock.ts";
import type { Logger } from "../../machinery/log.ts";
import { addressAnnotation, nameAnnotation, roleLabel } from "./member-plan.ts";

export interface NodeMetadataOptions {
  readonly client: Client;
  readonly nodeName: string;
  readonly member: { readonly name: string; readonly address: string };
  readonly clock: Clock;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

/**
 * Keeps K3s' label and annotations on this server's Node, which tell users its role and the member controller which
 * member it is. Runs until the signal; a Node that comes later, or again, gets them, too.
 */
export async function keepNodeMetadata(options: NodeMetadataOptions): Promise<void> {
  const { client, nodeName, member, clock, logger, signal } = options;
  const informer = createInformer(client, nodes, {
    fieldSelector: `metadata.name=${nodeName}`,
    transform: ({ metadata }) => ({ metadata }),
    clock,
    logger,
  });
  const annotations = { [nameAnnotation]: member.name, [addressAnnotation]: member.address };
  const labels = { [roleLabel]: "true" };
  const isMarked = (key: string) => {
    const { metadata } = informer.get(key) ?? {};
    // A Node that goes, goes with the member that it was.
    if (!metadata || metadata.deletionTimestamp) return true;
    const holds = (wanted: Record<string, string>, found: Readonly<Record<string, string>> = {}) =>
      Object.entries(wanted).every(([name, value]) => found[name] === value);
    return holds(annotations, metadata.annotations) && holds(labels, metadata.labels);
  };
  const started = informer.start(signal);
  await runController(
    {
      watches: [watch(informer, ({ metadata }) => [metadata.name ?? ""])],
      workers: 1,
      async reconcile(key) {
        if (isMarked(key)) return undefined;
        await client.patch(nodes, key, { type: "merge", body: { metadata: { annotations, labels } } }, { signal });
        return undefined;
      },
    },
    informer.synced(signal),
    { clock, logger, signal },
  );
  await started;
}
