import { embeddedEtcdGround } from "./embedded-etcd-ground.ts";
import { etcdGround } from "./etcd-ground.ts";
import type { Ground } from "./ground.ts";
import { sqlGround } from "./sql-ground.ts";
import { sqliteGround } from "./sqlite-ground.ts";

/** What a cluster is kept in. */
export const storeKinds = ["sqlite", "etcd", "embedded-etcd", "postgres", "mariadb"] as const;
export type StoreKind = (typeof storeKinds)[number];

/** Starts what servers on a kind of store stand on. */
export async function prepareGround(kind: StoreKind): Promise<Ground> {
  switch (kind) {
    case "sqlite":
      return sqliteGround;
    case "etcd":
      return etcdGround();
    case "embedded-etcd":
      return embeddedEtcdGround();
    default:
      return sqlGround(kind);
  }
}
