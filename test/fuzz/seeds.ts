/** A small valid object of every kind that is written: what the fuzz run's bodies are mutated from. */

type Json = Record<string, unknown>;

const labels = { app: "fuzz" };
const selector = { matchLabels: labels };
const podSpec = {
  containers: [
    {
      name: "web",
      image: "nginx:1",
      ports: [{ name: "http", containerPort: 80 }],
      env: [
        { name: "A", value: "1" },
        { name: "B", valueFrom: { fieldRef: { fieldPath: "metadata.name" } } },
      ],
      resources: { requests: { cpu: "100m", memory: "64Mi" }, limits: { memory: "128Mi" } },
      volumeMounts: [{ name: "data", mountPath: "/data" }],
      readinessProbe: { httpGet: { path: "/", port: "http" }, periodSeconds: 5 },
    },
  ],
  volumes: [{ name: "data", emptyDir: { sizeLimit: "1Gi" } }],
  tolerations: [{ key: "x", operator: "Exists", effect: "NoExecute", tolerationSeconds: 30 }],
};
const template = { metadata: { labels }, spec: podSpec };
const jobTemplate = { metadata: { labels }, spec: { ...podSpec, restartPolicy: "Never" } };
const role = { rules: [{ apiGroups: [""], resources: ["pods"], verbs: ["get", "list"] }] };
const subjects = [{ kind: "User", name: "eve", apiGroup: "rbac.authorization.k8s.io" }];
const roleRef = (kind: string) => ({ kind, name: "fuzz-a", apiGroup: "rbac.authorization.k8s.io" });
const time = "2026-01-02T03:04:05Z";
const microTime = "2026-01-02T03:04:05.000006Z";
const webhook = (kind: string) => ({
  webhooks: [
    {
      name: `${kind}.example.com`,
      clientConfig: { url: "https://127.0.0.1:1/" },
      rules: [{ apiGroups: ["x.example.com"], apiVersions: ["v1"], operations: ["CREATE"], resources: ["none"] }],
      failurePolicy: "Ignore",
      sideEffects: "None",
      admissionReviewVersions: ["v1"],
    },
  ],
});
const policyRules = [
  { apiGroups: ["x.example.com"], apiVersions: ["v1"], operations: ["CREATE"], resources: ["none"] },
];
const device = { name: "d0", attributes: { model: { string: "a" } }, capacity: { memory: { value: "1Gi" } } };
const claim = { devices: { requests: [{ name: "r", exactly: { deviceClassName: "fuzz-a" } }] } };
const request = `-----BEGIN CERTIFICATE REQUEST-----
MIHIMHECAQAwDzENMAsGA1UEAwwEZnV6ejBZMBMGByqGSM49AgEGCCqGSM49AwEH
A0IABP3bA6zLcXHB/3gxOsEoN23KvMtkEPUXUvqQ5oEE1/UQ8C3fShnvuIFrQ83e
GZ7eCEL9AdRugEP2jZE6NXSAN6SgADAKBggqhkjOPQQDAgNHADBEAiBU0Uui3qib
OGyfdgmgNHbsePS7sOxK648ZF36HlJvapgIgD3oI4FvlQ1tNoDyORpg/zwCduBBL
HKVSvyBnE4jrM+Y=
-----END CERTIFICATE REQUEST-----
`;

/** By "<group>/<version>/<resource>", the group of v1 being empty; without name, apiVersion and kind. */
export const seeds: Readonly<Record<string, Json>> = {
  "/v1/namespaces": {},
  "/v1/configmaps": { data: { a: "1", "b.txt": "x\ny" }, binaryData: { c: "AAEC" } },
  "/v1/endpoints": { subsets: [{ addresses: [{ ip: "192.0.2.7" }], ports: [{ name: "http", port: 80 }] }] },
  "/v1/events": {
    involvedObject: { kind: "Pod", name: "p", namespace: "fuzz-1", apiVersion: "v1" },
    reason: "Started",
    message: "it runs",
    type: "Normal",
    count: 1,
    firstTimestamp: time,
    lastTimestamp: time,
    source: { component: "fuzz" },
  },
  "/v1/limitranges": { spec: { limits: [{ type: "Container", max: { cpu: "64" }, default: { cpu: "1" } }] } },
  "/v1/persistentvolumeclaims": {
    spec: { accessModes: ["ReadWriteOnce"], resources: { requests: { storage: "1Gi" } }, storageClassName: "" },
  },
  "/v1/persistentvolumes": {
    spec: { capacity: { storage: "1Gi" }, accessModes: ["ReadWriteOnce"], hostPath: { path: "/data" } },
  },
  "/v1/pods": { spec: podSpec },
  "/v1/podtemplates": { template },
  "/v1/replicationcontrollers": { spec: { replicas: 0, selector: labels, template } },
  "/v1/resourcequotas": { spec: { hard: { "count/secrets": "5k", "requests.cpu": "10k" } } },
  "/v1/secrets": { data: { token: "c2VjcmV0" }, type: "Opaque" },
  "/v1/services": {
    spec: { selector: labels, ports: [{ name: "http", port: 80, targetPort: "http", protocol: "TCP" }] },
  },
  "/v1/serviceaccounts": { secrets: [{ name: "s" }], automountServiceAccountToken: false },
  "/v1/nodes": { spec: { taints: [{ key: "x", effect: "NoSchedule" }] } },
  "admissionregistration.k8s.io/v1/mutatingwebhookconfigurations": webhook("mutating"),
  "admissionregistration.k8s.io/v1/validatingwebhookconfigurations": webhook("validating"),
  "admissionregistration.k8s.io/v1/validatingadmissionpolicies": {
    spec: {
      matchConstraints: { resourceRules: policyRules },
      validations: [{ expression: "object.metadata.name != 'x'", message: "no x" }],
    },
  },
  "admissionregistration.k8s.io/v1/validatingadmissionpolicybindings": {
    spec: { policyName: "fuzz-a", validationActions: ["Warn"] },
  },
  "admissionregistration.k8s.io/v1/mutatingadmissionpolicies": {
    spec: {
      matchConstraints: { resourceRules: policyRules },
      reinvocationPolicy: "Never",
      mutations: [{ patchType: "JSONPatch", jsonPatch: { expression: '[JSONPatch{op: "remove", path: "/x"}]' } }],
    },
  },
  "admissionregistration.k8s.io/v1/mutatingadmissionpolicybindings": { spec: { policyName: "fuzz-a" } },
  "apiextensions.k8s.io/v1/customresourcedefinitions": {
    metadata: { name: "others.fuzz.example.com" },
    spec: {
      group: "fuzz.example.com",
      scope: "Namespaced",
      names: { plural: "others", singular: "other", kind: "Other", listKind: "OtherList" },
      versions: [
        {
          name: "v1",
          served: true,
          storage: true,
          schema: { openAPIV3Schema: { type: "object", "x-kubernetes-preserve-unknown-fields": true } },
        },
      ],
    },
  },
  "apiregistration.k8s.io/v1/apiservices": {
    metadata: { name: "v9.fuzz-a.example.com" },
    spec: { group: "fuzz-a.example.com", version: "v9", groupPriorityMinimum: 10, versionPriority: 10 },
  },
  "apps/v1/controllerrevisions": { revision: 3, data: { spec: { a: 1 } } },
  "apps/v1/daemonsets": { spec: { selector, template } },
  "apps/v1/deployments": { spec: { replicas: 0, selector, template, strategy: { type: "Recreate" } } },
  "apps/v1/replicasets": { spec: { replicas: 0, selector, template } },
  "apps/v1/statefulsets": {
    spec: {
      replicas: 0,
      serviceName: "s",
      selector,
      template,
      volumeClaimTemplates: [
        {
          metadata: { name: "v" },
          spec: { accessModes: ["ReadWriteOnce"], resources: { requests: { storage: "1Gi" } } },
        },
      ],
    },
  },
  "authentication.k8s.io/v1/selfsubjectreviews": {},
  "authentication.k8s.io/v1/tokenreviews": { spec: { token: "a.b.c" } },
  "authorization.k8s.io/v1/localsubjectaccessreviews": {
    spec: { user: "eve", resourceAttributes: { namespace: "fuzz-1", verb: "get", resource: "pods" } },
  },
  "authorization.k8s.io/v1/selfsubjectaccessreviews": {
    spec: { resourceAttributes: { verb: "get", resource: "pods" } },
  },
  "authorization.k8s.io/v1/selfsubjectrulesreviews": { spec: { namespace: "fuzz-1" } },
  "authorization.k8s.io/v1/subjectaccessreviews": {
    spec: { user: "eve", groups: ["g"], nonResourceAttributes: { path: "/x", verb: "get" } },
  },
  "autoscaling/v1/horizontalpodautoscalers": {
    spec: { maxReplicas: 3, scaleTargetRef: { apiVersion: "apps/v1", kind: "Deployment", name: "none" } },
  },
  "autoscaling/v2/horizontalpodautoscalers": {
    spec: {
      maxReplicas: 3,
      scaleTargetRef: { apiVersion: "apps/v1", kind: "Deployment", name: "none" },
      metrics: [
        { type: "Resource", resource: { name: "cpu", target: { type: "Utilization", averageUtilization: 50 } } },
      ],
    },
  },
  "batch/v1/cronjobs": {
    spec: { schedule: "5 4 * * 3", suspend: true, jobTemplate: { spec: { template: jobTemplate } } },
  },
  "batch/v1/jobs": { spec: { suspend: true, template: jobTemplate } },
  "certificates.k8s.io/v1/certificatesigningrequests": {
    spec: { request: Buffer.from(request).toString("base64"), signerName: "example.com/x", usages: ["client auth"] },
  },
  "coordination.k8s.io/v1/leases": {
    spec: { holderIdentity: "me", leaseDurationSeconds: 15, acquireTime: microTime, renewTime: microTime },
  },
  "discovery.k8s.io/v1/endpointslices": {
    addressType: "IPv4",
    endpoints: [{ addresses: ["192.0.2.8"], conditions: { ready: true } }],
    ports: [{ name: "http", port: 80, protocol: "TCP" }],
  },
  "events.k8s.io/v1/events": {
    eventTime: microTime,
    reportingController: "example.com/fuzz",
    reportingInstance: "fuzz-1",
    action: "Starting",
    reason: "Started",
    type: "Normal",
    regarding: { kind: "Pod", name: "p", namespace: "fuzz-1" },
  },
  "flowcontrol.apiserver.k8s.io/v1/flowschemas": {
    spec: {
      matchingPrecedence: 1000,
      priorityLevelConfiguration: { name: "fuzz-a" },
      rules: [
        {
          subjects: [{ kind: "User", user: { name: "eve" } }],
          nonResourceRules: [{ verbs: ["get"], nonResourceURLs: ["/x"] }],
        },
      ],
    },
  },
  "flowcontrol.apiserver.k8s.io/v1/prioritylevelconfigurations": {
    spec: { type: "Limited", limited: { nominalConcurrencyShares: 5, limitResponse: { type: "Reject" } } },
  },
  "networking.k8s.io/v1/ingressclasses": { spec: { controller: "example.com/c" } },
  "networking.k8s.io/v1/ingresses": {
    spec: {
      rules: [
        {
          host: "a.example.com",
          http: {
            paths: [{ path: "/", pathType: "Prefix", backend: { service: { name: "s", port: { number: 80 } } } }],
          },
        },
      ],
    },
  },
  "networking.k8s.io/v1/ipaddresses": {
    metadata: { name: "198.51.100.9" },
    spec: { parentRef: { resource: "services", namespace: "fuzz-1", name: "s" } },
  },
  "networking.k8s.io/v1/networkpolicies": {
    spec: {
      podSelector: selector,
      ingress: [
        {
          from: [{ ipBlock: { cidr: "192.0.2.0/24", except: ["192.0.2.8/29"] } }],
          ports: [{ port: 80, protocol: "TCP" }],
        },
      ],
      policyTypes: ["Ingress"],
    },
  },
  "networking.k8s.io/v1/servicecidrs": { spec: { cidrs: ["198.51.100.0/24"] } },
  "node.k8s.io/v1/runtimeclasses": { handler: "runc" },
  "policy/v1/poddisruptionbudgets": { spec: { minAvailable: "50%", selector } },
  "rbac.authorization.k8s.io/v1/clusterrolebindings": { roleRef: roleRef("ClusterRole"), subjects },
  "rbac.authorization.k8s.io/v1/clusterroles": role,
  "rbac.authorization.k8s.io/v1/rolebindings": { roleRef: roleRef("Role"), subjects },
  "rbac.authorization.k8s.io/v1/roles": role,
  "resource.k8s.io/v1/deviceclasses": { spec: { selectors: [{ cel: { expression: "device.driver == 'x'" } }] } },
  "resource.k8s.io/v1/resourceclaims": { spec: claim },
  "resource.k8s.io/v1/resourceclaimtemplates": { spec: { spec: claim } },
  "resource.k8s.io/v1/resourceslices": {
    spec: {
      driver: "fuzz.example.com",
      nodeName: "none",
      pool: { name: "p", generation: 1, resourceSliceCount: 1 },
      devices: [device],
    },
  },
  "scheduling.k8s.io/v1/priorityclasses": { value: 5, preemptionPolicy: "Never" },
  "storage.k8s.io/v1/csidrivers": { spec: { attachRequired: false } },
  "storage.k8s.io/v1/csinodes": { spec: { drivers: [{ name: "d", nodeID: "n", topologyKeys: ["x"] }] } },
  "storage.k8s.io/v1/csistoragecapacities": { storageClassName: "s", capacity: "1Gi" },
  "storage.k8s.io/v1/storageclasses": { provisioner: "example.com/p", parameters: { a: "b" } },
  "storage.k8s.io/v1/volumeattachments": {
    spec: { attacher: "csi.example.com", nodeName: "n", source: { persistentVolumeName: "v" } },
  },
  "storage.k8s.io/v1/volumeattributesclasses": { driverName: "csi.example.com", parameters: { a: "b" } },
  "fuzz.example.com/v1/widgets": {
    spec: { size: 3, replicas: 1, tags: ["a"], ports: [{ name: "http", port: 80 }], extra: { any: [1, 2.5, null] } },
  },
};

/** A definition with most of what definitions have: defaults, keyed lists, rules, status, scale and columns. */
export const widgetDefinition = {
  apiVersion: "apiextensions.k8s.io/v1",
  kind: "CustomResourceDefinition",
  metadata: { name: "widgets.fuzz.example.com" },
  spec: {
    group: "fuzz.example.com",
    scope: "Namespaced",
    names: { plural: "widgets", singular: "widget", kind: "Widget", listKind: "WidgetList", shortNames: ["wi"] },
    versions: [
      {
        name: "v1",
        served: true,
        storage: true,
        subresources: {
          status: {},
          scale: { specReplicasPath: ".spec.replicas", statusReplicasPath: ".status.replicas" },
        },
        additionalPrinterColumns: [{ name: "Size", type: "integer", jsonPath: ".spec.size" }],
        schema: {
          openAPIV3Schema: {
            type: "object",
            properties: {
              spec: {
                type: "object",
                required: ["size"],
                "x-kubernetes-validations": [{ rule: "self.size < 1000", message: "too large" }],
                properties: {
                  size: { type: "integer", minimum: 0 },
                  replicas: { type: "integer", default: 1 },
                  ratio: { type: "number" },
                  quantity: { "x-kubernetes-int-or-string": true },
                  tags: { type: "array", maxItems: 20, items: { type: "string" }, "x-kubernetes-list-type": "set" },
                  ports: {
                    type: "array",
                    maxItems: 20,
                    "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["name"],
                    items: {
                      type: "object",
                      required: ["name"],
                      properties: { name: { type: "string" }, port: { type: "integer" } },
                    },
                  },
                  extra: { type: "object", "x-kubernetes-preserve-unknown-fields": true },
                },
              },
              status: { type: "object", properties: { replicas: { type: "integer" } } },
            },
          },
        },
      },
    ],
  },
};
