import type { Fault } from "../fault.ts";
import type { Change } from "../history.ts";

/** A server of the arena, as what is below it sees it. */
export interface GroundServer {
  readonly directory: string;
  readonly url: string;
}

/** What the servers of an arena stand on, and what can happen to it. */
export interface Ground extends AsyncDisposable {
  /** How many servers it is for. */
  readonly servers: number;
  /** How a server is started on it. The first is undefined for the first itself. */
  settings(index: number, first: GroundServer | undefined): { args: readonly string[]; env: Record<string, string> };
  /** What can happen to it and to its wires, once all servers run. */
  faults(servers: readonly GroundServer[]): readonly Fault[];
  /** Whether the servers have to be away while the store is read. */
  readonly readAlone: boolean;
  /** Every change of a namespace's ConfigMaps after a revision, read from the store without any server. */
  changesAfter(namespace: string, revision: number, servers: readonly GroundServer[]): Promise<readonly Change[]>;
}
