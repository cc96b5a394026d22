import type { Clock } from "../../machinery/clock.ts";
import type { Logger } from "../../machinery/log.ts";
import { GrpcError } from "../../rpc/grpc-client.ts";
import { peerUrl } from "./etcd-config.ts";
import { hostOf } from "./join-plan.ts";
import type { Member, MemberClient } from "./member-client.ts";

export interface MemberAddressOptions {
  /** This server's member. */
  readonly local: MemberClient;
  /** Its name, and the node's address now. */
  readonly self: { readonly name: string; readonly address: string };
  readonly clock: Clock;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

const movePauseMs = 200;
const longestPauseMs = 10_000;

/** No machine has a name below this domain (RFC 6761). */
const nowhere = ".invalid";
const isDisplaced = ({ peerUrls }: Member) => peerUrls.some((url) => hostOf(url).endsWith(nowhere));

/**
 * A node whose address has changed since it joined tells the others. A member that is still said to be where this one is
 * now has moved, too, and is given an address that is nobody's until it tells its own.
 * @returns the members as they are then, and whether there was something to tell
 */
export async function tellAddress(
  options: MemberAddressOptions,
): Promise<{ readonly members: readonly Member[]; readonly moved: boolean }> {
  const { local, self, clock, logger, signal } = options;
  const url = peerUrl(self.address);
  for (let attempt = 0; ; attempt++) {
    const members = await local.list();
    const own = members.find(({ name }) => name === self.name);
    if (!own || own.peerUrls.includes(url)) return { members, moved: attempt > 0 };
    if (attempt === 0) logger.info({ from: own.peerUrls, to: url }, "The address of this member of etcd has changed");
    try {
      const gone = members.find(({ peerUrls }) => peerUrls.includes(url));
      if (gone) await local.move(gone.id, `https://${gone.name}${nowhere}:2380`);
      await local.move(own.id, url);
    } catch (error) {
      // Of several that move at once one may come between.
      if (!(error instanceof GrpcError)) throw error;
      logger.debug({ error: error.message }, "The change of the address is tried again");
    }
    await clock.sleep(movePauseMs, signal);
  }
}

/**
 * For a member that has moved: looks until every displaced one has told where it is. Such a member looks for the others where
 * they were. While one leads that has moved, the two never meet: so a leader that has moved hands over to one that the
 * displaced member may find. And one that was displaced itself, by somebody who came late, tells its address once more.
 * Resolves with the signal at the latest.
 */
export async function letDisplacedIn(options: MemberAddressOptions): Promise<void> {
  const { local, clock, logger, signal } = options;
  for (let pauseMs = movePauseMs; !signal.aborted; pauseMs = Math.min(longestPauseMs, pauseMs * 1.5)) {
    try {
      const { members } = await tellAddress(options);
      if (!members.some(isDisplaced)) return;
      const { memberId, leader } = await local.status();
      const next = members.find((member) => member.id !== memberId && !member.isLearner && !isDisplaced(member));
      if (leader === memberId && next) {
        logger.info(
          { to: next.name },
          "Handing the leadership of etcd over: a member that has moved cannot find this one",
        );
        await local.moveLeader(next.id);
      }
    } catch (error) {
      if (signal.aborted) return;
      logger.debug({ err: error }, "Members of etcd that have moved are waited for");
    }
    await clock.sleep(pauseMs, signal).catch(() => {});
  }
}
