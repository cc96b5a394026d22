/** Holds the rules of match conditions of admission webhooks, and Kubernetes' texts for them. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { configMaps } from "../../../../src/api/generated/core-v1.ts";
import { findResource } from "../../../../src/api/registry.ts";
import { checkMatchConditions, matchConditions } from "../../../../src/apiserver/admission/match-conditions.ts";
import type {
  AdmissionAttributes,
  AuthorizationAttributes,
  AuthorizationDecision,
} from "../../../../src/apiserver/request.ts";

const attributes: AdmissionAttributes = {
  operation: "CREATE",
  facts: findResource("", "v1", configMaps.resource)!,
  namespace: "default",
  name: "settings",
  object: {
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: { name: "settings", namespace: "default", labels: { tier: "gold" } },
  },
  user: { name: "jane", groups: ["developers", "system:authenticated"], extra: { team: ["a", "b"] } },
  dryRun: false,
  options: { kind: "CreateOptions", apiVersion: "meta.k8s.io/v1" },
  warn() {},
};

const deny = async (): Promise<AuthorizationDecision> => ({ allowed: false, reason: "nobody may" });

const holds = (...expressions: string[]) =>
  matchConditions(
    expressions.map((expression, i) => ({ name: `c${i}`, expression })),
    attributes,
    deny,
  );

test("conditions see the request, its objects and who sent it", async () => {
  assert.equal(
    await holds(
      "request.kind.kind == 'ConfigMap' && request.resource.resource == 'configmaps' && request.kind.group == ''",
      "request.operation == 'CREATE' && request.name == 'settings' && request.namespace == 'default'",
      "request.userInfo.username == 'jane' && 'developers' in request.userInfo.groups",
      "request.userInfo.extra['team'] == ['a', 'b'] && !has(request.userInfo.uid)",
      "object.metadata.labels.tier == 'gold' && oldObject == null && namespaceObject == null",
      "!request.dryRun && !has(request.subResource) && request.options.kind == 'CreateOptions'",
    ),
    true,
  );
});

test("no conditions hold", async () => assert.equal(await holds(), true));

test("a condition that is false decides, whatever fails beside it", async () => {
  assert.equal(await holds("object.data.missing == 'x'", "false"), false);
  assert.equal(await holds("false", "object.data.missing == 'x'"), false);
});

test("a condition that cannot be evaluated throws Kubernetes' text", async () => {
  await assert.rejects(holds("true", "object.data.missing == 'x'"), {
    message: "expression 'object.data.missing == 'x'' resulted in error: no such key: data",
  });
  await assert.rejects(holds("object.a", "object.b == 1"), {
    message:
      "[compilation error: must evaluate to bool but got dyn, expression 'object.b == 1' resulted in error: no such key: b]",
  });
});

test("conditions that cost more than their budget are an error", async () => {
  const ten = "[1,2,3,4,5,6,7,8,9,10]";
  const costly = `${ten}.all(a, ${ten}.all(b, ${ten}.all(c, ${ten}.all(d, [1,2,3,4,5,6].all(e, a > 0)))))`;
  await assert.rejects(holds(...Array(11).fill(costly)), {
    message: "validation failed due to running out of cost budget, no further validation rules will be run",
  });
});

test("the authorizer is asked for what the expressions say, once each", async () => {
  const asked: AuthorizationAttributes[] = [];
  const authorize = async (question: AuthorizationAttributes): Promise<AuthorizationDecision> => {
    asked.push(question);
    return { allowed: question.verb === "get", reason: `by ${question.user.name}` };
  };
  // Two questions are what one expression may cost.
  const conditions = [
    "authorizer.requestResource.check('get').allowed() && !authorizer.requestResource.check('delete').allowed()",
    `authorizer.serviceAccount('kube-system', 'robot').group('apps').resource('deployments').subresource('scale')
      .namespace('a').name('b').check('get').reason() == 'by system:serviceaccount:kube-system:robot'`,
    "authorizer.path('/healthz').check('get').allowed() && authorizer.requestResource.check('get').error() == ''",
  ].map((expression, i) => ({ name: `c${i}`, expression }));
  assert.equal(await matchConditions(conditions, attributes, authorize), true);
  const user = attributes.user;
  const own = { user, group: "", version: "*", resource: "configmaps", namespace: "default", name: "settings" };
  assert.deepEqual(asked, [
    { ...own, verb: "get" },
    { ...own, verb: "delete" },
    {
      user: {
        name: "system:serviceaccount:kube-system:robot",
        groups: ["system:serviceaccounts", "system:serviceaccounts:kube-system"],
      },
      verb: "get",
      group: "apps",
      version: "*",
      resource: "deployments",
      subresource: "scale",
      namespace: "a",
      name: "b",
    },
    { user, verb: "get", group: "", resource: "", path: "/healthz" },
  ]);
});

test("an authorizer that fails is an answer", async () => {
  const authorize = async (): Promise<AuthorizationDecision> => {
    throw new Error("not now");
  };
  const expression =
    "authorizer.requestResource.check('get').errored() && authorizer.requestResource.check('get').error() == 'not now'";
  assert.equal(await matchConditions([{ name: "a", expression }], attributes, authorize), true);
});

test("asking for what cannot be is an error of the expression", async () => {
  await assert.rejects(
    holds("authorizer.path('').check('get').allowed()"),
    /resulted in error: path must not be empty$/,
  );
  await assert.rejects(
    holds("authorizer.serviceAccount('a.b', 'c').path('/a').check('get').allowed()"),
    /resulted in error: Invalid service account namespace$/,
  );
});

test("conditions of a configuration are checked with Kubernetes' paths and texts", () => {
  const check = (...conditions: { name: string; expression: string }[]) =>
    checkMatchConditions(conditions, "webhooks[0].matchConditions").map(({ field, message }) => `${field}: ${message}`);
  assert.deepEqual(check({ name: "example.com/a", expression: "object.metadata.name == 'a'" }), []);
  assert.deepEqual(
    check({ name: "", expression: " " }, { name: "a", expression: "'x'" }, { name: "a", expression: "object.x == 1" }),
    [
      "webhooks[0].matchConditions[0].expression: Required value",
      "webhooks[0].matchConditions[0].name: Required value",
      `webhooks[0].matchConditions[1].expression: Invalid value: "'x'": must evaluate to bool but got string`,
      `webhooks[0].matchConditions[2].name: Duplicate value: "a"`,
    ],
  );
  const [compile] = check({ name: "a", expression: "params.x == 1" });
  assert.equal(
    compile,
    `webhooks[0].matchConditions[0].expression: Invalid value: "params.x == 1": compilation failed: ERROR: <input>:1:1: undeclared reference to 'params' (in container '')\n | params.x == 1\n | ^`,
  );
  assert.match(check({ name: "_a", expression: "true" })[0]!, /name: Invalid value: "_a": name part must consist of/);
  const many = Array.from({ length: 65 }, (_, i) => ({ name: `a${i}`, expression: "true" }));
  assert.deepEqual(check(...many), ["webhooks[0].matchConditions: Too many: 65: must have at most 64 items"]);
});
