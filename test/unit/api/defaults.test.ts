import assert from "node:assert/strict";
import { test } from "node:test";
import { imageTag } from "../../../src/api/pod/defaults.ts";
import { qosClass } from "../../../src/api/pod/qos.ts";
import { created, defaulted, pod, resource } from "./support.ts";

test("a pod gets the defaults of core/v1", () => {
  const { spec, status, metadata } = created(
    "v1/pods",
    pod({ containers: [{ name: "c", image: "nginx" }], volumes: [{ name: "v" }] }),
  );
  assert.equal(spec.restartPolicy, "Always");
  assert.equal(spec.dnsPolicy, "ClusterFirst");
  assert.equal(spec.schedulerName, "default-scheduler");
  assert.equal(spec.terminationGracePeriodSeconds, 30);
  assert.equal(spec.enableServiceLinks, true);
  assert.deepEqual(spec.securityContext, {});
  assert.deepEqual(spec.volumes, [{ name: "v", emptyDir: {} }]);
  assert.equal(spec.containers[0].imagePullPolicy, "Always");
  assert.equal(spec.containers[0].terminationMessagePath, "/dev/termination-log");
  assert.deepEqual(status, { phase: "Pending", qosClass: "BestEffort" });
  assert.equal(metadata.generation, 1);
});

test("enableServiceLinks is a default of pods, not of templates", () => {
  const { spec } = defaulted("apps/v1/deployments", {
    metadata: { name: "d" },
    spec: {
      selector: {},
      template: { spec: { containers: [{ name: "c", image: "i", resources: { limits: { cpu: 1 } } }] } },
    },
  });
  assert.equal(spec.template.spec.enableServiceLinks, undefined);
  assert.equal(spec.template.spec.dnsPolicy, "ClusterFirst");
  assert.deepEqual(spec.template.spec.containers[0].resources, { limits: { cpu: "1" } });
  assert.deepEqual(spec.strategy, { type: "RollingUpdate", rollingUpdate: { maxSurge: "25%", maxUnavailable: "25%" } });
  assert.deepEqual([spec.replicas, spec.revisionHistoryLimit, spec.progressDeadlineSeconds], [1, 10, 600]);
});

test("a pod's requests follow from its limits, where it names none", () => {
  const { spec } = defaulted(
    "v1/pods",
    pod({
      containers: [
        { name: "c", image: "i", resources: { limits: { cpu: "500m", memory: "1Gi" }, requests: { cpu: "0.1" } } },
      ],
    }),
  );
  assert.deepEqual(spec.containers[0].resources.requests, { cpu: "100m", memory: "1Gi" });
});

test("probes, ports, fieldRefs and modes get their defaults", () => {
  const { spec } = defaulted(
    "v1/pods",
    pod({
      hostNetwork: true,
      containers: [
        {
          name: "c",
          image: "i:1",
          ports: [{ containerPort: 80 }],
          env: [{ name: "A", valueFrom: { fieldRef: { fieldPath: "metadata.name" } } }],
          readinessProbe: { httpGet: { port: 80 } },
        },
      ],
      volumes: [
        { name: "s", secret: { secretName: "s" } },
        { name: "p", projected: { sources: [{ serviceAccountToken: { path: "t" } }] } },
      ],
    }),
  );
  const [container] = spec.containers;
  assert.equal(container.imagePullPolicy, "IfNotPresent");
  assert.deepEqual(container.ports, [{ containerPort: 80, hostPort: 80, protocol: "TCP" }]);
  assert.equal(container.env[0].valueFrom.fieldRef.apiVersion, "v1");
  assert.deepEqual(container.readinessProbe, {
    httpGet: { path: "/", port: 80, scheme: "HTTP" },
    timeoutSeconds: 1,
    periodSeconds: 10,
    successThreshold: 1,
    failureThreshold: 3,
  });
  assert.equal(spec.volumes[0].secret.defaultMode, 420);
  assert.equal(spec.volumes[1].projected.sources[0].serviceAccountToken.expirationSeconds, 3600);
});

test("the old and the new name of a pod's service account are one field", () => {
  for (const field of ["serviceAccount", "serviceAccountName"]) {
    const { spec } = defaulted("v1/pods", pod({ [field]: "robot", containers: [] }));
    assert.deepEqual([spec.serviceAccount, spec.serviceAccountName], ["robot", "robot"]);
  }
});

const digest = `sha256:${"ab".repeat(32)}`;

test("images without tag and digest are latest; a port in the host name is no tag", () => {
  const tags: Record<string, string> = {
    nginx: "latest",
    "nginx:1": "1",
    "a:5000/nginx": "latest",
    "a:5000/nginx:2": "2",
    [`nginx@${digest}`]: "",
    [`nginx:3@${digest}`]: "3",
  };
  for (const [image, tag] of Object.entries(tags)) assert.equal(imageTag(image), tag, image);
});

test("quality of service classes follow requests and limits of all containers", () => {
  const container = (resources: object) => ({ name: "c", resources });
  const both = { cpu: "1", memory: "1Gi" };
  assert.equal(qosClass({ containers: [container({})] }), "BestEffort");
  assert.equal(qosClass({ containers: [container({ requests: { cpu: "1" } })] }), "Burstable");
  assert.equal(qosClass({ containers: [container({ limits: both, requests: both })] }), "Guaranteed");
  assert.equal(qosClass({ containers: [container({ limits: both, requests: both }), container({})] }), "Burstable");
  assert.equal(
    qosClass({ containers: [container({ limits: both, requests: { cpu: "500m", memory: "1Gi" } })] }),
    "Burstable",
  );
  assert.equal(qosClass({ containers: [container({ limits: { cpu: "1" }, requests: { cpu: "1" } })] }), "Burstable");
});

test("a secret's stringData becomes data and is never kept", () => {
  const secret = defaulted("v1/secrets", {
    metadata: { name: "s" },
    data: { a: "eA==" },
    stringData: { a: "new", b: "é" },
  });
  assert.deepEqual(secret.data, { a: "bmV3", b: "w6k=" });
  assert.equal("stringData" in secret, false);
  assert.equal(secret.type, "Opaque");
});

test("a namespace is active, has the kubernetes finalizer and its name as a label", () => {
  const namespace = created("v1/namespaces", { metadata: { name: "n" } });
  assert.deepEqual(namespace.metadata.labels, { "kubernetes.io/metadata.name": "n" });
  assert.deepEqual([namespace.spec, namespace.status], [{ finalizers: ["kubernetes"] }, { phase: "Active" }]);
});

test("a service gets its defaults, and keeps what was allocated when an update leaves it out", () => {
  const body = (extra: object = {}) => ({
    metadata: { name: "s" },
    spec: { type: "NodePort", ports: [{ port: 80 }], ...extra },
  });
  const old = created("v1/services", body());
  assert.deepEqual(old.spec.ports, [{ port: 80, protocol: "TCP", targetPort: 80 }]);
  assert.deepEqual(
    [old.spec.externalTrafficPolicy, old.spec.internalTrafficPolicy, old.spec.sessionAffinity],
    ["Cluster", "Cluster", "None"],
  );
  old.spec.clusterIP = "10.43.0.9";
  old.spec.clusterIPs = ["10.43.0.9"];
  old.spec.ports[0].nodePort = 30001;
  const next = defaulted("v1/services", body());
  resource("v1/services").strategy.prepareForUpdate!(next, old);
  assert.deepEqual(
    [next.spec.clusterIP, next.spec.clusterIPs, next.spec.ports[0].nodePort],
    ["10.43.0.9", ["10.43.0.9"], 30001],
  );
  const inner = defaulted(
    "v1/services",
    body({ type: "ClusterIP", ports: [{ port: 80, nodePort: 30001 }], externalTrafficPolicy: "Cluster" }),
  );
  resource("v1/services").strategy.prepareForUpdate!(inner, old);
  assert.deepEqual([inner.spec.ports[0].nodePort, inner.spec.externalTrafficPolicy], [undefined, undefined]);
});

test("a job selects its pods by its uid", () => {
  const job = created("batch/v1/jobs", {
    metadata: { name: "j", uid: "u-1" },
    spec: { template: { spec: { containers: [] } } },
  });
  assert.deepEqual(job.spec.selector.matchLabels, { "batch.kubernetes.io/controller-uid": "u-1" });
  assert.equal(job.spec.template.metadata.labels["batch.kubernetes.io/job-name"], "j");
  assert.deepEqual([job.spec.completions, job.spec.parallelism, job.spec.backoffLimit], [1, 1, 6]);
});

test("a pod that no kubelet runs is deleted at once, others get their grace", () => {
  const grace = resource("v1/pods").strategy.gracePeriodSeconds!;
  assert.equal(grace(pod({ containers: [] }), undefined), 0);
  assert.equal(grace(pod({ containers: [], nodeName: "n", terminationGracePeriodSeconds: 45 }), undefined), 45);
  assert.equal(grace(pod({ containers: [], nodeName: "n", terminationGracePeriodSeconds: 45 }), 5), 5);
  assert.equal(
    grace({ ...pod({ containers: [], nodeName: "n" }), status: { phase: "Succeeded" } } as never, undefined),
    0,
  );
});

test("a definition of custom resources fills its names and remembers its storage version", () => {
  const crd = created("apiextensions.k8s.io/v1/customresourcedefinitions", {
    metadata: { name: "foos.example.com" },
    spec: {
      group: "example.com",
      scope: "Namespaced",
      names: { plural: "foos", kind: "Foo" },
      versions: [{ name: "v1", served: true, storage: true }],
    },
  });
  assert.deepEqual(crd.spec.names, { kind: "Foo", listKind: "FooList", plural: "foos", singular: "foo" });
  assert.deepEqual([crd.spec.conversion, crd.status.storedVersions], [{ strategy: "None" }, ["v1"]]);
});
