import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { mysqlFailure, mysqlRemedy } from "../../../../src/store/mysql/mysql-failure.ts";
import { postgresFailure, postgresRemedy } from "../../../../src/store/postgres/postgres-failure.ts";
import { redact } from "../../../../src/store/sql/redact.ts";
import { untrustedReason } from "../../../../src/store/untrusted-certificate.ts";

const failed = (message: string, fields: object) => Object.assign(new Error(message), fields);

describe("what a database's errors mean for a write", () => {
  const postgres: [what: string, fields: object, kind: string][] = [
    ["a deadlock", { severity: "ERROR", code: "40P01" }, "again"],
    ["a serialization failure", { severity: "ERROR", code: "40001" }, "again"],
    ["a writer that was replaced", { severity: "ERROR", code: "K3F01" }, "fenced"],
    ["a full disk", { severity: "ERROR", code: "53100" }, "refused"],
    ["a read-only transaction", { severity: "ERROR", code: "25006" }, "refused"],
    ["a connection that an administrator ends", { severity: "FATAL", code: "57P01" }, "lost"],
    ["a broken socket", { code: "ECONNRESET" }, "lost"],
  ];
  for (const [what, fields, kind] of postgres)
    test(`PostgreSQL: ${what} is "${kind}"`, () => assert.equal(postgresFailure(failed("x", fields), "").kind, kind));

  const mysql: [what: string, fields: object, kind: string][] = [
    ["a deadlock", { errno: 1213, sqlState: "40001" }, "again"],
    ["a lock that took too long", { errno: 1205, sqlState: "HY000" }, "again"],
    ["a writer that was replaced", { errno: 1644, sqlState: "45F01" }, "fenced"],
    ["a full table", { errno: 1114, sqlState: "HY000" }, "refused"],
    ["a read-only server", { errno: 1290, sqlState: "HY000" }, "refused"],
    ["a connection that was killed", { errno: 1927, sqlState: "70100" }, "lost"],
    ["a broken socket", { errno: -104, code: "ECONNRESET" }, "lost"],
  ];
  for (const [what, fields, kind] of mysql)
    test(`MySQL: ${what} is "${kind}"`, () => assert.equal(mysqlFailure(failed("x", fields), "").kind, kind));

  test("nothing of the library's error is kept but its text: it carries statements, values and settings", () => {
    const secret = { severity: "ERROR", sqlState: "HY000", code: "1", errno: 1, sql: "INSERT s3cr3t", where: "s3cr3t" };
    for (const explain of [postgresFailure, mysqlFailure]) {
      const failure = explain(failed("it failed for s3cr3t", secret), "s3cr3t");
      assert.doesNotMatch(`${JSON.stringify(failure)}${failure.stack}${failure.message}`, /s3cr3t/);
      assert.equal(failure.cause, undefined);
    }
  });

  test("several addresses that refuse have their first refusal's text", () => {
    const error = Object.assign(new AggregateError([new Error("connect ECONNREFUSED ::1:5432")]), {
      code: "ECONNREFUSED",
    });
    assert.equal(postgresFailure(error, "").message, "connect ECONNREFUSED ::1:5432");
  });
});

test("a password is taken out of texts in every form in which an address or a header carries it", () => {
  assert.equal(redact("a p@ss, p%40ss and cEBzcw==", "p@ss"), "a …, … and …");
  assert.equal(redact("no password", ""), "no password");
});

test("what needs the administrator names the statement to run, with names quoted", () => {
  assert.match(
    postgresRemedy(failed("x", { code: "3D000" }), 'o"neil', "k8s")!,
    /CREATE DATABASE "k8s" OWNER "o""neil"/,
  );
  assert.match(
    mysqlRemedy(failed("x", { errno: 1044 }), "o'neil", "k`s")!,
    /CREATE DATABASE IF NOT EXISTS `k``s`; GRANT ALL PRIVILEGES ON `k``s`\.\* TO 'o''neil'@'%'/,
  );
  assert.equal(postgresRemedy(failed("x", { code: "53100" }), "u", "d"), undefined);
  assert.equal(mysqlRemedy(failed("x", { errno: 1114 }), "u", "d"), undefined);
});

test("what only the user can mend is told with what to do, and not tried again for ever", () => {
  const postgres = (message: string, fields: object) => postgresRemedy(failed(message, fields), "u", "d");
  const mysql = (message: string, fields: object) => mysqlRemedy(failed(message, fields), "u", "d");
  const misspelt = /^check the parameters behind the \? in --datastore-endpoint$/;
  assert.match(postgres('unrecognized configuration parameter "sslmod"', { code: "42704" })!, misspelt);
  assert.match(mysql("Unknown system variable 'tlss'", { errno: 1193 })!, misspelt);
  assert.match(postgres("The server does not support SSL connections", {})!, /sslmode=disable/);
  assert.match(mysql("Server does not support secure connection", { code: "HANDSHAKE_NO_SSL_SUPPORT" })!, /tls=false/);
  const selfSigned = { code: "DEPTH_ZERO_SELF_SIGNED_CERT" };
  for (const remedy of [postgres("self-signed certificate", selfSigned), mysql("self-signed certificate", selfSigned)])
    assert.match(remedy!, /^give its authority with --datastore-cafile/);
});

test("why a certificate is not trusted is told without Node's advice to those who start it themselves", () => {
  const error = failed("self-signed certificate; if the root CA is installed locally, try running Node.js with --use", {
    code: "SELF_SIGNED_CERT_IN_CHAIN",
  });
  assert.equal(untrustedReason(error), "self-signed certificate");
  assert.equal(untrustedReason(new Error("lost", { cause: error })), "self-signed certificate");
  assert.equal(untrustedReason(failed("x", { code: "ECONNREFUSED" })), undefined);
});
