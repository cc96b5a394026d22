import type { TestDatabase } from "../../../support/database.ts";
import type { TcpProxy } from "../../../support/tcp-proxy.ts";
import type { Fault } from "../fault.ts";

/** What happens to a database is one thing: two faults at once are not both of it. */
export const ofDatabase = "database";

/**
 * What can happen to a database, and to each server's wire to it.
 * @param options.database the one that it happens to at that time
 * @param options.settled resolves when a database that was killed or paused is what it was
 */
export function databaseFaults(options: {
  readonly database: () => TestDatabase;
  readonly settled?: () => Promise<void>;
  readonly wires: readonly TcpProxy[];
}): Fault[] {
  const { database, settled = () => Promise.resolve(), wires } = options;
  return [
    {
      kind: "the database is killed and started",
      of: ofDatabase,
      healFirst: true,
      inject: () => database().kill(),
      heal: async () => {
        await database().start();
        await settled();
      },
    },
    {
      kind: "the database is paused",
      of: ofDatabase,
      healFirst: true,
      inject: () => database().pause(),
      heal: async () => {
        await database().unpause();
        await settled();
      },
    },
    ...wires.flatMap((wire, index): Fault[] => [
      {
        kind: "a server is cut off from the database",
        of: `wire ${index}`,
        healFirst: true,
        inject: async () => wire.cut(),
        heal: async () => wire.heal(),
      },
      {
        kind: "a server's packets to the database are lost",
        of: `wire ${index}`,
        healFirst: true,
        inject: async () => wire.stall(),
        heal: async () => wire.heal(),
      },
    ]),
  ];
}
