/** Holds admission policies through a whole API server: what they refuse, warn of and change, with Kubernetes' texts. */
import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import { eventually } from "../../../../support/eventually.ts";
import { ApiHarness, type Json, type Reply } from "../../harness.ts";

const group = "/apis/admissionregistration.k8s.io/v1";
const configMaps = "/api/v1/namespaces/default/configmaps";
const deployments = "/apis/apps/v1/namespaces/default/deployments";

const rule = (resource: string, apiGroup = "", more: object = {}) => ({
  apiGroups: [apiGroup],
  apiVersions: ["v1"],
  operations: ["CREATE", "UPDATE"],
  resources: [resource],
  ...more,
});
const configMapRules = { resourceRules: [rule("configmaps")] };
const deploymentRules = { resourceRules: [rule("deployments", "apps")] };

const configMap = (name: string, data: Record<string, string> = {}, labels: Record<string, string> = {}) => ({
  apiVersion: "v1",
  kind: "ConfigMap",
  metadata: { name, labels },
  data,
});
const deployment = (name: string, replicas: number) => ({
  apiVersion: "apps/v1",
  kind: "Deployment",
  metadata: { name, labels: { app: name } },
  spec: {
    replicas,
    selector: { matchLabels: { app: name } },
    template: {
      metadata: { labels: { app: name } },
      spec: { containers: [{ name: "c", image: "i:1", env: [{ name: "A", value: "1" }] }] },
    },
  },
});

describe("admission policies", () => {
  let api: ApiHarness;
  before(async () => {
    api = await ApiHarness.start();
  });
  after(() => api.stop());
  afterEach(async () => {
    for (const kind of ["validating", "mutating"]) {
      await api.delete(`${group}/${kind}admissionpolicybindings`);
      await api.delete(`${group}/${kind}admissionpolicies`);
    }
    await api.delete(configMaps);
    await api.delete(deployments);
  });

  const ok = (reply: Reply, code = 201): Json => {
    assert.equal(reply.code, code, reply.text);
    return reply.body;
  };
  const dry = (path: string) => `${path}?dryRun=All`;
  /** Tries until a request is answered so: what follows policies hears of them a moment later. */
  const answered = (send: () => Promise<Reply>, code: number): Promise<Reply> =>
    eventually(async () => {
      const reply = await send();
      assert.equal(reply.code, code, reply.text);
      return reply;
    });

  const validating = async (name: string, spec: object, binding: object = {}) => {
    const constrained = { matchConstraints: configMapRules, ...spec };
    ok(await api.post(`${group}/validatingadmissionpolicies`, { metadata: { name }, spec: constrained }));
    const bound = { policyName: name, validationActions: ["Deny"], ...binding };
    ok(await api.post(`${group}/validatingadmissionpolicybindings`, { metadata: { name: `${name}-b` }, spec: bound }));
  };
  const mutating = async (name: string, spec: object, binding: object = {}) => {
    const whole = { matchConstraints: configMapRules, reinvocationPolicy: "Never", ...spec };
    ok(await api.post(`${group}/mutatingadmissionpolicies`, { metadata: { name }, spec: whole }));
    const bound = { policyName: name, ...binding };
    ok(await api.post(`${group}/mutatingadmissionpolicybindings`, { metadata: { name: `${name}-b` }, spec: bound }));
  };
  const apply = (expression: string) => ({ patchType: "ApplyConfiguration", applyConfiguration: { expression } });
  const patch = (expression: string) => ({ patchType: "JSONPatch", jsonPatch: { expression } });

  test("a request that a policy speaks against is refused with its message, reason and code", async () => {
    await validating("p", {
      variables: [{ name: "size", expression: "has(object.data) ? size(object.data) : 0" }],
      validations: [
        { expression: "variables.size < 2", messageExpression: "'too many: ' + string(variables.size)" },
        { expression: "object.metadata.name != 'bad'", message: " not that name ", reason: "Forbidden" },
        { expression: "object.metadata.name != 'worse'" },
      ],
    });
    const { body } = await answered(() => api.post(dry(configMaps), configMap("a", { a: "1", b: "2" })), 422);
    const message = "ValidatingAdmissionPolicy 'p' with binding 'p-b' denied request: too many: 2";
    assert.equal(body.message, `configmaps "a" is forbidden: ${message}`);
    assert.equal(body.reason, "Invalid");
    assert.deepEqual(body.details, { name: "a", kind: "configmaps", causes: [{ message }] });

    const forbidden = await api.post(configMaps, configMap("bad"));
    assert.equal(forbidden.code, 403);
    assert.equal(forbidden.body.reason, "Forbidden");
    assert.match(forbidden.body.message, /denied request: not that name$/);
    const worse = await api.post(configMaps, configMap("worse"));
    assert.match(worse.body.message, /denied request: failed expression: object\.metadata\.name != 'worse'$/);
    ok(await api.post(configMaps, configMap("good")));
    const update = await api.put(`${configMaps}/good`, configMap("good", { a: "1", b: "2" }));
    assert.equal(update.code, 422);
  });

  test("policies are not asked about what they do not mean, nor about policies themselves", async () => {
    await validating("p", {
      matchConstraints: {
        resourceRules: [rule("*", "*", { apiVersions: ["*"], operations: ["*"] })],
        excludeResourceRules: [rule("configmaps", "", { operations: ["*"], resourceNames: ["spared"] })],
        objectSelector: { matchExpressions: [{ key: "free", operator: "DoesNotExist" }] },
      },
      matchConditions: [{ name: "not-b", expression: "object == null || object.metadata.name != 'b'" }],
      validations: [{ expression: "false" }],
    });
    await answered(() => api.post(dry(configMaps), configMap("a")), 422);
    ok(await api.post(configMaps, configMap("spared")));
    ok(await api.post(configMaps, configMap("b")));
    ok(await api.post(configMaps, configMap("c", {}, { free: "yes" })));
    const review = { spec: { resourceAttributes: { verb: "get", resource: "pods" } } };
    ok(await api.post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", review));
    ok(await api.delete(`${group}/validatingadmissionpolicybindings/p-b`), 200);
    await answered(() => api.post(dry(configMaps), configMap("a")), 201);
  });

  test("bindings narrow a policy, and say what becomes of its objections", async () => {
    const spec = { validations: [{ expression: "false", message: "no" }] };
    await validating("p", spec, {
      validationActions: ["Warn", "Audit"],
      matchResources: { namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": "default" } } },
    });
    const warning = "Validation failed for ValidatingAdmissionPolicy 'p' with binding 'p-b': no";
    await eventually(async () => {
      const reply = await api.post(dry(configMaps), configMap("a"));
      assert.equal(reply.code, 201);
      assert.equal(reply.headers.get("warning"), `299 - "${warning}"`);
    });
    const elsewhere = await api.post(dry("/api/v1/namespaces/kube-system/configmaps"), configMap("a"));
    assert.equal(elsewhere.headers.get("warning"), null);
  });

  test("parameters come by name or by selector, from the request's namespace or the one that is said", async () => {
    ok(await api.post(configMaps, configMap("limits", { max: "1" }, { use: "limits" })));
    const spec = {
      paramKind: { apiVersion: "v1", kind: "ConfigMap" },
      matchConstraints: deploymentRules,
      validations: [{ expression: "object.spec.replicas <= int(params.data.max)" }],
    };
    const bound = (paramRef: object) => ({ paramRef: { parameterNotFoundAction: "Deny", ...paramRef } });
    await validating("p", spec, bound({ name: "limits" }));
    const { body } = await answered(() => api.post(dry(deployments), deployment("d", 2)), 422);
    assert.match(body.message, /denied request: failed expression: object\.spec\.replicas <= int/);
    ok(await api.post(dry(deployments), deployment("d", 1)));

    const other = deployments.replace("default", "kube-system");
    const missing = await api.post(dry(other), deployment("d", 1));
    assert.match(
      missing.body.message,
      /denied request: failed to configure binding: no params found for policy binding with `Deny` parameterNotFoundAction$/,
    );
    const binding = `${group}/validatingadmissionpolicybindings/p-b`;
    const bySelector = bound({ namespace: "default", name: null, selector: { matchLabels: { use: "limits" } } });
    ok(await api.patch(binding, "merge", { spec: bySelector }), 200);
    ok(await answered(() => api.post(dry(other), deployment("d", 1)), 201));
    assert.equal((await api.post(dry(other), deployment("d", 2))).code, 422);
    const allow = bound({ selector: { matchLabels: { use: "nothing" } }, parameterNotFoundAction: "Allow" });
    ok(await api.patch(binding, "merge", { spec: allow }), 200);
    await answered(() => api.post(dry(other), deployment("d", 2)), 201);
  });

  test("a policy that cannot be followed refuses, unless its failures are to be ignored", async () => {
    const spec = {
      paramKind: { apiVersion: "rules.example.com/v1", kind: "Limit" },
      validations: [{ expression: "true" }],
    };
    await validating("p", spec, { paramRef: { name: "x", parameterNotFoundAction: "Allow" } });
    const { body } = await answered(() => api.post(dry(configMaps), configMap("a")), 422);
    assert.equal(
      body.message,
      `configmaps "a" is forbidden: ValidatingAdmissionPolicy 'p' denied request: failed to configure policy: failed to find resource referenced by paramKind: 'rules.example.com/v1, Kind=Limit'`,
    );
    ok(
      await api.patch(`${group}/validatingadmissionpolicies/p`, "merge", {
        spec: { paramKind: null, validations: [{ expression: "object.nothing == 1" }] },
      }),
      200,
    );
    await eventually(async () => {
      const reply = await api.post(dry(configMaps), configMap("a"));
      assert.match(
        reply.body.message,
        /denied request: expression 'object\.nothing == 1' resulted in error: no such key: nothing$/,
      );
    });
    ok(await api.patch(`${group}/validatingadmissionpolicies/p`, "merge", { spec: { failurePolicy: "Ignore" } }), 200);
    await answered(() => api.post(dry(configMaps), configMap("a")), 201);
  });

  test("an audit annotation that cannot be made refuses, whatever the binding says", async () => {
    await validating(
      "p",
      { auditAnnotations: [{ key: "k", valueExpression: "'x' + object.nothing" }] },
      { validationActions: ["Audit"] },
    );
    const { body } = await answered(() => api.post(dry(configMaps), configMap("a")), 422);
    assert.match(body.message, /denied request: expression ''x' \+ object\.nothing' resulted in error: no such key/);
  });

  test("expressions know the namespace, and what the user may do", async () => {
    await validating("p", {
      validations: [
        { expression: "namespaceObject.metadata.name == 'default' && request.userInfo.username == 'admin'" },
        { expression: "authorizer.group('').resource('secrets').namespace('x').check('delete').allowed()" },
        { expression: "!authorizer.serviceAccount('a', 'b').group('').resource('pods').check('create').allowed()" },
        { expression: "authorizer.requestResource.check('create').allowed()" },
      ],
    });
    await answered(() => api.post(dry("/api/v1/namespaces/kube-system/configmaps"), configMap("a")), 422);
    ok(await api.post(dry(configMaps), configMap("a")));
  });

  test("configurations are applied: lists merge by their keys, and what was there stays", async () => {
    await mutating("m", {
      matchConstraints: deploymentRules,
      variables: [{ name: "next", expression: "object.spec.replicas + 1" }],
      mutations: [
        apply("Object{spec: Object.spec{replicas: variables.next}}"),
        apply(
          `Object{metadata: Object.metadata{annotations: {"seen": string(object.spec.replicas)}},
            spec: Object.spec{template: Object.spec.template{spec: Object.spec.template.spec{
              containers: [Object.spec.template.spec.containers{name: "c",
                env: [Object.spec.template.spec.containers.env{name: "B", value: "2"}]}]}}}}`,
        ),
      ],
    });
    await eventually(async () => {
      const made = ok(await api.post(dry(deployments), deployment("d", 1)));
      assert.equal(made.spec.replicas, 2);
    });
    const { metadata, spec } = ok(await api.post(deployments, deployment("d", 1)));
    assert.deepEqual(metadata.annotations, { seen: "2" });
    const [container] = spec.template.spec.containers;
    assert.equal(container.image, "i:1");
    assert.deepEqual(container.env, [
      { name: "A", value: "1" },
      { name: "B", value: "2" },
    ]);
  });

  test("patches are applied, those whose test fails are not, and keys are escaped", async () => {
    await mutating("m", {
      mutations: [
        patch(
          `[JSONPatch{op: "test", path: "/metadata/name", value: "other"}, JSONPatch{op: "remove", path: "/data"}]`,
        ),
        patch(
          `[JSONPatch{op: "replace", path: "/metadata/labels", value: {}},
            JSONPatch{op: "add", path: "/metadata/labels/" + jsonpatch.escapeKey("example.com/by"), value: "policy"},
            JSONPatch{op: "replace", path: "/metadata", value: Object.metadata{name: object.metadata.name,
              namespace: object.metadata.namespace, labels: {"example.com/by": "policy"}}}]`,
        ),
      ],
    });
    await eventually(async () => {
      const { metadata, data } = ok(await api.post(dry(configMaps), configMap("a", { k: "v" })));
      assert.deepEqual(metadata.labels, { "example.com/by": "policy" });
      assert.deepEqual(data, { k: "v" });
    });
  });

  test("policies judge and change objects in the version that they name, whatever version a request is in", async () => {
    const matchConstraints = {
      resourceRules: [rule("horizontalpodautoscalers", "autoscaling", { apiVersions: ["v2"] })],
    };
    const cpu = (percent: number) => ({
      metadata: { name: "h" },
      spec: {
        scaleTargetRef: { apiVersion: "apps/v1", kind: "Deployment", name: "d" },
        maxReplicas: 3,
        targetCPUUtilizationPercentage: percent,
      },
    });
    const scalers = dry("/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers");
    await validating("p", {
      matchConstraints,
      validations: [
        {
          expression: "object.spec.metrics[0].resource.target.averageUtilization < 90",
          messageExpression: "request.kind.version + ' for ' + request.requestKind.version",
        },
      ],
    });
    const { body } = await answered(() => api.post(scalers, cpu(95)), 422);
    assert.match(body.message, /denied request: v2 for v1$/);
    ok(await api.post(scalers, cpu(50)));
    await mutating("m", { matchConstraints, mutations: [apply("Object{spec: Object.spec{maxReplicas: 7}}")] });
    await eventually(async () => {
      const made = ok(await api.post(scalers, cpu(50)));
      assert.equal(made.apiVersion, "autoscaling/v1");
      assert.deepEqual([made.spec.maxReplicas, made.spec.targetCPUUtilizationPercentage], [7, 50]);
    });
    const exact = { ...matchConstraints, matchPolicy: "Exact" };
    ok(await api.patch(`${group}/validatingadmissionpolicies/p`, "merge", { spec: { matchConstraints: exact } }), 200);
    await answered(() => api.post(scalers, cpu(95)), 201);
  });

  test("policies and bindings must compile, and whoever binds objects must be able to read them", async () => {
    const send = (kind: string, spec: object, user = "admin") =>
      api.post(dry(`${group}/${kind}`), { metadata: { name: "p" }, spec }, { user });
    const spec = { matchConstraints: configMapRules, validations: [{ expression: "foo" }] };
    const { body } = await answered(() => send("validatingadmissionpolicies", spec), 422);
    const message =
      "Invalid value: \"foo\": compilation failed: ERROR: <input>:1:1: undeclared reference to 'foo' (in container '')\n | foo\n | ^";
    assert.deepEqual(body.details.causes, [
      { reason: "FieldValueInvalid", message, field: "spec.validations[0].expression" },
    ]);
    assert.equal(
      body.message,
      `ValidatingAdmissionPolicy.admissionregistration.k8s.io "p" is invalid: spec.validations[0].expression: ${message}`,
    );
    const role = {
      metadata: { name: "policy-writer" },
      rules: [{ verbs: ["*"], apiGroups: ["admissionregistration.k8s.io"], resources: ["*"] }],
    };
    ok(await api.post("/apis/rbac.authorization.k8s.io/v1/clusterroles", role));
    ok(
      await api.post("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", {
        metadata: { name: "policy-writer" },
        roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: "policy-writer" },
        subjects: [{ apiGroup: "rbac.authorization.k8s.io", kind: "User", name: "jane" }],
      }),
    );
    const withParams = {
      matchConstraints: configMapRules,
      paramKind: { apiVersion: "v1", kind: "Secret" },
      validations: [{ expression: "true" }],
    };
    await eventually(async () => {
      const { body } = await send("validatingadmissionpolicies", withParams, "jane");
      assert.match(
        body.message,
        /spec\.paramKind: Forbidden: user &\{jane .*\} must have "get" permission on all objects of the referenced paramKind \(kind=Secret, apiVersion=v1\)$/,
      );
    });
    const binding = {
      policyName: "none",
      validationActions: ["Deny"],
      paramRef: { name: "x", parameterNotFoundAction: "Allow" },
    };
    const bound = await send("validatingadmissionpolicybindings", binding, "jane");
    assert.match(
      bound.body.message,
      /spec\.paramRef: Forbidden: unable to get policy none to determine minimum required permissions and user &\{jane .*\} does not have "get" permission for all groups, versions and resources$/,
    );
    ok(await send("validatingadmissionpolicybindings", binding));
  });

  test("names that belong to configurations from files are warned of", async () => {
    const spec = { matchConstraints: configMapRules, validations: [{ expression: "true" }] };
    const send = (name: string) => api.post(dry(`${group}/validatingadmissionpolicies`), { metadata: { name }, spec });
    assert.equal((await send("p")).headers.get("warning"), null);
    const warning = (await send("p.static.k8s.io")).headers.get("warning");
    assert.match(warning!, /^299 - "metadata\.name: names ending with .*static\.k8s\.io.* are reserved for static/);
  });

  test("what a mutation may not do is refused with Kubernetes' texts", async () => {
    const refused = async (mutation: object, rules: object, send: () => Promise<Reply>, code: number) => {
      await mutating("m", { matchConstraints: rules, mutations: [mutation] });
      const { body } = await answered(send, code);
      await api.delete(`${group}/mutatingadmissionpolicybindings`);
      await api.delete(`${group}/mutatingadmissionpolicies`);
      return body;
    };
    const make = () => api.post(dry(deployments), deployment("d", 1));
    const by = "policy 'm' with binding 'm-b' denied request: ";
    const atomic = await refused(
      apply(`Object{spec: Object.spec{selector: Object.spec.selector{matchLabels: {"a": "b"}}}}`),
      deploymentRules,
      make,
      403,
    );
    const message = `${by}error applying patch: invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: .spec.selector`;
    assert.equal(atomic.message, message);
    assert.equal(atomic.reason, "Invalid");
    assert.deepEqual(atomic.details, { name: "d", group: "apps", kind: "deployments", causes: [{ message }] });
    const misnamed = await refused(apply("Object{spec: Object.specx{replicas: 1}}"), deploymentRules, make, 403);
    assert.equal(
      misnamed.message,
      `${by}type mismatch: unexpected type name "Object.specx", expected "Object.spec", which matches field name path from root Object type`,
    );
    const unknown = await refused(apply("Object{spec: Object.spec{replicasx: 1}}"), deploymentRules, make, 403);
    assert.equal(
      unknown.message,
      `${by}error applying patch: failed to convert patch object to typed object: .spec.replicasx: field not declared in schema`,
    );
    const failed = await refused(
      apply("Object{spec: Object.spec{replicas: object.nothing}}"),
      deploymentRules,
      make,
      403,
    );
    assert.match(failed.message, /resulted in error: no such key: nothing$/);
    const strict = await refused(
      patch(`[JSONPatch{op: "add", path: "/spec/replicasx", value: 1}]`),
      deploymentRules,
      make,
      500,
    );
    assert.equal(strict.message, 'Internal error occurred: strict decoding error: unknown field "spec.replicasx"');
  });

  test("rules for all operations change no deletion", async () => {
    ok(await api.post(configMaps, configMap("gone")));
    await mutating("m", {
      matchConstraints: { resourceRules: [rule("configmaps", "", { operations: ["*"] })] },
      matchConditions: [{ name: "named", expression: "object.metadata.name != ''" }],
      mutations: [apply("Object{data: {'by': 'policy'}}")],
    });
    await eventually(async () => {
      assert.deepEqual(ok(await api.post(dry(configMaps), configMap("a"))).data, { by: "policy" });
    });
    ok(await api.delete(`${configMaps}/gone`), 200);
  });

  test("a policy that wants to see changes again is asked again, others are not", async () => {
    const append = (text: string) =>
      apply(`Object{data: {"log": (has(object.data.log) ? object.data.log : "") + "${text}"}}`);
    await mutating("a-again", { reinvocationPolicy: "IfNeeded", mutations: [append("a")] });
    await mutating("b-never", { mutations: [append("b")] });
    await eventually(async () => {
      const { data } = ok(await api.post(dry(configMaps), configMap("x", { k: "v" })));
      assert.deepEqual(data, { k: "v", log: "aba" });
    });
  });

  test("custom resources are judged and changed as built-in ones are", async () => {
    const schema = {
      type: "object",
      properties: {
        spec: {
          type: "object",
          properties: { size: { type: "integer" }, note: { type: "string", default: "none" } },
        },
      },
    };
    const definition = {
      metadata: { name: "widgets.policies.example.com" },
      spec: {
        group: "policies.example.com",
        scope: "Namespaced",
        names: { plural: "widgets", kind: "Widget" },
        versions: [{ name: "v1", served: true, storage: true, schema: { openAPIV3Schema: schema } }],
      },
    };
    ok(await api.post("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition));
    const widgets = "/apis/policies.example.com/v1/namespaces/default/widgets";
    await answered(() => api.get(widgets), 200);
    const matchConstraints = { resourceRules: [rule("widgets", "policies.example.com")] };
    await mutating("m", {
      matchConstraints,
      mutations: [apply("Object{spec: Object.spec{size: object.spec.size * 2}}")],
    });
    await validating("v", { matchConstraints, validations: [{ expression: "object.spec.size < 10" }] });
    const widget = (size: number) => ({
      apiVersion: "policies.example.com/v1",
      kind: "Widget",
      metadata: { name: "w" },
      spec: { size },
    });
    await answered(() => api.post(dry(widgets), widget(7)), 422);
    assert.deepEqual(ok(await api.post(widgets, widget(3))).spec, { size: 6, note: "none" });
  });

  test("deletions are judged by what is deleted", async () => {
    ok(await api.post(configMaps, configMap("kept", {}, { keep: "yes" })));
    ok(await api.post(configMaps, configMap("loose")));
    await validating("p", {
      matchConstraints: { resourceRules: [rule("configmaps", "", { operations: ["DELETE"] })] },
      validations: [{ expression: "object == null && !('keep' in oldObject.?metadata.labels.orValue({}))" }],
    });
    await answered(() => api.delete(`${configMaps}/kept`), 422);
    ok(await api.delete(`${configMaps}/loose`), 200);
  });
});
