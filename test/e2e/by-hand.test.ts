import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, type TestContext, test } from "node:test";
import { agentImage, serverImage } from "../../src/commands/images.ts";
import { run, tryRun } from "../../tools/run.ts";
import { eventually } from "../support/eventually.ts";
import { kubectl } from "../support/kubectl.ts";

/** Clusters without the orchestrator: what the README tells to type. */

const docker = (...args: string[]) => run("docker", args);
const ready = (container: string) =>
  eventually(async () => {
    const wait = ["kubectl", "wait", "--for=condition=Ready", "nodes", "--all", "--timeout=30s"];
    assert.match(await docker("exec", container, ...wait), /condition met/);
  }, 120_000);

const unique = (kind: string) => `test-${kind}-${randomBytes(4).toString("hex")}`;

/** The server of all tests but the last. */
const server = unique("server");

before(async () => {
  await docker("run", "-d", "--privileged", "--name", server, "-p", "127.0.0.1::6443", serverImage);
  await ready(server);
});
after(() => tryRun("docker", ["rm", "-fv", server]));

/** Runs an agent that is gone after the test. */
async function startAgent(test: TestContext, token: string): Promise<string> {
  const name = unique("agent");
  test.after(() => tryRun("docker", ["rm", "-fv", name]));
  const environment = ["-e", `K3S_URL=${await urlOf(server)}`, "-e", `K3S_TOKEN=${token}`];
  await docker("run", "-d", "--privileged", "--name", name, "--hostname", name, ...environment, agentImage);
  return name;
}

async function urlOf(server: string): Promise<string> {
  const format = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
  return `https://${await docker("inspect", "--format", format, server)}:6443`;
}

async function nodesOf(server: string): Promise<string[]> {
  const output = await docker("exec", server, "kubectl", "get", "nodes", "-o", "name");
  return output.split("\n").map((name) => name.trim());
}

test("docker run of the server image is a cluster: kubectl answers inside, and outside with its kubeconfig", async (t) => {
  const directory = mkdtempSync(join(tmpdir(), "k3ts-by-hand-"));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  assert.match(await docker("exec", server, "k3ts", "kubectl", "get", "nodes"), / Ready +control-plane /);
  assert.match(await docker("exec", server, "kubectl", "get", "nodes"), / Ready +control-plane /);
  const port = /:(\d+)$/m.exec(await docker("port", server, "6443/tcp"))![1];
  const text = await docker("exec", server, "cat", "/etc/rancher/k3s/k3s.yaml");
  const kubeconfig = join(directory, "kubeconfig.yaml");
  writeFileSync(kubeconfig, text.replace("https://127.0.0.1:6443", `https://127.0.0.1:${port}`), { mode: 0o600 });
  assert.match(await kubectl(["get", "nodes"], { kubeconfig }), / Ready +control-plane /);
  await docker("exec", server, "kubectl", "run", "web", "--image=rancher/mirrored-pause:3.6");
  await docker("exec", server, "kubectl", "wait", "pod/web", "--for=condition=Ready", "--timeout=120s");
});

test("an agent with a token of another cluster ends, says why, and does not join", async (t) => {
  const agent = await startAgent(t, `K10${"0".repeat(64)}::server:wrong`);
  assert.notEqual(await docker("wait", agent), "0");
  const { stdout, stderr } = await tryRun("docker", ["logs", agent]);
  assert.match(stdout + stderr, /level=fatal msg="token CA hash does not match the Cluster CA certificate hash/);
  assert.equal((await nodesOf(server)).length, 1);
});

test("an agent joins by K3S_URL and K3S_TOKEN, with the token that the server chose", async (t) => {
  const agent = await startAgent(t, await docker("exec", server, "cat", "/var/lib/rancher/k3s/server/node-token"));
  await eventually(async () => assert.ok((await nodesOf(server)).includes(`node/${agent}`)), 120_000);
  await ready(server);
});

test("an agent joins with a token that `k3ts token create` made while the server ran", async (t) => {
  const agent = await startAgent(t, await docker("exec", server, "k3ts", "token", "create", "--ttl", "10m"));
  await eventually(async () => assert.ok((await nodesOf(server)).includes(`node/${agent}`)), 120_000);
});

test("compose/cluster.yaml is a cluster of three nodes", async (t) => {
  const project = `test-${randomBytes(4).toString("hex")}`;
  const env = { K3TS_API_PORT: "0" };
  const compose = (...args: string[]) =>
    run("docker", ["compose", "-p", project, "-f", "compose/cluster.yaml", ...args], { env });
  t.after(() => compose("down", "-v", "-t", "1"));
  await compose("up", "-d", "--pull", "never");
  const nodes = await eventually(async () => {
    const output = await compose("exec", "-T", "server", "kubectl", "get", "nodes", "--no-headers");
    const lines = output.split("\n");
    assert.equal(lines.length, 3);
    for (const line of lines) assert.match(line, / Ready /);
    return lines.map((line) => line.split(" ")[0]);
  }, 240_000);
  assert.deepEqual(nodes.sort(), ["agent-0", "agent-1", "server"]);
});
