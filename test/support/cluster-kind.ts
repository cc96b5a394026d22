import type { DatabaseKind } from "./database.ts";

/** How many servers a cluster has, and what they keep it in: SQLite for one, embedded etcd for several, or a database. */
export interface ClusterKind {
  readonly servers: number;
  readonly database?: DatabaseKind;
}

/** The kinds of cluster that the same tests run on. */
export const clusterKinds = {
  "one-server": { servers: 1 },
  "three-servers-etcd": { servers: 3 },
  "two-servers-postgres": { servers: 2, database: "postgres" },
} as const satisfies Record<string, ClusterKind>;

export type ClusterKindName = keyof typeof clusterKinds;

/** The environment variable that names the kind of cluster for tests that do not insist on one. */
export const clusterKindVariable = "K3TS_TEST_CLUSTER";

/** The kind that an environment asks for; default one server. @throws when there is no kind of that name */
export function clusterKindOf(environment: Readonly<Record<string, string | undefined>>): ClusterKind {
  const name = environment[clusterKindVariable] || "one-server";
  if (Object.hasOwn(clusterKinds, name)) return clusterKinds[name as ClusterKindName];
  throw new Error(`${clusterKindVariable}="${name}": choose one of ${Object.keys(clusterKinds).join(", ")}`);
}
