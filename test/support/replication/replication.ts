import type { TestDatabase } from "../database.ts";

/** How a kind of database keeps a standby that has all that was acknowledged. */
export interface Replication {
  /** Starts a database that can have a standby. */
  startFirst(network: string): Promise<TestDatabase>;
  /** Starts a copy of a database, which follows it from then on. */
  startStandby(primary: TestDatabase, network: string): Promise<TestDatabase>;
  /** From now on, also when it is started again, the primary acknowledges nothing that its standby does not have. */
  acknowledgeTogether(primary: TestDatabase): Promise<void>;
  /** Throws unless the primary acknowledges only what the standby has, and the standby has all of before. */
  assertTogether(primary: TestDatabase, standby: TestDatabase): Promise<void>;
  /** Whether a commit waits for the standby. */
  isWaiting(primary: TestDatabase): Promise<boolean>;
  /** Makes a standby whose primary is dead take writes, with all that it was sent; until it has a standby, alone. */
  promote(standby: TestDatabase): Promise<void>;
}
