import assert from "node:assert/strict";
import { test } from "node:test";
import {
  configMapKey,
  dns1035Label,
  dns1123Label,
  dns1123Subdomain,
  envVarName,
  generateName,
  labelValue,
  pathSegmentName,
  portName,
  qualifiedName,
  relaxedEnvVarName,
  wildcardDns1123Subdomain,
} from "../../../src/machinery/names.ts";

test("valid names pass", () => {
  assert.deepEqual(dns1123Label("my-name"), []);
  assert.deepEqual(dns1123Subdomain("a.b-c.d1"), []);
  assert.deepEqual(dns1035Label("abc-123"), []);
  assert.deepEqual(qualifiedName("example.com/MyName"), []);
  assert.deepEqual(labelValue(""), []);
  assert.deepEqual(portName("http-2"), []);
  assert.deepEqual(configMapKey("..a".slice(1)), []);
  assert.deepEqual(envVarName("MY_ENV.NAME"), []);
  assert.deepEqual(relaxedEnvVarName("1 odd name"), []);
  assert.deepEqual(wildcardDns1123Subdomain("*.bar.com"), []);
  assert.deepEqual(pathSegmentName("system:node"), []);
});

test("invalid names get the messages that kube-apiserver gives", () => {
  assert.deepEqual(dns1123Subdomain("Foo"), [
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
  ]);
  assert.deepEqual(dns1123Label("a.b"), ["must not contain dots"]);
  assert.match(dns1123Label("a_b")[0]!, /\(e\.g\. 'my-name', {2}or '123-abc', regex used for validation is /);
  assert.deepEqual(dns1123Label("a".repeat(64)), ["must be no more than 63 characters"]);
  assert.match(
    qualifiedName("a/b/c")[0]!,
    /^a valid label key must consist of .* with an optional DNS subdomain prefix/,
  );
  assert.deepEqual(qualifiedName("/a"), ["prefix part must be non-empty"]);
  assert.deepEqual(portName("-a--"), ["must not contain consecutive hyphens", "must not begin or end with a hyphen"]);
  assert.deepEqual(configMapKey(".."), ["must not be '..'"]);
  assert.deepEqual(pathSegmentName("a/b%"), ["may not contain '/'", "may not contain '%'"]);
});

test("a trailing line break does not slip through", () => {
  assert.equal(dns1123Label("a\n").length, 1);
  assert.equal(labelValue("a\n").length, 1);
});

test("generated names end in five of Kubernetes' letters and fit a label", () => {
  assert.match(generateName("web-"), /^web-[bcdfghjklmnpqrstvwxz2456789]{5}$/);
  assert.equal(generateName("a".repeat(100)).length, 63);
  assert.equal(new Set(Array.from({ length: 1000 }, () => generateName("x"))).size > 990, true);
});
