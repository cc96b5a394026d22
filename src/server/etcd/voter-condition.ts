import { nodes } from "../../api/generated/core-v1.ts";
import { type ControllerFactory, watch } from "../../controllers/controller.ts";
import { formatTime } from "../../machinery/clock.ts";
import { GrpcError } from "../../rpc/grpc-client.ts";
import type { MemberClient } from "./member-client.ts";
import { nameAnnotation, roleLabel } from "./member-plan.ts";

/** K3s' condition, by which people let a server vote again before they restart the next one. */
export const conditionType = "EtcdIsVoter";

/** What a server's member of etcd is, in K3s' words. */
const states = {
  voter: { status: "True", reason: "MemberNotLearner", message: "Node is a voting member of the etcd cluster" },
  learner: {
    status: "False",
    reason: "MemberIsLearner",
    message: "Node has not been promoted to voting member of the etcd cluster",
  },
  unjoined: { status: "False", reason: "NotAMember", message: "Node is not a member of the etcd cluster" },
} as const;

interface State {
  readonly status: "True" | "False";
  readonly reason: string;
  readonly message: string;
}

/** How soon whoever does not vote is looked at again, though its Node says nothing. */
const pauseMs = 15_000;

/**
 * Keeps a condition on the Node of each server with embedded etcd that says whether its member votes and answers. Looks when
 * the Node changes: a server that dies is one of those whose Node says so.
 * @param connect makes a client of the members at some client URLs
 */
export function voterConditionController(
  members: MemberClient,
  connect: (clientUrls: readonly string[]) => MemberClient,
): ControllerFactory {
  return {
    name: "etcd-voter-condition",
    create({ client, informers, clock }) {
      const informer = informers.of(nodes);
      return {
        watches: [
          watch(
            informer,
            ({ metadata }) => [metadata.name ?? ""],
            ({ metadata }) => metadata.labels?.[roleLabel] !== undefined,
          ),
        ],
        workers: 1,
        async reconcile(key, signal) {
          const node = informer.get(key);
          if (!node || node.metadata.deletionTimestamp) return undefined;
          const state = await stateOf(node.metadata.annotations?.[nameAnnotation], members, connect);
          const again = state === states.voter ? undefined : { requeueAfterMs: pauseMs };
          const found = node.status?.conditions?.find(({ type }) => type === conditionType);
          if (found?.status === state.status && found.reason === state.reason) return again;
          const now = formatTime(clock.now());
          const lastTransitionTime = found?.status === state.status ? found.lastTransitionTime : now;
          const condition = { type: conditionType, ...state, lastHeartbeatTime: now, lastTransitionTime };
          const body = { status: { conditions: [condition] } };
          await client.patch(nodes, key, { type: "strategic", body }, { subresource: "status", signal });
          return again;
        },
      };
    },
  };
}

async function stateOf(
  name: string | undefined,
  members: MemberClient,
  connect: (clientUrls: readonly string[]) => MemberClient,
): Promise<State> {
  const member = (await members.list()).find((each) => each.name === name);
  if (!member) return states.unjoined;
  if (member.isLearner) return states.learner;
  const unhealthy = (message: string) => ({ status: "False", reason: "Unhealthy", message }) as const;
  const itself = connect(member.clientUrls);
  try {
    const { errors } = await itself.status();
    return errors.length === 0 ? states.voter : unhealthy(`etcd member has status errors: ${errors.join(",")}`);
  } catch (error) {
    if (!(error instanceof GrpcError)) throw error;
    return unhealthy(`failed to check etcd member status: ${error.message}`);
  } finally {
    itself.close();
  }
}
