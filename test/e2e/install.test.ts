import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { copyFileSync, createReadStream, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { agentImage, serverImage } from "../../src/commands/images.ts";
import { version } from "../../src/machinery/version.ts";
import { run, tryRun } from "../../tools/run.ts";
import { eventually } from "../support/eventually.ts";
import { buildMachineImage, startMachine, type TestMachine } from "../support/machine.ts";

/** `curl … | sh -` on machines of their own: install.sh, and the commands that it makes. */

const token = "a-secret-of-this-test";
const tag = version.replace("+", "-");
/** As a user types it; the script comes from a web server. */
const line = "curl -sfL http://127.0.0.1:8000/install.sh | sh -";
const offline = { K3TS_IMAGES_FILE: "/share/images.tar" };
const webImage = "k3ts/test-web:1.0";

/**
 * Everything on a machine that a node could leave behind. What the engine keeps of its own work is its own, and so is
 * kubectl's cache in the home folder of who ran it.
 */
const listing = `
  find / -xdev \\( -path /proc -o -path /sys -o -path /run/docker -o -path /run/containerd -o -path /root/.kube -o -path /tmp \\) \\
    -prune -o -printf 'file %p %m %l\\n' | sort
  find /var/lib \\( -path /var/lib/docker -o -path /var/lib/containerd \\) -prune -o -printf 'file %p %m %l\\n' | sort
  grep -v '/run/docker\\|/var/lib/docker' /proc/self/mounts | awk '{ print "mount", $2 }' | sort
  ip -br link | awk '{ print "link", $1 }' | sed 's/@.*//' | sort
  ip route show table all | grep -v fe80 | sort; ip rule
  { nft list ruleset | sed 's/packets [0-9]* bytes [0-9]*//'; iptables-save | grep '^[-:]' | sed 's/ \\[.*//'; } | grep -v 127.0.0.11
  docker ps -aq; docker volume ls -q; docker network ls --format '{{.Name}}'; docker images -q
`;

describe("the install line", () => {
  const shared = mkdtempSync(join(tmpdir(), "k3ts-install-"));
  const network = `test-install-${randomBytes(4).toString("hex")}`;
  let server: TestMachine;
  let agent: TestMachine;
  let serverBefore: string;
  let agentBefore: string;

  before(async () => {
    await buildMachineImage();
    copyFileSync(join(import.meta.dirname, "../../install.sh"), join(shared, "install.sh"));
    const archive = join(shared, "images.tar");
    await run("docker", ["save", "-o", archive, `${serverImage}:${tag}`, `${agentImage}:${tag}`]);
    writeFileSync(`${archive}.sha256`, `${await sha256(archive)}  images.tar\n`);
    await run("docker", ["save", "-o", join(shared, "web.tar"), webImage]);
    await run("docker", ["network", "create", network]);
    [server, agent] = await Promise.all([startMachine({ network, shared }), startMachine({ network, shared })]);
    for (const machine of [server, agent]) {
      await serveScript(machine);
      await dropForwarding(machine);
    }
    [serverBefore, agentBefore] = await Promise.all([server.sh(listing), agent.sh(listing)]);
  });
  after(async () => {
    await Promise.all([server?.remove(), agent?.remove()]);
    await tryRun("docker", ["network", "rm", network]);
    rmSync(shared, { recursive: true, force: true });
  });

  const serverEnvironment = { ...offline, K3S_TOKEN: token };
  const container = (machine: TestMachine, name: string, format: string) =>
    machine.sh(`docker container inspect --format '${format}' ${name}`);
  const ready = (machine: TestMachine) =>
    eventually(() => machine.sh("k3s kubectl wait --for=condition=Ready node --all --timeout=30s"), 60_000);

  test("the script passes shellcheck, and both small shells understand it", async () => {
    await server.sh(
      "shellcheck -s sh /share/install.sh && dash -n /share/install.sh && busybox ash -n /share/install.sh",
    );
  });

  describe("says what is wrong with what it is given, and leaves the machine as it was", () => {
    const cases: [title: string, environment: Record<string, string>, script: string, error: RegExp][] = [
      [
        "no engine",
        {},
        `unshare -m sh -c 'mount --bind /dev/null /usr/bin/docker; ${line}'`,
        /No container engine.*Docker.*Podman/,
      ],
      [
        "an engine that does not answer",
        { DOCKER_HOST: "unix:///nowhere" },
        line,
        /docker does not answer.*systemctl start docker/,
      ],
      [
        "an engine elsewhere",
        { DOCKER_HOST: "tcp://192.0.2.1:2375" },
        line,
        /"tcp:\/\/192\.0\.2\.1:2375" is not this machine/,
      ],
      ["an engine that is not installed", { K3TS_ENGINE: "podman" }, line, /K3TS_ENGINE="podman" is not installed/],
      ["neither root nor sudo", {}, `setpriv --reuid 1000 sh -c '${line}'`, /not root.*no sudo.*as root/],
      [
        "a value that is neither true nor false",
        { INSTALL_K3S_SKIP_START: "yes" },
        line,
        /INSTALL_K3S_SKIP_START="yes" .*one of: true false/,
      ],
      ["a variable that nobody knows", { INSTALL_K3S_FOO: "1" }, line, /INSTALL_K3S_FOO is not known/],
      [
        "a build by commit",
        { INSTALL_K3S_COMMIT: "abc" },
        line,
        /INSTALL_K3S_COMMIT is not supported: .*INSTALL_K3S_VERSION/,
      ],
      ["a relative folder", { INSTALL_K3S_BIN_DIR: "bin" }, line, /INSTALL_K3S_BIN_DIR="bin" must be an absolute path/],
      ["a name that is none", { INSTALL_K3S_NAME: "a b" }, line, /INSTALL_K3S_NAME="a b" may have letters/],
      ["a command that runs no node", {}, `${line.replace("sh -", "sh -s -")} etcd`, /"etcd" is not a command/],
      [
        "a quote that is not closed",
        { INSTALL_K3S_EXEC: "--node-label 'a" },
        line,
        /INSTALL_K3S_EXEC=.* quote that is not closed/,
      ],
      [
        "a URL without encryption",
        { K3S_URL: "http://a:6443", K3S_TOKEN: "t" },
        line,
        /K3S_URL="http:\/\/a:6443" .*https/,
      ],
      ["an agent without a token", { K3S_URL: "https://a:6443" }, line, /set K3S_TOKEN or K3S_TOKEN_FILE/],
      ["a setting of two lines", { K3S_TOKEN: "a\nb" }, line, /^\[ERROR\] K3S_TOKEN has more than one line/m],
      ["no such archive", { K3TS_IMAGES_FILE: "/nowhere.tar" }, line, /"\/nowhere\.tar" is no file/],
      [
        "an archive of something else",
        { K3TS_IMAGES_FILE: "/share/web.tar" },
        `${line}; docker rmi -f ${webImage} > /dev/null`,
        /has no image k3ts\/server/,
      ],
      [
        "an image that is not here",
        { INSTALL_K3S_SKIP_DOWNLOAD: "true" },
        line,
        /docker\.io\/k3ts\/server:latest is not in the engine/,
      ],
      [
        "a data directory of the system",
        { ...offline, K3S_DATA_DIR: "/usr" },
        line,
        /"\/usr" cannot be a directory of the node's own/,
      ],
      [
        "K3s itself",
        {},
        `touch /usr/local/bin/k3s; ${line}; rm /usr/local/bin/k3s`,
        /\/usr\/local\/bin\/k3s is not of k3ts/,
      ],
    ];
    for (const [title, environment, script, error] of cases) {
      test(title, async () => {
        const { stderr } = await server.trySh(script, { env: environment });
        assert.match(stderr, error);
        assert.match(stderr, /^\[ERROR\] /m);
      });
    }

    test("a damaged archive", async () => {
      await server.sh(
        "mkdir /tmp/damaged; echo x > /tmp/damaged/images.tar; cp /share/images.tar.sha256 /tmp/damaged/",
      );
      const { code, stderr } = await server.trySh(line, { env: { K3TS_IMAGES_FILE: "/tmp/damaged/images.tar" } });
      assert.equal(code, 1);
      assert.match(
        stderr,
        /"\/tmp\/damaged\/images\.tar" is damaged: its SHA-256 sum is [0-9a-f]{64}, .* says [0-9a-f]{64}/,
      );
    });

    test("nothing is left of all that", async () => {
      assert.deepEqual(difference(serverBefore, await server.sh(listing)), []);
    });
  });

  test("a server: `k3s kubectl get node` shows it Ready, by K3s' commands and files", async () => {
    const output = await server.sh(line, { env: serverEnvironment });
    assert.match(output, /has the sum that/);
    assert.match(output, new RegExp(`Using ${version.replace("+", "\\+")} as release`));
    await ready(server);
    assert.match(await server.sh("k3s kubectl get node"), new RegExp(`^${server.name} +Ready +control-plane `, "m"));
    for (const command of ["kubectl", "k3ts kubectl"]) assert.match(await server.sh(`${command} get node`), / Ready /);
    assert.match(await server.sh("k3s --version"), new RegExp(`version ${version.replace("+", "\\+")}`));
    assert.match(await server.sh("cat /var/lib/rancher/k3s/server/node-token"), /^K10[0-9a-f]{64}::server:/);
    assert.match(await server.sh("k3s crictl ps"), /^CONTAINER/);
    // The machine's own name and address, as K3s has them.
    const address = await server.address();
    assert.match(await server.sh("kubectl get node -o wide"), new RegExp(` ${address.replaceAll(".", "\\.")} `));
  });

  test("kubectl is a program of the machine: it finds files by relative paths, the standard input, and KUBECONFIG", async () => {
    const manifest = "{ apiVersion: v1, kind: ConfigMap, metadata: { name: kept } }";
    assert.match(
      await server.sh("cd /tmp && cat > a.yaml && k3s kubectl apply -f a.yaml", { input: manifest }),
      /configmap\/kept created/,
    );
    assert.match(await server.sh("k3s kubectl apply -f -", { input: manifest }), /configmap\/kept unchanged/);
    assert.match(
      await server.sh("cp /etc/rancher/k3s/k3s.yaml /tmp/b.yaml; KUBECONFIG=/tmp/b.yaml kubectl config view"),
      /127\.0\.0\.1:6443/,
    );
    assert.equal((await server.trySh("kubectl get node no-such-node")).code, 1);
  });

  test("ctr takes archives of the machine and makes them there", async () => {
    await server.sh("k3s ctr images import /share/web.tar");
    await server.sh(
      `cd /tmp && k3s ctr images export web.tar docker.io/${webImage} && tar -tf web.tar | grep -x oci-layout`,
    );
  });

  test("tokens are in a file that only root reads, and in nobody's arguments", async () => {
    assert.equal(await server.sh("stat -c '%a %U' /etc/rancher/k3s/k3s.env"), "600 root");
    assert.match(await server.sh("cat /etc/rancher/k3s/k3s.env"), new RegExp(`^K3S_TOKEN=${token}$`, "m"));
    assert.doesNotMatch(
      await container(server, "k3s", "{{.Args}} {{.Config.Cmd}} {{.Config.Labels}}"),
      new RegExp(token),
    );
    assert.doesNotMatch(await server.sh("ps -eo args"), new RegExp(token));
  });

  test("the same line again changes nothing, in busybox' shell and with its tools, too", async () => {
    const state = () =>
      server.sh(`docker container inspect --format '{{.Id}} {{.State.StartedAt}}' k3s; docker images -q
        find /etc/rancher/k3s/k3s.env /usr/local/bin /var/lib/rancher/k3s/data -printf '%p %T@ %i\\n' | sort`);
    const before = await state();
    assert.match(await server.sh(line, { env: serverEnvironment }), /No change detected/);
    assert.equal(await state(), before);
    const busybox = "mkdir -p /tmp/box && busybox --install -s /tmp/box; PATH=/tmp/box:$PATH";
    const inBusybox = `${busybox}; curl -sfL http://127.0.0.1:8000/install.sh | /tmp/box/ash -`;
    assert.match(await server.sh(inBusybox, { env: serverEnvironment }), /No change detected/);
    assert.equal(await state(), before);
  });

  test("the commands that it made pass shellcheck", async () => {
    await server.sh("cd /usr/local/bin && shellcheck -s sh k3s k3s-killall.sh k3s-uninstall.sh");
  });

  test("an agent joins from another machine, and pods of both reach each other and Services", async () => {
    const environment = { ...offline, K3S_URL: `https://${await server.address()}:6443`, K3S_TOKEN: token };
    await agent.sh(line, { env: environment });
    assert.equal(await container(agent, "k3s-agent", "{{.Config.Cmd}}"), "[agent]");
    await eventually(
      async () => assert.match(await server.sh("kubectl get node"), new RegExp(`^${agent.name} +Ready `, "m")),
      60_000,
    );
    assert.match((await agent.trySh("k3s kubectl get node")).stderr, /no kubectl on an agent/);
    assert.match(await agent.sh("k3s crictl pods"), /^POD ID/);
    await agent.sh("k3s ctr images import /share/web.tar");

    await server.sh("kubectl apply -f -", { input: webOn([server.name, agent.name]) });
    await server.sh("kubectl wait --for=condition=Ready pod/web-0 pod/web-1 --timeout=60s");
    const addresses = await server.sh("kubectl get pod web-0 web-1 -o jsonpath='{.items[*].status.podIP}'");
    const service = await server.sh("kubectl get service web -o jsonpath='{.spec.clusterIP}'");
    for (const pod of ["web-0", "web-1"]) {
      for (const address of [...addresses.split(" "), service]) {
        const fetch = `kubectl exec ${pod} -- wget -qO- -T 5 http://${address}`;
        await eventually(async () => assert.match(await server.sh(fetch), /^web-[01]$/), 60_000);
      }
    }
  });

  test("settings that cannot be are said in K3s' words, and the right line mends it", async () => {
    const { code, stderr } = await server.trySh(line, { env: { ...serverEnvironment, INSTALL_K3S_EXEC: "--bogus" } });
    assert.equal(code, 1);
    assert.match(stderr, /unknown option '--bogus'/);
    assert.match(stderr, /\[ERROR\] k3s ended before it was up/);
    await server.sh(line, { env: serverEnvironment });
    await ready(server);
  });

  test("flags, and files that they name, reach the node", async () => {
    await server.sh("mkdir -p /srv/node && printf 'nameserver 192.0.2.53\\n' > /srv/node/resolv.conf");
    const flags =
      "server --node-label 'test/label=one' --resolv-conf /srv/node/resolv.conf --write-kubeconfig /srv/node/out/kubeconfig --write-kubeconfig-mode 644";
    await server.sh(`${line.replace("sh -", "sh -s -")} --node-label test/other=two --https-listen-port 7443`, {
      env: { ...serverEnvironment, INSTALL_K3S_EXEC: flags },
    });
    await ready(server);
    assert.match(await server.sh("KUBECONFIG=/srv/node/out/kubeconfig kubectl cluster-info"), /127\.0\.0\.1:7443/);
    // With that mode, kubectl is for everybody, as with K3s.
    assert.match(
      await server.sh("setpriv --reuid 1000 --clear-groups env HOME=/tmp/home k3s kubectl get node"),
      / Ready /,
    );
    assert.match(await server.sh("docker exec k3s cat /srv/node/resolv.conf"), /192\.0\.2\.53/);
    assert.match(
      await container(server, "k3s", "{{.Config.Cmd}}"),
      /^\[server --node-label test\/label=one --resolv-conf .* --https-listen-port 7443\]$/,
    );
    // Back to what the agent knows.
    await server.sh(line, { env: serverEnvironment });
    await server.sh("rm -r /srv/node");
    await ready(server);
  });

  test("an upgrade is the same line: from a registry, keeping objects, the agent and what pods keep", async () => {
    const registry = "127.0.0.1:5000";
    await startRegistry(server);
    // A newer image of the same release.
    await server.sh(`id=$(docker create docker.io/${serverImage}:${tag})
      docker commit --change 'LABEL newer=yes' "$id" ${registry}/${serverImage}:stable && docker rm -v "$id"
      docker push -q ${registry}/${serverImage}:stable && docker rmi ${registry}/${serverImage}:stable`);
    const uid = await server.sh("kubectl get pod web-0 -o jsonpath='{.metadata.uid}'");
    await server.sh("kubectl exec web-0 -- sh -c 'echo kept > /data/file'");
    const environment = { K3S_TOKEN: token, K3TS_REGISTRY: registry, INSTALL_K3S_CHANNEL: "stable" };
    const output = await server.sh(line, { env: environment });
    assert.match(output, /Pulling 127\.0\.0\.1:5000\/k3ts\/server:stable/);
    assert.match(output, /Removing the image of before/);
    assert.equal(await container(server, "k3s", "{{.Config.Image}}"), `${registry}/${serverImage}:stable`);
    await ready(server);
    await server.sh("kubectl get configmap kept");
    assert.equal(await server.sh("kubectl get pod web-0 -o jsonpath='{.metadata.uid}'"), uid);
    await eventually(async () => assert.equal(await server.sh("kubectl exec web-0 -- cat /data/file"), "kept"), 60_000);
    assert.match(await server.sh(line, { env: environment }), /No change detected/);
    assert.match(
      (await server.trySh(line, { env: { ...environment, INSTALL_K3S_VERSION: "v0.0.0+k3ts1" } })).stderr,
      /server:v0\.0\.0-k3ts1 cannot be pulled/,
    );
  });

  test("it comes back with the machine", async () => {
    await server.reboot();
    await ready(server);
    await dropForwarding(server);
    await eventually(async () => assert.match(await server.sh("kubectl exec web-0 -- cat /data/file"), /kept/), 60_000);
  });

  test("k3s-killall.sh stops everything and takes the network away; starting brings it back", async () => {
    await server.sh("k3s-killall.sh");
    assert.doesNotMatch(await server.sh("ip -br link; nft list tables; iptables-save"), /cni0|flannel|veth|k3ts/i);
    assert.equal(await container(server, "k3s", "{{.State.Running}}"), "false");
    // Without a server that runs, its program answers all the same.
    assert.match(await server.sh("k3s --version"), /version/);
    await server.sh("docker start k3s");
    await ready(server);
  });

  test("uninstalled, nothing is left on either machine", async () => {
    assert.match(await agent.sh("k3s-agent-uninstall.sh"), new RegExp(`kubectl delete node ${agent.name}`));
    await server.sh("k3s-uninstall.sh");
    for (const [machine, before] of [
      [agent, agentBefore],
      [server, serverBefore],
    ] as const) {
      // An engine that is started anew has other rules of its own.
      await eventually(async () => assert.deepEqual(difference(before, await machine.sh(listing)), []), 30_000);
    }
  });

  test("made and not started, under a name and in a folder of one's own; and nothing is left of that, either", async () => {
    const environment = {
      ...offline,
      INSTALL_K3S_NAME: "mine",
      INSTALL_K3S_BIN_DIR: "/opt/k3ts",
      INSTALL_K3S_SKIP_ENABLE: "true",
      INSTALL_K3S_SYMLINK: "skip",
      K3S_DATA_DIR: "/srv/k3ts",
      INSTALL_K3S_TYPE: "notify",
    };
    const output = await agent.sh(line, { env: environment });
    assert.match(output, /INSTALL_K3S_TYPE has no effect/);
    assert.match(output, /Not starting it\. Start it with: docker start k3s-mine/);
    assert.equal(
      await container(agent, "k3s-mine", "{{.State.Status}} {{.HostConfig.RestartPolicy.Name}}"),
      "created no",
    );
    assert.equal(await agent.sh("ls /opt/k3ts"), "k3s\nk3s-killall.sh\nk3s-mine-uninstall.sh\nk3ts");
    const { stderr } = await agent.trySh(line, { env: { ...offline, INSTALL_K3S_BIN_DIR: "/opt/k3ts" } });
    assert.match(stderr, /is a node already, by the container "k3s-mine"/);
    await agent.sh("/opt/k3ts/k3s-mine-uninstall.sh; rmdir /opt/k3ts");
    assert.deepEqual(difference(agentBefore, await agent.sh(listing)), []);
  });
});

/** A pod on each of the nodes, each with a volume of its own, behind one Service. */
function webOn(nodes: readonly string[]): string {
  const pods = nodes.map(
    (node, index) => `
apiVersion: v1
kind: Pod
metadata: { name: web-${index}, labels: { app: web } }
spec:
  nodeName: ${node}
  terminationGracePeriodSeconds: 0
  containers: [{ name: web, image: "${webImage}", volumeMounts: [{ name: data, mountPath: /data }] }]
  volumes: [{ name: data, emptyDir: {} }]
`,
  );
  const service = `
apiVersion: v1
kind: Service
metadata: { name: web }
spec: { selector: { app: web }, ports: [{ port: 80 }] }
`;
  return [...pods, service].join("---");
}

async function serveScript(machine: TestMachine): Promise<void> {
  await machine.sh("busybox httpd -p 127.0.0.1:8000 -h /share");
  await eventually(() => machine.sh("curl -sfI http://127.0.0.1:8000/install.sh"), 60_000);
}

/** As Docker does where it turned forwarding on itself. */
async function dropForwarding(machine: TestMachine): Promise<void> {
  await machine.sh("iptables -P FORWARD DROP");
}

async function startRegistry(machine: TestMachine): Promise<void> {
  await machine.sh(
    `cat > /tmp/registry.yaml
     setsid docker-registry serve /tmp/registry.yaml > /tmp/registry.log 2>&1 &`,
    {
      input:
        "{ version: 0.1, storage: { filesystem: { rootdirectory: /tmp/registry } }, http: { addr: 127.0.0.1:5000 } }\n",
    },
  );
  await eventually(() => machine.sh("curl -sf http://127.0.0.1:5000/v2/"), 60_000);
}

/** Lines that only one of two texts has. */
function difference(before: string, after: string): string[] {
  const [had, has] = [before, after].map((text) => new Set(text.split("\n")));
  return [
    ...[...had!].filter((line) => !has!.has(line)).map((line) => `- ${line}`),
    ...[...has!].filter((line) => !had!.has(line)).map((line) => `+ ${line}`),
  ];
}

async function sha256(path: string): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(path)) hash.update(chunk);
  return hash.digest("hex");
}
