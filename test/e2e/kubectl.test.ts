import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import type { Pod } from "../../src/api/generated/core-v1.ts";
import { createTestCluster, type TestCluster } from "../support/cluster.ts";
import { eventually } from "../support/eventually.ts";
import { startKubectl, toolPath, tryKubectl } from "../support/kubectl.ts";
import { startTerminal } from "../support/terminal.ts";

/** What people do with kubectl all day, with the real one, on servers and an agent. */

let cluster: TestCluster;
let directory: string;

const web = `
apiVersion: apps/v1
kind: Deployment
metadata: { name: web, annotations: { note: kept } }
spec:
  replicas: 2
  selector: { matchLabels: { app: web } }
  template:
    metadata: { labels: { app: web } }
    spec:
      terminationGracePeriodSeconds: 1
      containers:
        - name: web
          image: k3ts/test-web:1.0
          ports: [{ containerPort: 80, name: http }]
          readinessProbe: { httpGet: { path: /, port: http }, periodSeconds: 1, timeoutSeconds: 10 }
---
apiVersion: v1
kind: Service
metadata: { name: web }
spec: { selector: { app: web }, ports: [{ port: 8000, targetPort: http }] }
`;

/** One pod on the agent that all tests may use, none may change. */
const tools = (node: string) => `
apiVersion: v1
kind: Pod
metadata: { name: tools, labels: { app: tools } }
spec:
  nodeName: ${node}
  terminationGracePeriodSeconds: 1
  containers:
    - name: web
      image: k3ts/test-web:1.0
      readinessProbe: { httpGet: { path: /, port: 80 }, periodSeconds: 1, timeoutSeconds: 10 }
    - name: talk
      image: k3ts/test-web:1.0
      command: [sh, -c, "echo one; echo two; echo three >&2; exec sleep 1000"]
`;

before(async () => {
  directory = mkdtempSync(join(tmpdir(), "k3ts-kubectl-"));
  cluster = await createTestCluster({ agents: 1, images: ["k3ts/test-web:1.0"] });
  await cluster.kubectl(["apply", "-f", "-"], { input: `${web}---${tools(cluster.agents[0]!)}` });
  await k("wait pod/tools --for=condition=Ready --timeout=180s");
  await k("rollout status deployment/web --timeout=180s");
});
after(async () => {
  await cluster?.remove();
  rmSync(directory, { recursive: true, force: true });
});

const k = (line: string, input?: string) => cluster.kubectl(line.split(" "), input === undefined ? {} : { input });
const fails = (line: string) => tryKubectl(line.split(" "), { kubeconfig: cluster.kubeconfig });
const start = (line: string) => startKubectl(line.split(" "), { kubeconfig: cluster.kubeconfig });
/** The nodes that web servers are on. */
const webNodes = async () => {
  const { items } = await cluster.kubectlJson<{ items: Pod[] }>(["get", "pods", "-l", "app=web"]);
  const staying = items.filter(({ metadata }) => !metadata.deletionTimestamp);
  return [...new Set(staying.map(({ spec }) => spec!.nodeName!))].sort();
};

describe("kubectl", { concurrency: 3, timeout: 600_000 }, () => {
  test("logs shows a container's output, its end, with times, by label, and follows it to its end", async () => {
    // A container that runs has not said everything yet.
    await eventually(async () => {
      assert.deepEqual((await k("logs tools -c talk")).trim().split("\n").sort(), ["one", "three", "two"]);
      assert.match(await k("logs tools"), /^serving tools on port 80$/m);
    }, 30_000);
    assert.equal((await k("logs tools -c talk --tail=1")).split("\n").length, 2);
    assert.match(await k("logs tools -c talk --timestamps --limit-bytes=40"), /^\d{4}-\d\d-\d\dT[\d:.]+Z /);
    const all = await k("logs -l app=tools --all-containers --prefix --tail=-1");
    assert.match(all, /^\[pod\/tools\/talk\] two$/m);
    assert.match(all, /^\[pod\/tools\/web\] serving tools on port 80$/m);
    await k(
      "apply -f -",
      `
apiVersion: v1
kind: Pod
metadata: { name: counting }
spec:
  restartPolicy: Never
  containers:
    - name: main
      image: k3ts/test-web:1.0
      command:
        - sh
        - -c
        - |
          echo line 1
          until [ -f /followed ]; do sleep 0.1; done
          for i in 2 3 4 5; do echo line $i; sleep 0.2; done
          [ -f /nothing ]
`,
    );
    await k("wait pod/counting --for=condition=Ready --timeout=120s");
    const following = start("logs -f counting");
    try {
      await following.waitFor(/line 1\n/);
      await k("exec counting -- touch /followed");
      await following.waitFor(/line 5\n/);
      assert.equal(await following.ended, 0);
    } finally {
      await following.stop();
    }
    assert.equal(following.output(), "line 1\nline 2\nline 3\nline 4\nline 5\n");
    const missing = await fails("logs tools -c nobody");
    assert.match(missing.stderr, /container nobody is not valid for pod tools/);
  });

  test("exec gives output, errors and the exit code, and takes input of any size", async () => {
    const split = await tryKubectl(
      ["exec", "tools", "-c", "talk", "--", "sh", "-c", "echo out; echo err >&2; exit 7"],
      {
        kubeconfig: cluster.kubeconfig,
      },
    );
    assert.equal(split.stdout, "out\n");
    assert.match(split.stderr, /^err\n/m);
    assert.equal(split.code, 7);
    const text = randomBytes(1_500_000).toString("hex");
    assert.equal(await k("exec -i tools -c talk -- cat", text), text);
    assert.match((await fails("exec tools -- not-a-program")).stderr, /not-a-program.*(not found|no such file)/i);
    assert.match((await fails("exec nobody -- true")).stderr, /pods "nobody" not found/);
    assert.equal(await k("exec deploy/web -- echo hello"), "hello\n");
  });

  test("exec -it is a terminal: it echoes, knows its size, passes control characters and ends with the shell", async () => {
    const command = `stty rows 40 cols 100; ${toolPath("kubectl")} exec -it tools -c talk -- sh`;
    const terminal = startTerminal(command, { KUBECONFIG: cluster.kubeconfig });
    try {
      await terminal.waitFor(/# /);
      // The size travels beside what is typed, and may come after it.
      terminal.type("until [ $(stty size | tr -d ' ') = 40100 ]; do sleep 0.1; done; tty; stty size\n");
      await terminal.waitFor(/\/dev\/pts\/\d+\r\n40 100\r\n.*# /);
      // It speaks once it is what the terminal's signals go to; until then they would be the shell's.
      terminal.type("sh -c 'echo be\"\"gun; exec sleep 1000'\n");
      await terminal.waitFor(/begun\r\n/);
      terminal.type("\u0003");
      await terminal.waitFor(/\^C[^#]*# /);
      terminal.type("exit 5\n");
      assert.equal(await terminal.ended, 5);
    } finally {
      await terminal.stop();
    }
  });

  test("cp carries files and folders in both directions", async () => {
    const content = randomBytes(3_000_000);
    mkdirSync(join(directory, "there/deep"), { recursive: true });
    writeFileSync(join(directory, "there/deep/file"), content);
    writeFileSync(join(directory, "there/a name"), "spaces");
    await cluster.kubectl(["cp", join(directory, "there"), "tools:/tmp/there", "-c", "talk"]);
    assert.equal(await cluster.kubectl(["exec", "tools", "-c", "talk", "--", "cat", "/tmp/there/a name"]), "spaces");
    await cluster.kubectl(["cp", "tools:/tmp/there", join(directory, "back"), "-c", "talk"]);
    assert.deepEqual(readFileSync(join(directory, "back/deep/file")), content);
  });

  test("run and attach talk with a container", async () => {
    const options = "--image=k3ts/test-web:1.0 --restart=Never";
    const answered = await cluster.kubectl(
      [
        "run",
        "talking",
        ...options.split(" "),
        "--rm",
        "-i",
        "--quiet",
        "--",
        "sh",
        "-c",
        "read name; echo hello $name",
      ],
      { input: "world\n" },
    );
    assert.match(answered, /^hello world\n/);
    await eventually(async () => assert.equal(await k("get pod talking --ignore-not-found"), ""), 60_000);
    await k(
      "apply -f -",
      `
apiVersion: v1
kind: Pod
metadata: { name: listening }
spec:
  restartPolicy: Never
  containers:
    - { name: main, image: "k3ts/test-web:1.0", stdin: true, stdinOnce: true, command: [sh, -c, "while read x; do echo got $x; done"] }
`,
    );
    await k("wait pod/listening --for=condition=Ready --timeout=120s");
    assert.match(await k("attach -i listening", "a\nb\n"), /got a\ngot b\n/);
    await k("wait pod/listening --for=jsonpath={.status.phase}=Succeeded --timeout=120s");
  });

  test("port-forward reaches pods, Deployments and Services, with many connections at once", async () => {
    for (const target of ["pod/tools :80", "deployment/web :80", "service/web :8000"]) {
      const forwarding = start(`port-forward ${target}`);
      try {
        const [, port] = await forwarding.waitFor(/Forwarding from 127\.0\.0\.1:(\d+)/);
        const answers = await Promise.all(
          Array.from({ length: 8 }, async () => {
            const reply = await fetch(`http://127.0.0.1:${port}/`);
            return (await reply.text()).trim();
          }),
        );
        for (const answer of answers) assert.match(answer, target.startsWith("pod") ? /^tools$/ : /^web-/);
      } finally {
        await forwarding.stop();
      }
    }
    const nothing = start("port-forward pod/tools :81");
    try {
      const [, port] = await nothing.waitFor(/Forwarding from 127\.0\.0\.1:(\d+)/);
      await assert.rejects(fetch(`http://127.0.0.1:${port}/`));
      await nothing.waitFor(/connection refused/i);
    } finally {
      await nothing.stop();
    }
  });

  test("proxy and get --raw reach Services and pods through the API", async () => {
    assert.match(await k("get --raw /api/v1/namespaces/default/services/web:8000/proxy/"), /^web-/);
    assert.match(await k("get --raw /api/v1/namespaces/default/pods/tools/proxy/index.html"), /^tools\n/);
    assert.equal(await k("get --raw /readyz"), "ok");
    assert.match(await k(`get --raw /api/v1/nodes/${cluster.agents[0]}/proxy/stats/summary`), /"nodeName"/);
  });

  test("apply changes nothing the second time, shows differences, and keeps what others own", async () => {
    assert.match(await k("apply -f -", web), /^deployment.apps\/web unchanged\nservice\/web unchanged\n$/);
    assert.equal(await k("diff -f -", web), "");
    const more = web.replaceAll("name: web", "name: applied").replaceAll("app: web", "app: applied");
    const twice = "apply --server-side -f -";
    assert.match(await k(twice, more), /^deployment.apps\/applied serverside-applied\n/);
    const before = await k("get deployment applied -o jsonpath={.metadata.resourceVersion},{.metadata.generation}");
    await k(twice, more);
    assert.match(before, new RegExp(`,${await k("get deployment applied -o jsonpath={.metadata.generation}")}$`));
    await k("scale deployment/applied --replicas=1");
    await assert.rejects(k(twice, more), /conflict with "kubectl".*\n?.*\.spec\.replicas/);
    await k(`${twice} --force-conflicts`, more);
    assert.equal(await k("get deployment applied -o jsonpath={.spec.replicas}"), "2");
    const changed = await tryKubectl(["diff", "-f", "-"], {
      kubeconfig: cluster.kubeconfig,
      input: web.replace("note: kept", "note: changed"),
    });
    assert.equal(changed.code, 1);
    assert.match(changed.stdout, /^\+ {4}note: changed$/m);
    await k("delete -f -", more);
    assert.equal(await k("get deployment,service applied --ignore-not-found -o name"), "");
  });

  test("create, patch, label, annotate, set, expose, edit and delete do what they say", async () => {
    assert.equal(
      await k("create deployment made --image=k3ts/test-web:1.0 --replicas=1"),
      "deployment.apps/made created\n",
    );
    assert.match(
      (await fails("create deployment made --image=x")).stderr,
      /^error: failed to create deployment: deployments.apps "made" already exists/,
    );
    assert.equal(await k("label deployment made tier=front"), "deployment.apps/made labeled\n");
    assert.equal(await k("annotate deployment made why=so"), "deployment.apps/made annotated\n");
    await k(`patch deployment made -p {"spec":{"template":{"spec":{"terminationGracePeriodSeconds":0}}}}`);
    await k(`patch deployment made --type=json -p [{"op":"replace","path":"/spec/replicas","value":2}]`);
    await k(`patch deployment made --type=merge --subresource=scale -p {"spec":{"replicas":1}}`);
    await k("set env deployment/made A=b");
    await k("set resources deployment/made --requests=cpu=10m");
    assert.equal(await k("expose deployment made --port=80"), "service/made exposed\n");
    await k("rollout status deployment/made --timeout=180s");
    await k("rollout restart deployment/made");
    await k("rollout status deployment/made --timeout=180s");
    await cluster.kubectl(["autoscale", "deployment", "made", "--max=3", "--cpu=50%"]);
    const wide = await k("get deployment made -o wide --no-headers");
    assert.match(wide, /^made\s+1\/1\s+1\s+1\s+\S+\s+test-web\s+k3ts\/test-web:1\.0\s+app=made\s*$/);
    assert.equal(
      await k("get deployment made -o jsonpath={.metadata.labels.tier}{.metadata.annotations.why}"),
      "frontso",
    );
    assert.equal(
      await k("delete deployment,service,hpa made"),
      'deployment.apps "made" deleted from default namespace\nservice "made" deleted from default namespace\nhorizontalpodautoscaler.autoscaling "made" deleted from default namespace\n',
    );
  });

  test("get prints tables, sorts, selects, watches; describe tells about everything", async () => {
    const nodes = await k("get nodes");
    assert.match(nodes, /^NAME +STATUS +ROLES +AGE +VERSION\n/);
    const roles = cluster.datastore === "etcd" ? "control-plane,etcd" : "control-plane";
    assert.match(nodes, new RegExp(`-server-0 +Ready +${roles} +\\S+ +v1\\.36`));
    assert.match(nodes, /-agent-0 +Ready +<none> +\S+ +v1\.36/);
    assert.match(
      await k("get pods -A --sort-by=.metadata.creationTimestamp"),
      /^NAMESPACE +NAME +READY +STATUS +RESTARTS +AGE\n/,
    );
    assert.equal(await k("get pods --field-selector spec.nodeName=nowhere --ignore-not-found -o name"), "");
    assert.match(await k("get pods -l app=tools -o custom-columns=N:.metadata.name --no-headers"), /^tools\n/);
    assert.match(
      await k("get all"),
      /pod\/tools[\s\S]*service\/web[\s\S]*deployment.apps\/web[\s\S]*replicaset.apps\/web-/,
    );
    const watching = start("get configmap --watch-only --output-watch-events --no-headers");
    try {
      await eventually(async () => {
        await k("delete configmap seen --ignore-not-found");
        await k("create configmap seen --from-literal=a=b");
        assert.match(watching.output(), /^ADDED +seen /m);
      }, 60_000);
      await k("delete configmap seen");
      await watching.waitFor(/^DELETED +seen /m);
    } finally {
      await watching.stop();
    }
    // Events and endpoints follow what they tell of a moment later.
    await eventually(async () => {
      const pod = await k("describe pod tools");
      for (const text of [/^Node: +k3ts-test-\S+-agent-0\//m, /^ +Ready: +True$/m, /Started container talk/])
        assert.match(pod, text);
      assert.match(await k("events --for pod/tools"), /Started +Pod\/tools +Started container web/);
      assert.match(await k("describe service web"), /^Endpoints: +10\.42\.\d+\.\d+:80,10\.42\.\d+\.\d+:80$/m);
    }, 60_000);
    assert.match(await k("describe deployment web"), /^NewReplicaSet: +web-\S+ \(2\/2 replicas created\)$/m);
    const node = await k(`describe node ${cluster.agents[0]}`);
    for (const text of [/^Allocated resources:/m, /^ +default +tools +0 \(0%\)/m, /KubeletReady/])
      assert.match(node, text);
    assert.match(await k("describe namespace default"), /^Status: +Active$/m);
    assert.match(
      (await fails("get pods nobody")).stderr,
      /^Error from server \(NotFound\): pods "nobody" not found\n$/,
    );
    assert.match((await fails("get nothings")).stderr, /the server doesn't have a resource type "nothings"/);
    assert.match((await fails("top nodes")).stderr, /Metrics API not available/);
  });

  test("explain, api-resources, version, auth and create token answer", async () => {
    assert.match(await k("explain pod.spec.containers.livenessProbe.httpGet"), /^ {2}port\s<IntOrString> -required-$/m);
    assert.match(await k("api-resources"), /^deployments +deploy +apps\/v1 +true +Deployment$/m);
    assert.match(await k("api-versions"), /^discovery.k8s.io\/v1$/m);
    assert.match(await k("version"), /^Server Version: v1\.36\./m);
    assert.equal(await k("auth can-i create pods"), "yes\n");
    assert.match(await k("auth whoami"), /Groups +\[system:masters system:authenticated\]/);
    const denied = await fails("auth can-i list secrets --as=system:serviceaccount:default:default");
    assert.equal(denied.stdout, "no\n");
    assert.match(await k("create token default"), /^eyJ/);
    assert.match(await k("cluster-info"), /Kubernetes control plane.* is running at/);
  });

  test("debug adds a container to a running pod, and makes pods that see a node", async () => {
    const image = "--image=k3ts/test-web:1.0";
    const command = `${toolPath("kubectl")} debug tools ${image} -it --target=talk -c looking -- sh`;
    const terminal = startTerminal(command, { KUBECONFIG: cluster.kubeconfig });
    try {
      await terminal.waitFor(/try pressing enter/);
      terminal.type("\ncat /proc/1/comm; wget -qO- http://127.0.0.1/\n");
      await terminal.waitFor(/sleep\r\ntools\r\n/);
      terminal.type("exit\n");
      await terminal.ended;
    } finally {
      await terminal.stop();
    }
    const pod = await cluster.kubectlJson<Pod>(["get", "pod", "tools"]);
    assert.equal(pod.status!.ephemeralContainerStatuses![0]!.name, "looking");

    const made = await k(`debug node/${cluster.agents[0]} ${image} -- cat /host/etc/hostname`);
    const [looker] = /node-debugger-\S+/.exec(made)!;
    await k(`wait pod/${looker} --for=jsonpath={.status.phase}=Succeeded --timeout=120s`);
    assert.equal((await k(`logs ${looker}`)).trim(), cluster.agents[0]);
  });

  test("the image's own kubectl reaches the cluster on a server, and crictl the server's pods", async () => {
    // Two replicas are not on the agent both, as long as servers have room.
    const server = (await webNodes()).find((node) => cluster.servers.includes(node));
    assert.ok(server, "a server runs a web server");
    assert.match(await cluster.exec(server, ["kubectl", "get", "nodes"]), /-agent-0 +Ready/);
    assert.match(
      await cluster.exec(server, ["k3ts", "kubectl", "version"]),
      /Client Version: v1\.36[\s\S]*Server Version: v1\.36/,
    );
    assert.match(await cluster.exec(server, ["k3s", "kubectl", "exec", "tools", "--", "echo", "hello"]), /hello/);
    assert.match(await cluster.exec(server, ["crictl", "ps"]), /web/);
    assert.match(await cluster.exec(server, ["ctr", "images", "ls", "-q"]), /docker\.io\/k3ts\/test-web:1\.0/);
  });
});

test("drain moves pods away and respects cordons, uncordon lets them come back", async () => {
  const [agent] = cluster.agents as [string];
  assert.match((await fails(`drain ${agent} --timeout=30s`)).stderr, /cannot delete .*declare no controller/);
  assert.match(await k(`get node ${agent}`), /Ready,SchedulingDisabled/);
  await k(`drain ${agent} --force --ignore-daemonsets --delete-emptydir-data --timeout=180s`);
  await k("rollout status deployment/web --timeout=180s");
  const left = await webNodes();
  assert.ok(left.length > 0 && !left.includes(agent), left.join());
  await k(`uncordon ${agent}`);
  // The taint that a cordon brings goes a moment after the cordon itself.
  await eventually(async () => assert.equal(await k(`get node ${agent} -o jsonpath={.spec.taints}`), ""), 60_000);
  await k(`scale deployment/web --replicas=${2 * cluster.nodes.length}`);
  await k("rollout status deployment/web --timeout=180s");
  assert.deepEqual(await webNodes(), [...cluster.nodes].sort());
});
