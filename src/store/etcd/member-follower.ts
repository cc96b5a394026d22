import type { Clock, Timer } from "../../machinery/clock.ts";
import type { Logger } from "../../machinery/log.ts";
import type { EtcdConnection } from "./etcd-connection.ts";
import type { EtcdMembership } from "./etcd-membership.ts";
import { cluster } from "./etcd-messages.ts";

export interface MemberFollowerOptions {
  readonly connection: EtcdConnection;
  readonly membership: EtcdMembership;
  /** The io clock. */
  readonly clock: Clock;
  readonly logger: Logger;
}

const firstPauseMs = 1000;
const longestPauseMs = 30_000;

/**
 * Keeps a connection to the members that there are, and brings it back to the preferred one when another had to be used.
 * It acts when it is told of a change, when the connection has gone to another member, and, until all is as it should be,
 * after pauses that grow to half a minute. Otherwise it does nothing.
 */
export class MemberFollower {
  readonly #options: MemberFollowerOptions;
  readonly #unlisten: () => void;
  #timer: Timer | undefined;
  #pauseMs = firstPauseMs;
  /** When all was as it should be last. */
  #settledMs: number | undefined;
  #running = false;
  #again = false;
  #stopped = false;

  constructor(options: MemberFollowerOptions) {
    this.#options = options;
    this.#unlisten = options.membership.onChange(() => this.look());
  }

  /** Looks what is different. */
  look(): void {
    if (this.#running) {
      this.#again = true;
      return;
    }
    this.#running = true;
    void this.#run();
  }

  /** The connection has left the preferred member. One that does not stay well is come back to more and more slowly. */
  left(): void {
    const { clock } = this.#options;
    if (this.#settledMs !== undefined && clock.now() - this.#settledMs > longestPauseMs) this.#pauseMs = firstPauseMs;
    this.#settledMs = undefined;
    this.#arm();
  }

  stop(): void {
    this.#stopped = true;
    this.#unlisten();
    this.#timer?.cancel();
  }

  async #run(): Promise<void> {
    let settled: boolean;
    do {
      this.#again = false;
      settled = await this.#settle();
    } while (this.#again && !this.#stopped);
    this.#running = false;
    if (!settled) this.#arm();
    else this.#settledMs ??= this.#options.clock.now();
  }

  /** Learns the members and returns to the preferred one; false when that is to be tried again. */
  async #settle(): Promise<boolean> {
    const { connection, membership, logger } = this.#options;
    let all: boolean;
    try {
      const { members } = await connection.read(cluster.list, { linearizable: true });
      const servers = membership.serversOf(members);
      if (servers.length > 0) connection.use(servers);
      // Where a member answers is not told by itself when it says so for the first time.
      all = members.every(({ clientUrls }) => clientUrls.length > 0);
    } catch (error) {
      logger.debug({ err: error }, "The members of etcd cannot be listed yet");
      return false;
    }
    return (await connection.comeHome()) && all;
  }

  #arm(): void {
    if (this.#timer || this.#stopped) return;
    this.#timer = this.#options.clock.after(this.#pauseMs, () => {
      this.#timer = undefined;
      this.look();
    });
    this.#pauseMs = Math.min(longestPauseMs, this.#pauseMs * 2);
  }
}
