import { nodes } from "../../api/generated/core-v1.ts";
import { type ControllerFactory, watch } from "../../controllers/controller.ts";
import type { Logger } from "../../machinery/log.ts";
import { GrpcError } from "../../rpc/grpc-client.ts";
import { hostOf } from "./join-plan.ts";
import type { MemberClient } from "./member-client.ts";
import { planMember } from "./member-plan.ts";

/**
 * Removes the member of a server whose Node is deleted, or annotated so, from etcd: a cluster that counts members that
 * will never come back loses its majority early. One that is away takes it up as soon as there is a leader again.
 */
export function memberController(members: MemberClient): ControllerFactory {
  return {
    name: "managed-etcd-controller",
    create({ client, informers, logger }) {
      const informer = informers.of(nodes);
      return {
        watches: [
          watch(
            informer,
            ({ metadata }) => [metadata.name ?? ""],
            (node) => planMember(node).kind !== "nothing",
          ),
        ],
        // etcd takes one change of its members at a time.
        workers: 1,
        async reconcile(key, signal) {
          const node = informer.get(key);
          const plan = node ? planMember(node) : { kind: "nothing" as const };
          if (plan.kind === "nothing") return undefined;
          if (plan.kind === "remove") {
            const gone = await remove(members, plan, logger);
            // A Node that is deleted goes nevertheless; what was only asked for is not done.
            if (!gone && !node?.metadata.deletionTimestamp) return undefined;
          }
          await client.patch(nodes, key, { type: "merge", body: plan.patch }, { signal });
          return undefined;
        },
      };
    },
  };
}

/**
 * Removes the member of this name at this address; one that is not there is gone.
 * @returns false when it has to stay
 */
async function remove(
  members: MemberClient,
  { name, address }: { name: string; address: string },
  logger: Logger,
): Promise<boolean> {
  const all = await members.list();
  const member = all.find((each) => each.name === name && each.peerUrls.some((url) => hostOf(url) === address));
  if (!member) return true;
  if (all.filter(({ isLearner }) => !isLearner).every(({ id }) => id === member.id)) {
    logger.warn({ name }, "The only voting member of etcd is not removed: all data is there");
    return false;
  }
  logger.info(`Removing name=${name} id=${member.id} address=${address} from etcd`);
  try {
    await members.remove(member.id);
  } catch (error) {
    if (!(error instanceof GrpcError) || error.code !== "NOT_FOUND") throw error;
  }
  return true;
}
