import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { createServer } from "node:net";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import type { ConfigMap, Event, Pod } from "../../src/api/generated/core-v1.ts";
import { networkName } from "../../src/cluster/cluster-names.ts";
import { agentImage, serverImage } from "../../src/commands/images.ts";
import { type RunResult, run, tryRun } from "../../tools/run.ts";
import { createTestCluster, type TestCluster } from "../support/cluster.ts";
import { eventually } from "../support/eventually.ts";
import { tryKubectl } from "../support/kubectl.ts";
import { startTerminal } from "../support/terminal.ts";

/** Starts that cannot succeed: each ends at once, for good, and its last word names the thing and the remedy. */

const configurationExitCode = 78;
const main = join(import.meta.dirname, "../../src/main.ts");

/** Runs a container to its end. One that does not end by itself within the time is removed, and fails the test. */
async function runToEnd(args: readonly string[]): Promise<RunResult & { fatal: string }> {
  const name = `test-bad-${randomBytes(4).toString("hex")}`;
  try {
    const result = await tryRun("docker", ["run", "--rm", "--name", name, ...args], {
      signal: AbortSignal.timeout(120_000),
    });
    const last = `${result.stdout}${result.stderr}`.trim().split("\n").at(-1) ?? "";
    const quoted = /level=fatal msg=("(?:[^"\\]|\\.)*")$/.exec(last)?.[1];
    return { ...result, fatal: quoted ? JSON.parse(quoted) : `no fatal line, but: ${last}` };
  } finally {
    await tryRun("docker", ["rm", "-fv", name]);
  }
}

/** A server that does something else first. */
const prepared = (script: string) => [
  "--privileged",
  "--entrypoint",
  "sh",
  serverImage,
  "-c",
  `${script}\nexec /bin/k3s server`,
];

describe("a container that cannot start ends for good and says why", { concurrency: 2 }, () => {
  const cases: [title: string, args: readonly string[], fatal: RegExp][] = [
    [
      "an unknown flag",
      ["--privileged", serverImage, "server", "--frobnicate"],
      /^unknown option '--frobnicate'; see k3ts server --help$/,
    ],
    [
      "a value that a flag does not take",
      ["--privileged", serverImage, "server", "--cluster-cidr", "10.42.0.0"],
      /--cluster-cidr.*address\/prefix/,
    ],
    [
      "no privileges",
      [serverImage],
      /^privileges: this process lacks CAP_NET_ADMIN.*; start the container with `docker run --privileged`$/,
    ],
    [
      "no privileges for an agent",
      ["-e", "K3S_URL=https://nowhere:6443", "-e", "K3S_TOKEN=t", agentImage],
      /^privileges: .*--privileged/,
    ],
    ["no cgroups", prepared("umount -R /sys/fs/cgroup"), /^cgroups: no control groups are mounted .*; mount cgroup2/],
    [
      "cgroups that cannot be written",
      prepared("for m in $(awk '$3 ~ /^cgroup/ { print $2 }' /proc/mounts); do mount -o remount,bind,ro $m; done"),
      /^cgroups: "\/sys\/fs\/cgroup" .* is read-only/,
    ],
    [
      "the API's port in use",
      prepared("busybox nc -l -p 6443 & while ! grep -q :192B /proc/net/tcp /proc/net/tcp6; do sleep 0.05; done"),
      /^cannot listen on 0\.0\.0\.0:6443: .*--https-listen-port/,
    ],
    [
      "the kubelet's port in use",
      prepared("busybox nc -l -p 10250 & while ! grep -q :280A /proc/net/tcp /proc/net/tcp6; do sleep 0.05; done"),
      /^port 10250 is in use; stop what listens there/,
    ],
    [
      "a configuration file that is no YAML",
      prepared("mkdir -p /etc/rancher/k3s; echo 'tls-san: [a' > /etc/rancher/k3s/config.yaml"),
      /^cannot parse configuration file "\/etc\/rancher\/k3s\/config\.yaml": .*line/,
    ],
    [
      "a configuration file that holds no settings",
      prepared("mkdir -p /etc/rancher/k3s; echo '- tls-san' > /etc/rancher/k3s/config.yaml"),
      /^configuration file "\/etc\/rancher\/k3s\/config\.yaml" must hold a map/,
    ],
    [
      "a registries.yaml that is no YAML",
      prepared("mkdir -p /etc/rancher/k3s; echo 'mirrors: [a' > /etc/rancher/k3s/registries.yaml"),
      /^\/etc\/rancher\/k3s\/registries\.yaml: .*line/,
    ],
    [
      "a registries.yaml of another shape",
      prepared(
        "mkdir -p /etc/rancher/k3s; echo 'mirrors: { a.example: { endpoint: b } }' > /etc/rancher/k3s/registries.yaml",
      ),
      /^\/etc\/rancher\/k3s\/registries\.yaml: mirrors\."a\.example"\.endpoint must be a list/,
    ],
    [
      "half a token",
      ["--privileged", "-e", "K3S_TOKEN=K10abc", serverImage],
      /^invalid token format: a full token reads K10<CA hash>::/,
    ],
    [
      "an agent without a token",
      ["--privileged", "-e", "K3S_URL=https://nowhere:6443", agentImage],
      /^--token is required \(or K3S_TOKEN\)/,
    ],
    [
      "an agent with a URL that is not https",
      ["--privileged", "-e", "K3S_URL=http://nowhere:6443", "-e", "K3S_TOKEN=t", agentImage],
      /^only https:\/\/ URLs are supported, got "http:\/\/nowhere:6443"/,
    ],
  ];
  for (const [title, args, fatal] of cases) {
    test(title, async () => {
      const result = await runToEnd(args);
      assert.match(result.fatal, fatal);
      assert.equal(result.code, configurationExitCode);
      // The supervisor says this when it starts the program again.
      assert.doesNotMatch(result.stderr, /starting it again/);
    });
  }
});

describe("`k3ts cluster create` that cannot succeed leaves nothing behind", () => {
  const name = `test-bad-${randomBytes(4).toString("hex")}`;
  const create = (...args: string[]) =>
    tryRun(process.execPath, [main, "cluster", "create", name, "--no-kubeconfig-update-default", ...args]);

  async function assertNothingLeft() {
    assert.equal(await run("docker", ["ps", "-aq", "--filter", `label=k3ts.cluster=${name}`]), "");
    assert.equal(await run("docker", ["network", "ls", "-q", "--filter", `name=^${networkName(name)}$`]), "");
  }

  test("the API's port is taken on this machine", async () => {
    const taken = createServer();
    await new Promise<void>((resolve) => taken.listen(0, "127.0.0.1", resolve));
    const { port } = taken.address() as { port: number };
    try {
      const result = await create("--agents", "1", "--api-port", String(port));
      assert.equal(result.code, 1);
      assert.match(result.stderr.trim().split("\n").at(-1)!, new RegExp(`^k3ts: .*removed again.*${port}.*--api-port`));
      await assertNothingLeft();
    } finally {
      taken.close();
    }
  });

  test("the image is neither here nor to be had", async () => {
    const result = await create("--image", "localhost:1/missing:1");
    assert.equal(result.code, 1);
    assert.match(
      result.stderr,
      /^k3ts: image "localhost:1\/missing:1" is not here and cannot be pulled .*npm run images/m,
    );
    await assertNothingLeft();
  });

  test("a node does not start", async () => {
    const result = await create("--agents", "1", "--agent-arg=--frobnicate");
    assert.equal(result.code, 1);
    assert.match(result.stderr, /^k3ts: .*node .*-agent-0 ended before it was up: unknown option '--frobnicate'/m);
    await assertNothingLeft();
  });

  test("it is interrupted by Ctrl-C while it waits for the nodes", async (t) => {
    // Without a pod network no node becomes Ready.
    const command = `stty rows 50 cols 200; exec "${process.execPath}" "${main}" cluster create ${name} --no-kubeconfig-update-default --server-arg=--flannel-backend=none`;
    const terminal = startTerminal(command, {});
    t.after(() => terminal.stop());
    await terminal.waitFor(/Wait until all nodes are Ready/);
    await eventually(async () => {
      const log = await tryRun("docker", ["logs", `k3ts-${name}-server-0`]);
      assert.match(log.stdout + log.stderr, /Wrote kubeconfig/);
    }, 60_000);
    terminal.type("\u0003");
    await terminal.waitFor(/Interrupted: ending in order/);
    await terminal.waitFor(/removed again: interrupted/);
    assert.equal(await terminal.ended, 1);
    await assertNothingLeft();
  });
});

describe("with a cluster that runs", () => {
  let cluster: TestCluster;
  before(async () => {
    cluster = await createTestCluster({ images: ["k3ts/test-web:1.0"] });
  });
  after(() => cluster?.remove());

  const server = () => cluster.nodes[0]!;
  const addressOf = (node: string) =>
    run("docker", ["inspect", "-f", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", node]);
  /** An agent beside the cluster, as a user starts it by hand. */
  const agent = async (token: string, hostname = "intruder") =>
    runToEnd([
      "--privileged",
      "--network",
      networkName(cluster.name),
      "--hostname",
      hostname,
      "-e",
      `K3S_URL=https://${await addressOf(server())}:6443`,
      "-e",
      `K3S_TOKEN=${token}`,
      agentImage,
    ]);

  test("an agent whose token was made by another cluster does not join", async () => {
    const token = await cluster.exec(server(), ["cat", "/var/lib/rancher/k3s/server/node-token"]);
    const other = token.replace(/^K10[0-9a-f]{64}/, `K10${"0".repeat(64)}`);
    const result = await agent(other);
    assert.match(
      result.fatal,
      /^token CA hash does not match the Cluster CA certificate hash: 0{64} != [0-9a-f]{64}; is /,
    );
    assert.equal(result.code, configurationExitCode);
    assert.doesNotMatch(await cluster.kubectl(["get", "nodes", "-o", "name"]), /intruder/);
  });

  test("an agent with a wrong password does not join", async () => {
    const result = await agent("wrong");
    assert.match(result.fatal, /does not accept the token \(401 Unauthorized\); give the content of .*node-token/);
    assert.equal(result.code, configurationExitCode);
  });

  test("an agent that takes another node's name does not join", async () => {
    const token = await cluster.exec(server(), ["cat", "/var/lib/rancher/k3s/server/node-token"]);
    const result = await agent(token, server());
    assert.match(result.fatal, /^Node password rejected, duplicate hostname .*--with-node-id/);
    assert.equal(result.code, configurationExitCode);
  });

  test("a pod whose image is missing says so, and starts when the image is there", async () => {
    const image = `localhost:1/missing-${cluster.name}:1`;
    const manifest = `
apiVersion: v1
kind: Pod
metadata: { name: missing }
spec: { containers: [{ name: web, image: "${image}" }] }
`;
    await cluster.kubectl(["apply", "-f", "-"], { input: manifest });
    const waiting = await eventually(async () => {
      const pod = await cluster.kubectlJson<Pod>(["get", "pod", "missing"]);
      const state = pod.status?.containerStatuses?.[0]?.state?.waiting;
      assert.match(state?.reason ?? "", /^(ErrImagePull|ImagePullBackOff)$/);
      return state!;
    }, 120_000);
    assert.match(waiting.message ?? "", new RegExp(image));
    const failures = ["get", "events", "--field-selector", "involvedObject.name=missing,reason=Failed"];
    // Events are written beside the status, not before it.
    await eventually(async () => {
      const { items } = await cluster.kubectlJson<{ items: Event[] }>(failures);
      assert.match(items.map(({ message }) => message).join("\n"), new RegExp(`Failed to pull image "${image}"`));
    }, 60_000);
    await run("docker", ["tag", "k3ts/test-web:1.0", image]);
    try {
      await run(process.execPath, [main, "image", "import", image, "-c", cluster.name]);
    } finally {
      await run("docker", ["rmi", image]);
    }
    // The pauses between attempts have grown with the time that this took.
    await cluster.kubectl(["wait", "pod/missing", "--for=condition=Ready", "--timeout=300s"]);
  });

  test("what is no object is refused with a Status, and what is too large with 413", async () => {
    const post = (body: string) =>
      tryKubectl(["create", "--raw", "/api/v1/namespaces/default/configmaps", "-f", "-"], {
        kubeconfig: cluster.kubeconfig,
        input: body,
      });
    const malformed = await post('{"kind": "ConfigMap", "metadata": {');
    assert.notEqual(malformed.code, 0);
    assert.match(malformed.stderr, /^Error from server \(BadRequest\)/);

    const yaml = await tryKubectl(["apply", "-f", "-"], { kubeconfig: cluster.kubeconfig, input: "kind: [a" });
    assert.notEqual(yaml.code, 0);
    assert.match(yaml.stderr, /error parsing .*yaml/);

    const configMap = (bytes: number) =>
      JSON.stringify({
        apiVersion: "v1",
        kind: "ConfigMap",
        metadata: { name: "large" },
        data: { a: "x".repeat(bytes) },
      } satisfies ConfigMap & { apiVersion: string; kind: string });
    const tooLong = await post(configMap(1024 * 1024 + 1));
    assert.match(tooLong.stderr, /Too long/);
    const tooLarge = await post(configMap(3 * 1024 * 1024));
    assert.match(tooLarge.stderr, /Request entity too large: limit is 3145728/);
    const listed = await cluster.kubectl(["get", "configmaps", "-o", "name"]);
    assert.doesNotMatch(listed, /large/);
  });
});
