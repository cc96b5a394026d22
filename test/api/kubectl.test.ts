/** The API as kubectl drives it: what users type, and what they read. */
import assert from "node:assert/strict";
import { chmodSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { certificateRequest } from "../support/certificate-request.ts";
import { eventually } from "../support/eventually.ts";
import { type ServerProcess, startServerProcess } from "../support/server-process.ts";

interface Meta {
  metadata: {
    name: string;
    resourceVersion: string;
    generation?: number;
    labels?: Record<string, string>;
    annotations?: Record<string, string>;
    managedFields?: { manager: string; operation: string }[];
  };
}

const testdata = join(import.meta.dirname, "testdata");
const everyKind = join(testdata, "every-kind.yaml");
const image = "example.com/main:1";
let server: ServerProcess;
/** What the first apply of an object of every kind said; many tests look at these objects. */
let applied: string;

before(async () => {
  server = await startServerProcess();
  // The pod needs the account that a controller makes in the namespace, which comes first.
  const input = readFileSync(everyKind, "utf8");
  const end = input.indexOf("\n---\n");
  applied = await server.kubectl(["apply", "-f", "-"], { input: input.slice(0, end) });
  await filled("every");
  applied += await server.kubectl(["apply", "-f", "-"], { input: input.slice(end) });
});
after(() => server?.stop());

/** Runs kubectl, which has to fail, and gives back what it says. */
async function refusal(args: readonly string[], input?: string): Promise<string> {
  const { code, stderr } = await server.tryKubectl(args, input === undefined ? {} : { input });
  assert.notEqual(code, 0, `kubectl ${args.join(" ")} succeeded`);
  return stderr.trim();
}

const lines = (text: string) => text.trim().split("\n").filter(Boolean);
/** What kubectl says of each object, by what it says: "created", "unchanged", … */
const verdicts = (text: string) => new Set(lines(text).map((line) => line.split(" ").at(-1)));

/** Waits until controllers have put into a new namespace what comes with it. */
async function filled(namespace: string): Promise<void> {
  const come = ["serviceaccount/default", "configmap/kube-root-ca.crt"];
  await eventually(() => server.kubectl(["get", ...come, "-n", namespace]));
}

async function namespace(name: string): Promise<string[]> {
  await server.kubectl(["create", "namespace", name]);
  await filled(name);
  return ["-n", name];
}

describe("apply", () => {
  test("creates an object of every kind, and finds nothing to change the second time", async () => {
    assert.deepEqual(verdicts(applied), new Set(["created"]));
    const again = await server.kubectl(["apply", "-f", everyKind]);
    assert.deepEqual(verdicts(again), new Set(["unchanged"]));
    assert.equal(lines(again).length, lines(applied).length);
  });

  test("diff sees no difference, and shows one with code 1", async () => {
    assert.equal(await server.kubectl(["diff", "-f", everyKind]), "");
    const changed = await server.kubectl(["get", "configmap", "settings", "-n", "every", "-o", "yaml"]);
    const { code, stdout } = await server.tryKubectl(["diff", "-f", "-"], { input: changed.replace("fast", "slow") });
    assert.equal(code, 1);
    assert.match(stdout, /^- {2}mode: fast$/m);
    assert.match(stdout, /^\+ {2}mode: slow$/m);
  });

  test("--server-side takes over what apply wrote before, and again changes nothing", async () => {
    const first = await server.kubectl(["apply", "--server-side", "-f", everyKind]);
    assert.deepEqual(verdicts(first), new Set(["serverside-applied"]));
    const versions = () =>
      server.kubectl([
        "get",
        "job,pvc,deploy,svc,pod",
        "-n",
        "every",
        "-o",
        "jsonpath={.items[*].metadata.resourceVersion}",
      ]);
    // Controllers and the scheduler write once more where they have not seen everything yet.
    await eventually(async () => {
      const settled = await versions();
      await server.kubectl(["apply", "--server-side", "-f", everyKind]);
      assert.equal(await versions(), settled);
    });
    const job = await server.kubectlJson<Meta>(["get", "job", "once", "-n", "every", "--show-managed-fields"]);
    const owners = job.metadata.managedFields!.map(({ manager, operation }) => `${manager} ${operation}`);
    assert.ok(owners.includes("kubectl Apply"), owners.join());
    assert.ok(!owners.some((owner) => owner.startsWith("kubectl-client-side-apply")), owners.join());
  });

  test("what kubectl calls configured because its patch repeats defaults is no write", async () => {
    const inNamespace = await namespace("defaulted");
    const file = join(testdata, "defaulted-lists.yaml");
    await server.kubectl(["apply", ...inNamespace, "-f", file]);
    const specs = "jsonpath={range .items[*]}{.kind}{.metadata.generation} {end}";
    const before = await server.kubectl(["get", ...inNamespace, "-f", file, "-o", specs]);
    const again = await server.kubectl(["apply", ...inNamespace, "-f", file]);
    assert.ok(verdicts(again).has("configured"));
    assert.equal(await server.kubectl(["get", ...inNamespace, "-f", file, "-o", specs]), before);
  });

  test("a field that another manager owns is a conflict, until it is forced", async () => {
    const inNamespace = await namespace("conflicts");
    const configMap = (value: string) =>
      JSON.stringify({ apiVersion: "v1", kind: "ConfigMap", metadata: { name: "shared" }, data: { a: value } });
    const apply = ["apply", "--server-side", ...inNamespace, "-f", "-"];
    await server.kubectl([...apply, "--field-manager=first"], { input: configMap("1") });
    const told = await refusal([...apply, "--field-manager=second"], configMap("2"));
    assert.match(told, /^(error: )?Apply failed with 1 conflict: conflict with "first": \.data\.a$/m);
    assert.match(told, /re-run the apply\s+command with the `--force-conflicts` flag/);
    await server.kubectl([...apply, "--field-manager=second", "--force-conflicts"], { input: configMap("2") });
    assert.match(
      await refusal([...apply, "--field-manager=first"], configMap("1")),
      /conflict with "second": \.data\.a/,
    );
    // The same value is no conflict: both own it then.
    await server.kubectl([...apply, "--field-manager=first"], { input: configMap("2") });
  });

  test("--prune removes what the set no longer holds", async () => {
    const inNamespace = await namespace("pruned");
    const item = (name: string) => ({
      apiVersion: "v1",
      kind: "ConfigMap",
      metadata: { name, namespace: "pruned", labels: { set: "a" } },
    });
    const list = (...names: string[]) => JSON.stringify({ apiVersion: "v1", kind: "List", items: names.map(item) });
    const apply = ["apply", ...inNamespace, "-f", "-", "-l", "set=a", "--prune", "--prune-allowlist=core/v1/ConfigMap"];
    await server.kubectl(apply, { input: list("one", "two") });
    assert.match(await server.kubectl(apply, { input: list("one") }), /^configmap\/two pruned$/m);
  });
});

describe("changing objects", () => {
  let inNamespace: string[];
  before(async () => {
    inNamespace = await namespace("changes");
    await server.kubectl(["create", "deployment", "web", `--image=${image}`, "--replicas=0", ...inNamespace]);
    // The first revision is the one without the changes below.
    await eventually(async () => assert.equal(await revision(), "1"));
  });
  const revision = () => field(".metadata.annotations.deployment\\.kubernetes\\.io/revision");
  const field = (path: string) =>
    server.kubectl(["get", "deployment", "web", ...inNamespace, "-o", `jsonpath={${path}}`]);
  const patch = (...args: string[]) => server.kubectl(["patch", "deployment", "web", ...inNamespace, ...args]);

  test("patches of all types", async () => {
    const containers = { spec: { template: { spec: { containers: [{ name: "side", image: "example.com/side" }] } } } };
    await patch("-p", JSON.stringify(containers));
    assert.equal(await field(".spec.template.spec.containers[*].name"), "side main");
    await patch("--type=merge", "-p", '{"spec":{"paused":true,"minReadySeconds":5}}');
    assert.equal(await field(".spec.paused"), "true");
    await patch("--type=json", "-p", '[{"op":"remove","path":"/spec/paused"}]');
    assert.equal(await field(".spec.paused"), "");
    // kubectl compares with what it read before: the controller may write the status in between.
    await eventually(async () =>
      assert.equal(
        await patch("--type=merge", "-p", '{"spec":{"minReadySeconds":5}}'),
        "deployment.apps/web patched (no change)\n",
      ),
    );
  });

  test("a patch that does not apply says why", async () => {
    const args = ["patch", "deployment", "web", ...inNamespace, "--type=json", "-p"];
    assert.equal(
      await refusal([...args, '[{"op":"test","path":"/spec/replicas","value":9}]']),
      "The request is invalid: the server rejected our request due to an error in our request: testing value /spec/replicas failed: test failed",
    );
    assert.match(
      await refusal([...args, '[{"op":"replace","path":"/spec/replicas","value":-1}]']),
      /^The Deployment "web" is invalid: spec\.replicas: Invalid value: -1: must be greater than or equal to 0$/,
    );
  });

  test("subresources: a status writer may set annotations, a scale only the replicas", async () => {
    const status = {
      metadata: { annotations: { patchedstatus: "true" } },
      spec: { replicas: 7 },
      status: { replicas: 3 },
    };
    await patch("--subresource=status", "--type=merge", "-p", JSON.stringify(status));
    assert.equal(await field(".metadata.annotations.patchedstatus"), "true");
    assert.equal(await field(".spec.replicas"), "0");
    assert.equal(
      await patch("--subresource=scale", "--type=merge", "-p", '{"spec":{"replicas":1}}'),
      "scale.autoscaling/web patched\n",
    );
    assert.equal(await field(".spec.replicas"), "1");
    await server.kubectl(["scale", "deployment", "web", "--replicas=0", "--current-replicas=1", ...inNamespace]);
    assert.equal(await field(".spec.replicas"), "0");
  });

  test("label and annotate", async () => {
    const on = (verb: string, ...args: string[]) => [verb, "deployment", "web", ...inNamespace, ...args];
    await server.kubectl(on("label", "tier=front"));
    assert.match(
      await refusal(on("label", "tier=back")),
      /'tier' already has a value \(front\), and --overwrite is false/,
    );
    await server.kubectl(on("label", "tier=back", "--overwrite"));
    assert.equal(await field(".metadata.labels.tier"), "back");
    await server.kubectl(on("label", "tier-"));
    assert.equal(await field(".metadata.labels.tier"), "");
    assert.match(await refusal(on("label", "tier=not valid")), /a valid label must be an empty string or consist of/);
    await server.kubectl(on("annotate", "note=hello world"));
    assert.equal(await field(".metadata.annotations.note"), "hello world");
  });

  test("set changes images, variables, resources, accounts, selectors and subjects", async () => {
    for (const [what, ...args] of [
      ["image", "deployment/web", "main=example.com/other:2"],
      ["env", "deployment/web", "MODE=fast"],
      ["resources", "deployment/web", "--limits=cpu=200m"],
      ["serviceaccount", "deployment/web", "default"],
    ]) {
      await server.kubectl(["set", what!, ...args, ...inNamespace]);
    }
    const main = JSON.parse(await field(".spec.template.spec.containers[1]"));
    assert.equal(main.image, "example.com/other:2");
    assert.deepEqual(main.env, [{ name: "MODE", value: "fast" }]);
    assert.equal(main.resources.limits.cpu, "200m");
  });

  test("edit writes what the editor left, and nothing when it left all as it was", async () => {
    const editor = join(server.directory, "editor");
    writeFileSync(editor, '#!/bin/sh\nexec sed -i "s/minReadySeconds: 5/minReadySeconds: 6/" "$1"\n');
    chmodSync(editor, 0o755);
    const edit = () =>
      server.tryKubectl(["edit", "deployment", "web", ...inNamespace], { env: { KUBE_EDITOR: editor } });
    assert.equal((await edit()).stdout.trim(), "deployment.apps/web edited");
    assert.equal(await field(".spec.minReadySeconds"), "6");
    assert.match((await edit()).stderr, /Edit cancelled, no changes made/);
  });

  test("replace is bound to the version that was read", async () => {
    // The controller may still write the status for the change before: then it is read again.
    const read = await eventually(async () => {
      const now = await server.kubectl(["get", "deployment", "web", ...inNamespace, "-o", "json"]);
      const input = now.replace('"minReadySeconds": 6', '"minReadySeconds": 7');
      await server.kubectl(["replace", "-f", "-"], { input });
      return now;
    });
    assert.equal(await field(".spec.minReadySeconds"), "7");
    assert.match(
      await refusal(["replace", "-f", "-"], read),
      /^Error from server \(Conflict\): error when replacing "STDIN": Operation cannot be fulfilled on deployments\.apps "web": the object has been modified; please apply your changes to the latest version and try again$/,
    );
  });

  test("rollouts restart, pause, and go back to an older revision", async () => {
    const rollout = (...args: string[]) => server.kubectl(["rollout", ...args, ...inNamespace]);
    await eventually(async () => assert.ok(Number(await revision()) > 1));
    assert.match(await rollout("history", "deployment/web"), /REVISION {2}CHANGE-CAUSE/);
    assert.match(await rollout("undo", "deployment/web", "--to-revision=1"), /rolled back/);
    assert.equal(await field(".spec.template.spec.containers[*].name"), "main");
    await rollout("restart", "deployment/web");
    assert.match(await field(".spec.template.metadata.annotations"), /kubectl.kubernetes.io\/restartedAt/);
    await rollout("pause", "deployment/web");
    assert.equal(await field(".spec.paused"), "true");
    await rollout("resume", "deployment/web");
    assert.match(await rollout("status", "deployment/web", "--timeout=120s"), /successfully rolled out/);
  });
});

describe("get", () => {
  const get = (...args: string[]) => server.kubectl(["get", ...args]);

  test("prints tables, wide ones, and those of custom resources", async () => {
    assert.match(
      await get("pods", "-n", "every"),
      /^NAME +READY +STATUS +RESTARTS +AGE\nsingle +0\/1 +Pending +0 +(\d+[ms])+$/m,
    );
    assert.match(await get("pods", "-n", "every", "-o", "wide"), /AGE +IP +NODE +NOMINATED NODE +READINESS GATES/);
    const widget = { apiVersion: "every.example.com/v1", kind: "Widget", metadata: { name: "w" }, spec: {} };
    await server.kubectl(["create", "-n", "every", "-f", "-"], { input: JSON.stringify(widget) });
    assert.match(await get("wd", "-n", "every"), /^NAME +SIZE\nw +3$/m);
    assert.match(
      await get("deployments", "-n", "every", "--show-labels", "--no-headers"),
      /^web +0\/0 +0 +0 +(\d+[ms])+ +<none>$/m,
    );
    assert.match(await get("all", "-n", "every"), /^deployment\.apps\/web +0\/0/m);
  });

  test("prints names, fields and columns that are asked for", async () => {
    assert.equal(await get("secret", "password", "-n", "every", "-o", "name"), "secret/password\n");
    assert.equal(await get("secret", "password", "-n", "every", "-o", "jsonpath={.data.other}"), "aGVsbG8=");
    assert.equal(
      await get("secret", "password", "-n", "every", "-o", "go-template={{.data.other | base64decode}}"),
      "hello",
    );
    assert.match(
      await get("services", "-n", "every", "-o", "custom-columns=N:.metadata.name,T:.spec.type"),
      /^web +NodePort$/m,
    );
    assert.match(await get("configmap", "settings", "-n", "every", "-o", "yaml"), /^ {2}mode: fast$/m);
  });

  test("selects by labels and fields, pages by chunks, and sorts", async () => {
    const inNamespace = await namespace("many");
    const items = Array.from({ length: 12 }, (_, index) => ({
      apiVersion: "v1",
      kind: "ConfigMap",
      metadata: { name: `c${String(index).padStart(2, "0")}`, labels: { parity: index % 2 ? "odd" : "even" } },
    }));
    await server.kubectl(["create", ...inNamespace, "-f", "-"], {
      input: JSON.stringify({ apiVersion: "v1", kind: "List", items }),
    });
    const names = async (...args: string[]) => lines(await get("configmaps", ...inNamespace, "-o", "name", ...args));
    assert.equal((await names("-l", "parity=odd")).length, 6);
    assert.equal((await names("-l", "parity in (even,odd),parity!=odd")).length, 6);
    assert.deepEqual(await names("--field-selector", "metadata.name=c03"), ["configmap/c03"]);
    const all = await names("--chunk-size=5");
    assert.deepEqual(all, await names("--chunk-size=0"));
    assert.equal(all.filter((name) => name.startsWith("configmap/c")).length, 12);
    const sorted = lines(
      await get("configmaps", ...inNamespace, "-l", "parity", "--sort-by=.metadata.name", "--no-headers"),
    );
    assert.deepEqual(
      sorted.map((line) => line.slice(0, 3)),
      items.map(({ metadata }) => metadata.name),
    );
    assert.match(
      await refusal(["get", "pods", "--field-selector", "status.nope=1"]),
      /^Error from server \(BadRequest\): Unable to find "\/v1, Resource=pods" that match label selector "", field selector "status\.nope=1": field label not supported: status\.nope$/,
    );
  });

  test("says what is not there", async () => {
    assert.equal(await refusal(["get", "pods", "nope"]), 'Error from server (NotFound): pods "nope" not found');
    assert.equal(await refusal(["get", "nopes"]), 'error: the server doesn\'t have a resource type "nopes"');
    const { code, stderr } = await server.tryKubectl(["get", "pods", "-n", "no-such-namespace"]);
    assert.equal(code, 0);
    assert.equal(stderr.trim(), "No resources found in no-such-namespace namespace.");
  });

  test("warns of kinds that are deprecated", async () => {
    const { stderr } = await server.tryKubectl(["get", "endpoints", "-n", "every"]);
    assert.equal(stderr.trim(), "Warning: v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice");
  });

  test("--watch follows what happens", async () => {
    const inNamespace = await namespace("watched");
    const watch = server.startKubectl([
      "get",
      "configmaps",
      ...inNamespace,
      "--watch",
      "--output-watch-events",
      "--no-headers",
      "--field-selector=metadata.name=seen",
    ]);
    try {
      await server.kubectl(["create", "configmap", "seen", "--from-literal=a=b", ...inNamespace]);
      await watch.waitFor(/^ADDED +seen +1/m);
      await server.kubectl(["patch", "configmap", "seen", "-p", '{"data":{"c":"d"}}', ...inNamespace]);
      await watch.waitFor(/^MODIFIED +seen +2/m);
      await server.kubectl(["delete", "configmap", "seen", ...inNamespace]);
      await watch.waitFor(/^DELETED +seen +2/m);
    } finally {
      await watch.stop();
    }
  });

  test("wait ends when a condition, a field or a deletion has come", async () => {
    const inNamespace = await namespace("waited");
    await server.kubectl(["create", "deployment", "idle", `--image=${image}`, "--replicas=0", ...inNamespace]);
    const wait = (...args: string[]) => server.kubectl(["wait", "--timeout=120s", ...inNamespace, ...args]);
    assert.match(await wait("--for=condition=Available", "deployment/idle"), /condition met/);
    assert.match(await wait("--for=jsonpath={.spec.replicas}=0", "deployment/idle"), /condition met/);
    await server.kubectl(["delete", "deployment", "idle", "--wait=false", ...inNamespace]);
    await wait("--for=delete", "deployment/idle");
    assert.match(
      await refusal(["wait", "--timeout=1s", "-n", "every", "--for=condition=Ready", "pod/single"]),
      /timed out waiting for the condition on pods\/single/,
    );
  });
});

describe("create", () => {
  /** Of the band that services without a choice get only when all others are taken. */
  const chosenPort = 30034;

  test("every generator makes what it says", async () => {
    const inNamespace = await namespace("generated");
    const key = join(server.directory, "tls.key");
    const certificate = join(server.directory, "tls.crt");
    writeFileSync(key, server.credentials.key);
    writeFileSync(certificate, server.credentials.cert);
    const rows: string[][] = [
      ["deployment", "d", `--image=${image}`, "--replicas=0"],
      ["job", "j", `--image=${image}`],
      ["cronjob", "c", `--image=${image}`, "--schedule=0 3 1 1 *"],
      ["job", "from-cron", "--from=cronjob/c"],
      ["configmap", "cm", "--from-literal=a=b"],
      ["secret", "generic", "s", "--from-literal=a=b"],
      [
        "secret",
        "docker-registry",
        "pull",
        "--docker-server=example.com",
        "--docker-username=u",
        "--docker-password=p",
      ],
      ["secret", "tls", "tls", `--cert=${certificate}`, `--key=${key}`],
      ["service", "clusterip", "sc", "--tcp=80:8080"],
      ["service", "nodeport", "sn", "--tcp=80", `--node-port=${chosenPort}`],
      ["service", "loadbalancer", "sl", "--tcp=80"],
      ["service", "externalname", "se", "--external-name=example.com"],
      ["serviceaccount", "sa"],
      ["role", "r", "--verb=get", "--resource=pods"],
      ["rolebinding", "rb", "--role=r", "--serviceaccount=generated:sa"],
      ["clusterrole", "generated-cr", "--verb=get", "--resource=nodes"],
      ["clusterrolebinding", "generated-crb", "--clusterrole=generated-cr", "--user=eve"],
      ["quota", "q", "--hard=pods=10"],
      ["poddisruptionbudget", "p", "--selector=a=b", "--min-available=1"],
      ["priorityclass", "generated-pc", "--value=10"],
      ["ingress", "i", "--rule=example.com/*=sc:80"],
    ];
    for (const row of rows) assert.match(await server.kubectl(["create", ...row, ...inNamespace]), / created\n$/);
    await server.kubectl(["run", "p", `--image=${image}`, ...inNamespace]);
    await server.kubectl(["expose", "deployment", "d", "--name=exposed", "--port=80", ...inNamespace]);
    await server.kubectl(["autoscale", "deployment", "d", "--max=2", ...inNamespace]);
    assert.match(
      await refusal([
        "create",
        "service",
        "nodeport",
        "taken",
        "--tcp=80",
        `--node-port=${chosenPort}`,
        ...inNamespace,
      ]),
      /Service "taken" is invalid: spec\.ports\[0\]\.nodePort: Invalid value: 30034: provided port is already allocated/,
    );
    assert.equal(
      await refusal(["create", "namespace", "generated"]),
      'Error from server (AlreadyExists): namespaces "generated" already exists',
    );
  });

  test("a dry run answers what would be, and keeps nothing", async () => {
    const made = await server.kubectlJson<Meta>([
      "create",
      "deployment",
      "dry",
      `--image=${image}`,
      "--dry-run=server",
    ]);
    assert.equal(made.metadata.generation, 1);
    assert.match(await refusal(["get", "deployment", "dry"]), /not found/);
  });

  test("a misspelled field is refused, or warned of", async () => {
    const body = JSON.stringify({ apiVersion: "v1", kind: "ConfigMap", metadata: { name: "typo" }, dat: { a: "b" } });
    assert.equal(
      await refusal(["create", "-f", "-"], body),
      'Error from server (BadRequest): error when creating "STDIN": ConfigMap in version "v1" cannot be handled as a ConfigMap: strict decoding error: unknown field "dat"',
    );
    const { stderr } = await server.tryKubectl(["create", "-f", "-", "--validate=warn"], { input: body });
    assert.equal(stderr.trim(), 'Warning: unknown field "dat"');
  });
});

describe("custom resources", () => {
  const schema = {
    type: "object",
    properties: {
      spec: { type: "object", properties: { replicas: { type: "integer", minimum: 0 } } },
      status: { type: "object", properties: { phase: { type: "string", enum: ["A", "B"] } } },
    },
  };
  const scale = { specReplicasPath: ".spec.replicas", statusReplicasPath: ".status.replicas" };
  const version = { name: "v1", served: true, storage: true, schema: { openAPIV3Schema: schema } };
  const definition = {
    apiVersion: "apiextensions.k8s.io/v1",
    kind: "CustomResourceDefinition",
    metadata: { name: "gears.tests.example.com" },
    spec: {
      group: "tests.example.com",
      scope: "Namespaced",
      names: { kind: "Gear", plural: "gears" },
      versions: [{ ...version, subresources: { status: {}, scale } }],
    },
  };
  const gear = JSON.stringify({
    apiVersion: "tests.example.com/v1",
    kind: "Gear",
    metadata: { name: "g" },
    spec: { replicas: 2 },
  });
  const merge = (...args: string[]) => ["patch", "gear", "g", "--type=merge", ...args];

  test("are applied, scaled, checked by their schema and gone with their definition", async () => {
    await server.kubectl(["create", "-f", "-"], { input: JSON.stringify(definition) });
    await server.kubectl(["wait", "--for=condition=Established", "crd/gears.tests.example.com", "--timeout=120s"]);
    await server.kubectl(["apply", "-f", "-"], { input: gear });
    assert.match(await server.kubectl(["apply", "-f", "-"], { input: gear }), /unchanged/);
    assert.match(await server.kubectl(["apply", "--server-side", "-f", "-"], { input: gear }), /serverside-applied/);
    await server.kubectl(["scale", "gear", "g", "--replicas=3"]);
    assert.match(
      await refusal(merge("-p", '{"spec":{"replicas":-3}}')),
      /^The Gear "g" is invalid: spec\.replicas: Invalid value: -3: spec\.replicas in body should be greater than or equal to 0$/,
    );
    assert.match(
      await refusal(merge("--subresource=status", "-p", '{"status":{"phase":"C"}}')),
      /status\.phase: Unsupported value: "C": supported values: "A", "B"$/,
    );
    const status = { metadata: { labels: { x: "y" } }, spec: { replicas: 9 }, status: { phase: "A" } };
    await server.kubectl(merge("--subresource=status", "-p", JSON.stringify(status)));
    const shown = ["get", "gear", "g", "-o", "jsonpath={.spec.replicas} {.status.phase} {.metadata.labels}"];
    assert.equal((await server.kubectl(shown)).trim(), "3 A");
    assert.match(await refusal(["patch", "gear", "g", "-p", "{}"]), /strategic-merge-patch\+json is not supported by/);
    await server.kubectl(["delete", "crd", "gears.tests.example.com", "--timeout=120s"]);
    await eventually(async () =>
      assert.match(await refusal(["get", "gears"]), /could not find|doesn't have a resource/),
    );
  });
});

describe("delete", () => {
  const owned = async (name: string) => {
    const inNamespace = ["-n", "cascades"];
    await server.kubectl(["create", "deployment", name, `--image=${image}`, "--replicas=0", ...inNamespace]);
    await eventually(async () => assert.equal((await replicaSets(name)).length, 1));
  };
  const replicaSets = async (name: string) =>
    lines(await server.kubectl(["get", "replicasets", "-n", "cascades", "-l", `app=${name}`, "-o", "name"]));
  before(() => namespace("cascades"));

  for (const cascade of ["background", "foreground", "orphan"]) {
    test(`--cascade=${cascade}`, async () => {
      await owned(cascade);
      await server.kubectl([
        "delete",
        "deployment",
        cascade,
        "-n",
        "cascades",
        `--cascade=${cascade}`,
        "--timeout=120s",
      ]);
      if (cascade === "orphan") {
        const [found] = (
          await server.kubectlJson<{ items: { metadata: { ownerReferences?: object[] } }[] }>([
            "get",
            "replicasets",
            "-n",
            "cascades",
            "-l",
            "app=orphan",
          ])
        ).items;
        assert.equal(found?.metadata.ownerReferences, undefined);
      } else await eventually(async () => assert.deepEqual(await replicaSets(cascade), []));
    });
  }

  test("by selector, all at once, and again", async () => {
    const inNamespace = ["-n", "cascades"];
    for (const name of ["a", "b"]) await server.kubectl(["create", "configmap", name, ...inNamespace]);
    await server.kubectl(["label", "configmap", "a", "gone=soon", ...inNamespace]);
    assert.match(
      await server.kubectl(["delete", "configmap", "-l", "gone=soon", ...inNamespace]),
      /^configmap "a" deleted/,
    );
    assert.match(await refusal(["delete", "configmap", "a", ...inNamespace]), /configmaps "a" not found/);
    assert.equal(await server.kubectl(["delete", "configmap", "a", "--ignore-not-found", ...inNamespace]), "");
    assert.match(await server.kubectl(["delete", "configmap", "--all", ...inNamespace]), /configmap "b" deleted/);
  });

  test("a namespace takes all that is in it along, and the system's own stay", async () => {
    assert.match(await server.kubectl(["delete", "namespace", "every", "--timeout=120s"]), /namespace "every" deleted/);
    assert.match(await refusal(["get", "deployment", "web", "-n", "every"]), /not found/);
    assert.equal(
      await refusal(["delete", "namespace", "default"]),
      'Error from server (Forbidden): namespaces "default" is forbidden: this namespace may not be deleted',
    );
    assert.match(await refusal(["create", "configmap", "late", "-n", "every"]), /namespaces "every" not found/);
  });
});

describe("what there is", () => {
  test("api-resources and api-versions name all groups", async () => {
    const resources = await server.kubectl(["api-resources", "-o", "wide"]);
    assert.match(
      resources,
      /^deployments +deploy +apps\/v1 +true +Deployment +create,delete,deletecollection,get,list,patch,update,watch +all$/m,
    );
    assert.match(resources, /^widgets +wd +every\.example\.com\/v1 +true +Widget /m);
    const versions = lines(await server.kubectl(["api-versions"]));
    for (const version of ["v1", "apps/v1", "autoscaling/v2", "resource.k8s.io/v1", "every.example.com/v1"]) {
      assert.ok(versions.includes(version), version);
    }
  });

  test("explain describes fields of built-in and of custom kinds", async () => {
    const probe = await server.kubectl(["explain", "pod.spec.containers.livenessProbe"]);
    assert.match(probe, /^FIELD: livenessProbe <Probe>$/m);
    assert.match(probe, /^ {2}httpGet\t<HTTPGetAction>$/m);
    assert.match(
      await server.kubectl(["explain", "deployment", "--recursive"]),
      /^ {4}strategy\t<DeploymentStrategy>$/m,
    );
    assert.match(await server.kubectl(["explain", "widgets.spec"]), /^ {2}size\t<integer>$/m);
    assert.match(await server.kubectl(["explain", "pods", "--output=plaintext-openapiv2"]), /^KIND: +Pod$/m);
  });

  test("events of an object", async () => {
    const inNamespace = await namespace("events");
    await server.kubectl(["create", "job", "paused", `--image=${image}`, ...inNamespace]);
    await eventually(async () =>
      assert.match(
        await server.kubectl(["events", "--for=job/paused", ...inNamespace]),
        /Normal +SuccessfulCreate +Job\/paused +Created pod: paused-/,
      ),
    );
    assert.match(
      await server.kubectl(["describe", "job", "paused", ...inNamespace]),
      /^Events:[\s\S]*SuccessfulCreate/m,
    );
  });
});

describe("who may", () => {
  test("auth can-i and whoami", async () => {
    assert.equal(await server.kubectl(["auth", "can-i", "create", "pods"]), "yes\n");
    assert.equal((await server.tryKubectl(["auth", "can-i", "list", "pods", "--as=eve"])).stdout, "no\n");
    assert.match(
      await server.kubectl(["auth", "can-i", "--list", "--as=eve"]),
      /selfsubjectaccessreviews\.authorization\.k8s\.io/,
    );
    assert.match(await server.kubectl(["auth", "whoami"]), /^Groups +\[system:masters system:authenticated\]$/m);
    assert.equal(
      await refusal(["get", "pods", "--as=eve"]),
      'Error from server (Forbidden): pods is forbidden: User "eve" cannot list resource "pods" in API group "" in the namespace "default"',
    );
  });

  test("a token made for a service account is that account", async () => {
    const inNamespace = await namespace("tokens");
    await server.kubectl(["create", "serviceaccount", "robot", ...inNamespace]);
    const token = (await server.kubectl(["create", "token", "robot", "--duration=20m", ...inNamespace])).trim();
    const kubeconfig = join(server.directory, "robot.yaml");
    const file = await server.kubectl(["config", "view", "--raw", "--minify", "-o", "json"]);
    const config = JSON.parse(file);
    config.users[0].user = { token };
    writeFileSync(kubeconfig, JSON.stringify(config), { mode: 0o600 });
    assert.match(
      await server.kubectl(["auth", "whoami", "--kubeconfig", kubeconfig]),
      /^Username +system:serviceaccount:tokens:robot$/m,
    );
  });

  test("a certificate request names its sender, whatever it says, and is decided once", async () => {
    const request = {
      apiVersion: "certificates.k8s.io/v1",
      kind: "CertificateSigningRequest",
      metadata: { name: "eve" },
      spec: {
        request: await certificateRequest(),
        signerName: "example.com/signer",
        usages: ["client auth"],
        username: "mallory",
      },
    };
    await server.kubectl(["create", "-f", "-"], { input: JSON.stringify(request) });
    const made = await server.kubectlJson<{ spec: { username: string; groups: string[] } }>(["get", "csr", "eve"]);
    assert.equal(made.spec.username, "system:admin");
    assert.deepEqual(made.spec.groups, ["system:masters", "system:authenticated"]);
    await server.kubectl(["certificate", "approve", "eve"]);
    assert.match(await server.kubectl(["get", "csr", "eve"]), / Approved$/m);
    assert.match(await refusal(["certificate", "deny", "eve"]), /already Approved/);
  });
});
