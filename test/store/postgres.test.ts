import { after, before } from "node:test";
import { startDatabase, type TestDatabase } from "../support/database.ts";
import { storeSuite } from "../unit/store/suite.ts";
import { endpointOf, sqlHarness } from "./sql-harness.ts";

let database: TestDatabase;
before(async () => {
  database = await startDatabase("postgres");
});
after(() => database.remove());

storeSuite("PostgreSQL", () => sqlHarness(endpointOf(database, "suite")));
