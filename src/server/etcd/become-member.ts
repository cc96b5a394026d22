import type { Supervisor } from "../../agent/bootstrap/supervisor-client.ts";
import type { Clock } from "../../machinery/clock.ts";
import { ConfigurationError } from "../../machinery/configuration-error.ts";
import type { Logger } from "../../machinery/log.ts";
import { GrpcError } from "../../rpc/grpc-client.ts";
import { readDatabaseInfo } from "./database-info.ts";
import { peerUrl } from "./etcd-config.ts";
import { clientUrlsOf, planJoin } from "./join-plan.ts";
import type { Member, MemberClient } from "./member-client.ts";

export interface BecomeMemberOptions {
  /** The server that is joined. */
  readonly supervisor: Supervisor;
  readonly self: { readonly name: string; readonly nodeName: string; readonly address: string };
  readonly connect: (clientUrls: readonly string[]) => MemberClient;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

const firstPauseMs = 100;
const longestPauseMs = 500;
const heardPauseMs = 10;
/** A learner that has come no further for this long keeps others out, and is removed (K3s' time). */
const learnerStallMs = 5 * 60_000;

/**
 * Has this server's member added to the cluster, as a learner: it takes part in no decision before it holds what the others
 * hold. etcd takes one learner at a time, and none while members have lost each other, so it waits its turn.
 * @returns "name=peer URL" of every member
 * @throws ConfigurationError when another member has this node's name
 */
export async function becomeMember(options: BecomeMemberOptions): Promise<readonly string[]> {
  const { self, clock, logger, signal } = options;
  const stalled = new StalledLearner(clock);
  let told = "";
  for (let pauseMs = firstPauseMs; ; pauseMs = Math.min(longestPauseMs, pauseMs * 1.5)) {
    const attempt = await tryToBecome(options, stalled);
    if ("members" in attempt) return attempt.members;
    if (attempt.waitsFor !== told)
      logger.info({ server: options.supervisor.url.origin, name: self.name }, attempt.waitsFor);
    told = attempt.waitsFor;
    await clock.sleep(pauseMs, signal);
  }
}

type Attempt = { readonly members: readonly string[] } | { readonly waitsFor: string };

async function tryToBecome(options: BecomeMemberOptions, stalled: StalledLearner): Promise<Attempt> {
  const { supervisor, self, logger } = options;
  let members: readonly Member[];
  try {
    members = await readDatabaseInfo(supervisor);
  } catch (error) {
    if (error instanceof ConfigurationError) throw error;
    return { waitsFor: `Waiting to retrieve etcd cluster member list: ${(error as Error).message}` };
  }
  const plan = planJoin(members, self);
  if (plan.kind === "duplicate") {
    throw new ConfigurationError(
      `duplicate node name found, please use a unique name for this node: the member "${plan.member}" of etcd has it. ` +
        `Choose another one with --node-name, or delete the node "${self.nodeName}" when that server is gone for good`,
    );
  }
  if (!plan.add) return { members: plan.cluster };
  const client = options.connect(clientUrlsOf(members, self, supervisor.url.hostname));
  try {
    const learner = members.find(({ isLearner }) => isLearner);
    if (learner) {
      if (await stalled.has(learner, options)) {
        await client.remove(learner.id);
        logger.warn(
          { member: learner.name, urls: learner.peerUrls },
          "Removed learner from etcd cluster: it has stalled",
        );
      }
      return { waitsFor: "Waiting for other members to finish joining etcd cluster" };
    }
    await client.addLearner(peerUrl(self.address));
    logger.info({ members: plan.cluster }, `Adding member ${self.name}=${peerUrl(self.address)} to etcd cluster`);
    return { members: plan.cluster };
  } catch (error) {
    if (!(error instanceof GrpcError)) throw error;
    return { waitsFor: `Waiting for other members to finish joining etcd cluster: ${error.message}` };
  } finally {
    client.close();
  }
}

/** Watches whether the learner that is in the way still comes forward. */
class StalledLearner {
  readonly #clock: Clock;
  #id: bigint | undefined;
  #applied = 0;
  #sinceMs = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  async has(learner: Member, options: BecomeMemberOptions): Promise<boolean> {
    const applied = await appliedBy(learner, options);
    const nowMs = this.#clock.now();
    if (learner.id !== this.#id || applied > this.#applied) {
      this.#id = learner.id;
      this.#applied = applied;
      this.#sinceMs = nowMs;
    }
    return nowMs - this.#sinceMs >= learnerStallMs;
  }
}

/** How far a learner has come; 0 when it does not say. */
async function appliedBy(learner: Member, { connect }: BecomeMemberOptions): Promise<number> {
  if (learner.clientUrls.length === 0) return 0;
  const client = connect(learner.clientUrls);
  try {
    return (await client.status()).appliedIndex;
  } catch {
    return 0;
  } finally {
    client.close();
  }
}

/**
 * Makes a learner a voter as soon as it holds what the leader holds.
 * @param local this server's member
 * @param others clients can ask them: a learner passes nothing on
 */
export async function becomeVoter(
  local: MemberClient,
  others: MemberClient,
  { name, clock, logger, signal }: { name: string; clock: Clock; logger: Logger; signal: AbortSignal },
): Promise<void> {
  let promoted = false;
  for (let pauseMs = firstPauseMs; ; pauseMs = Math.min(longestPauseMs, pauseMs * 1.5)) {
    // The others may have agreed before this member has heard of it.
    const status = await local.status();
    if (!status.isLearner) break;
    try {
      if (!promoted) await others.promote(status.memberId);
      promoted = true;
    } catch (error) {
      if (!(error instanceof GrpcError)) throw error;
      logger.debug({ error: error.message }, "The learner cannot be promoted yet");
    }
    await clock.sleep(promoted ? heardPauseMs : pauseMs, signal);
  }
  logger.info(`Promoted learner ${name}`);
}
