/** The texts are those of Kubernetes' validation packages: people search for them. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { pod, updateViolations, violations } from "./support.ts";

const container = (extra: object = {}) => ({ name: "c", image: "i", ...extra });
const podErrors = (spec: object) => violations("v1/pods", pod(spec));

test("a pod that is in order passes", () => {
  const spec = {
    containers: [
      container({
        ports: [{ name: "http", containerPort: 80 }],
        env: [{ name: "A", value: "1" }],
        resources: { requests: { cpu: "100m" }, limits: { cpu: 1 } },
        volumeMounts: [{ name: "v", mountPath: "/v" }],
        livenessProbe: { exec: { command: ["true"] } },
      }),
    ],
    volumes: [{ name: "v", emptyDir: {} }],
    tolerations: [{ operator: "Exists" }],
  };
  assert.deepEqual(podErrors(spec), []);
});

const rows: [rule: string, spec: object, wanted: string][] = [
  ["containers are required", { containers: [] }, "spec.containers: Required value"],
  ["containers have images", { containers: [{ name: "c" }] }, "spec.containers[0].image: Required value"],
  ["names are unique", { containers: [container(), container()] }, 'spec.containers[1].name: Duplicate value: "c"'],
  [
    "names are labels",
    { containers: [container({ name: "A_b" })] },
    "spec.containers[0].name: Invalid value: \"A_b\": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')",
  ],
  [
    "mounts name a volume",
    { containers: [container({ volumeMounts: [{ name: "x", mountPath: "/x" }] })] },
    'spec.containers[0].volumeMounts[0].name: Not found: "x"',
  ],
  [
    "ports are in range",
    { containers: [container({ ports: [{ containerPort: 70000 }] })] },
    "spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive",
  ],
  [
    "requests fit under limits",
    { containers: [container({ resources: { requests: { cpu: "2" }, limits: { cpu: "1" } } })] },
    'spec.containers[0].resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1',
  ],
  [
    "probes have one handler",
    { containers: [container({ readinessProbe: {} })] },
    "spec.containers[0].readinessProbe: Required value: must specify a handler type",
  ],
  [
    "liveness succeeds at once",
    { containers: [container({ livenessProbe: { tcpSocket: { port: 1 }, successThreshold: 2 } })] },
    "spec.containers[0].livenessProbe.successThreshold: Invalid value: 2: must be 1",
  ],
  [
    "volumes have one source",
    { containers: [container()], volumes: [{ name: "v", emptyDir: {}, hostPath: { path: "/" } }] },
    "spec.volumes[0].hostPath: Forbidden: may not specify more than 1 volume type",
  ],
  [
    "restart policies are known",
    { containers: [container()], restartPolicy: "Often" },
    'spec.restartPolicy: Unsupported value: "Often": supported values: "Always", "OnFailure", "Never"',
  ],
  [
    "host ports are free",
    {
      containers: [
        container({
          ports: [
            { containerPort: 1, hostPort: 9 },
            { containerPort: 2, hostPort: 9 },
          ],
        }),
      ],
    },
    'spec.containers[0].ports[1].hostPort: Duplicate value: "TCP//9"',
  ],
  [
    "init containers have no probes",
    {
      containers: [container()],
      initContainers: [container({ name: "i", livenessProbe: { tcpSocket: { port: 1 } } })],
    },
    "spec.initContainers[0].livenessProbe: Forbidden: may not be set for init containers without restartPolicy=Always",
  ],
];
for (const [rule, spec, wanted] of rows) {
  test(`pods: ${rule}`, () => assert.deepEqual(podErrors(spec), [wanted]));
}

const podUpdate = (before: object, after: object) => updateViolations("v1/pods", pod(before), pod(after));

test("a pod's images may change, and little else", () => {
  assert.deepEqual(
    podUpdate({ containers: [container()] }, { containers: [container({ image: "i:1", imagePullPolicy: "Always" })] }),
    [],
  );
  const [message = ""] = podUpdate({ containers: [container()] }, { containers: [container({ command: ["x"] })] });
  assert.match(
    message,
    /^spec: Forbidden: pod updates may not change fields other than `spec\.containers\[\*\]\.image`,/,
  );
  assert.deepEqual(podUpdate({ containers: [container()] }, { containers: [container(), container({ name: "d" })] }), [
    "spec.containers: Forbidden: pod updates may not add or remove containers",
  ]);
});

test("tolerations of a pod are only added, and their seconds may change", () => {
  const toleration = { key: "k", operator: "Exists", effect: "NoExecute", tolerationSeconds: 5 };
  const spec = (...tolerations: object[]) => ({ containers: [container()], tolerations });
  assert.deepEqual(
    podUpdate(spec(toleration), spec({ ...toleration, tolerationSeconds: 9 }, { operator: "Exists" })),
    [],
  );
  assert.deepEqual(podUpdate(spec(toleration), spec()), [
    "spec.tolerations: Forbidden: existing toleration can not be modified except its tolerationSeconds",
  ]);
});

test("an update of a pod neither binds it nor adds ephemeral containers", () => {
  const before = { containers: [container()] };
  for (const change of [{ nodeName: "n" }, { ephemeralContainers: [container({ name: "e" })] }]) {
    assert.match(podUpdate(before, { ...before, ...change }).join(), /^spec: Forbidden: pod updates may not change/);
  }
});

test("its subresource adds ephemeral containers, and neither changes nor removes them", () => {
  const spec = (ephemeralContainers: object[]) => ({ containers: [container()], ephemeralContainers });
  const [one, two] = [container({ name: "one" }), container({ name: "two" })];
  const update = (before: object[], after: object[]) =>
    updateViolations("v1/pods", pod(spec(before)), pod(spec(after)), "ephemeralcontainers");
  assert.deepEqual(update([one], [two, one]), []);
  assert.deepEqual(update([one], [two]), [
    'spec.ephemeralContainers: Forbidden: existing ephemeral containers "one" may not be removed\n',
  ]);
  assert.deepEqual(update([one], [container({ name: "one", image: "other" })]), [
    'spec.ephemeralContainers: Forbidden: existing ephemeral containers "one" may not be changed',
  ]);
});

const deployment = (spec: object = {}, labels: object = { a: "b" }) => ({
  metadata: { name: "d" },
  spec: {
    selector: { matchLabels: { a: "b" } },
    template: { metadata: { labels }, spec: { containers: [container()] } },
    ...spec,
  },
});
const deploymentErrors = (body: object) => violations("apps/v1/deployments", body);

test("a deployment selects its own pods, and its selector stays", () => {
  assert.deepEqual(deploymentErrors(deployment()), []);
  assert.deepEqual(deploymentErrors(deployment({}, { a: "c" })), [
    'spec.template.metadata.labels: Invalid value: {"a":"c"}: `selector` does not match template `labels`',
  ]);
  assert.deepEqual(deploymentErrors(deployment({ selector: undefined })), [
    "spec.selector: Required value",
    'spec.template.metadata.labels: Invalid value: {"a":"b"}: `selector` does not match template `labels`',
  ]);
  const changed = deployment({ selector: { matchLabels: { x: "y" } } }, { a: "b", x: "y" });
  assert.deepEqual(updateViolations("apps/v1/deployments", deployment(), changed), [
    'spec.selector: Invalid value: {"matchLabels":{"x":"y"}}: field is immutable',
  ]);
});

test("a rolling update must be able to move", () => {
  const rollingUpdate = { maxSurge: 0, maxUnavailable: 0 };
  assert.deepEqual(deploymentErrors(deployment({ strategy: { rollingUpdate } })), [
    "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: may not be 0 when `maxSurge` is 0",
  ]);
});

test("jobs do not restart always, and their template stays", () => {
  const job = (image: string, restartPolicy = "Never") => ({
    metadata: { name: "j", uid: "u" },
    spec: { template: { spec: { containers: [container({ image })], restartPolicy } } },
  });
  assert.deepEqual(violations("batch/v1/jobs", job("i", "Always")), [
    'spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never"',
  ]);
  assert.deepEqual(violations("batch/v1/jobs", job("i")), []);
});

test("services have ports, distinct and named when there are several", () => {
  const service = (spec: object) => violations("v1/services", { metadata: { name: "s" }, spec });
  assert.deepEqual(service({ ports: [{ port: 80 }] }), []);
  assert.deepEqual(service({}), ["spec.ports: Required value"]);
  assert.deepEqual(service({ ports: [{ port: 80 }, { name: "b", port: 81 }] }), ["spec.ports[0].name: Required value"]);
  assert.deepEqual(service({ ports: [{ port: 80, nodePort: 30000 }] }), [
    "spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'",
  ]);
});

test("a role reference never changes, and cluster bindings refer to cluster roles", () => {
  const binding = (name: string, kind = "ClusterRole") => ({
    metadata: { name: "b" },
    roleRef: { kind, name },
    subjects: [{ kind: "User", name: "u" }],
  });
  const path = "rbac.authorization.k8s.io/v1/clusterrolebindings";
  assert.deepEqual(violations(path, binding("view")), []);
  assert.deepEqual(violations(path, binding("view", "Role")), [
    'roleRef.kind: Unsupported value: "Role": supported values: "ClusterRole"',
  ]);
  assert.match(
    updateViolations(path, binding("view"), binding("edit"))[0]!,
    /^roleRef: Invalid value: .*: cannot change roleRef$/,
  );
});

test("immutable data stays", () => {
  const map = (value: string, immutable?: boolean) => ({ metadata: { name: "m" }, data: { a: value }, immutable });
  assert.deepEqual(updateViolations("v1/configmaps", map("1"), map("2", true)), []);
  assert.deepEqual(updateViolations("v1/configmaps", map("1", true), map("2", true)), [
    "data: Forbidden: field is immutable when `immutable` is set",
  ]);
});

test("secrets of a known type hold its keys", () => {
  const secret = { metadata: { name: "s" }, type: "kubernetes.io/tls", data: { "tls.crt": "eA==" } };
  assert.deepEqual(violations("v1/secrets", secret), ["data[tls.key]: Required value"]);
});

const definition = (spec: object = {}, name = "foos.example.com") => ({
  metadata: { name },
  spec: {
    group: "example.com",
    scope: "Namespaced",
    names: { plural: "foos", kind: "Foo" },
    versions: [{ name: "v1", served: true, storage: true, schema: { openAPIV3Schema: { type: "object" } } }],
    ...spec,
  },
});

test("a definition of custom resources is named after them, and stores one version", () => {
  const path = "apiextensions.k8s.io/v1/customresourcedefinitions";
  assert.deepEqual(violations(path, definition()), []);
  assert.deepEqual(violations(path, definition({}, "x")), [
    'metadata.name: Invalid value: "x": must be spec.names.plural+"."+spec.group',
  ]);
  const schema = { openAPIV3Schema: { type: "object" } };
  const [message = ""] = violations(
    path,
    definition({ versions: [{ name: "v1", served: true, storage: false, schema }] }),
  );
  assert.match(message, /^spec\.versions: Invalid value: .*: must have exactly one version marked as storage version$/);
  assert.deepEqual(violations(path, definition({ versions: [{ name: "v1", served: true, storage: true }] })), [
    "spec.versions[0].schema.openAPIV3Schema: Required value: schemas are required",
  ]);
});

test("a definition keeps the versions that objects may be stored in", () => {
  const version = (name: string, storage: boolean) => ({
    name,
    served: true,
    storage,
    schema: { openAPIV3Schema: { type: "object" } },
  });
  const path = "apiextensions.k8s.io/v1/customresourcedefinitions";
  const [message = ""] = updateViolations(path, definition(), definition({ versions: [version("v2", true)] }));
  assert.match(message, /^status\.storedVersions\[0\]: Invalid value: "v1": missing from spec\.versions;/);
  assert.deepEqual(
    updateViolations(path, definition(), definition({ versions: [version("v1", false), version("v2", true)] })),
    [],
  );
});
