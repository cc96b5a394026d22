import type { TestDatabase } from "./database.ts";

/** What a database answers to a statement, by its own client: a line a row, without heads. Throws what it refuses. */
export function runSql(database: TestDatabase, statement: string): Promise<string> {
  switch (database.kind) {
    case "postgres": {
      const psql = ["/opt/postgresql/psql", "-h", "127.0.0.1", "-U", "postgres", "-At", "-c", statement];
      return database.exec(["env", "PGPASSWORD=test", ...psql]);
    }
    case "mariadb":
      return database.exec(["mariadb", "-h", "127.0.0.1", "-u", "root", "-ptest", "-N", "-B", "-e", statement]);
    default:
      throw new Error(`${database.kind} takes no SQL`);
  }
}
