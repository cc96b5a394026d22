import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { withEmulation } from "../../tools/emulation.ts";
import { imagesFor } from "../../tools/image-list.ts";
import { saveImage, writeOciLayout } from "../../tools/oci-layout.ts";
import { enginePlatform, type Platform, platforms } from "../../tools/platforms.ts";
import { run, tryRun } from "../../tools/run.ts";
import { eventually } from "../support/eventually.ts";
import { kubectl, kubectlJson, startKubectl, type ToolOptions } from "../support/kubectl.ts";

/**
 * The images of other architectures, run by QEMU's user emulation: it translates a program and its system calls, and hands
 * these to the machine's own kernel. The control plane works so, on SQLite's addon as each architecture has it.
 *
 * What of a node cannot be tested so, since QEMU does not hand on what it asks of the kernel:
 * - the service proxy, iptables, ipset and conntrack speak to the kernel's netfilter, a family of sockets that QEMU refuses
 *   ("Protocol not supported"): an agent ends when it loads its first rules;
 * - runc makes a container's first process as its own sibling (clone with CLONE_PARENT), which QEMU refuses ("can't get final
 *   child's PID from pipe"): no container starts, in whichever namespaces;
 * - so kubelet, probes, pod network, DNS and volumes have nothing to work on.
 * For these stand the other tests, on the machine's own architecture: our part of a node is the same JavaScript everywhere, and
 * the programs are Debian's, of the same versions. Here each of them is started, as far as it goes without those calls.
 */

/** Emulated programs take ten times as long and more, on a busy machine longer still. */
const patienceMs = 240_000;

const own = await enginePlatform();
const foreign = platforms.filter(({ name }) => name !== own.name);

/** They load their libraries to say it, and some open a socket. */
const programs = [
  ...[
    "node",
    "containerd",
    "ctr",
    "runc",
    "nft",
    "conntrack",
    "ethtool",
    "tini",
    "pigz",
    "losetup",
    "blkid",
    "nsenter",
    "kmod",
  ],
  ...[
    "/bin/aux/mount",
    "/bin/aux/umount",
    "/bin/aux/xtables-nft-multi iptables",
    "/bin/aux/xtables-legacy-multi iptables",
  ],
  ...["bandwidth", "bridge", "host-local", "loopback", "portmap"].map((plugin) => `/usr/lib/cni/${plugin}`),
].map((program) => `${program} --version`);
programs.push("ip -V", "ss -V", "bridge -V", "socat -V", "ipset version");
/** What the kernel is asked for when they start, QEMU does not hand on. */
const needNetfilter = /^(nft|conntrack|ipset|\/bin\/aux\/xtables-nft-multi) /;

function serverImage(platform: Platform): string {
  return imagesFor(platform, platform.name === own.name).server.names.at(-1)!;
}

interface Volume extends AsyncDisposable {
  name: string;
}

async function createVolume(): Promise<Volume> {
  const name = `architectures-${randomBytes(4).toString("hex")}`;
  await run("docker", ["volume", "create", name]);
  return { name, [Symbol.asyncDispose]: () => run("docker", ["volume", "rm", "-f", name]).then(() => {}) };
}

/** Stopped, as an engine does it, when it is disposed: another can open its data then. */
interface Server extends ToolOptions, AsyncDisposable {}

/** Starts a control plane on the data in a volume, and waits until it answers. */
async function startServer(platform: Platform, volume: Volume): Promise<Server> {
  const directory = mkdtempSync(join(tmpdir(), "k3ts-architectures-"));
  const kubeconfig = join(directory, "kubeconfig.yaml");
  const container = await run("docker", [
    ...["run", "-d", "--privileged", "--platform", platform.name, "-p", "127.0.0.1::6443"],
    ...["--mount", `type=volume,source=${volume.name},target=/var/lib/rancher/k3s`],
    ...[serverImage(platform), "server", "--disable-agent", "--token", "architectures"],
  ]);
  const server: Server = {
    kubeconfig,
    [Symbol.asyncDispose]: async () => {
      await run("docker", ["stop", "-t", "120", container]);
      await run("docker", ["rm", "-v", container]);
      rmSync(directory, { recursive: true, force: true });
    },
  };
  try {
    const written = "until [ -s /etc/rancher/k3s/k3s.yaml ]; do sleep 1; done";
    await run("docker", ["exec", container, "sh", "-c", written], { signal: AbortSignal.timeout(patienceMs) });
    await run("docker", ["cp", `${container}:/etc/rancher/k3s/k3s.yaml`, kubeconfig]);
    const port = (await run("docker", ["port", container, "6443/tcp"])).split(":").at(-1);
    await kubectl(["config", "set-cluster", "default", `--server=https://127.0.0.1:${port}`], server);
    await eventually(async () => {
      assert.equal(await kubectl(["get", "--raw", "/readyz"], server), "ok");
      await kubectl(["get", "configmap", "kube-root-ca.crt"], server);
    }, patienceMs);
    return server;
  } catch (error) {
    const { stdout, stderr } = await tryRun("docker", ["logs", "--tail", "20", container]);
    await server[Symbol.asyncDispose]();
    throw new Error(`a server of ${platform.name} does not start:\n${stdout}${stderr}`, { cause: error });
  }
}

/** What a client does with objects of any kind: create, list, watch, change, delete. */
async function smokeTest(options: ToolOptions): Promise<void> {
  const watch = startKubectl(["get", "configmaps", "--watch", "-o", "name"], options);
  try {
    await watch.waitFor(/kube-root-ca/);
    await kubectl(["create", "configmap", "smoke", "--from-literal=text=ä€"], options);
    await watch.waitFor(/configmap\/smoke/);
    await kubectl(["patch", "configmap", "smoke", "-p", '{"data":{"more":"1"}}'], options);
    const { data } = await kubectlJson<{ data: object }>(["get", "configmap", "smoke"], options);
    assert.deepEqual(data, { text: "ä€", more: "1" });
    assert.match(await kubectl(["get", "configmaps", "-o", "name"], options), /^configmap\/smoke$/m);
    await kubectl(["delete", "configmap", "smoke"], options);
    assert.doesNotMatch(await kubectl(["get", "configmaps", "-o", "name"], options), /smoke/);
  } finally {
    await watch.stop();
  }
  // A controller sees it and acts, and the server fills in the rest.
  await kubectl(["create", "deployment", "web", "--image=web", "--replicas=2"], options);
  await eventually(async () => {
    const { items } = await kubectlJson<{ items: unknown[] }>(["get", "pods", "-l", "app=web"], options);
    assert.equal(items.length, 2);
  }, patienceMs);
  await kubectl(["delete", "deployment", "web"], options);
}

/** Objects of several kinds with their resourceVersions, which a store must give back as they were. */
async function objects(options: ToolOptions): Promise<string> {
  return kubectl(["get", "configmaps,secrets,clusterroles,namespaces", "-l", "kept=yes", "-A", "-o", "json"], options);
}

async function leave(options: ToolOptions, by: Platform): Promise<void> {
  await kubectl(
    ["create", "configmap", `by-${by.architecture}`, `--from-literal=large=${"x".repeat(50_000)}`],
    options,
  );
  await kubectl(["create", "secret", "generic", `by-${by.architecture}`, "--from-literal=a=b"], options);
  await kubectl(["label", "configmap,secret", "--all", "kept=yes"], options);
}

for (const platform of foreign) {
  test(`a control plane of ${platform.name} serves kubectl, and shares a database with one of ${own.name}, both ways`, (context) =>
    withEmulation([platform], context.diagnostic.bind(context), async () => {
      await using volume = await createVolume();
      let theirs: string;
      {
        await using server = await startServer(platform, volume);
        const version = JSON.parse(await kubectl(["get", "--raw", "/version"], server));
        assert.equal(version.platform, `linux/${platform.architecture}`);
        await smokeTest(server);
        await leave(server, platform);
        theirs = await objects(server);
      }
      let ours: string;
      {
        await using server = await startServer(own, volume);
        assert.equal(await objects(server), theirs);
        await smokeTest(server);
        await leave(server, own);
        ours = await objects(server);
        assert.notEqual(ours, theirs);
      }
      {
        await using server = await startServer(platform, volume);
        assert.equal(await objects(server), ours);
        await smokeTest(server);
      }
    }));

  test(`the programs of a node of ${platform.name} start, and its pause image is of its own architecture`, (context) =>
    withEmulation([platform], context.diagnostic.bind(context), async () => {
      const image = imagesFor(platform, false).agent.names[0]!;
      const inside = (script: string) =>
        run("docker", ["run", "--rm", "--platform", platform.name, "--entrypoint", "sh", image, "-ec", script]);
      const said = new Map<string, string>();
      const script = programs
        .map((program) => `echo "= ${program}"; ${program} < /dev/null 2>&1 || echo failed`)
        .join("\n");
      for (const part of (await inside(script)).split(/^= /m).slice(1)) {
        const end = part.indexOf("\n");
        said.set(part.slice(0, end), part.slice(end + 1).trim());
      }
      assert.deepEqual([...said.keys()], programs);
      for (const [program, text] of said) {
        if (needNetfilter.test(program))
          assert.match(text, /Protocol not supported|Cannot open session to kernel|^v?\d/);
        else assert.doesNotMatch(text, /failed$/, `${program}: ${text}`);
      }
      const index = await inside("tar -xOf /usr/share/k3ts/images/pause.tar manifest.json");
      const config = await inside(`tar -xOf /usr/share/k3ts/images/pause.tar ${JSON.parse(index)[0].Config}`);
      const { architecture, variant } = JSON.parse(config);
      assert.equal(["linux", architecture, variant].filter(Boolean).join("/"), platform.name);
    }));

  test(`the pause program of ${platform.name} ends when it is told to`, (context) =>
    withEmulation([platform], context.diagnostic.bind(context), async () => {
      const image = imagesFor(platform, false).pause.names[0]!;
      const container = await run("docker", ["run", "-d", "--platform", platform.name, image]);
      try {
        await run("docker", ["kill", "-s", "TERM", container]);
        assert.equal(await run("docker", ["wait", container], { signal: AbortSignal.timeout(patienceMs) }), "0");
      } finally {
        await run("docker", ["rm", "-f", container]);
      }
    }));
}

test("an archive of all platforms is taken by docker load, and by containerd as one image", async (context) => {
  const scratch = mkdtempSync(join(tmpdir(), "k3ts-architectures-"));
  const name = `k3ts/architectures:${randomBytes(4).toString("hex")}`;
  const names = platforms.map(({ architecture }) => `${name}-${architecture}`);
  try {
    const images = platforms.map((platform, at) => ({
      saved: join(scratch, platform.architecture),
      names: [names[at]!],
    }));
    for (const [at, platform] of platforms.entries()) {
      await saveImage(imagesFor(platform, platform.name === own.name).pause.names[0]!, images[at]!.saved);
    }
    const file = join(scratch, "all.tar");
    await writeOciLayout({ file, names: [name], images, scratch });

    context.after(() => tryRun("docker", ["rmi", name, ...names]));
    await run("docker", ["load", "-i", file]);
    // An engine with containerd's store has it as one image, another one has each platform's.
    if ((await tryRun("docker", ["image", "inspect", name])).code !== 0) {
      for (const [at, platform] of platforms.entries()) {
        const format = "{{.Os}}/{{.Architecture}}{{with .Variant}}/{{.}}{{end}}";
        assert.equal(await run("docker", ["image", "inspect", "--format", format, names[at]!]), platform.name);
      }
    }

    const importing = `
      containerd --root /data/root --state /data/state --address /data/socket 2> /data/log & until [ -S /data/socket ]; do sleep 0.1; done
      ctr -a /data/socket images import --all-platforms /all.tar
      ctr -a /data/socket images ls`;
    const listed = await run("docker", [
      ...["run", "--rm", "--privileged", "--tmpfs", "/data", "-v", `${file}:/all.tar:ro`, "--entrypoint", "sh"],
      ...[imagesFor(own, true).agent.names[0]!, "-ec", importing],
    ]);
    const [, listedPlatforms] = new RegExp(`^docker.io/${name} .* (linux/\\S+) `, "m").exec(listed) ?? [];
    assert.deepEqual(listedPlatforms?.split(",").sort(), platforms.map(({ name }) => name).sort());
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
});
