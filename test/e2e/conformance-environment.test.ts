/** What the conformance tests ask of a container's environment: references, facts of its pod, and what is made of them. */
import assert from "node:assert/strict";
import { describe } from "node:test";
import { type Container, configMaps, type EnvVar, type Pod, pods, secrets } from "../../src/api/generated/core-v1.ts";
import { conformance, type Nodes, shell, useNodes } from "../conformance/on-nodes.ts";

useNodes();

const api = "[sig-node] Downward API should provide";
const expansion = "[sig-node] Variable Expansion should";

const sleep = { command: ["sleep", "10000"] };

/** What a pod of this container prints before it succeeds. */
async function outputOf(
  nodes: Nodes,
  container: Partial<Container>,
  spec: Parameters<Nodes["create"]>[2] = {},
): Promise<string> {
  await nodes.create("p", container, spec);
  const { status } = await nodes.ended("p");
  const output = await nodes.logs("p");
  assert.equal(status!.phase, "Succeeded", output);
  return output;
}

function assertLines(output: string, expected: readonly string[]): void {
  const lines = output.split("\n");
  for (const line of expected) assert.ok(lines.includes(line), `${line} is not among:\n${output}`);
}

describe("environments", { concurrency: 8 }, () => {
  const entries = ["data-1=value-1", "data-2=value-2", "data-3=value-3"];
  const data = { "data-1": "value-1", "data-2": "value-2", "data-3": "value-3" };

  /** Creates a ConfigMap or a Secret of the entries above and gives the two ways to refer to it. */
  async function settings({ client, namespace }: Nodes, kind: "configMap" | "secret") {
    const metadata = { name: "settings", namespace };
    if (kind === "configMap") await client.create(configMaps, { metadata, data });
    else {
      const encoded = Object.entries(data).map(([key, value]) => [key, Buffer.from(value).toString("base64")]);
      await client.create(secrets, { metadata, data: Object.fromEntries(encoded) });
    }
    const name = "settings";
    return {
      key: (key: string) => (kind === "secret" ? { secretKeyRef: { name, key } } : { configMapKeyRef: { name, key } }),
      all: (prefix?: string) => ({
        ...(prefix === undefined ? {} : { prefix }),
        ...(kind === "secret" ? { secretRef: { name } } : { configMapRef: { name } }),
      }),
    };
  }

  const one = (kind: "configMap" | "secret") => async (nodes: Nodes) => {
    const { key } = await settings(nodes, kind);
    const env = [{ name: "ONE", valueFrom: key("data-1") }];
    assertLines(await outputOf(nodes, { ...shell("env"), env }), ["ONE=value-1"]);
  };
  const prefixed = (kind: "configMap" | "secret", prefixes: readonly string[]) => async (nodes: Nodes) => {
    const { all } = await settings(nodes, kind);
    const output = await outputOf(nodes, { ...shell("env"), envFrom: [all(), ...prefixes.map(all)] });
    assertLines(
      output,
      ["", ...prefixes].flatMap((prefix) => entries.map((entry) => prefix + entry)),
    );
  };
  const prefixes = ["1-", "$_-", "ABC_", "#@!"];
  conformance(
    "[sig-node] ConfigMap should be consumable via environment variable [NodeConformance] [Conformance]",
    one("configMap"),
  );
  conformance(
    "[sig-node] ConfigMap should be consumable via the environment [NodeConformance] [Conformance]",
    prefixed("configMap", ["p-"]),
  );
  conformance(
    "[sig-node] ConfigMap should be consumable as environment variable names with various prefixes [Conformance]",
    prefixed("configMap", prefixes),
  );
  conformance(
    "[sig-node] Secrets should be consumable from pods in env vars [NodeConformance] [Conformance]",
    one("secret"),
  );
  conformance(
    "[sig-node] Secrets should be consumable via the environment [NodeConformance] [Conformance]",
    prefixed("secret", ["p-"]),
  );
  conformance(
    "[sig-node] Secrets should be consumable as environment variable names variable names with various prefixes [Conformance]",
    prefixed("secret", prefixes),
  );

  /** A case about environment variables: values, or fields and resources that stand for them, and the lines of `env`. */
  const environment =
    (env: readonly EnvVar[], expected: (pod: Pod) => readonly (string | RegExp)[], more: Partial<Container> = {}) =>
    async (nodes: Nodes) => {
      const output = await outputOf(nodes, { ...shell("env"), env: [...env], ...more });
      const lines = output.split("\n");
      for (const line of expected(await nodes.client.get(pods, "p", nodes)))
        assert.ok(
          lines.some((found) => (typeof line === "string" ? found === line : line.test(found))),
          `${line}: ${output}`,
        );
    };
  const field = (name: string, fieldPath: string) => ({
    name,
    valueFrom: { fieldRef: { apiVersion: "v1", fieldPath } },
  });
  const resource = (name: string, of: string) => ({ name, valueFrom: { resourceFieldRef: { resource: of } } });
  conformance(
    `${api} pod name, namespace and IP address as env vars [NodeConformance] [Conformance]`,
    environment(
      [field("NAME", "metadata.name"), field("NAMESPACE", "metadata.namespace"), field("IP", "status.podIP")],
      ({ metadata, status }) => ["NAME=p", `NAMESPACE=${metadata.namespace}`, `IP=${status!.podIP}`],
    ),
  );
  conformance(
    `${api} host IP as an env var [NodeConformance] [Conformance]`,
    environment([field("IP", "status.hostIP")], ({ status }) => [/^IP=\d+\.\d+\.\d+\.\d+$/, `IP=${status!.hostIP}`]),
  );
  conformance(
    `${api} hostIPs as an env var [NodeConformance] [Conformance]`,
    environment([field("IP", "status.hostIP"), field("IPS", "status.hostIPs")], ({ status }) => [
      /^IP=\d+\.\d+\.\d+\.\d+$/,
      `IPS=${status!.hostIPs!.map(({ ip }) => ip).join(",")}`,
    ]),
  );
  conformance(
    `${api} pod UID as env vars [NodeConformance] [Conformance]`,
    environment([field("ID", "metadata.uid")], ({ metadata }) => [`ID=${metadata.uid}`]),
  );
  conformance(
    `${api} container's limits.cpu/memory and requests.cpu/memory as env vars [NodeConformance] [Conformance]`,
    environment(
      [
        resource("CPU_LIMIT", "limits.cpu"),
        resource("MEMORY_LIMIT", "limits.memory"),
        resource("CPU_REQUEST", "requests.cpu"),
        resource("MEMORY_REQUEST", "requests.memory"),
      ],
      // A part of a processor is rounded up to a whole one.
      () => ["CPU_LIMIT=2", "MEMORY_LIMIT=67108864", "CPU_REQUEST=1", "MEMORY_REQUEST=33554432"],
      { resources: { requests: { cpu: "250m", memory: "32Mi" }, limits: { cpu: "1250m", memory: "64Mi" } } },
    ),
  );
  conformance(
    `${api} default limits.cpu/memory from node allocatable [NodeConformance] [Conformance]`,
    environment([resource("CPU_LIMIT", "limits.cpu"), resource("MEMORY_LIMIT", "limits.memory")], () => [
      /^CPU_LIMIT=[1-9]\d*$/,
      /^MEMORY_LIMIT=[1-9]\d*$/,
    ]),
  );

  conformance(
    `${expansion} allow composing env vars into new env vars [NodeConformance] [Conformance]`,
    environment(
      [
        { name: "FOO", value: "foo-value" },
        { name: "BAR", value: "bar-value" },
        { name: "BOTH", value: "$(FOO);;$(BAR)" },
      ],
      () => ["FOO=foo-value", "BAR=bar-value", "BOTH=foo-value;;bar-value"],
    ),
  );
  const words = [{ name: "WORD", value: "right" }];
  conformance(
    `${expansion} allow substituting values in a container's command [NodeConformance] [Conformance]`,
    environment(words, () => ["right"], { command: ["sh", "-c", 'WORD=wrong echo "$(WORD)"'] }),
  );
  conformance(
    `${expansion} allow substituting values in a container's args [NodeConformance] [Conformance]`,
    environment(words, () => ["right"], { command: ["sh", "-c"], args: ['WORD=wrong echo "$(WORD)"'] }),
  );

  const volumes = [{ name: "v", emptyDir: {} }];
  conformance(`${expansion} allow substituting values in a volume subpath [Conformance]`, async (nodes) => {
    const env = [{ name: "NAME", value: "below" }];
    const volumeMounts = [
      { name: "v", mountPath: "/part", subPathExpr: "$(NAME)" },
      { name: "v", mountPath: "/whole" },
    ];
    const script = "test -d /whole/below; echo $?";
    assert.equal(await outputOf(nodes, { ...shell(script), env, volumeMounts }, { volumes }), "0\n");
  });
  const isRefused = (nodes: Nodes) =>
    nodes.becomes("p", ({ status }) => {
      const state = status?.containerStatuses?.[0]?.state;
      assert.ok(!state?.running && !state?.terminated, "it must not start");
      return state?.waiting?.reason === "CreateContainerConfigError";
    });
  const refuses = (value: string) => async (nodes: Nodes) => {
    const env = [{ name: "NAME", value }];
    const volumeMounts = [{ name: "v", mountPath: "/part", subPathExpr: "$(NAME)" }];
    await nodes.create("p", { env, volumeMounts }, { volumes });
    await isRefused(nodes);
  };
  conformance(
    `${expansion} fail substituting values in a volume subpath with absolute path [Conformance]`,
    refuses("/tmp"),
  );
  conformance(`${expansion} fail substituting values in a volume subpath with backticks [Conformance]`, refuses(".."));
  const annotated = {
    ...sleep,
    env: [{ name: "NAME", value: "foo" }, field("ANNOTATION", "metadata.annotations['below']")],
    volumeMounts: [
      { name: "v", mountPath: "/part", subPathExpr: "$(ANNOTATION)/$(NAME)" },
      { name: "v", mountPath: "/whole" },
    ],
  };
  const annotate = ({ client, namespace }: Nodes, below: string) =>
    client.patch(pods, "p", { type: "merge", body: { metadata: { annotations: { below } } } }, { namespace });
  conformance(
    `${expansion} verify that a failing subpath expansion can be modified during the lifecycle of a container [Slow] [Conformance]`,
    async (nodes) => {
      await nodes.create("p", annotated, { volumes }, { annotations: { other: "path" } });
      const refused = await isRefused(nodes);
      assert.equal(refused.status?.phase, "Pending");
      await annotate(nodes, "path");
      await nodes.becomes("p", ({ status }) => status?.phase === "Running");
      await nodes.remove("p");
    },
  );
  conformance(`${expansion} succeed in writing subpaths in container [Conformance]`, async (nodes) => {
    await nodes.create("p", annotated, { volumes }, { annotations: { below: "path" } });
    await nodes.ready("p");
    await nodes.exec("p", ["touch", "/whole/path/foo/test.log"]);
    await nodes.exec("p", ["test", "-f", "/part/test.log"]);
    await annotate(nodes, "other");
    await nodes.becomes(
      "p",
      ({ metadata, status }) => !!metadata.annotations?.["below"] && status?.phase === "Running",
    );
    await nodes.remove("p");
  });
});
