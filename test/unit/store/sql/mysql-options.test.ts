import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { ConfigurationError } from "../../../../src/machinery/configuration-error.ts";
import { parseDatastoreEndpoint, type SqlEndpoint } from "../../../../src/store/datastore-endpoint.ts";
import { mysqlOptions, tlsOptions } from "../../../../src/store/mysql/mysql-options.ts";

const endpoint = (query: string) =>
  parseDatastoreEndpoint(`mysql://u:p@tcp(h)/db${query}`) as SqlEndpoint & { kind: "mysql" };

describe("what an address asks of a connection to MySQL", () => {
  const cases: [title: string, query: string, files: object, tls: string][] = [
    ["nothing said: no TLS", "", {}, "false"],
    ["as the address says", "?tls=skip-verify", {}, "skip-verify"],
    ["Go's other words for true", "?tls=1", {}, "true"],
    ["files mean TLS that is verified, as in K3s", "?tls=false", { ca: "/ca" }, "true"],
  ];
  for (const [title, query, files, tls] of cases)
    test(title, () => assert.equal(mysqlOptions(endpoint(query), files).tls, tls));

  test("a word that is none is refused with those that are", () => {
    assert.throws(
      () => mysqlOptions(endpoint("?tls=maybe"), {}),
      (error: Error) => {
        assert.ok(error instanceof ConfigurationError);
        assert.match(error.message, /tls "maybe".*skip-verify/);
        return true;
      },
    );
  });

  test("other parameters are the session's variables, but for those of Go's driver, and nothing else is passed on", () => {
    const { settings } = mysqlOptions(endpoint("?wait_timeout=60&parseTime=true&timeout=5s"), {});
    assert.deepEqual(settings, ["SET SESSION wait_timeout = 60"]);
    assert.throws(() => mysqlOptions(endpoint("?a;b=1"), {}), ConfigurationError);
  });

  test("only tls=true verifies the chain and the name", () => {
    assert.equal(tlsOptions("false", {}), undefined);
    assert.deepEqual(tlsOptions("skip-verify", {}), { rejectUnauthorized: false, verifyIdentity: false });
    assert.deepEqual(tlsOptions("true", { ca: "c" }), { rejectUnauthorized: true, verifyIdentity: true, ca: "c" });
  });
});
