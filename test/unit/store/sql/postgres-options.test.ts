import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { ConfigurationError } from "../../../../src/machinery/configuration-error.ts";
import { parseDatastoreEndpoint, type SqlEndpoint } from "../../../../src/store/datastore-endpoint.ts";
import { postgresOptions, startupOptions, tlsOptions } from "../../../../src/store/postgres/postgres-options.ts";

const endpoint = (query: string) =>
  parseDatastoreEndpoint(`postgres://u:p@h/db${query}`) as SqlEndpoint & { kind: "postgres" };

describe("what an address asks of a connection to PostgreSQL", () => {
  const flags = { ca: "/ca", cert: "/cert", key: "/key" };
  const cases: [title: string, query: string, files: object, mode: string, expected: object][] = [
    ["nothing said: TLS where it is offered", "", {}, "prefer", {}],
    ["the address' mode", "?sslmode=require", {}, "require", {}],
    ["files without a mode verify everything, as in K3s", "", flags, "verify-full", flags],
    ["a mode beside files stays", "?sslmode=verify-ca", flags, "verify-ca", flags],
    [
      "the address' files go before the flags'",
      "?sslrootcert=/mine&sslmode=require",
      flags,
      "require",
      { ...flags, ca: "/mine" },
    ],
  ];
  for (const [title, query, files, mode, expected] of cases)
    test(title, () => {
      const options = postgresOptions(endpoint(query), files);
      assert.equal(options.sslMode, mode);
      assert.deepEqual(options.files, expected);
    });

  test("a mode that does not exist is refused with those that do", () => {
    assert.throws(
      () => postgresOptions(endpoint("?sslmode=maybe"), {}),
      (error: Error) => {
        assert.ok(error instanceof ConfigurationError);
        assert.match(error.message, /sslmode "maybe".*verify-full/);
        return true;
      },
    );
  });

  test("other parameters are the session's, but for those of other languages' clients", () => {
    const { settings } = postgresOptions(
      endpoint("?search_path=a%20b&pool_max_conns=3&connect_timeout=5&sslmode=disable"),
      {},
    );
    assert.deepEqual([...settings], [["search_path", "a b"]]);
    assert.equal(startupOptions(settings), "-c search_path=a\\ b");
  });
});

describe("TLS to PostgreSQL, as libpq's modes mean it", () => {
  const ca = { ca: "authority" };
  const cases: [
    mode: Parameters<typeof tlsOptions>[0],
    material: object,
    verifies: boolean | undefined,
    name: boolean,
  ][] = [
    ["disable", ca, undefined, false],
    ["prefer", {}, false, false],
    ["require", {}, false, false],
    ["require", ca, true, false],
    ["verify-ca", ca, true, false],
    ["verify-full", ca, true, true],
  ];
  for (const [mode, material, verifies, name] of cases)
    test(`${mode} ${"ca" in material ? "with" : "without"} an authority`, () => {
      const options = tlsOptions(mode, material);
      assert.equal(options?.rejectUnauthorized, verifies);
      // Absent: Node's own check of the name.
      assert.equal(options !== undefined && options.checkServerIdentity === undefined, name);
    });
});
