import assert from "node:assert/strict";
import { test } from "node:test";
import {
  containerEnvironment,
  type EnvironmentSources,
  expand,
  serviceVariables,
} from "../../../../src/agent/kubelet/environment.ts";
import { container, pod } from "./pod-fixture.ts";

const sources: EnvironmentSources = {
  nodeName: "node-1",
  hostIp: "192.0.2.1",
  hostIps: ["192.0.2.1"],
  podIps: ["10.42.0.5"],
  allocatable: { cpu: "4", memory: "8Gi" },
  configMap: async (name) => (name === "cm" ? { metadata: {}, data: { a: "1", b: "2" } } : undefined),
  secret: async (name) =>
    name === "s" ? { metadata: {}, data: { k: Buffer.from("secret").toString("base64") } } : undefined,
  services: async () => [],
};

for (const [text, want] of [
  ["$(A)", "1"],
  ["x$(A)y$(B)", "x1y2"],
  ["$(NO)", "$(NO)"],
  ["$$(A)", "$(A)"],
  ["$$$(A)", "$1"],
  ["$A {A} $(", "$A {A} $("],
] as const)
  test(`"${text}" expands to "${want}"`, () =>
    assert.equal(
      expand(
        text,
        new Map([
          ["A", "1"],
          ["B", "2"],
        ]),
      ),
      want,
    ));

test("variables come from fields, resources, config maps and secrets, and refer to earlier ones", async () => {
  const main = container("main", {
    resources: { limits: { cpu: "250m" } },
    envFrom: [{ prefix: "CM_", configMapRef: { name: "cm" } }],
    env: [
      { name: "NAME", valueFrom: { fieldRef: { fieldPath: "metadata.name" } } },
      { name: "LABEL", valueFrom: { fieldRef: { fieldPath: "metadata.labels['app']" } } },
      { name: "IP", valueFrom: { fieldRef: { fieldPath: "status.podIP" } } },
      { name: "CPU", valueFrom: { resourceFieldRef: { resource: "limits.cpu", divisor: "1m" } } },
      { name: "CORES", valueFrom: { resourceFieldRef: { resource: "limits.cpu" } } },
      { name: "MEMORY", valueFrom: { resourceFieldRef: { resource: "limits.memory", divisor: "1Gi" } } },
      { name: "KEY", valueFrom: { configMapKeyRef: { name: "cm", key: "a" } } },
      { name: "SECRET", valueFrom: { secretKeyRef: { name: "s", key: "k" } } },
      { name: "GONE", valueFrom: { secretKeyRef: { name: "none", key: "k", optional: true } } },
      { name: "ALL", value: "$(NAME)-$(CM_b)-$(LATER)" },
      { name: "LATER", value: "x" },
    ],
  });
  const of = pod({ containers: [main] }, { metadata: { name: "p", namespace: "default", labels: { app: "web" } } });
  assert.deepEqual(Object.fromEntries(await containerEnvironment(of, main, sources)), {
    CM_a: "1",
    CM_b: "2",
    NAME: "p",
    LABEL: "web",
    IP: "10.42.0.5",
    CPU: "250",
    CORES: "1",
    MEMORY: "8",
    KEY: "1",
    SECRET: "secret",
    ALL: "p-2-$(LATER)",
    LATER: "x",
  });
});

test("what is missing and not optional is an error with Kubernetes' text", async () => {
  const of = (env: NonNullable<Parameters<typeof container>[1]>["env"]) => container("main", { env: env ?? [] });
  const missing = of([{ name: "A", valueFrom: { configMapKeyRef: { name: "no", key: "k" } } }]);
  await assert.rejects(containerEnvironment(pod(), missing, sources), /^Error: configmap "no" not found$/);
  const key = of([{ name: "A", valueFrom: { secretKeyRef: { name: "s", key: "no" } } }]);
  await assert.rejects(containerEnvironment(pod(), key, sources), /couldn't find key no in Secret default\/s/);
  const from = container("main", { envFrom: [{ secretRef: { name: "no" } }] });
  await assert.rejects(containerEnvironment(pod(), from, sources), /secret "no" not found/);
});

test("services give the variables of Docker links, and the pod's own win", async () => {
  const service = {
    metadata: { name: "my-db" },
    spec: { clusterIP: "10.43.0.7", ports: [{ name: "sql", port: 5432 }] },
  };
  const variables = Object.fromEntries(serviceVariables([service]));
  assert.deepEqual(variables, {
    MY_DB_SERVICE_HOST: "10.43.0.7",
    MY_DB_SERVICE_PORT: "5432",
    MY_DB_SERVICE_PORT_SQL: "5432",
    MY_DB_PORT: "tcp://10.43.0.7:5432",
    MY_DB_PORT_5432_TCP: "tcp://10.43.0.7:5432",
    MY_DB_PORT_5432_TCP_PROTO: "tcp",
    MY_DB_PORT_5432_TCP_PORT: "5432",
    MY_DB_PORT_5432_TCP_ADDR: "10.43.0.7",
  });
  const main = container("main", {
    env: [
      { name: "MY_DB_SERVICE_PORT", value: "1" },
      { name: "URL", value: "$(MY_DB_PORT)" },
    ],
  });
  const result = await containerEnvironment(pod(), main, { ...sources, services: async () => [service] });
  assert.deepEqual([result.get("MY_DB_SERVICE_PORT"), result.get("URL")], ["1", "tcp://10.43.0.7:5432"]);
});
